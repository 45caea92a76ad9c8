"""Policies: an ordered list of steps, by name, from YAML, or built in Python."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta
from numpy.typing import ArrayLike

from augsuite import registry
from augsuite.augment.arrays import apply
from augsuite.augment.draw import Drawer, Key, draw
from augsuite.augment.plan import Origin, Plan
from augsuite.augment.render import Pool, render
from augsuite.augment.transforms import declaration, instance, make
from augsuite.config import build, parse_yaml, read_yaml
from augsuite.dataset import Sample
from augsuite.dataset.images import Image
from augsuite.errors import ConfigError

_OWN = ("do", "p", "id")


class Step(msgspec.Struct, frozen=True):
    """A transform with its parameters and a probability.

    Attributes:
        do: the transform's name.
        params: its parameters, plain values; the others have their defaults.
        p: the probability that it happens, in [0, 1].
        id: names the step's random numbers; the transform's name, with `#2`, `#3`, ... where that is taken. Steps of the same id
            draw the same in every policy.
    """

    do: str
    params: dict[str, Any] = {}
    p: Annotated[float, Meta(ge=0, le=1)] = 1.0
    id: str = ""

    def to_plain(self, position_id: str) -> dict[str, Any]:
        """As a policy file holds it, without what is default."""
        plain: dict[str, Any] = {"do": self.do, **self.params}
        if self.p != 1:
            plain["p"] = self.p
        if self.id != position_id:
            plain["id"] = self.id
        return plain


class Policy(msgspec.Struct, frozen=True, dict=True):
    """What happens to a sample; call it with one.

    Attributes:
        name: for people.
        steps: in their order.
        min_visible_frac: a box stays if at least this share of its original area is visible at the end, in [0, 1].
        min_size: a box stays if at the end it is at least so wide and so high, in pixels.
    """

    name: str = msgspec.field(name="policy")  # as a file calls it, and so the messages
    steps: tuple[Step, ...] = ()
    min_visible_frac: Annotated[float, Meta(ge=0, le=1)] = 0.1
    min_size: Annotated[float, Meta(ge=0)] = 1.0

    def __post_init__(self) -> None:
        """Give every step an id.

        Raises:
            ConfigError: if two have the same.
        """
        steps = [
            msgspec.structs.replace(step, id=step.id or own)
            for step, own in zip(self.steps, _default_ids(self.steps), strict=True)
        ]
        ids = [step.id for step in steps]
        for place, name in enumerate(ids):
            if name in ids[:place]:
                raise ConfigError(
                    f"{self.name}: steps[{place}] has the id {name!r} of steps[{ids.index(name)}]. Give it its own."
                )
        msgspec.structs.force_setattr(self, "steps", tuple(steps))

    def __call__(self, sample: Sample, *, key: Key = (0, 0, 0), pool: Pool | None = None) -> Sample:
        """Augment one sample.

        Args:
            sample: image, boxes and labels.
            key: seed, epoch and image row: the same key, the same result.
            pool: the images that a mix step may take partners from: a `Dataset` or a `Feed`.

        Returns:
            The sample with its pixels in memory, on the canvas that the last step left.

        Raises:
            DataError: if an image cannot be read.
            ConfigError: if a step is unknown or has parameters that make no sense, or mixes and there is no pool.
        """
        return render(self.plan(sample, key, pool), sample, pool)

    def apply(self, image: Image, boxes: ArrayLike = (), *columns: Any, key: Key) -> tuple[Any, ...]:
        """Augment arrays, in training code that knows nothing of samples and datasets.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            boxes: `(N, 4)` XYXY in pixels.
            columns: anything with one entry for each box, such as labels, ids or flags: arrays, tensors, lists. Entries are only
                selected, never changed or converted.
            key: seed, epoch and index of the image: the same key, the same result. It must differ from image to image and from
                epoch to epoch, or all draw alike.

        Returns:
            Image, boxes and each column, as they were given; the boxes, and the entries of each column, of what is still visible.
            Boxes are float64 unless they were of another floating type.

        Raises:
            ConfigError: as `__call__` does; a policy that mixes needs a dataset, and so a `Sample`.
            DataError: if a column has not one entry for each box, or the image is no `(H, W, 3)` uint8.
        """
        return apply(self, image, boxes, columns, key)

    def plan(self, sample: Sample, key: Key = (0, 0, 0), pool: Pool | None = None) -> Plan:
        """Draw everything that is random, without touching a pixel; see `__call__`."""
        return draw(self._drawers, self._empty, sample, key, pool)

    @cached_property
    def _empty(self) -> Plan:
        return Plan(Origin(-1, 0, 0), (), self.min_visible_frac, self.min_size)

    @cached_property
    def _drawers(self) -> tuple[Drawer, ...]:
        for place, step in enumerate(self.steps):
            # A policy built by hand, or unpickled where a plugin is missing, is checked here at the latest.
            _checked(step.do, step.params, f"{self.name}: steps[{place}]")
        return tuple(
            Drawer(step.id, step.do, step.p, declaration(step.do).kind, step.params, instance(step.do, step.params))
            for step in self.steps
        )

    @property
    def normalize(self) -> Any | None:
        """The parameters (`mean`, `std`) of the last `normalize` step; None where there is none."""
        found = [step.transform for step in self._drawers if step.kind == "batch" and step.do == "normalize"]
        return found[-1] if found else None

    def resized(self, width: int, height: int) -> Policy:
        """The policy with a last `resize` to `width` x `height`; itself where its last geometric step gives that size."""
        known: dict[tuple[int, int], Policy] = self.__dict__.setdefault("_resized", {})
        if (width, height) not in known:
            known[width, height] = self._resize(width, height)
        return known[width, height]

    def _resize(self, width: int, height: int) -> Policy:
        moving = [step for step in self._drawers if step.kind in {"geometric", "mix"}]
        if moving and moving[-1].p == 1 and tuple(getattr(moving[-1].transform, "size", ())) == (width, height):
            return self
        return msgspec.structs.replace(self, steps=(*self.steps, Step("resize", {"size": [width, height]})))

    def to_plain(self) -> dict[str, Any]:
        """As a policy file holds it: plain values, without what is default."""
        plain: dict[str, Any] = {"policy": self.name}
        if self.min_visible_frac != 0.1:
            plain["min_visible_frac"] = self.min_visible_frac
        if self.min_size != 1:
            plain["min_size"] = self.min_size
        ids = _default_ids(self.steps)
        plain["steps"] = [step.to_plain(own) for step, own in zip(self.steps, ids, strict=True)]
        return plain

    def to_yaml(self) -> str:
        """As YAML, a line for each step; `from_yaml` gives it back."""
        plain = self.to_plain()
        steps = plain.pop("steps")
        lines = [f"- {_flow(step)}" for step in steps]
        return (
            yaml.safe_dump(plain, sort_keys=False) + ("\n  ".join(["steps:", *lines]) if lines else "steps: []") + "\n"
        )

    @classmethod
    def from_yaml(cls, text: str, where: str = "policy") -> Policy:
        """Read what `to_yaml` wrote.

        Args:
            text: YAML.
            where: the name of its source, for the messages.

        Raises:
            ConfigError: naming the place and, for an unknown name, the nearest.
        """
        return _from_plain(parse_yaml(text, where), where, "policy")


def policy(given: Policy | str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any] | Step]) -> Policy:
    """Find, read or build a policy.

    Args:
        given: the name of a bundled policy, the path of a YAML file, what such a file holds, or a list of steps, each a mapping
            such as `{"do": "hflip", "p": 0.5}` or a `Step`.

    Raises:
        ConfigError: naming the place and, for an unknown name, the nearest.
    """
    if isinstance(given, Policy):
        return given
    if isinstance(given, Mapping):
        return _from_plain(given, str(given.get("policy", "policy")), "policy")
    if isinstance(given, str | Path):
        return _named(given)
    return _from_plain({"steps": list(given)}, "policy", "policy")


def _named(given: str | Path) -> Policy:
    bundled = registry.default().policies()
    path = Path(given)
    by_path = isinstance(given, Path) or path.suffix in {".yaml", ".yml"} or path.is_file()
    if given not in bundled and by_path:
        return _from_plain(read_yaml(path), str(path), path.stem)
    name = str(given)
    return _from_plain({"steps": list(registry.find("policy", bundled, name).steps)}, name, name)


def _from_plain(values: Any, where: str, name: str) -> Policy:
    if isinstance(values, list):
        values = {"steps": values}
    if not isinstance(values, Mapping) or not isinstance(values.get("steps"), list):
        raise ConfigError(f"{where}: expected a policy: a mapping with the list 'steps', or that list alone.")
    steps = [_step(step, f"{where}: steps[{place}]") for place, step in enumerate(values["steps"])]
    if "name" in values:
        raise ConfigError(f"{where}: unknown setting 'name'. Did you mean 'policy'?")
    settings = {"policy": name, **values, "steps": []}
    return msgspec.structs.replace(build(Policy, settings, where), steps=tuple(steps))


def _step(given: Any, where: str) -> Step:
    if isinstance(given, Step):
        # Built in Python, where nothing checked its types and ranges.
        given = {**given.params, "do": given.do, "p": given.p, "id": given.id}
    if not isinstance(given, Mapping) or not isinstance(given.get("do"), str):
        raise ConfigError(f"{where}: expected a step such as {{do: hflip, p: 0.5}}, got {given!r}.")
    own = {key: given[key] for key in _OWN if key in given}
    params = _checked(own["do"], {key: value for key, value in given.items() if key not in _OWN}, where)
    return build(Step, {**own, "params": params}, f"{where} ({own['do']})")


def _checked(do: str, params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The parameters in plain values, typed as the transform has them.

    Raises:
        ConfigError: if the transform or a parameter is unknown, or a value makes no sense.
    """
    try:
        declaration(do)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    # By way of JSON, which knows no tuples: what is read back is then equal.
    plain = msgspec.json.decode(msgspec.json.encode(make(do, params, f"{where} ({do})")))
    for key, value in params.items():
        if not _finite(value):
            raise ConfigError(f"{where} ({do}): {key}: expected finite numbers, got {value!r}.")
    return {key: plain[key] for key in params}


def _finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _default_ids(steps: Sequence[Step]) -> list[str]:
    seen: dict[str, int] = {}
    ids = []
    for step in steps:
        seen[step.do] = seen.get(step.do, 0) + 1
        ids.append(step.do if seen[step.do] == 1 else f"{step.do}#{seen[step.do]}")
    return ids


def _flow(step: dict[str, Any]) -> str:
    return str(yaml.safe_dump(step, default_flow_style=True, sort_keys=False, width=float("inf"))).strip()
