"""Smooth displacements: splines over a coarse grid of control points, small enough to be data."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Grid = tuple[tuple[float, ...], ...]

_NEAR = 1e-6  # pixels
_SAMPLED = 512  # nodes a side between which a dense field is interpolated; exact to a hundredth of a pixel


class Field(msgspec.Struct, frozen=True):
    """Where each point of a canvas looks instead: point p shows what lay at `p + d(p)`, with d a spline over the whole canvas.

    Control points lie on a regular grid; n cells across a canvas have n + `degree` of them. Beyond the canvas, d stays what it is on
    the border.

    Attributes:
        degree: 1 joins the control points by straight pieces (n + 1 of them lie on the corners of the cells); 3 is a cubic B-spline,
            close to a Gaussian filter of a deviation of 0.58 cells over the control points.
        x: rows of control points, each the shift right in pixels.
        y: the shift down, of as many.

    Source: Unser 1999, Splines: a perfect fit for signal and image processing, doi:10.1109/79.799930.
    """

    degree: Literal[1, 3]
    x: Grid
    y: Grid

    @property
    def controls(self) -> Array:
        """`(2, rows, columns)` shifts right, and down."""
        return np.array([self.x, self.y], np.float64)

    def problem(self, width: int, height: int) -> str:
        """What is wrong with it on a canvas of that size; empty for nothing."""
        rows, columns = len(self.x), len(self.x[0]) if self.x else 0
        shapes = {len(row) for row in (*self.x, *self.y)}
        if len(self.y) != rows or shapes != {columns} or min(rows, columns) <= self.degree:
            return f"a field that is no grid of at least {self.degree + 1} x {self.degree + 1} control points"
        if not np.isfinite(self.controls).all():
            return "a field with numbers that are not finite"
        if self.steepness(width, height) >= 1:
            return "a field that folds: from one control point to the next it changes by a cell or more"
        return ""

    def steepness(self, width: int, height: int) -> float:
        """The most that the shift changes over one cell, as a share of the cell (right and down added up); below 1 nothing folds.

        A spline of these degrees is nowhere steeper than its control points are, and measured in cells `points - d` brings any two
        points closer together by that share at least.
        """
        controls = self.controls
        rows, columns = np.array(controls.shape[1:]) - self.degree
        down, across = (np.abs(np.diff(controls, axis=axis)).max(axis=(1, 2)) for axis in (1, 2))
        return float(((across + down) / (width / columns, height / rows)).max())

    def on_grid(self, xs: Array, ys: Array, width: int, height: int) -> tuple[Array, Array]:
        """The shift at each pair of `(W,)` x and `(H,)` y of a canvas of `width` x `height`: two of `(H, W)`."""
        controls = self.controls
        across = self._dense(xs, width, controls.shape[2])
        down = self._dense(ys, height, controls.shape[1])
        right, below = down @ controls @ across.T
        return right, below

    def at(self, points: Array, width: int, height: int) -> Array:
        """The shift at `(P, 2)` points: `(P, 2)`."""
        return self._at(points, width, height)[0]

    def sampled(self, width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32], float, float]:
        """The shift on a regular grid of nodes that spans the canvas, and the nodes per pixel across and down."""
        columns, rows = min(width, _SAMPLED), min(height, _SAMPLED)
        right, below = self.on_grid(np.linspace(0, width, columns + 1), np.linspace(0, height, rows + 1), width, height)
        return right.astype(np.float32), below.astype(np.float32), columns / width, rows / height

    def cells(self, points: Array, width: int, height: int) -> NDArray[np.int64]:
        """The column and row of the cell of the grid that `(P, 2)` points of a canvas lie in: `(P, 2)`; NaN lies in the first."""
        counts = np.array(self.controls.shape[:0:-1]) - self.degree
        return np.asarray(np.clip(np.nan_to_num(points) * counts / (width, height), 0, counts - 1), np.int64)

    def undo(self, points: Array, width: int, height: int) -> Array:
        """The `(P, 2)` points p with `p + d(p)` at `points`, to within a millionth of a pixel: where they are shown.

        Newton's method, and for a point that it misses the fixed point of `p = points - d(p)`, which exists since nothing folds.
        """
        found = points - self.at(points, width, height)
        for _ in range(8):
            shift, slope = self._at(found, width, height)
            rest = found + shift - points
            if np.abs(rest).max(initial=0.0) < _NEAR:
                return found
            # The inverse of identity plus slope, written out.
            a, b = 1 + slope[:, 0, 0], slope[:, 0, 1]
            c, d = slope[:, 1, 0], 1 + slope[:, 1, 1]
            step = np.stack([d * rest[:, 0] - b * rest[:, 1], a * rest[:, 1] - c * rest[:, 0]], axis=1)
            found = found - step / (a * d - b * c)[:, None]
        missed = np.flatnonzero(np.abs(found + self.at(found, width, height) - points).max(axis=1) > _NEAR)
        left = points[missed]
        for _ in range(2000 if len(missed) else 0):
            after = points[missed] - self.at(left, width, height)
            moved, left = np.abs(after - left).max(), after
            if moved < _NEAR / 100:
                break
        found[missed] = left
        return found

    def _at(self, points: Array, width: int, height: int) -> tuple[Array, Array]:
        """The shift `(P, 2)` and its slope `(P, 2, 2)`: part, then direction."""
        controls = self.controls
        rows, columns = controls.shape[1:]
        first_x, wx, sx = self._weights(points[:, 0], width, columns)
        first_y, wy, sy = self._weights(points[:, 1], height, rows)
        taps = np.arange(self.degree + 1)
        near = controls[:, (first_y[:, None] + taps)[:, :, None], (first_x[:, None] + taps)[:, None, :]]
        rows_across = np.einsum("cpij,pj->cpi", near, wx)
        shift = np.einsum("cpi,pi->pc", rows_across, wy)
        right = np.einsum("cpi,pi->pc", np.einsum("cpij,pj->cpi", near, sx), wy)
        return shift, np.stack([right, np.einsum("cpi,pi->pc", rows_across, sy)], axis=2)

    def _dense(self, values: Array, length: int, count: int) -> Array:
        """`(V, count)` what share each control point has in each value."""
        first, weights, _ = self._weights(values, length, count)
        dense = np.zeros((len(values), count))
        np.put_along_axis(dense, first[:, None] + np.arange(self.degree + 1), weights, axis=1)
        return dense

    def _weights(self, values: Array, length: int, count: int) -> tuple[NDArray[np.int64], Array, Array]:
        """For each value the first control point at work, the shares of that one and the next, and their slopes."""
        cells = count - self.degree
        place = np.clip(values * (cells / length), 0, cells)
        first = np.minimum(place.astype(np.int64), cells - 1)
        t = (place - first)[:, None]
        if self.degree == 1:
            weights, slopes = np.hstack([1 - t, t]), np.broadcast_to([-1.0, 1.0], (len(values), 2))
        else:
            weights = np.hstack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
            slopes = np.hstack([-((1 - t) ** 2), 3 * t**2 - 4 * t, -3 * t**2 + 2 * t + 1, t**2]) / 2
        inside = (values >= 0) & (values <= length)
        return first, weights, np.where(inside[:, None], slopes * (cells / length), 0.0)
