"""Affine maps of the plane, six numbers each."""

from __future__ import annotations

from augsuite.augment.plan import Matrix

Affine = tuple[float, float, float, float, float, float]
"""`x' = a x + b y + c`, `y' = d x + e y + f`."""
Rect = tuple[float, float, float, float]

IDENTITY: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def affine_of(matrix: Matrix) -> Affine:
    """The upper two rows."""
    return matrix[:6]


def compose(second: Affine, first: Affine) -> Affine:
    """`second` after `first`."""
    a, b, c, d, e, f = second
    u, v, w, x, y, z = first
    return (a * u + b * x, a * v + b * y, a * w + b * z + c, d * u + e * x, d * v + e * y, d * w + e * z + f)


def invert(matrix: Affine) -> Affine:
    """The way back.

    Raises:
        ZeroDivisionError: if the matrix flattens the plane.
    """
    a, b, c, d, e, f = matrix
    det = a * e - b * d
    a, b, d, e = e / det, -b / det, -d / det, a / det
    return (a, b, -(a * c + b * f), d, e, -(d * c + e * f))


def is_aligned(matrix: Affine) -> bool:
    """Whether it takes upright rectangles to upright rectangles, to within a millionth of a pixel on any canvas."""
    a, b, _, d, e, _ = matrix
    if b == d == 0:
        return True
    a, b, d, e = abs(a), abs(b), abs(d), abs(e)
    return max(b, d) <= 1e-12 * min(a, e) or max(a, e) <= 1e-12 * min(b, d)
