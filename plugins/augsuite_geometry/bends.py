"""What takes straight lines to converging or curved ones."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from augsuite.augment import Field, Scene, Warp
from augsuite_geometry.canvas import MEAN_COLOR, Color

Cells = Annotated[int, Meta(ge=2, le=64)]

_STEEPEST = 0.2  # of `cells * shift_frac`: then no two points trade places, whatever is drawn


def homography(start: NDArray[np.float64], end: NDArray[np.float64]) -> tuple[float, ...]:
    """The 3 x 3 matrix, row by row and ending in 1, that takes four points to four others, each `(4, 2)`.

    Source: Hartley and Zisserman 2004, Multiple view geometry, section 4.1.
    """
    rows = []
    for (x, y), (u, v) in zip(start, end, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    solution = np.linalg.solve(np.array(rows), end.reshape(-1))
    return (*solution.tolist(), 1.0)


class Perspective(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Look from another place: each corner of the image moves inwards, each coordinate uniform; the canvas keeps its size.

    Attributes:
        shift_frac: how far at most, as a share of width and of height, from 0 to 0.3.
        fill: red, green and blue, 0 to 255, of what comes from outside.

    Source: as `RandomPerspective` of torchvision, whose `distortion_scale` is twice `shift_frac`.
    """

    shift_frac: Annotated[float, Meta(ge=0, le=0.3)] = 0.1
    fill: Color = MEAN_COLOR

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Draw where the corners go; up to 0.3 they always span a convex part."""
        size = np.array([scene.width, scene.height], np.float64)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
        moved = corners + (1 - 2 * corners) * rng.uniform(0.0, self.shift_frac, (4, 2))
        return Warp(homography(corners * size, moved * size), scene.width, scene.height, self.fill)  # type: ignore[arg-type]  # nine of them


class Elastic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Displace smoothly, as a rubber sheet: a cubic B-spline over control points that are displaced at random.

    Each control point moves by up to `shift_frac` either way, right and down, uniformly. Nothing folds over: `cells * shift_frac` is at
    most 0.2.

    Attributes:
        cells: how many cells of control points lie along the shorter side; fewer are smoother. One cell is 1.7 deviations of the
            Gaussian filter of the paper.
        shift_frac: the largest displacement of a control point, as a share of the shorter side.
        fill: red, green and blue, 0 to 255, of what comes from outside.

    Source: Simard et al. 2003, Best practices for convolutional neural networks, section 2, doi:10.1109/ICDAR.2003.1227801; the spline
    instead of a filtered field is ours: it is small enough to be part of a plan, and can be inverted for boxes and points.
    """

    cells: Cells = 5
    shift_frac: Annotated[float, Meta(ge=0, le=0.1)] = 0.03
    fill: Color = MEAN_COLOR

    def __post_init__(self) -> None:
        """Check that nothing can fold."""
        if self.cells * self.shift_frac > _STEEPEST:
            raise ValueError(
                f"expected cells * shift_frac of at most {_STEEPEST}, got {self.cells * self.shift_frac:.3g}"
            )

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Draw the shifts of the control points."""
        short = min(scene.width, scene.height)
        across, down = (max(1, round(self.cells * side / short)) for side in (scene.width, scene.height))
        shifts = rng.uniform(-1.0, 1.0, (2, down + 3, across + 3)) * (self.shift_frac * short)
        return _displaced(scene, 3, shifts, self.fill)


class GridDistortion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Displace the corners of a grid, and what lies between in proportion; the edges of the image stay in place.

    Each corner moves by up to `shift_frac` of a cell either way, right and down, uniformly; one on an edge only along it.

    Attributes:
        cells: how many cells lie along width and along height.
        shift_frac: the largest displacement as a share of a cell, from 0 to 0.24: beyond it, cells could fold over.

    Source: as `GridDistortion` of albumentations, which shifts whole lines of the grid; corners of their own are ours.
    """

    cells: Cells = 5
    shift_frac: Annotated[float, Meta(ge=0, le=0.24)] = 0.2

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Draw the shifts of the corners."""
        shifts = rng.uniform(-1.0, 1.0, (2, self.cells + 1, self.cells + 1)) * (self.shift_frac / self.cells)
        shifts *= np.array([scene.width, scene.height])[:, None, None]
        shifts[0][:, [0, -1]] = 0.0
        shifts[1][[0, -1]] = 0.0
        return _displaced(scene, 1, shifts, (0, 0, 0))


def _displaced(scene: Scene, degree: int, shifts: NDArray[np.float64], fill: tuple[int, int, int]) -> Warp:
    right, down = (tuple(map(tuple, part.tolist())) for part in shifts)
    field = Field(degree, right, down)  # type: ignore[arg-type]  # 1 or 3
    return Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), scene.width, scene.height, fill, field=field)
