"""The same plans on tensors: a batch of images of one size, rendered together on their device.

Draws, boxes and labels are those of a policy on the CPU; pixels differ by the rounding of interpolation. What has no kernel for tensors (a
transform without `apply_tensors`, a perspective, a displacement field) is done on the CPU, image by image, and comes back.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.augment import resample
from augsuite.augment.affine import IDENTITY, Affine, compose, invert, is_aligned
from augsuite.augment.collage import Collage
from augsuite.augment.erasing import paint
from augsuite.augment.plan import Erase, PixelOp, Warp
from augsuite.augment.policies import Policy
from augsuite.augment.render import Rendered, arrange
from augsuite.augment.transforms import instance
from augsuite.augment.warp import Course, Frame, pixels_of
from augsuite.dataset import Sample
from augsuite.dataset.images import Image
from augsuite.dataset.sample import Source
from augsuite.errors import ConfigError

if TYPE_CHECKING:
    import torch


def augment(
    policy: Policy, images: torch.Tensor, samples: Sequence[Sample], *, seed: int, step: int
) -> tuple[torch.Tensor, list[Sample]]:
    """Augment a batch on its device. Mixes take their partners from the batch.

    Args:
        policy: must end at one size; give it a last `resize` otherwise.
        images: `(B, 3, H, W)` uint8.
        samples: their boxes and labels; their own pixels are not looked at.
        seed: first part of every random key.
        step: counts the batches of a training: second part of every random key. The third is the place in the batch.

    Returns:
        `(B, 3, h, w)` uint8 on the same device, and the samples with what is still visible. Asking such a sample for its pixels
        renders them on the CPU.

    Raises:
        ConfigError: if the results differ in size.
    """
    import torch

    height, width = images.shape[2:]
    pool = _BatchPool(
        [replace(sample, source=_Row(images, row, width, height), image_row=row) for row, sample in enumerate(samples)]
    )
    results = []
    for row in range(len(pool)):
        own = pool.original(row)
        results.append(arrange(policy.plan(own, (seed, step, row), pool), own, pool))
    sizes = {(sample.source.width, sample.source.height) for sample in results}
    if len(sizes) > 1:
        shown = " and ".join(f"{wide}x{high}" for wide, high in sorted(sizes)[:2])
        raise ConfigError(f"{policy.name}: the images of a batch end at {shown}. Give the policy a last resize.")
    canvases = _render([(sample.source, IDENTITY, (sample.source.width, sample.source.height)) for sample in results])
    return torch.stack(canvases).to(torch.uint8), results


@dataclass(frozen=True)
class _BatchPool:
    samples: list[Sample]

    def __len__(self) -> int:
        return len(self.samples)

    def original(self, row: int) -> Sample:
        return self.samples[row]


@dataclass(frozen=True, eq=False)
class _Row:
    """An image of the batch."""

    images: torch.Tensor
    row: int
    width: int
    height: int

    def decode(self, reduce: int = 1) -> Image:
        """On the CPU, for what has no kernel."""
        del reduce
        pixels: Image = np.ascontiguousarray(self.images[self.row].permute(1, 2, 0).cpu().numpy())
        return pixels


Request = tuple[Source, Affine, tuple[int, int]]
"""What to render: a source, the matrix from its pixels to those of a canvas, and the canvas' width and height."""


def _render(requests: Sequence[Request]) -> list[torch.Tensor]:
    """`(3, h, w)` float32 in whole levels for each request; all requests of one kind together."""
    results: list[Any] = [None] * len(requests)
    kinds: dict[Callable[[Sequence[Request]], list[torch.Tensor]], list[int]] = defaultdict(list)
    for place, (source, _, _) in enumerate(requests):
        kinds[_way(source)].append(place)
    for way, places in kinds.items():
        for place, canvas in zip(places, way([requests[place] for place in places]), strict=True):
            results[place] = canvas
    return results


def _way(source: Source) -> Callable[[Sequence[Request]], list[torch.Tensor]]:
    if isinstance(source, _Row):
        return _rows
    if isinstance(source, Rendered) and source.course.bend is None:
        return _rendered
    if isinstance(source, Collage):
        return _collages
    return _blends if hasattr(source, "shares") else _on_cpu


def _on_cpu(requests: Sequence[Request]) -> list[torch.Tensor]:
    import torch

    return [
        torch.from_numpy(resample.warp(source, matrix, (0, 0, *size))).permute(2, 0, 1).to(_device(source)).float()
        for source, matrix, size in requests
    ]


