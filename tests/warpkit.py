"""Random geometric steps, and a slow judge of what they do."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import strategies as st

from augsuite import registry
from augsuite.augment import Plan, Step
from augsuite.augment.plan import PixelOp
from augsuite.augment.transforms import instance

MOVING = [name for name, spec in registry.default().transforms().items() if spec.kind == "geometric"]

EXACT = [
    "hflip",
    "vflip",
    "rot90",
    "transpose",
    "crop",
    "iou_crop",
    "safe_crop",
    "center_crop",
    "expand",
    "pad",
    "translate",
]

PARAMS = {
    "crop": st.fixed_dictionaries({"area_frac": st.floats(0.1, 1).map(lambda low: [low, 1.0])}),
    "iou_crop": st.just({}),
    "expand": st.fixed_dictionaries({"max_ratio": st.floats(1, 3)}),
    "resize": st.fixed_dictionaries({"size": st.tuples(st.integers(60, 200), st.integers(60, 200)).map(list)}),
    "letterbox": st.fixed_dictionaries({"size": st.tuples(st.integers(60, 200), st.integers(60, 200)).map(list)}),
    "pad": st.fixed_dictionaries(
        {"multiple": st.integers(1, 64), "place": st.sampled_from(["center", "corner", "random"])}
    ),
    "center_crop": st.fixed_dictionaries({"size": st.tuples(st.integers(60, 200), st.integers(60, 200)).map(list)}),
    "resize_short": st.fixed_dictionaries({"sizes": st.lists(st.integers(60, 200), min_size=1, max_size=2)}),
    "resize_long": st.fixed_dictionaries({"sizes": st.lists(st.integers(60, 200), min_size=1, max_size=2)}),
    "scale_jitter": st.fixed_dictionaries(
        {"size": st.tuples(st.integers(60, 200), st.integers(60, 200)).map(list), "scale": st.just([0.5, 2.0])}
    ),
    "shear": st.fixed_dictionaries({"x_deg": st.floats(0, 30), "y_deg": st.floats(0, 30)}),
    "translate": st.fixed_dictionaries({"x_frac": st.floats(0, 0.5), "y_frac": st.floats(0, 0.5)}),
    "perspective": st.fixed_dictionaries({"shift_frac": st.floats(0, 0.3)}),
    "elastic": st.integers(2, 6).flatmap(
        lambda cells: st.fixed_dictionaries(
            {"cells": st.just(cells), "shift_frac": st.floats(0, min(0.1, 0.19 / cells))}
        )
    ),
    "grid_distortion": st.fixed_dictionaries({"cells": st.integers(2, 8), "shift_frac": st.floats(0, 0.24)}),
    "rotate": st.fixed_dictionaries({"max_deg": st.floats(0, 180)}),
    "affine": st.fixed_dictionaries({"rotate_deg": st.floats(0, 180), "shear_deg": st.floats(0, 30)}),
}


def steps_of(names):
    return st.lists(
        st.sampled_from(names).flatmap(
            lambda name: PARAMS.get(name, st.just({})).map(lambda params: Step(name, params))
        ),
        min_size=1,
        max_size=4,
    )


def stepwise(plan: Plan, image: np.ndarray) -> np.ndarray:
    """Execute a plan the slow, obvious way: every step on its own full canvas."""
    for op in plan.ops:
        if isinstance(op, PixelOp):
            image = instance(op.do, op.params).apply(image.copy(), op.drawn)
            continue
        # Where does the centre of each pixel of the new canvas come from?
        ys, xs = np.mgrid[: op.height, : op.width] + 0.5
        points = np.stack([xs, ys], axis=2).reshape(-1, 2)
        if op.field is not None:
            points = points + op.field.at(points, op.width, op.height)
        back = np.linalg.inv(np.array(op.matrix).reshape(3, 3))
        x, y, w = back @ np.column_stack([points, np.ones(len(points))]).T
        x, y = (x / w).reshape(xs.shape), (y / w).reshape(xs.shape)
        height, width = image.shape[:2]
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        values = cv2.remap(
            image,
            (x - 0.5).astype(np.float32),
            (y - 0.5).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        image = np.where(inside[..., None], values, np.array(op.fill, np.uint8))
    return image


def black_fill(step):
    fields = instance(step.do, {}).__struct_fields__
    return Step(step.do, {**step.params, "fill": [0, 0, 0]}) if "fill" in fields else step
