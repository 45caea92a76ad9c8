"""What a policy comes to: which steps become one warp, which one table, how often each happens, how small images are decoded."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from augsuite.augment import remap
from augsuite.augment.affine import IDENTITY, Affine, compose
from augsuite.augment.collage import Collage, Part
from augsuite.augment.plan import Erase, Mix, PixelOp, Plan, Warp
from augsuite.augment.pointwise import table_of
from augsuite.augment.policies import Policy
from augsuite.augment.render import Pool, Rendered, arrange
from augsuite.augment.resample import is_lattice, reduction
from augsuite.augment.steps import Step
from augsuite.augment.transforms import declaration, instance
from augsuite.augment.warp import Course, Frame, pixels_of
from augsuite.dataset import Sample

_STATISTICS = frozenset({"autocontrast", "contrast", "equalize"})


class StepFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a policy.

    Attributes:
        id: the step's id.
        do: the transform's name.
        kind: the transform's kind.
        p: the step's probability.
        drawn_frac: the share of the draws in which it did something; below `p` where the transform itself may draw nothing.
        becomes: what it is executed as.
        params: all its parameters.
        source: where the transform comes from.
    """

    id: str
    do: str
    kind: str
    p: float
    drawn_frac: float
    becomes: str
    params: dict[str, Any]
    source: str


class Draws(msgspec.Struct, frozen=True, kw_only=True):
    """What many draws came to.

    Attributes:
        count: how many there were.
        decode: scale (`1/1`, `1/2`, `1/4`, `1/8`) -> how many images are decoded so; each image of a mix counts, if any of it may be
            seen.
        pixels: `untouched`, `sliced` (mirrors, quarter turns, whole-pixel crops: exact), `warped` (one bilinear warp), `bent` (one
            warp in perspective or along a displacement field) or `mixed` -> in how many.
        value_ops: pixel operations drawn for an image, on average.
        value_passes: passes over the pixels that they take, on average: those that come down to a table in a row take one.
        boxes_kept_frac: the share of an image's own boxes that stay, of the draws that mix nothing; None without boxes.
        sizes: `width x height` of the result -> in how many; the five most frequent.
    """

    count: int
    decode: dict[str, int]
    pixels: dict[str, int]
    value_ops: float
    value_passes: float
    boxes_kept_frac: float | None
    sizes: dict[str, int]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy comes to.

    Attributes:
        policy: its name.
        steps: in their order.
        passes: what is executed, in order, in words.
        draws: what many draws came to.
    """

    policy: str
    steps: list[StepFacts]
    passes: list[str]
    draws: Draws


def explain(policy: Policy, samples: Sequence[Sample], pool: Pool, *, draws: int = 200, seed: int = 0) -> Explanation:
    """Draw a policy many times, touching no pixel, and say what it comes to.

    Args:
        policy: the policy.
        samples: what it is drawn for, in turn; at least one.
        pool: where mix steps find partners.
        draws: how many draws.
        seed: first part of the random keys; the epoch counts the draws.

    Raises:
        ConfigError: if the policy makes no sense.
        DataError: if an image cannot be read.
    """
    plans = [
        (sample, policy.plan(sample, (seed, number, sample.image_row), pool))
        for number, sample in zip(range(draws), itertools.cycle(samples), strict=False)
    ]
    happened: Counter[str] = Counter()
    tables: Counter[str] = Counter()
    for _, plan in plans:
        seen = {op.step.partition("/")[0] for op in _own(plan)}
        happened.update(seen | {mix.step.partition("/")[0] for mix in _mixes(plan)})
        tables.update({op.step for op in _own(plan) if isinstance(op, PixelOp) and _is_table(op)})
    # Some choices draw warps of their own, not transforms by name.
    moving = {op.step.partition("/")[0] for _, plan in plans for op in _own(plan) if isinstance(op, Warp)}
    stretches = _stretches(policy.steps, moving)
    steps = []
    for step in policy.steps:
        warp = next((number for number, moved, _, _ in stretches if step.id in moved), 0)
        steps.append(
            StepFacts(
                id=step.id,
                do=step.do,
                kind=declaration(step.do).kind,
                p=step.p,
                drawn_frac=happened[step.id] / draws,
                becomes=_becomes(step, warp, tables[step.id], happened[step.id]),
                params=msgspec.to_builtins(instance(step.do, step.params)),
                source=declaration(step.do).source,
            )
        )
    return Explanation(
        policy=policy.name, steps=steps, passes=_passes(policy.steps, stretches), draws=_count(plans, pool)
    )


def _kinds(step: Step) -> set[str]:
    """The kinds of what a step may do."""
    kind = declaration(step.do).kind
    if kind != "choice":
        return {kind}
    return {declaration(name).kind for name in instance(step.do, step.params).names()}


def _stretches(steps: Sequence[Step], drawn: Collection[str]) -> list[tuple[int, list[str], list[str], str]]:
    """A policy cut after its mixes: the number of the stretch's warp, what moves, what changes values, and the mix that ends it."""
    found: list[tuple[int, list[str], list[str], str]] = []
    moving: list[str] = []
    values: list[str] = []
    warps = 0

    def end(mix: str) -> None:
        nonlocal moving, values, warps
        warps += bool(moving)
        found.append((warps, moving, values, mix))
        moving, values = [], []

    for step in steps:
        kinds = _kinds(step)
        if "geometric" in kinds or step.id in drawn:
            moving.append(step.id)
        if kinds & {"pixel", "erase"}:
            values.append(step.id)
        if "mix" in kinds:
            end(step.id)
    end("")
    return found