def _device(source: Any) -> Any:
    """The device of the images that a source is made of."""
    while not isinstance(source, _Row):
        source = (
            source.layers[0].source if isinstance(source, Collage) else getattr(source, "source", None) or source.first
        )
    return source.images.device


def _blends(requests: Sequence[Request]) -> list[torch.Tensor]:
    """Weighted sums, each part over black where it ends."""
    import torch

    parts: list[Request] = []
    for source, matrix, size in requests:
        for part, _ in source.shares:  # type: ignore[attr-defined]  # see _way
            frame = Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), source.width, source.height)
            whole = Rendered(part, (frame,), Course(part.width, part.height, [frame]))
            parts.append((whole, matrix, size))
    canvases = iter(_render(parts))
    sums = []
    for source, _, _ in requests:
        shares: Any = source.shares  # type: ignore[attr-defined]  # see _way
        sums.append(torch.stack([next(canvases) * share for _, share in shares]).sum(0).round())
    return sums


def _collages(requests: Sequence[Request]) -> list[torch.Tensor]:
    import torch

    layers = [
        (layer.source, compose(matrix, layer.matrix), size)
        for source, matrix, size in requests
        for layer in source.layers  # type: ignore[attr-defined]  # see _way
    ]
    canvases = iter(_render(layers))
    results = []
    for source, matrix, (width, height) in requests:
        collage: Any = source
        result: torch.Tensor | None = None
        for layer in collage.layers:
            canvas = next(canvases)
            if result is None:
                result = torch.tensor(collage.fill, dtype=torch.float32, device=canvas.device).view(3, 1, 1)
                result = result.expand(3, height, width).clone()
            shown = _shown(layer, matrix, width, height)
            result = torch.where(torch.from_numpy(shown).to(canvas.device), canvas, result)
        results.append(result)
    return results  # type: ignore[return-value]  # a collage has layers


def _shown(layer: Any, matrix: Affine, width: int, height: int) -> NDArray[np.bool_]:
    """`(height, width)` where a layer of a collage is seen: the nearest pixel of its mask, or of its rectangle."""
    left, top, right, bottom = layer.rect
    a, b, c, d, e, f = invert(matrix)
    xs, ys = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    across, down = np.floor(a * xs + b * ys + c).astype(int), np.floor(d * xs + e * ys + f).astype(int)
    inside = (across >= left) & (across < right) & (down >= top) & (down < bottom)
    if layer.mask is None:
        return np.asarray(inside, bool)
    mask = layer.mask[np.clip(down - top, 0, bottom - top - 1), np.clip(across - left, 0, right - left - 1)]
    shown: NDArray[np.bool_] = inside & mask
    return shown


def _rows(requests: Sequence[Request]) -> list[torch.Tensor]:
    """Bilinear, the border repeated; averaged in whole blocks first where more than one pixel becomes one."""
    import torch
    from torch.nn import functional

    groups: dict[tuple[tuple[int, int], int, int], list[int]] = defaultdict(list)
    for place, (_, (a, b, _, d, e, _), size) in enumerate(requests):
        across, down = (max(1, int(1 / max(math.hypot(*column), 1e-9) + 1e-9)) for column in ((a, d), (b, e)))
        groups[size, across, down].append(place)
    results: list[Any] = [None] * len(requests)
    for ((width, height), across, down), places in groups.items():
        rows: list[Any] = [requests[place][0] for place in places]
        batch = rows[0].images[[row.row for row in rows]].float()
        if across > 1 or down > 1:
            batch = functional.avg_pool2d(batch, (down, across), ceil_mode=True, count_include_pad=False)
        high, wide = batch.shape[2:]
        thetas = []
        for place in places:
            matrix = compose(requests[place][1], (float(across), 0.0, 0.0, 0.0, float(down), 0.0))
            a, b, c, d, e, f = invert(matrix)
            # From [-1, 1] over the canvas to [-1, 1] over the image.
            thetas.append(
                [
                    [a * width / wide, b * height / wide, (a * width + b * height + 2 * c) / wide - 1],
                    [d * width / high, e * height / high, (d * width + e * height + 2 * f) / high - 1],
                ]
            )
        theta = torch.tensor(thetas, dtype=torch.float32, device=batch.device)
        grid = functional.affine_grid(theta, [len(places), 3, height, width], align_corners=False)
        warped = functional.grid_sample(batch, grid, "bilinear", "border", align_corners=False).round_()
        for place, canvas in zip(places, warped, strict=True):
            results[place] = canvas
    return results


