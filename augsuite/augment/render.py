"""Executes a plan once: decode, one warp, the pixel operations on the small output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from augsuite.augment import resample
from augsuite.augment.affine import IDENTITY, Affine, is_aligned
from augsuite.augment.erasing import hide_keypoints, paint
from augsuite.augment.moving import moved
from augsuite.augment.placing import place
from augsuite.augment.plan import Erase, Mix, PixelOp, Plan, Warp
from augsuite.augment.pointwise import operate
from augsuite.augment.remap import remap
from augsuite.augment.transforms import instance
from augsuite.augment.warp import Course, Frame, pixels_of
from augsuite.boxes import Boxes, clip
from augsuite.dataset import ArraySource, FileSource, Sample
from augsuite.dataset.images import Image, read_size
from augsuite.dataset.sample import Source
from augsuite.errors import ConfigError, DataError, PluginError


class Pool(Protocol):
    """The images that a mix step takes partners from. A `Feed` is one, and so is a `Dataset`."""

    def __len__(self) -> int:
        """How many there are."""


def render(plan: Plan, sample: Sample, pool: Pool | None = None) -> Sample:
    """Execute a plan.

    Args:
        plan: what a policy drew, or what `Plan.from_json` read.
        sample: the sample that it was drawn for.
        pool: where the partners of a mix step are; needed if the plan has one.

    Returns:
        The sample with its pixels in memory; boxes, labels, weights and rows of what is still visible.

    Raises:
        DataError: if an image cannot be read, or is not of the size that the plan was drawn for.
        ConfigError: if the plan mixes and there is no pool, or ends on a canvas beyond Pillow's limit.
    """
    return execute(plan, begin(plan, sample, pool))


def execute(plan: Plan, start: Sample) -> Sample:
    """As `render`, where what the operations start from is known already."""
    return finish(plan, start, pixels=True)


def arrange(plan: Plan, sample: Sample, pool: Pool | None) -> Sample:
    """Everything of `render` but the pixels: they are made when the result's source is decoded."""
    return finish(plan, begin(plan, sample, pool))


def finish(plan: Plan, start: Sample, *, last: bool = True, pixels: bool = False) -> Sample:
    """As `arrange`, where what the operations start from is known already.

    Args:
        plan: what was drawn.
        start: what its operations start from.
        last: nothing follows. A part of a mix keeps its small boxes, since what follows may enlarge them.
        pixels: make them, and say no more what is seen of the boxes.
    """
    if not last and not plan.ops:
        return _clipped(start)
    course, placed, share = see(plan, start)
    kept = possible(plan, share)
    if last:
        kept &= placed[:, 2] - placed[:, 0] >= plan.min_size
        kept &= placed[:, 3] - placed[:, 1] >= plan.min_size
    rendered = Rendered(start.source, plan.ops, course)
    rows = kept.nonzero()[0]  # once, and not again for each column
    return Sample(
        source=ArraySource(rendered.decode()) if pixels else rendered,
        boxes=placed[rows],
        labels=start.labels[rows],
        weights=start.weights[rows],
        rows=start.rows[rows],
        targets=start.targets,
        image_row=start.image_row,
        matrix=course.homography @ start.matrix,
        lazy=moved(hide_keypoints(start.lazy, plan.ops, *course.first), course, kept),
        seen_frac=None if pixels else share[rows],
    )


def begin(plan: Plan, sample: Sample, pool: Pool | None) -> Sample:
    """What the operations of a plan start from."""
    if isinstance(plan.start, Mix):
        own, *others = plan.start.parts
        step = plan.start.step
        starts = [begin(own, sample, pool)]
        starts += [begin(other, partner(pool, row_of(other), step), pool) for other in others]
        parts = [finish(part, start, last=False) for part, start in zip(plan.start.parts, starts, strict=True)]
        return combine(plan.start, parts)
    sample = measured(sample)
    size = sample.source.width, sample.source.height
    if size != (plan.start.width, plan.start.height):
        raise DataError(
            f"the plan was drawn for an image of {plan.start.width}x{plan.start.height}, this one has {size[0]}x{size[1]}. "
            "Render it with the sample that it was drawn for."
        )
    return sample


