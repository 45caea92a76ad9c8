"""Draws a plan: every step from its own key, so that no step's draw depends on another's."""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from augsuite.augment import render
from augsuite.augment.checking import fill_problem, warp_problem
from augsuite.augment.plan import Erase, Mix, Origin, PixelOp, Plan, Scene, Warp
from augsuite.augment.steps import Drawer, Step, drawer
from augsuite.boxes import Boxes
from augsuite.dataset import Sample
from augsuite.errors import PluginError

Key = tuple[int, int, int]
"""Seed, epoch and image row."""

_ZEROS = (0, 0, 0, 0)  # as tuples: the setter takes a number out of an array in twice the time
_LOCAL = threading.local()
_HALVES = struct.Struct("<2Q")


class Keyed:
    """The random numbers of one sample: for each step a stream of its own.

    Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Philox), doi:10.1145/2063384.2063405.
    """

    def __init__(self, key: Key) -> None:
        """Take the key: seed, epoch and image row."""
        self._prefix = "{},{},{},".format(*key)
        if not hasattr(_LOCAL, "generator"):
            # Made once for each thread: making one costs more than all draws of a sample.
            _LOCAL.philox = np.random.Philox(key=0)
            _LOCAL.generator = np.random.Generator(_LOCAL.philox)
        self._philox: np.random.Philox = _LOCAL.philox
        self._generator: np.random.Generator = _LOCAL.generator

    def of(self, step: str) -> np.random.Generator:
        """The stream of a step, from its beginning; good until the next call in this thread, of any `Keyed`.

        The same as `Generator(Philox(key=digest))`, where the digest is 128 bits of BLAKE2b of the text `seed,epoch,row,step`, but
        thirty times faster than making one.
        """
        digest = blake2b(f"{self._prefix}{step}".encode(), digest_size=16).digest()
        state: Any = {  # its annotation asks for arrays, its code for numbers
            "bit_generator": "Philox",
            "state": {"counter": _ZEROS, "key": _HALVES.unpack(digest)},
            "buffer": _ZEROS,
            "buffer_pos": 4,
            "has_uint32": 0,
            "uinteger": 0,
        }
        self._philox.state = state
        return self._generator


