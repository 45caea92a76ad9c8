"""Mosaic: a grid of images on one canvas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from augsuite.augment import Scene
from augsuite.augment.affine import Affine
from augsuite.augment.collage import Collage, Layer, Part, Piece, as_array, join
from augsuite.dataset import Sample
from augsuite.dataset.sample import Source
from augsuite_mix.partners import others, shared_targets

Side = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=1, le=8)]
Byte = Annotated[int, Meta(ge=0, le=255)]


class Mosaic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lay the image and others side by side in a grid, whose inner lines are drawn: objects get smaller, and meet other neighbours.

    The grid lies in the middle of the canvas and is shifted by a drawn amount, the same for all its lines; its outer tiles are cut
    at the edge of the canvas. The own image has a drawn place, the other places have images drawn with equal chances. Boxes that
    the edge of a tile cuts are cut, and judged against their original area.

    Each image is decoded at the smallest scale that serves its tile and warped once, straight to where it ends up after the steps
    that follow. Class targets are shared out by the area that each image covers.

    Attributes:
        size: width, then height of the canvas, in pixels.
        grid: columns, then rows.
        tile: width, then height of a tile; by default the canvas divided by the grid. As large as the canvas, each image is as large
            as it would be alone, and less of it is seen.
        fit: `contain` scales an image, keeping its shape, until it just fits into its tile; `cover` until it fills its tile, and
            for an outer one all the way to the edge of the canvas. Outer images touch the inner lines, others lie in the middle.
        shift_frac: the largest shift either way, as a share of a tile, at most 0.5. With 2 x 2 tiles, 0.5 puts the crossing between a quarter
            and three quarters of the canvas.
        fill: red, green and blue, 0 to 255, of what no image covers.

    Source: Bochkovskiy et al. 2020, YOLOv4, section 3.4, arXiv:2004.10934; sizes and places as `Mosaic` of
    github.com/ultralytics/ultralytics, data/augment.py; `cover` as `Mosaic` of albumentations.
    """

    size: tuple[Side, Side] = (640, 640)
    grid: tuple[Count, Count] = (2, 2)
    tile: tuple[Side, Side] | None = None
    fit: Literal["contain", "cover"] = "contain"
    shift_frac: Annotated[float, Meta(ge=0, le=0.5)] = 0.5
    fill: tuple[Byte, Byte, Byte] = (114, 114, 114)

    def draw(self, rng: np.random.Generator, scene: Scene) -> tuple[dict[str, Any], tuple[int, ...]] | None:
        """Draw the shift, the own place and the other images; None where there are no others."""
        shift = rng.uniform(-self.shift_frac, self.shift_frac, size=2)
        count = self.grid[0] * self.grid[1]
        place = int(rng.integers(count))
        rows = others(rng, scene, count - 1)
        if rows is None:
            return None
        xs, ys = (self._lines(axis, float(shift[axis])) for axis in (0, 1))
        return {"xs": xs, "ys": ys, "place": place}, rows

    def _lines(self, axis: int, shift: float) -> list[int]:
        """Where the lines of the shifted grid are, the outer ones included, in whole pixels of the canvas."""
        size, count = self.size[axis], self.grid[axis]
        tile = self.tile[axis] if self.tile else size / count
        first = size / 2 + (shift - count / 2) * tile
        return [round(first + line * tile) for line in range(count + 1)]

    def mix(self, samples: Sequence[Sample], drawn: Mapping[str, Any]) -> Sample:
        """Lay the samples out."""
        own, *rest = samples
        place, columns = int(drawn["place"]), len(drawn["xs"]) - 1
        order = [*rest[:place], own, *rest[place:]]
        width, height = self.size
        pieces = []
        for at, sample in enumerate(order):
            row, column = divmod(at, columns)
            across, down = _Cell.of(drawn["xs"], column, width), _Cell.of(drawn["ys"], row, height)
            pieces.append(Piece(sample, *self._fitted(sample.source, across, down)))
        layers = tuple(Layer(sample.source, matrix, rect) for sample, matrix, rect in pieces)
        shown = [(right - left) * (bottom - top) for _, _, (left, top, right, bottom) in pieces]
        return replace(
            join(pieces, own, Collage(width, height, layers, self.fill)),
            targets=shared_targets(order, [area / max(sum(shown), 1) for area in shown]),
            matrix=as_array(pieces[place].matrix) @ own.matrix,
        )

    def _fitted(self, source: Source, across: _Cell, down: _Cell) -> tuple[Affine, Part]:
        """Where an image goes, and what of the canvas it covers."""
        width, height = source.width, source.height
        if self.fit == "contain":
            scale = min(across.tile / width, down.tile / height)
            wide, high = min(round(width * scale), across.tile), min(round(height * scale), down.tile)
        else:
            scale = max(across.most / width, down.most / height)
            wide, high = max(round(width * scale), across.most), max(round(height * scale), down.most)
        wide, high = max(wide, 1), max(high, 1)
        x, y = across.place(wide), down.place(high)
        left, top = max(x, across.left), max(y, down.left)
        # Not a pixel of it where the lines of the grid have left the canvas.
        right, bottom = max(min(x + wide, across.right), left), max(min(y + high, down.right), top)
        return (wide / width, 0.0, float(x), 0.0, high / height, float(y)), (left, top, right, bottom)


class _Cell(NamedTuple):
    """A column or a row of the grid.

    Attributes:
        low: where its tile begins.
        high: where it ends.
        left: where what of the canvas belongs to it begins.
        right: where that ends.
        push: 0 to put an image at the end of its tile, 1 in the middle, 2 at the beginning.
    """

    low: int
    high: int
    left: int
    right: int
    push: int

    @classmethod
    def of(cls, lines: Sequence[int], at: int, size: int) -> _Cell:
        """The cell between two lines; an outer one reaches to the edge of the canvas."""
        low, high = lines[at], lines[at + 1]
        first, last = at == 0, at == len(lines) - 2
        push = 1 if first == last else 0 if first else 2
        return cls(low, high, 0 if first else max(low, 0), size if last else min(high, size), push)

    @property
    def tile(self) -> int:
        """The length of the tile; at least 1."""
        return max(self.high - self.low, 1)

    @property
    def most(self) -> int:
        """The length of the tile and what of the canvas belongs to it together."""
        return max(self.high, self.right) - min(self.low, self.left)

    def place(self, length: int) -> int:
        """Where an image of a length begins; one that is longer than the tile covers what of the canvas belongs to it."""
        low, high = self.low, self.high
        if length > high - low:
            low, high = min(low, self.left), max(high, self.right)
        room = high - low - length
        return low + (room, room // 2, 0)[self.push]