def combine(mix: Mix, parts: Sequence[Sample]) -> Sample:
    """Execute a mix on its parts, arranged.

    Raises:
        PluginError: if it loses track of what is seen of its boxes.
    """
    mixed: Sample = instance(mix.do, mix.params).mix(parts, mix.drawn)
    if mixed.seen_frac is not None and len(mixed.seen_frac) != len(mixed.boxes):
        raise PluginError(
            f"transform {mix.do}: mix returned {len(mixed.boxes)} boxes and how much is seen of {len(mixed.seen_frac)}. "
            "It must use augsuite.augment.collage.join; report it to the plugin's author."
        )
    return mixed


def _clipped(sample: Sample) -> Sample:
    """The sample with its boxes cut to its canvas: what lies outside counts as no part of them."""
    boxes, width, height = sample.boxes, sample.source.width, sample.source.height
    if not len(boxes) or (boxes.min() >= 0 and boxes[:, 2].max() <= width and boxes[:, 3].max() <= height):
        return sample
    return replace(sample, boxes=clip(boxes, width, height))


def see(plan: Plan, start: Sample) -> tuple[Course, Boxes, NDArray[np.float64]]:
    """Take boxes to where the operations of a plan leave them.

    Args:
        plan: with the operations so far.
        start: what they start from.

    Returns:
        The way; `(N, 4)` boxes as `Course.place` gives them; and `(N,)` what share of the original area of each is seen.
    """
    width, height = start.source.width, start.source.height
    course = Course(width, height, plan.warps)
    placed, share = place(plan, start, course)
    return course, placed, share if start.seen_frac is None else share * start.seen_frac


def possible(plan: Plan, share: np.ndarray) -> np.ndarray:
    """`(N,)` which boxes no step has left out so far and enough is seen of.

    Args:
        plan: with the rules, and the operations so far.
        share: `(N,)` what share of each box is seen.
    """
    # A fully visible box must pass a rule of 1.0 although its share is the quotient of two rounded areas.
    least = plan.min_visible_frac - 1e-9
    kept = share >= least if least > 0 else share > 0
    for warp in plan.warps:
        if warp.keep is not None:
            chosen = np.zeros(len(share), bool)
            chosen[list(warp.keep)] = True
            kept &= chosen
    return kept


def measured(sample: Sample) -> Sample:
    """The sample with the size of its image known."""
    source = sample.source
    if source.width and source.height:
        return sample
    if isinstance(source, FileSource):
        return replace(sample, source=FileSource(source.path, *read_size(source.path)))
    return replace(sample, source=ArraySource(source.decode()))


def row_of(plan: Plan) -> int:
    """The row of the image that a plan is about."""
    while isinstance(plan.start, Mix):
        plan = plan.start.parts[0]
    return plan.start.row


def partner(pool: Pool | None, row: int, step: str) -> Sample:
    """The sample of a row, before any policy.

    Raises:
        ConfigError: if there is no pool.
    """
    if pool is None:
        raise ConfigError(
            f"step {step} mixes several images and has no others to choose from. Call the policy with pool=dataset."
        )
    original = getattr(pool, "original", None) or pool.sample  # type: ignore[attr-defined]  # a Feed's, or a Dataset's
    sample: Sample = original(row)
    return sample