def _becomes(step: Step, warp: int, tables: int, happened: int) -> str:
    kind = declaration(step.do).kind
    if kind == "geometric":
        return f"part of warp {warp}"
    if kind == "erase":
        return "rectangles, painted on the result"
    if kind == "mix":
        return "a mix: the steps before it run for each partner too"
    if kind == "batch":
        return "done a batch at a time, where a model is trained"
    if kind == "choice":
        names = sorted(instance(step.do, step.params).names())
        return f"stands for {', '.join(names[:6])}{f' and {len(names) - 6} more' if len(names) > 6 else ''}"
    if tables and tables == happened:
        return "a table of 256 values"
    if step.do in _STATISTICS:
        return "a pass over the result, whose histogram it needs first"
    return f"a pass over the result{f'; in {tables} of {happened} draws a table' if tables else ''}"


def _passes(steps: Sequence[Step], stretches: Sequence[tuple[int, list[str], list[str], str]]) -> list[str]:
    """What is executed, in words."""
    lines: list[str] = []
    for warp, moving, values, mix in stretches:
        if moving:
            one = f"{_listed(moving)} {'is' if len(moving) == 1 else 'are'} one matrix, one canvas and one warp"
            lines.append(f"warp {warp}: {one}; boxes go through it once")
        if values:
            lines.append(
                f"values: {' > '.join(values)}, at the size of the result; tables in a row are composed into one"
            )
        if mix:
            lines.append(f"mix: {mix}, of images that all went through the steps before it, each with draws of its own")
    batch = [step.id for step in steps if declaration(step.do).kind == "batch"]
    lines += [f"batch: {_listed(batch)}"] if batch else []
    return lines or ["nothing: the image stays as it is"]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _own(plan: Plan) -> Iterator[Warp | PixelOp | Erase]:
    """The operations on a sample's own image, those before a mix included."""
    if isinstance(plan.start, Mix):
        yield from _own(plan.start.parts[0])
    yield from plan.ops


def _mixes(plan: Plan) -> Iterator[Mix]:
    while isinstance(plan.start, Mix):
        yield plan.start
        plan = plan.start.parts[0]


def _is_table(op: PixelOp) -> bool:
    return table_of(instance(op.do, op.params), op) is not None


