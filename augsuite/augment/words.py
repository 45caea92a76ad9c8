"""What a plan drew, in words; and what became of the boxes that it leaves out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from augsuite.augment.plan import Erase, Mix, Plan, Warp
from augsuite.augment.render import Pool, begin, partner, possible, row_of, see
from augsuite.boxes import Boxes, bounds, corner_points
from augsuite.dataset import Sample

_LONG = 90  # characters of drawn values


def words(plan: Plan) -> list[str]:
    """One line for each operation of a plan, beginning with the id of its step."""
    lines: list[str] = []
    if isinstance(plan.start, Mix):
        mix = plan.start
        rows = [row_of(part) for part in mix.parts]
        for place, part in enumerate(mix.parts):
            lines += [f"image {rows[place]}: {line}" for line in words(part)]
        lines.append(f"{mix.step}: images {', '.join(map(str, rows))}; {_values(mix.drawn)}".rstrip("; "))
        size = None
    else:
        size = (plan.start.width, plan.start.height)
    for op in plan.ops:
        if isinstance(op, Warp):
            lines.append(f"{op.step}: {_warp(op, size)}")
            size = (op.width, op.height)
        elif isinstance(op, Erase):
            lines.append(f"{op.step}: {len(op.rects)} rectangle{'' if len(op.rects) == 1 else 's'} hidden")
        else:
            lines.append(f"{op.step}: {_values(op.drawn)}")
    return lines


def _values(drawn: Mapping[str, Any]) -> str:
    text = ", ".join(f"{key} {_value(value)}" for key, value in drawn.items())
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value)


def _warp(warp: Warp, size: tuple[int, int] | None) -> str:
    """A warp of a canvas whose size may not be known."""
    a, b, c, d, e, f, g, h, _ = warp.matrix
    canvas = f"{warp.width} x {warp.height}"
    if warp.field is not None:
        return f"bent, {canvas}"
    if g or h:
        return f"seen in perspective, {canvas}"
    if b or d:
        if a == e == 0:
            return f"turned by a quarter, {canvas}" if b * d < 0 else f"mirrored about a diagonal, {canvas}"
        across, turn = math.hypot(a, d), math.degrees(math.atan2(d, a))
        down = (a * e - b * d) / across
        slant = math.degrees(math.atan2(a * b + d * e, a * e - b * d))
        parts = [f"turned {turn:.1f} deg"] * (abs(turn) > 0.05) + [f"sheared {slant:.1f} deg"] * (abs(slant) > 0.05)
        return ", ".join(parts + _scaled(across, down)) or "hardly moved"
    parts = ["mirrored left and right"] * (a < 0) + ["mirrored top and bottom"] * (e < 0) + _scaled(abs(a), abs(e))
    if size is not None:
        left, right = sorted((c, a * size[0] + c))
        top, bottom = sorted((f, e * size[1] + f))
        if left <= 0 and top <= 0 and right >= warp.width and bottom >= warp.height:
            if (right - left, bottom - top) != (warp.width, warp.height):
                parts.append(f"cut to {canvas} from ({0 - left:.0f}, {0 - top:.0f})")  # never "-0"
        else:
            parts.append(f"placed at ({left:.0f}, {top:.0f}) on {canvas}")
    return ", ".join(parts) or "as it was"


def _scaled(across: float, down: float) -> list[str]:
    if abs(across - 1) < 5e-4 and abs(down - 1) < 5e-4:
        return []
    return [f"scaled {across:.2f}" + (f" x {down:.2f}" if abs(across - down) > 5e-3 else "")]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A box that a plan leaves out.

    Attributes:
        box: `(4,)` float64 XYXY in pixels of the result, of what is seen of it; NaN where nothing is, or a mix came after.
        label: its label.
        reason: why it is left out.
        row: its annotation; -1 where it comes from none.
        seen_frac: what share of its original area is seen, in [0, 1].
        whole: `(4,)` the upright box around where its corners would be, also beyond the canvas; NaN where they would be beyond a horizon,
            or a mix came after.
    """

    box: Boxes
    label: int
    reason: str
    row: int
    seen_frac: float
    whole: Boxes


def dropped(plan: Plan, sample: Sample, pool: Pool | None = None) -> list[Dropped]:
    """The boxes that a plan leaves out, and why.

    Args:
        plan: what was drawn.
        sample: what it was drawn for.
        pool: where the partners of a mix step are.
    """
    return list(_dropped(plan, sample, pool))


def _dropped(plan: Plan, sample: Sample, pool: Pool | None) -> Iterator[Dropped]:
    nowhere = np.full(4, np.nan)
    if isinstance(plan.start, Mix):
        for place, part in enumerate(plan.start.parts):
            given = sample if place == 0 else partner(pool, row_of(part), plan.start.step)
            for one in _dropped(part, given, pool):
                yield replace(one, box=nowhere, whole=nowhere, reason=f"before {plan.start.step}: {one.reason}")
    start = begin(plan, sample, pool)
    course, placed, share = see(plan, start)
    stays = possible(plan, share)
    for row, (box, seen) in enumerate(zip(placed, share, strict=True)):
        width, height = box[2:] - box[:2]
        by = next((warp.step for warp in plan.warps if warp.keep is not None and row not in warp.keep), None)
        if seen <= 0:
            reason = "nothing of it is seen"
        elif by is not None:
            reason = f"left out by {by}"
        elif not stays[row]:
            reason = f"{seen:.1%} visible, under {plan.min_visible_frac:.0%}"
        elif min(width, height) < plan.min_size:
            reason = f"{width:.1f} x {height:.1f} px, under {plan.min_size:g}"
        else:
            continue
        whole = bounds(course.forward(corner_points(start.boxes[row : row + 1])[0])[None])[0]
        yield Dropped(
            box=box if seen > 0 else nowhere,
            label=int(start.labels[row]),
            reason=reason,
            row=int(start.rows[row]),
            seen_frac=float(seen),
            whole=whole if np.isfinite(whole).all() else nowhere,
        )