@dataclass(frozen=True)
class Rendered:
    """The pixels of a plan, made when they are asked for."""

    source: Source
    ops: tuple[Warp | PixelOp | Erase, ...]
    course: Course

    @property
    def width(self) -> int:
        """Pixels."""
        return self.course.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.course.height

    def decode(self, reduce: int = 1) -> Image:
        """Render; at a smaller size only where nothing is warped."""
        if reduce > 1 and not self.course.frames and not any(isinstance(op, Erase) for op in self.ops):
            return operate(resample.private(self.source, reduce), [op for op in self.ops if isinstance(op, PixelOp)])
        return self._full

    def onto(self, matrix: Affine, part: tuple[int, int, int, int]) -> Image:
        """A part of the canvas that a matrix takes this one to, as if a last warp had led there; see `resample.warp`."""
        left, top, right, bottom = part
        a, b, c, d, e, f = matrix
        last = Warp((a, b, c - left, d, e, f - top, 0, 0, 1), right - left, bottom - top)
        warps = [op for op in self.ops if isinstance(op, Warp)]
        course = Course(self.source.width, self.source.height, [*warps, last])
        return Rendered(self.source, (*self.ops, last), course).decode()

    @cached_property
    def _full(self) -> Image:
        return self._operate(self._warped())

    def _warped(self) -> Image:
        """The last canvas: image wherever it may be seen, anything elsewhere."""
        course = self.course
        if not course.frames:
            return resample.private(self.source)
        limit = PIL.Image.MAX_IMAGE_PIXELS
        if limit and course.width * course.height > limit:
            raise ConfigError(
                f"the policy ends on a canvas of {course.width:,}x{course.height:,}, over the limit of {limit:,} pixels. "
                "Give it a last step resize or letterbox, or smaller parameters."
            )
        if course.bend is not None:
            return remap(self.source, course.bend, course.width, course.height)
        if not course.aligned:
            return resample.warp(self.source, course.matrix, (0, 0, course.width, course.height))
        left, top, right, bottom = pixels_of(course.seen())
        if (left, top, right, bottom) == (0, 0, course.width, course.height):
            return resample.warp(self.source, course.matrix, (left, top, right, bottom))
        canvas = np.empty((course.height, course.width, 3), np.uint8)
        if right > left and bottom > top:
            canvas[top:bottom, left:right] = resample.warp(self.source, course.matrix, (left, top, right, bottom))
        return canvas

    def _operate(self, canvas: Image) -> Image:
        """Fill and change values, in the order of the steps.

        A pixel that misses the canvas of several warps ends with the fill of the last; operations drawn before a warp leave
        that warp's fill alone.
        """
        frames = [*self.course.frames, Frame(IDENTITY, self.width, self.height)]
        waiting: list[PixelOp] = []
        since = warps = 0
        for op in self.ops:
            if isinstance(op, PixelOp):
                if waiting and pixels_of(self.course.seen(since)) != pixels_of(self.course.seen(warps)):
                    canvas = self._change(canvas, waiting, since)
                    waiting = []
                since = warps
                waiting.append(op)
                continue
            # Pixel operations go on waiting for others beyond a warp that leaves nothing to fill.
            if waiting and not (isinstance(op, Warp) and frames[warps].covers(self.width, self.height)):
                canvas = self._change(canvas, waiting, since)
                waiting = []
            if isinstance(op, Erase):
                paint(canvas, op, frames[warps])
                continue
            _fill(canvas, frames[warps], op.fill)
            warps += 1
        return self._change(canvas, waiting, since)

    def _change(self, canvas: Image, ops: list[PixelOp], since: int) -> Image:
        """Do pixel operations in a row where the canvas of warp `since` is seen.

        What a later warp fills is not worth changing, and must not be seen by a filter.
        """
        left, top, right, bottom = pixels_of(self.course.seen(since))
        if (left, top, right, bottom) == (0, 0, self.width, self.height):
            return operate(canvas, ops)
        if ops and right > left and bottom > top:
            part = np.ascontiguousarray(canvas[top:bottom, left:right])
            canvas[top:bottom, left:right] = operate(part, ops)
        return canvas


def _fill(canvas: Image, frame: Frame, fill: tuple[int, int, int]) -> None:
    """Paint what lies outside a frame."""
    height, width = canvas.shape[:2]
    if frame.covers(width, height):
        return
    color = np.tile(np.array(fill, np.uint8), width)
    if frame.bend is None and is_aligned(frame.matrix):
        left, top, right, bottom = pixels_of(frame.rect)
        top, bottom = min(max(top, 0), height), min(max(bottom, 0), height)
        left, right = min(max(left, 0), width), min(max(right, 0), width)
        values = canvas.reshape(height, width * 3)  # whole rows are copied much faster than pixels
        values[:top] = color
        values[bottom:] = color
        values[top:bottom, : 3 * left] = color[: 3 * left]
        values[top:bottom, 3 * right :] = color[3 * right :]
        return
    outside = ~frame.pixels(width, height)
    painted = np.broadcast_to(color.reshape(1, width, 3), canvas.shape)
    resample.opencv().copyTo(np.ascontiguousarray(painted), outside.view(np.uint8), canvas)
