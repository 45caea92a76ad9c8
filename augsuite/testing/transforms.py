"""What every transform must satisfy. A plugin's test calls `check_transform` with each name that it declares."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from augsuite import registry
from augsuite.augment import Erase, Plan, Policy, Scene, Step, Warp, policy, render
from augsuite.augment.draw import Keyed
from augsuite.augment.pointwise import look_up
from augsuite.augment.transforms import declaration, make
from augsuite.dataset import Sample
from augsuite.errors import ConfigError

_RESERVED = {"do", "p", "id"}
_LARGE_LABEL = 900_100_581_904  # not to be had in float32
_UNSHAPED = 4  # the label of boxes without a polygon
_KEYS = [(seed, epoch, row) for seed in range(2) for epoch in range(3) for row in range(2)]


class ContractError(AssertionError):
    """A transform breaks its contract."""


def demand(condition: object, message: str) -> None:
    """Go on, or say what is broken.

    Raises:
        ContractError: unless the condition holds.
    """
    if not condition:
        raise ContractError(message)


def check_transform(name: str) -> None:
    """Check one transform, as declared in the registry of this process.

    Args:
        name: what a policy's step says after `do`.

    Raises:
        ContractError: with the first thing that is broken.
    """
    spec = declaration(name)
    demand(spec.summary and "\n" not in spec.summary, f"{name}: the summary is one line")
    if spec.unavailable:
        _check_unavailable(name, spec.unavailable)
        return
    params = registry.load(spec.params, f"transform {name}", "augment")
    known = {field.encode_name for field in msgspec.structs.fields(params)}
    demand(not known & _RESERVED, f"{name}: do, p and id belong to the step, not to the parameters")
    transform = make(name, {}, name)
    demand(params.__struct_config__.frozen, f"{name}: the parameters are a frozen struct")
    plain = msgspec.to_builtins(transform)
    demand(make(name, plain, name) == transform, f"{name}: the defaults, written out, are the defaults")
    check = {
        "geometric": _check_geometric,
        "pixel": _check_pixel,
        "erase": _check_erase,
        "mix": _check_mix,
        "choice": _check_choice,
        "batch": _check_batch,
    }[spec.kind]
    check(name, transform)
    if spec.kind != "batch":
        _check_in_policy(name)


def _check_unavailable(name: str, reason: str) -> None:
    try:
        make(name, {}, name)
    except ConfigError as error:
        demand(reason.replace("`", "") in str(error), f"{name}: the error says why it is not available")
    else:
        raise ContractError(f"{name}: is said not to be available, and can be made")


def _check_geometric(name: str, transform: Any) -> None:
    for key in _KEYS:
        for scene in (_scene(), Scene(64, 48, np.zeros((0, 4)))):
            drawn = [transform.draw(Keyed(key).of(name), scene) for _ in range(2)]
            demand(drawn[0] == drawn[1], f"{name}: the same key draws the same warp")
            warp = drawn[0]
            if warp is None:
                continue
            demand(isinstance(warp, Warp), f"{name}: draw returns a Warp or None, not {type(warp).__name__}")
            keep = warp.keep or ()
            demand(all(0 <= row < len(scene.boxes) for row in keep), f"{name}: keep holds positions in scene.boxes")


def _check_erase(name: str, transform: Any) -> None:
    for key in _KEYS:
        for scene in (_scene(), Scene(3, 1, np.zeros((0, 4)))):
            drawn = [transform.draw(Keyed(key).of(name), scene) for _ in range(2)]
            demand(drawn[0] == drawn[1], f"{name}: the same key draws the same rectangles")
            demand(drawn[0] is None or isinstance(drawn[0], Erase), f"{name}: draw returns an Erase or None")


def _check_choice(name: str, transform: Any) -> None:
    names = set(transform.names())
    for do in names:
        demand(declaration(do).kind != "batch", f"{name}: {do} acts on a batch and belongs to the policy itself")
    for key in _KEYS:
        drawn = [list(transform.draw(Keyed(key).of(name), _scene())) for _ in range(2)]
        demand(drawn[0] == drawn[1], f"{name}: the same key chooses the same")
        ids = [one.id or one.do if isinstance(one, Step) else one.step for one in drawn[0]]
        demand(len(set(ids)) == len(ids), f"{name}: what it chooses has ids that differ, not {ids}")
        used = {one.do for one in drawn[0] if not isinstance(one, Warp)}
        demand(used <= names, f"{name}: chooses {sorted(used - names)}, which names() does not list")


def _check_pixel(name: str, transform: Any) -> None:
    demand(isinstance(type(transform).pointwise, bool), f"{name}: pointwise says True or False")
    for key in _KEYS:
        drawn = [transform.draw(Keyed(key).of(name), _scene()) for _ in range(2)]
        demand(_json(drawn[0]) == _json(drawn[1]), f"{name}: the same key draws the same values")
        if drawn[0] is None:
            continue
        stored = msgspec.json.decode(_json(drawn[0]))
        for image in (_image(), np.zeros((1, 1, 3), np.uint8), np.full((31, 17, 3), 255, np.uint8)):
            if image.shape[0] == 1 and not transform.pointwise:
                continue
            results = [transform.apply(image.copy(), values) for values in (*drawn, stored)]
            demand(results[0].shape == image.shape, f"{name}: apply keeps the shape")
            demand(results[0].dtype == np.uint8, f"{name}: apply keeps uint8")
            for other in results[1:]:
                demand(
                    np.array_equal(results[0], other),
                    f"{name}: the same drawn values, also from JSON, give the same pixels",
                )
        table = transform.table(drawn[0]) if hasattr(transform, "table") else None
        if table is not None:
            demand(
                np.array_equal(look_up(_image(), table), transform.apply(_image(), drawn[0])),
                f"{name}: its table does what apply does",
            )
    if transform.pointwise:
        _check_pointwise(name, transform)


def _check_pointwise(name: str, transform: Any) -> None:
    """A part of the image changes as it does within the whole."""
    image = _image()
    for key in _KEYS:
        drawn = transform.draw(Keyed(key).of(name), _scene())
        if drawn is not None:
            whole = transform.apply(image.copy(), drawn)[10:20, 5:45]
            part = transform.apply(image[10:20, 5:45].copy(), drawn)
            # OpenCV may round the end of a row otherwise than its middle.
            near = np.abs(whole.astype(int) - part).max(initial=0) <= 2
            demand(near, f"{name}: says it is pointwise, and a part changes otherwise than the whole")


def _check_mix(name: str, transform: Any) -> None:
    for key in _KEYS:
        drawn = [transform.draw(Keyed(key).of(name), _scene()) for _ in range(2)]
        demand(drawn[0] == drawn[1], f"{name}: the same key draws the same")
        if drawn[0] is not None:
            values, rows = drawn[0]
            demand(_json(values), f"{name}: the values drawn are such that JSON can hold")
            demand(all(0 <= row < _scene().pool for row in rows), f"{name}: partners are rows of the pool")


def _check_batch(name: str, transform: Any) -> None:
    batch = np.stack([_image(), _image()])
    result = transform.apply(batch)
    demand(result.shape == (2, 3, *batch.shape[1:3]), f"{name}: apply takes (B, H, W, 3) to (B, 3, H, W)")
    demand(result.dtype == np.float32, f"{name}: apply gives float32")


def _check_in_policy(name: str) -> None:
    """A whole policy of that step: labels, dtypes, empty samples, plans as JSON, the policy as YAML."""
    one = policy([Step(name)])
    demand(Policy.from_yaml(one.to_yaml()) == one, f"{name}: the step survives YAML")
    pool = _Pool()
    for key in _KEYS:
        for sample in (_sample(), Sample.of(_image())):
            before = sample.image.copy()
            result = one(sample, key=key, pool=pool)
            again = render(Plan.from_json(one.plan(sample, key, pool).to_json()), sample, pool)
            demand(np.array_equal(sample.image, before), f"{name}: the sample that it is given stays as it is")
            demand(np.array_equal(result.image, again.image), f"{name}: a plan read from JSON renders the same pixels")
            for field, shape, dtype in (
                ("boxes", (4,), np.float64),
                ("labels", (), np.int64),
                ("weights", (), np.float32),
                ("rows", (), np.int64),
            ):
                value = getattr(result, field)
                demand(value.shape == (len(result.boxes), *shape), f"{name}: {field} has the shape {value.shape}")
                demand(value.dtype == dtype, f"{name}: {field} has the dtype {value.dtype}")
                demand(
                    np.array_equal(value, getattr(again, field)),
                    f"{name}: a plan read from JSON gives the same {field}",
                )
            demand(
                set(result.labels.tolist()) <= {_LARGE_LABEL, 3, _UNSHAPED}, f"{name}: labels change: {result.labels}"
            )
            height, width = result.image.shape[:2]
            inside = (result.boxes >= 0).all() and (result.boxes <= [width, height, width, height]).all()
            demand(inside, f"{name}: boxes reach beyond the canvas")
            _check_shapes(name, result, again)


def _check_shapes(name: str, result: Sample, again: Sample) -> None:
    """Polygons, masks, keypoints and oriented boxes keep to their boxes."""
    count, (height, width) = len(result.boxes), result.image.shape[:2]
    lazy = result.lazy
    demand(lazy is None or len(lazy()) == count, f"{name}: boxes and their shapes differ in number")
    shapes, same = result.shapes, again.shapes
    points = shapes.keypoints
    demand(points.dtype == np.float64 and points.shape[::2] == (count, 3), f"{name}: keypoints are (N, K, 3) float64")
    demand(shapes.quads.shape == (count, 4, 2), f"{name}: oriented boxes are (N, 4, 2)")
    labelled = points[points[..., 2] > 0][:, :2]
    demand(((labelled >= 0) & (labelled <= [width, height])).all(), f"{name}: keypoints reach beyond the canvas")
    demand(np.array_equal(points, same.keypoints), f"{name}: a plan read from JSON gives the same keypoints")
    for row in range(count):
        mask, other = (one.mask(row, width, height) for one in (shapes, same))
        demand((mask is None) == (result.labels[row] == _UNSHAPED), f"{name}: masks trade places or get lost")
        equal = mask is other or (mask is not None and other is not None and np.array_equal(mask, other))
        demand(equal, f"{name}: a plan read from JSON gives the same masks")


class _Pool:
    def __len__(self) -> int:
        return 3

    def original(self, row: int) -> Sample:
        outline = [[1.0, 2.0, 30.5, 2.0, 20.0, 40.25]]
        return Sample.of(np.roll(_image(), row + 1, axis=1), [[1.0, 2.0, 30.5, 40.25]], [3], polygons=[outline])


def _image() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (48, 64, 3), np.uint8)


def _sample() -> Sample:
    return Sample.of(
        _image(),
        [[5.25, 4.5, 30.75, 40.0], [20.0, 10.0, 60.0, 44.0]],
        [_LARGE_LABEL, _UNSHAPED],
        polygons=[[[5.25, 4.5, 30.75, 10.0, 25.0, 40.0]], None],
        keypoints=np.array(
            [[[5.25, 4.5, 2], [30.75, 10.0, 1], [0, 0, 0]], [[20.0, 44.0, 2], [0, 0, 0], [60.0, 10.0, 2]]]
        ),
    )


def _scene() -> Scene:
    return Scene(64, 48, _sample().boxes, pool=3, row=1)


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
