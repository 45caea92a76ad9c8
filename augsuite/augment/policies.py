"""Policies: an ordered list of steps, by name, from YAML, or built in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta
from numpy.typing import ArrayLike

from augsuite import registry
from augsuite.augment import pipelines
from augsuite.augment.arrays import apply
from augsuite.augment.draw import Key, draw
from augsuite.augment.plan import Origin, Plan
from augsuite.augment.render import Pool, execute
from augsuite.augment.saved import saved
from augsuite.augment.steps import Drawer, Step, check_params, default_ids, drawer, named, read_step
from augsuite.config import build, parse_yaml, read_yaml
from augsuite.dataset import Sample
from augsuite.dataset.images import Image
from augsuite.errors import ConfigError
from augsuite.spec import PolicySpec


class Policy(msgspec.Struct, frozen=True, dict=True):
    """What happens to a sample; call it with one.

    Attributes:
        name: for people.
        steps: in their order.
        min_visible_frac: a box stays if at least this share of its original area is visible at the end, in [0, 1].
        min_size: a box stays if at the end it is at least so wide and so high, in pixels.
        box_from: what a box is taken for where steps turn, shear or bend it: its `corners`, which always hold the object, or the
            `ellipse` in it, which most objects fill no more than.
        use_shapes: in that case, take the box around the object's polygon, mask or oriented box instead, where it has one.
    """

    name: str = msgspec.field(name="policy")  # as a file calls it, and so the messages
    steps: tuple[Step, ...] = ()
    min_visible_frac: Annotated[float, Meta(ge=0, le=1)] = 0.1
    min_size: Annotated[float, Meta(ge=0)] = 1.0
    box_from: Literal["corners", "ellipse"] = "corners"
    use_shapes: bool = True

    def __post_init__(self) -> None:
        """Give every step an id.

        Raises:
            ConfigError: if two have the same.
        """
        msgspec.structs.force_setattr(self, "steps", named(self.steps, f"{self.name}: "))

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
        return execute(*draw(self._drawers, self._empty, sample, key, pool))

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
        return draw(self._drawers, self._empty, sample, key, pool)[0]

    @cached_property
    def _empty(self) -> Plan:
        return Plan(Origin(-1, 0, 0), (), self.min_visible_frac, self.min_size, self.box_from, self.use_shapes)

    @cached_property
    def _drawers(self) -> tuple[Drawer, ...]:
        for place, step in enumerate(self.steps):
            # A policy built by hand, or unpickled where a plugin is missing, is checked here at the latest.
            check_params(step.do, step.params, f"{self.name}: steps[{place}]")
        return tuple(drawer(step, step.id) for step in self.steps)

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
        moving = [step for step in self._drawers if step.kind in {"geometric", "mix", "choice"}]
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
        if self.box_from != "corners":
            plain["box_from"] = self.box_from
        if not self.use_shapes:
            plain["use_shapes"] = False
        ids = default_ids(self.steps)
        plain["steps"] = [step.to_plain(own) for step, own in zip(self.steps, ids, strict=True)]
        return plain

    def export(self, to: str) -> Any:
        """The policy as a live pipeline of another library, `albumentations` or `torchvision`.

        Raises:
            ConfigError: if a step has no equal there; names all that have none.
            MissingExtraError: if the library is not installed.
        """
        return pipelines.export(self, to).pipeline

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


def policy(given: Policy | str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any] | Step] | Any) -> Policy:
    """Find, read or build a policy.

    Args:
        given: the name of a bundled policy or of one that this user saved, the path of a YAML file, what such a file holds, or a list of steps, each a mapping
            such as `{"do": "hflip", "p": 0.5}` or a `Step`; or a pipeline of albumentations: live, as plain values, or the path of
            the JSON or YAML file that it was saved to.

    Raises:
        ConfigError: naming the place and, for an unknown name, the nearest.
    """
    if isinstance(given, Policy):
        return given
    if isinstance(given, str | Path):
        return _named(given)
    if pipelines.recognised(given):
        given, _ = pipelines.load(given, "policy")
    if isinstance(given, Mapping):
        return _from_plain(given, str(given.get("policy", "policy")), "policy")
    if not isinstance(given, Sequence):
        raise ConfigError(f"expected a policy's name, file, mapping or list of steps, got {type(given).__name__}.")
    return _from_plain({"steps": list(given)}, "policy", "policy")


def bundled() -> Mapping[str, PolicySpec]:
    """The policies that plugins declare, by name."""
    return registry.default().policies()


def _named(given: str | Path) -> Policy:
    known, own = bundled(), saved()
    path = Path(given)
    by_path = isinstance(given, Path) or path.suffix in {".yaml", ".yml", ".json"} or path.is_file()
    if given not in known and not by_path and given in own:
        path, by_path = own[str(given)], True
    if given not in known and by_path:
        values = read_yaml(path)
        if pipelines.recognised(values):
            values, _ = pipelines.load(values, path.stem)
        return _from_plain(values, str(path), path.stem)
    name = str(given)
    return _from_plain({"steps": list(registry.find("policy", known, name).steps)}, name, name)


def _from_plain(values: Any, where: str, name: str) -> Policy:
    if isinstance(values, list):
        values = {"steps": values}
    if not isinstance(values, Mapping) or not isinstance(values.get("steps"), list):
        raise ConfigError(f"{where}: expected a policy: a mapping with the list 'steps', or that list alone.")
    steps = [read_step(step, f"{where}: steps[{place}]") for place, step in enumerate(values["steps"])]
    if "name" in values:
        raise ConfigError(f"{where}: unknown setting 'name'. Did you mean 'policy'?")
    settings = {"policy": name, **values, "steps": []}
    return msgspec.structs.replace(build(Policy, settings, where), steps=tuple(steps))


def _flow(step: dict[str, Any]) -> str:
    return str(yaml.safe_dump(step, default_flow_style=True, sort_keys=False, width=float("inf"))).strip()