def draw(
    steps: Sequence[Drawer], empty: Plan, sample: Sample, key: Key, pool: render.Pool | None, within: str = ""
) -> tuple[Plan, Sample]:
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

    Returns:
        The plan, and what its operations start from: the sample, or what it was mixed into.
    """
    start = render.measured(sample)
    origin = Origin(key[2], start.source.width, start.source.height)
    plan = msgspec.structs.replace(empty, start=origin, ops=())
    if not steps:
        return plan, start
    drawing = _Drawing(plan, start, key, pool, within, Keyed(key))
    drawing.walk(steps, ())
    return drawing.plan, drawing.current


@dataclass(slots=True)
class _Drawing:
    """A sample on its way through the steps."""

    plan: Plan
    current: Sample
    key: Key
    pool: render.Pool | None
    within: str
    streams: Keyed

    def walk(self, steps: Sequence[Drawer], before: tuple[Drawer, ...]) -> None:
        """Draw steps one after the other.

        Args:
            steps: in their order.
            before: those that a partner of a mix goes through first.
        """
        for index, step in enumerate(steps):
            if step.kind == "batch":
                continue
            random = self.streams.of(self.within + step.id)
            if random.random() >= step.p:
                continue
            stage = _Stage(self.plan, self.current)
            scene = stage.scene(0 if self.pool is None else len(self.pool), self.key[2])
            if step.kind == "choice":
                self._choose(step, random, scene, (*before, *steps[:index]))
            elif step.kind == "mix":
                self._mix((*before, *steps[:index]), step, random, scene)
            else:
                drawn = step.transform.draw(random, scene)
                if drawn is not None:
                    self._add(stage, step, drawn)

    def _add(self, stage: _Stage, step: Drawer, drawn: Any) -> None:
        if step.kind == "geometric":
            op: Warp | PixelOp | Erase = stage.located(drawn, step.do, step.id)
        elif step.kind == "erase":
            op = _erase(drawn, step.do, step.id)
        else:
            op = PixelOp(step.id, step.do, dict(step.params), _plain(drawn, step.do))
        self.plan = msgspec.structs.replace(self.plan, ops=(*self.plan.ops, op))

    def _choose(self, step: Drawer, random: np.random.Generator, scene: Scene, before: tuple[Drawer, ...]) -> None:
        """Draw what a choice stands for. Ids begin with its own, so what an option draws depends on no other option."""
        chosen: list[Drawer] = []
        for one in step.transform.draw(random, scene):
            step_id = f"{step.id}/{one.id or one.do}" if isinstance(one, Step) else f"{step.id}/{one.step}"
            if isinstance(one, Step):
                inner = drawer(one, step_id)
                self.walk([inner], (*before, *chosen))
                chosen.append(inner)
                continue
            if isinstance(one, Warp):
                op: Warp | PixelOp = _Stage(self.plan, self.current).located(one, step.do, step_id)
            else:
                op = PixelOp(step_id, one.do, one.params, _plain(one.drawn, one.do))
            self.plan = msgspec.structs.replace(self.plan, ops=(*self.plan.ops, op))

    def _mix(self, before: tuple[Drawer, ...], step: Drawer, random: np.random.Generator, scene: Scene) -> None:
        """Draw a mix step, and the steps before it for each partner; the plan starts anew from it."""
        if self.pool is None:
            render.partner(self.pool, -1, step.id)
        found = step.transform.draw(random, scene)
        if found is None:
            return
        drawn, rows = found
        plans, parts = [self.plan], [render.finish(self.plan, self.current, last=False)]
        for place, row in enumerate(rows):
            # The partner's draws are its own: not those that it has as a sample, nor those as a partner of another image.
            inner = f"{self.within}{step.id}[{self.key[2]}.{place}]/"
            sample = render.partner(self.pool, int(row), step.id)
            key = (self.key[0], self.key[1], int(row))
            plan, start = draw(before, self.plan, sample, key, self.pool, inner)
            plans.append(plan)
            parts.append(render.finish(plan, start, last=False))
        mix = Mix(step.id, step.do, dict(step.params), _plain(drawn, step.do), tuple(plans))
        self.plan = msgspec.structs.replace(self.plan, start=mix, ops=())
        self.current = render.combine(mix, parts)


def _plain(drawn: Mapping[str, Any], do: str) -> dict[str, Any]:
    """Drawn values as JSON gives them back, so that a stored plan equals the one that was drawn."""
    try:
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(drawn))
    except (TypeError, ValueError) as error:
        raise PluginError(
            f"transform {do}: draw returned what JSON cannot hold: {error}. Report it to the plugin's author."
        ) from error
    return values


class _Stage:
    """A sample on its way through the steps: where things are now."""

    def __init__(self, plan: Plan, start: Sample) -> None:
        self._plan = plan
        self._start = start
        self._positions: np.ndarray | None = None
        last = next((op for op in reversed(plan.ops) if isinstance(op, Warp)), start.source)
        self._size = last.width, last.height

    def scene(self, pool: int, row: int) -> Scene:
        return Scene(*self._size, self._boxes, pool=pool, row=row)

    def _boxes(self) -> Boxes:
        _, placed, share = render.see(self._plan, self._start)
        self._positions = np.flatnonzero(render.possible(self._plan, share))
        return placed[self._positions]

    def located(self, warp: Any, do: str, step: str) -> Warp:
        """A drawn warp with its step, and with `keep` as positions in the boxes of the start."""
        problem = warp_problem(warp, *self._size)
        if problem:
            raise PluginError(f"transform {do}: draw returned {problem}. Report it to the plugin's author.")
        keep = warp.keep
        if keep is not None:
            if self._positions is None:
                self._boxes()
            keep = tuple(self._positions[list(keep)].tolist()) if self._positions is not None else keep
        return Warp(
            tuple(map(float, warp.matrix)),  # type: ignore[arg-type]  # nine of them, checked
            int(warp.width),
            int(warp.height),
            tuple(map(int, warp.fill)),  # type: ignore[arg-type]  # three of them, checked
            keep,
            step,
            warp.field,
        )


def _erase(erase: Any, do: str, step: str) -> Erase:
    """A drawn erasure with its step."""
    problem = "" if isinstance(erase, Erase) else f"{type(erase).__name__}, not an Erase"
    if not problem and not all(len(rect) == 4 and rect[0] <= rect[2] and rect[1] <= rect[3] for rect in erase.rects):
        problem = f"the rectangles {erase.rects}, not left, top, right, bottom each"
    if not problem and erase.fill is not None:
        problem = fill_problem(erase.fill)
    if problem:
        raise PluginError(f"transform {do}: draw returned {problem}. Report it to the plugin's author.")
    rects = tuple(tuple(int(value) for value in rect) for rect in erase.rects)
    fill = None if erase.fill is None else tuple(int(value) for value in erase.fill)
    return Erase(rects, fill, int(erase.seed), step)  # type: ignore[arg-type]  # four and three of them, checked
