"""Draws a plan: every step from its own key, so that no step's draw depends on another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from augsuite.augment import render
from augsuite.augment.plan import Mix, Origin, PixelOp, Plan, Scene, Warp
from augsuite.augment.warp import Course
from augsuite.boxes import Boxes
from augsuite.dataset import Sample
from augsuite.errors import PluginError
from augsuite.spec import TransformKind

Key = tuple[int, int, int]
"""Seed, epoch and image row."""

_ZEROS = np.zeros(4, np.uint64)


@dataclass(frozen=True, slots=True)
class Drawer:
    """A step, ready to draw.

    Attributes:
        id: the step's id.
        do: the transform's name.
        p: the step's probability.
        kind: the transform's kind.
        params: its parameters, plain.
        transform: its instance.
    """

    id: str
    do: str
    p: float
    kind: TransformKind
    params: Mapping[str, Any]
    transform: Any


class Keyed:
    """The random numbers of one sample: for each step a stream of its own.

    Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Philox), doi:10.1145/2063384.2063405.
    """

    def __init__(self, key: Key) -> None:
        """Take the key: seed, epoch and image row."""
        self._prefix = "{},{},{},".format(*key)
        self._philox = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._philox)

    def of(self, step: str) -> np.random.Generator:
        """The stream of a step, from its beginning; good until the next call.

        The same as `Generator(Philox(key=digest))`, where the digest is 128 bits of BLAKE2b of the text `seed,epoch,row,step`, but
        twenty times faster than making one.
        """
        digest = blake2b(f"{self._prefix}{step}".encode(), digest_size=16).digest()
        self._philox.state = {
            "bit_generator": "Philox",
            "state": {"counter": _ZEROS, "key": np.frombuffer(digest, "<u8").astype(np.uint64)},
            "buffer": _ZEROS,
            "buffer_pos": 4,
            "has_uint32": 0,
            "uinteger": 0,
        }
        return self._generator


def draw(
    steps: Sequence[Drawer], empty: Plan, sample: Sample, key: Key, pool: render.Pool | None, within: str = ""
) -> Plan:
    """Draw every step for one sample.

    Args:
        steps: in their order.
        empty: a plan with the rules for boxes; the rest is not used.
        sample: what the policy is called with.
        key: seed, epoch and image row.
        pool: where mix steps find partners.
        within: what the ids of the steps are preceded by, for the partner of a mix.

    Raises:
        ConfigError: if a step mixes and there is no pool.
        PluginError: if a transform draws what cannot be.
    """
    own = render.measured(sample)
    origin = Origin(key[2], own.source.width, own.source.height)
    plan = msgspec.structs.replace(empty, start=origin, ops=())
    current = own
    streams = Keyed(key)
    for index, step in enumerate(steps):
        if step.kind == "batch":
            continue
        random = streams.of(within + step.id)
        if random.random() >= step.p:
            continue
        stage = _Stage(plan, current)
        scene = stage.scene(0 if pool is None else len(pool), key[2])
        if step.kind == "mix":
            mixed = _mix(steps[:index], step, plan, random, scene, key, pool, within)
            if mixed is not None:
                plan = msgspec.structs.replace(empty, start=mixed, ops=())
                current = render.arrange(plan, own, pool)
            continue
        drawn = step.transform.draw(random, scene)
        if drawn is None:
            continue
        if step.kind == "geometric":
            op: Warp | PixelOp = stage.located(drawn, step)
        else:
            op = PixelOp(step.id, step.do, dict(step.params), _plain(drawn, step))
        plan = msgspec.structs.replace(plan, ops=(*plan.ops, op))
    return plan


def _mix(
    before: Sequence[Drawer],
    step: Drawer,
    plan: Plan,
    random: np.random.Generator,
    scene: Scene,
    key: Key,
    pool: render.Pool | None,
    within: str,
) -> Mix | None:
    """Draw a mix step, and the steps before it for each partner."""
    if pool is None:
        render.partner(pool, -1, step.id)
    found = step.transform.draw(random, scene)
    if found is None:
        return None
    drawn, rows = found
    parts = [plan]
    for place, row in enumerate(rows):
        # The partner's draws are its own: not those that it has as a sample, nor those as a partner of another image.
        inner = f"{within}{step.id}[{key[2]}.{place}]/"
        sample = render.partner(pool, int(row), step.id)
        parts.append(draw(before, plan, sample, (key[0], key[1], int(row)), pool, inner))
    return Mix(step.id, step.do, dict(step.params), _plain(drawn, step), tuple(parts))


def _plain(drawn: Mapping[str, Any], step: Drawer) -> dict[str, Any]:
    """Drawn values as JSON gives them back, so that a stored plan equals the one that was drawn."""
    try:
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(drawn))
    except (TypeError, ValueError) as error:
        raise PluginError(
            f"transform {step.do}: draw returned what JSON cannot hold: {error}. Report it to the plugin's author."
        ) from error
    return values


class _Stage:
    """A sample on its way through the steps: where things are now."""

    def __init__(self, plan: Plan, start: Sample) -> None:
        self._plan = plan
        self._start = start
        self._positions: np.ndarray | None = None

    def scene(self, pool: int, row: int) -> Scene:
        last = next((op for op in reversed(self._plan.ops) if isinstance(op, Warp)), self._start.source)
        return Scene(last.width, last.height, self._boxes, pool=pool, row=row)

    def _boxes(self) -> Boxes:
        source = self._start.source
        course = Course(source.width, source.height, self._plan.warps)
        placed, share = course.place(self._start.boxes)
        self._positions = np.flatnonzero(render.possible(self._plan, share))
        return placed[self._positions]

    def located(self, warp: Any, step: Drawer) -> Warp:
        """A drawn warp with its step, and with `keep` as positions in the boxes of the start."""
        problem = _problem(warp)
        if problem:
            raise PluginError(f"transform {step.do}: draw returned {problem}. Report it to the plugin's author.")
        keep = warp.keep
        if keep is not None:
            if self._positions is None:
                self._boxes()
            keep = tuple(self._positions[list(keep)].tolist()) if self._positions is not None else keep
        return Warp(
            tuple(float(value) for value in warp.matrix),  # type: ignore[arg-type]  # nine of them, checked
            int(warp.width),
            int(warp.height),
            tuple(int(value) for value in warp.fill),  # type: ignore[arg-type]  # three of them, checked
            keep,
            step.id,
        )


def _problem(warp: Any) -> str:
    """What is wrong with a warp; empty for nothing."""
    if not isinstance(warp, Warp):
        return f"{type(warp).__name__}, not a Warp"
    if len(warp.matrix) != 9 or not np.isfinite(warp.matrix).all() or tuple(warp.matrix[6:]) != (0, 0, 1):
        return f"the matrix {warp.matrix}, not 9 finite numbers that end in 0, 0, 1"
    if warp.matrix[0] * warp.matrix[4] == warp.matrix[1] * warp.matrix[3]:
        return f"the matrix {warp.matrix}, which flattens the plane"
    if warp.width < 1 or warp.height < 1:
        return f"a canvas of {warp.width}x{warp.height}"
    if len(warp.fill) != 3 or not all(0 <= value <= 255 for value in warp.fill):
        return f"the fill {warp.fill}, not three numbers from 0 to 255"
    return ""
