"""What a policy drew for one sample: pure data that can be logged, sent, stored as JSON and rendered again."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import msgspec

from augsuite.augment.field import Field
from augsuite.boxes import Boxes

Matrix = tuple[float, float, float, float, float, float, float, float, float]
Fill = tuple[int, int, int]


class Warp(msgspec.Struct, frozen=True, tag="warp"):
    """One geometric operation: where each point goes, and the canvas that takes it.

    Attributes:
        matrix: 3 x 3 row by row, from pixels of the canvas before to pixels of the canvas after: affine, or a perspective whose
            third row is positive on the whole canvas before. Space is continuous; pixel (row r, column c) covers
            `[c, c + 1) x [r, r + 1)`.
        width: of the canvas after, in pixels.
        height: of the canvas after, in pixels.
        fill: red, green and blue, 0 to 255, of what lies outside the canvas before.
        keep: which boxes stay: in what `draw` returns, positions in `scene.boxes`; in a plan, positions in the boxes of the
            sample that the plan starts from. None keeps all.
        step: the id of the step that drew it; the core fills it in.
        field: a displacement on the canvas after: what the matrix brought to `p + d(p)` is shown at p.
    """

    matrix: Matrix
    width: int
    height: int
    fill: Fill = (0, 0, 0)
    keep: tuple[int, ...] | None = None
    step: str = ""
    field: Field | None = None


class PixelOp(msgspec.Struct, frozen=True, tag="pixel"):
    """One operation on values.

    Attributes:
        step: the id of the step that drew it.
        do: the transform's name.
        params: its parameters, where they differ from the defaults.
        drawn: what it drew, as `apply` takes it.
    """

    step: str
    do: str
    params: dict[str, Any]
    drawn: dict[str, Any]


class Erase(msgspec.Struct, frozen=True, tag="erase"):
    """Rectangles of a canvas, painted over. What a box loses to them counts as not visible; its extent stays.

    Attributes:
        rects: left, top, right, bottom in pixels of the canvas at this step; may overlap, and reach beyond it.
        fill: red, green and blue, 0 to 255; None for noise, each value uniform in 0 to 255.
        seed: of the noise, in [0, 2**63).
        step: the id of the step that drew it; the core fills it in.
    """

    rects: tuple[tuple[int, int, int, int], ...]
    fill: Fill | None = None
    seed: int = 0
    step: str = ""


class Origin(msgspec.Struct, frozen=True, tag="image"):
    """An image of the pool, as it is.

    Attributes:
        row: its row; -1 for a sample that belongs to no dataset.
        width: of the upright image, in pixels.
        height: of the upright image, in pixels.
    """

    row: int
    width: int
    height: int


class Mix(msgspec.Struct, frozen=True, tag="mix"):
    """Several rendered samples, combined.

    Attributes:
        step: the id of the step that drew it.
        do: the transform's name.
        params: its parameters, where they differ from the defaults.
        drawn: what it drew, as `mix` takes it.
        parts: the plans of the samples that it combines, the sample's own first.
    """

    step: str
    do: str
    params: dict[str, Any]
    drawn: dict[str, Any]
    parts: tuple[Plan, ...]


class Plan(msgspec.Struct, frozen=True):
    """Everything that is random about one sample, drawn.

    Attributes:
        start: what the operations start from.
        ops: the operations, in the order of the policy's steps; a step whose coin said no has none.
        min_visible_frac: a box stays if at least this share of its original area is visible at the end.
        min_size: a box stays if at the end it is at least so wide and so high, in pixels.
        box_from: what a box is taken for where steps turn, shear or bend it and its object has no shape of its own: its `corners`,
            or the `ellipse` in it.
        use_shapes: take the box around the object's polygon, mask or oriented box, where it has one, in that case.
    """

    start: Origin | Mix
    ops: tuple[Warp | PixelOp | Erase, ...] = ()
    min_visible_frac: float = 0.1
    min_size: float = 1.0
    box_from: Literal["corners", "ellipse"] = "corners"
    use_shapes: bool = True

    @property
    def warps(self) -> list[Warp]:
        """The geometric operations."""
        return [op for op in self.ops if isinstance(op, Warp)]

    def to_json(self) -> str:
        """The plan as JSON; `from_json` gives it back, equal to the last bit."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """The plan that `to_json` wrote."""
        return msgspec.json.decode(text, type=cls)


class Scene:
    """What a transform sees when it draws: sizes and boxes as the steps before left them, never pixels.

    Attributes:
        width: of the canvas, in pixels.
        height: of the canvas, in pixels.
        pool: how many images there are to mix with; 0 where there is no pool.
        row: the row of the sample's own image in the pool; -1 where it has none.
    """

    def __init__(
        self, width: int, height: int, boxes: Boxes | Callable[[], Boxes], *, pool: int = 0, row: int = -1
    ) -> None:
        """Describe one.

        Args:
            width: in pixels.
            height: in pixels.
            boxes: `(N, 4)` float64 XYXY, or what computes them when a transform asks.
            pool: how many images there are to mix with.
            row: the row of the sample's own image.
        """
        self.width = width
        self.height = height
        self.pool = pool
        self.row = row
        self._boxes = boxes

    @cached_property
    def boxes(self) -> Boxes:
        """`(N, 4)` float64 XYXY in pixels of the canvas and cut to it: the boxes that can still be in the result."""
        return self._boxes() if callable(self._boxes) else self._boxes
