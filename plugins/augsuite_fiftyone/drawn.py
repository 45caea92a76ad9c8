"""What a plan drew, as values that FiftyOne can show and filter by: for each step a few numbers with names."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from augsuite.augment.plan import Erase, Mix, Plan, Warp
from augsuite.augment.render import row_of

Values = dict[str, Any]
"""Names -> bool, int, float, str, or a list of floats."""

_ALIGNED = 1e-9


def drawn_values(plan: Plan, names: Sequence[str]) -> dict[str, Values]:
    """Everything that a plan drew for its own image.

    A geometric step says what its matrix comes to: `mirrored_x`, `mirrored_y`, then `turn_deg` (clockwise on the screen), `shear_deg`, `scale_x`,
    `scale_y`; where sides stay level also `at_x` and `at_y`, where the image before begins on the canvas after, in pixels (negative where
    that is cut off); and the `width` and `height` of that canvas. A perspective or a bent one says so instead. A mix says its `partners`.

    Args:
        plan: what was drawn.
        names: those of the dataset's images.

    Returns:
        The field of each operation -> its values; steps that did nothing have none.
    """
    found: dict[str, Values] = {}
    for step, values in _operations(plan, names):
        field = field_of(step)
        number = 2
        while field in found:
            field, number = f"{field_of(step)}_{number}", number + 1
        found[field] = values
    return found


def steps_of(plan: Plan) -> set[str]:
    """The ids of the steps that did something to a plan's own image; for what a choice chose, the choice's."""
    found = {op.step.partition("/")[0] for op in plan.ops}
    if isinstance(plan.start, Mix):
        found |= {plan.start.step.partition("/")[0]} | steps_of(plan.start.parts[0])
    return found


def field_of(step: str) -> str:
    """The name of a step's field: its id with nothing that FiftyOne takes for more than a name."""
    plain = re.sub(r"\W+", "_", step, flags=re.ASCII).strip("_") or "step"
    return f"step_{plain}" if plain[0].isdigit() or plain in _TAKEN else plain


_TAKEN = frozenset(
    {
        "id",
        "filepath",
        "tags",
        "metadata",
        "group",
        "created_at",
        "last_modified_at",
        "image",
        "plan",
        "drawn",
        "dropped",
    }
)


def alike(rows: Iterable[dict[str, Values]]) -> list[dict[str, Values]]:
    """The same values, each name with one type in all rows: floats where one is a float, texts where types do not go together."""
    given = list(rows)
    kinds: dict[tuple[str, str], set[type]] = {}
    for row in given:
        for field, values in row.items():
            for name, value in values.items():
                kinds.setdefault((field, name), set()).add(type(value))
    target = {place: _common(found) for place, found in kinds.items()}
    return [
        {
            field: {name: _as(value, target[field, name]) for name, value in values.items()}
            for field, values in row.items()
        }
        for row in given
    ]


def _common(kinds: set[type]) -> type:
    if len(kinds) == 1:
        return next(iter(kinds))
    return float if kinds == {int, float} else str


def _as(value: Any, kind: type) -> Any:
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    return float(value) if kind is float else json.dumps(value)


def _operations(plan: Plan, names: Sequence[str]) -> Iterator[tuple[str, Values]]:
    size: tuple[int, int] | None
    if isinstance(plan.start, Mix):
        mix = plan.start
        yield from _operations(mix.parts[0], names)
        partners = [str(names[row_of(part)]) for part in mix.parts[1:]]
        yield mix.step, {"partners": ", ".join(partners), **_flat(mix.drawn)}
        size = None
    else:
        size = plan.start.width, plan.start.height
    for op in plan.ops:
        if isinstance(op, Warp):
            yield op.step, _geometry(op, size)
            size = op.width, op.height
        elif isinstance(op, Erase):
            yield op.step, {"rects": len(op.rects)}
        else:
            yield op.step, _flat(op.drawn)


def _geometry(warp: Warp, size: tuple[int, int] | None) -> Values:
    a, b, _, d, e, _, g, h, _ = warp.matrix
    canvas = {"width": warp.width, "height": warp.height}
    if warp.field is not None or g or h:
        return {"bent": warp.field is not None, "perspective": bool(g or h), **canvas}
    mirrored = a * e - b * d < 0
    if mirrored:  # take it out at the left, where what remains turns less
        upright = abs(math.degrees(math.atan2(-d, -a))) <= 90
        a, b, d, e = (-a, b, -d, e) if upright else (a, -b, d, -e)
    across, turn = math.hypot(a, d), math.atan2(d, a)
    found: Values = {
        "mirrored_x": mirrored and upright,
        "mirrored_y": mirrored and not upright,
        "turn_deg": math.degrees(turn),
        "shear_deg": math.degrees(math.atan2(a * b + d * e, a * e - b * d)),
        "scale_x": across,
        "scale_y": (a * e - b * d) / across,
    }
    if size is not None and abs(b) < _ALIGNED and abs(d) < _ALIGNED:
        first, _, left, _, fifth, top = warp.matrix[:6]
        found["at_x"] = min(left, first * size[0] + left) + 0.0  # no -0.0
        found["at_y"] = min(top, fifth * size[1] + top) + 0.0
    return {**found, **canvas}


def _flat(drawn: Mapping[str, Any], before: str = "") -> Values:
    """Values within values get names of several parts; what has no type of FiftyOne's becomes JSON."""
    found: Values = {}
    for key, value in drawn.items():
        name = re.sub(r"\W+", "_", f"{before}{key}", flags=re.ASCII).strip("_")
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{name}_"))
        elif isinstance(value, bool | int | float | str):
            found[name] = value
        elif isinstance(value, np.generic):
            found[name] = value.item()
        elif isinstance(value, list | tuple) and all(type(one) in {int, float} for one in value):
            found[name] = [float(one) for one in value]
        elif value is not None:
            found[name] = json.dumps(value, default=str)
    return found
