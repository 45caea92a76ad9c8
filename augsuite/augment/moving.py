"""The shapes of a sample, moved by the course that moves its pixels and boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augsuite.augment.affine import compose, invert
from augsuite.augment.bend import Part
from augsuite.augment.remap import lookup
from augsuite.augment.resample import BACK, HALF, is_lattice, opencv
from augsuite.augment.warp import Course
from augsuite.dataset.sample_shapes import Lazy, Shapes, Window, trimmed
from augsuite.dataset.shapes import rectangle


def moved(source: Lazy | None, course: Course, kept: NDArray[np.bool_]) -> Lazy | None:
    """Shapes on the last canvas of a course, of the boxes that stay.

    Args:
        source: the shapes on the first canvas.
        course: the way.
        kept: `(N,)` which boxes stay.
    """
    return None if source is None else Lazy(_Moved(source, course, kept))


@dataclass(frozen=True)
class _Moved:
    source: Lazy
    course: Course
    kept: NDArray[np.bool_]

    def __call__(self) -> Shapes:
        return move(self.source().take(self.kept), self.course)


def move(shapes: Shapes, course: Course) -> Shapes:
    """Take shapes from the first canvas of a course to the last.

    Polygons and masks are cut to what is seen; a keypoint that is not seen becomes one that is not labelled; oriented boxes keep
    their four corners, of which some may lie outside. In a mirror image left and right keypoints trade places.
    """
    if not course.frames:
        return shapes
    return Shapes(
        tuple(
            None if rings is None else tuple(ring for ring in map(course.cut, rings) if len(ring))
            for rings in shapes.polygons
        ),
        tuple(None if window is None else move_mask(window, course) for window in shapes.masks),
        _keypoints(shapes, course),
        course.forward(shapes.quads.reshape(-1, 2)).reshape(-1, 4, 2),
        shapes.mirrored,
    )


def _keypoints(shapes: Shapes, course: Course) -> NDArray[np.float64]:
    points = shapes.keypoints
    if not points.size:
        return points
    places = points[..., :2].reshape(-1, 2)
    seen = (points[..., 2] > 0) & course.shows(places).reshape(points.shape[:2])
    result = np.concatenate([course.forward(places).reshape(*points.shape[:2], 2), points[..., 2:]], axis=2)
    result = np.where(seen[..., None], result, 0.0)
    return np.take_along_axis(result, shapes.mirrored[..., None], axis=1) if course.mirrors else result


def move_mask(window: Window, course: Course) -> Window:
    """Take the pixels of one object from the first canvas of a course to the last: a pixel is set if more than half of it is.

    Mirrors, quarter turns and whole shifts are exact.
    """
    left, top, mask = window
    if not mask.size:
        return window
    bounds = course.cut(np.array(rectangle((left, top, left + mask.shape[1], top + mask.shape[0]))).reshape(-1, 2))
    if not len(bounds):
        return 0, 0, np.zeros((0, 0), bool)
    # A field may bend the rectangle beyond the corners of its pieces.
    room = 0 if course.bend is None else 2
    x, y = np.maximum(np.floor(bounds.min(axis=0)) - room, 0).astype(int).tolist()
    limit = (course.width, course.height)
    right, bottom = np.minimum(np.ceil(bounds.max(axis=0)) + room, limit).astype(int).tolist()
    if right <= x or bottom <= y:
        return 0, 0, np.zeros((0, 0), bool)
    part = (x, y, right, bottom)
    shares = _shares(mask.view(np.uint8) * np.uint8(255), (left, top), course, part)
    return trimmed(x, y, course.visible(part) & (shares > 127))


def _shares(mask: NDArray[np.uint8], corner: tuple[int, int], course: Course, part: Part) -> NDArray[np.uint8]:
    """How much of each pixel of a part of the last canvas is set, 0 to 255."""
    cv2 = opencv()
    left, top = corner
    x, y, right, bottom = part
    result: NDArray[np.uint8]
    if course.bend is not None:
        xs, ys = course.bend.maps(part)
        maps = [lookup(value - 0.5) for value in (xs - left, ys - top)]
        result = cv2.remap(mask, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return result
    back = compose(
        (1.0, 0.0, -float(left), 0.0, 1.0, -float(top)),
        compose(invert(course.matrix), (1.0, 0.0, float(x), 0.0, 1.0, float(y))),
    )
    result = cv2.warpAffine(
        mask,
        np.array(compose(BACK, compose(back, HALF))).reshape(2, 3),
        (right - x, bottom - y),
        flags=(cv2.INTER_NEAREST if is_lattice(course.matrix) else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return result