def _rendered(requests: Sequence[Request]) -> list[torch.Tensor]:
    inner: list[Request] = []
    works = []
    for source, (a, b, c, d, e, f), (width, height) in requests:
        done: Any = source
        ops, course = done.ops, done.course
        if (a, b, c, d, e, f) != IDENTITY or (width, height) != (done.width, done.height):
            last = Warp((a, b, c, d, e, f, 0, 0, 1), width, height)
            ops = (*ops, last)
            course = Course(done.source.width, done.source.height, [op for op in ops if isinstance(op, Warp)])
        inner.append((done.source, course.matrix, (width, height)))
        works.append(_Work(ops, course))
    canvases = _render(inner)
    for slot in range(max(len(work.ops) for work in works)):
        groups: dict[Any, list[int]] = defaultdict(list)
        for place, work in enumerate(works):
            if slot < len(work.ops):
                op = work.ops[slot]
                kind = (op.do, msgspec.json.encode(op.params)) if isinstance(op, PixelOp) else type(op)
                groups[kind, tuple(canvases[place].shape)].append(place)
        for places in groups.values():
            chosen = [works[place] for place in places]
            for place, canvas in zip(places, _step(slot, chosen, [canvases[place] for place in places]), strict=True):
                canvases[place] = canvas
    return canvases


class _Work:
    """The operations of one image, and how many warps of it were passed."""

    def __init__(self, ops: tuple[Warp | PixelOp | Erase, ...], course: Course) -> None:
        self.ops = ops
        self.course = course
        self.frames = [*course.frames, Frame(IDENTITY, course.width, course.height)]
        self.passed = 0


def _step(slot: int, works: Sequence[_Work], canvases: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """One operation of each image, all of one kind, on canvases of one size."""
    import torch

    ops: list[Any] = [work.ops[slot] for work in works]
    height, width = canvases[0].shape[1:]
    if isinstance(ops[0], Warp):
        results = []
        for op, work, canvas in zip(ops, works, canvases, strict=True):
            frame = work.frames[work.passed]
            work.passed += 1
            results.append(canvas if frame.covers(width, height) else _filled(canvas, frame, op.fill))
        return results
    if isinstance(ops[0], Erase):
        return [
            _erased(canvas, op, work.frames[work.passed]) for op, work, canvas in zip(ops, works, canvases, strict=True)
        ]
    transform = instance(ops[0].do, ops[0].params)
    inside = torch.zeros(len(works), 1, height, width, dtype=torch.bool, device=canvases[0].device)
    for place, work in enumerate(works):
        left, top, right, bottom = pixels_of(work.course.seen(work.passed))
        inside[place, :, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    batch = torch.stack(list(canvases))
    if hasattr(transform, "apply_tensors"):
        changed = transform.apply_tensors(batch, [op.drawn for op in ops], inside)
        return list(torch.where(inside, changed, batch))
    for place, (work, op) in enumerate(zip(works, ops, strict=True)):
        left, top, right, bottom = (max(side, 0) for side in pixels_of(work.course.seen(work.passed)))
        if right > left and bottom > top:
            part = batch[place, :, top:bottom, left:right]
            pixels = np.ascontiguousarray(part.permute(1, 2, 0).cpu().numpy().astype(np.uint8))
            changed = torch.from_numpy(np.ascontiguousarray(transform.apply(pixels, op.drawn)))
            part.copy_(changed.permute(2, 0, 1))
    return list(batch)


def _filled(canvas: torch.Tensor, frame: Frame, fill: tuple[int, int, int]) -> torch.Tensor:
    import torch

    height, width = canvas.shape[1:]
    color = torch.tensor(fill, dtype=canvas.dtype, device=canvas.device).view(3, 1, 1)
    if is_aligned(frame.matrix):
        left, top, right, bottom = (max(side, 0) for side in pixels_of(frame.rect))
        result = color.expand(3, height, width).clone()
        result[:, top:bottom, left:right] = canvas[:, top:bottom, left:right]
        return result
    inside = torch.from_numpy(frame.pixels(width, height)).to(canvas.device)
    return torch.where(inside, canvas, color)


def _erased(canvas: torch.Tensor, erase: Erase, frame: Frame) -> torch.Tensor:
    """Painted on the CPU, where the noise comes from, and laid over."""
    import torch

    height, width = canvas.shape[1:]
    painted, mask = np.zeros((height, width, 3), np.uint8), np.zeros((height, width, 3), np.uint8)
    paint(painted, erase, frame)
    paint(mask, msgspec.structs.replace(erase, fill=(1, 1, 1)), frame)
    values, where = (torch.from_numpy(array).permute(2, 0, 1).to(canvas.device) for array in (painted, mask))
    return torch.where(where.bool(), values.to(canvas.dtype), canvas)