def _count(plans: Sequence[tuple[Sample, Plan]], pool: Pool) -> Draws:
    decode, pixels, sizes = Counter[str](), Counter[str](), Counter[str]()
    operations = passes = 0
    boxes = kept = 0
    for sample, plan in plans:
        result = arrange(plan, sample, pool)
        sizes[f"{result.source.width} x {result.source.height}"] += 1
        for table, ops in itertools.groupby((op for op in _own(plan) if isinstance(op, PixelOp)), key=_is_table):
            length = len(list(ops))
            operations += length
            passes += 1 if table else length
        decode.update(
            f"1/{scale}" for scale in _scales(result.source, IDENTITY, result.source.width, result.source.height)
        )
        if isinstance(plan.start, Mix):
            pixels["mixed"] += 1
            continue
        course = Course(plan.start.width, plan.start.height, plan.warps)
        boxes += len(sample.boxes)
        kept += len(result.boxes)
        bent = any(warp.field is not None or warp.matrix[6] or warp.matrix[7] for warp in plan.warps)
        sliced = not bent and is_lattice(course.matrix)
        pixels["untouched" if not plan.warps else "bent" if bent else "sliced" if sliced else "warped"] += 1
    return Draws(
        count=len(plans),
        decode=dict(sorted(decode.items())),
        pixels=dict(pixels.most_common()),
        value_ops=operations / len(plans),
        value_passes=passes / len(plans),
        boxes_kept_frac=kept / boxes if boxes else None,
        sizes=dict(sizes.most_common(5)),
    )


def _scales(source: Any, matrix: Affine, width: int, height: int) -> Iterator[int]:
    """The fractions at which the images that a source is made of are decoded.

    Args:
        source: pixels that are still to be made, or an image.
        matrix: from its pixels to those of a canvas.
        width: of the canvas.
        height: of the canvas.
    """
    if isinstance(source, Rendered):
        warps = [op for op in source.ops if isinstance(op, Warp)]
        course = Course(*source.course.first, [*warps, Warp((*matrix, 0, 0, 1), width, height)])
        if course.bend is not None:
            yield from _bent(source.source, remap.reduction(course.bend, width, height))
            return
        part = pixels_of(course.seen()) if course.aligned else (0, 0, width, height)
        yield from _part(source.source, course.matrix, part)
    elif isinstance(source, Collage):
        for layer in source.layers:
            yield from _part(layer.source, compose(matrix, layer.matrix), _reach(layer.rect, matrix, width, height))
    elif hasattr(source, "shares"):
        for blended, _ in source.shares:
            whole = (0, 0, blended.width, blended.height)
            yield from _part(blended, matrix, _reach(whole, matrix, width, height))
    else:
        yield reduction(matrix)


def _bent(source: Any, shrink: int) -> Iterator[int]:
    """A mix is made whole, as small as serves, and then bent."""
    if not hasattr(source, "onto"):
        yield shrink
        return
    scale = 1 / shrink
    yield from _scales(
        source, (scale, 0.0, 0.0, 0.0, scale, 0.0), -(-source.width // shrink), -(-source.height // shrink)
    )


def _part(source: Any, matrix: Affine, part: Part) -> Iterator[int]:
    left, top, right, bottom = part
    if left < right and top < bottom:
        yield from _scales(source, compose((1.0, 0.0, -left, 0.0, 1.0, -top), matrix), right - left, bottom - top)


def _reach(rect: Part, matrix: Affine, width: int, height: int) -> Part:
    """What of a canvas the upright rectangle around a rectangle that a matrix moves covers."""
    x, y, right, bottom = rect
    frame = Frame(compose(matrix, (1.0, 0.0, float(x), 0.0, 1.0, float(y))), right - x, bottom - y)
    left, top, last, lowest = pixels_of(frame.rect)
    return max(left, 0), max(top, 0), min(last, width), min(lowest, height)


class Stand:
    """Blank images with some boxes, for a policy that is explained without a dataset; a pool too."""

    def __init__(self, width: int, height: int) -> None:
        """Give them a size, in pixels."""
        self.blank = np.zeros((height, width, 3), np.uint8)
        shares = np.array([[0.1, 0.2, 0.45, 0.9], [0.4, 0.3, 0.6, 0.5], [0.7, 0.05, 0.98, 0.4], [0.52, 0.6, 0.6, 0.7]])
        self.boxes = shares * (width, height, width, height)

    def __len__(self) -> int:
        """Enough for any mix."""
        return 16

    def original(self, row: int) -> Sample:
        """The same image for every row."""
        labels = np.zeros(len(self.boxes), np.int64)
        return replace(Sample.of(self.blank, self.boxes, labels), image_row=row)
