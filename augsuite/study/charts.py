"""The report's charts as inline SVG: no script, no font and no colour of their own; the page's style sheet colours them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from augsuite.study.effects import Effect
from augsuite.study.report_words import span
from augsuite.study.summary import MARKS

Curves = Mapping[str, Sequence[Sequence[tuple[float, float]]]]
"""Arm -> one curve for each seed -> (epoch, value)."""

_WIDTH = 760
_LABELS, _NUMBERS = 150, 160  # columns left and right of the forest plot
_ROW = 38
_TIP = 6
_APART = 15  # least distance of two labels
COLORS = 7
"""How many colours the style sheet has for arms beside the reference; further arms take them again."""


def forest(
    effects: Sequence[Effect], axis: str, wider: Mapping[str, tuple[float, float]] | None = None, said: str = "Effects"
) -> str:
    """Each arm's effect with its interval on one axis, and every seed's difference as a dot.

    An interval of two seeds may be a hundred times as wide as what was seen; such an end is cut and drawn as an arrow, so that the
    others stay readable. The numbers beside it are whole.

    Args:
        effects: one for each arm; at least one.
        axis: what is told, with its unit.
        wider: arm -> ends of a second interval, drawn as a thin line behind the first.
        said: what the chart shows, for a reader who does not see it.
    """
    low, high = _range(effects, wider or {})
    left, right = _LABELS, _WIDTH - _NUMBERS
    height = _ROW * len(effects) + 58

    def at(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    rows = "; ".join(f"{effect.arm} {span(effect)}" for effect in effects)
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(f"{said}, {axis}: {rows}")}">'
    ]
    bottom = _ROW * len(effects) + 12
    for tick in ticks(low, high):
        kind = "zero" if tick == 0 else "grid"
        parts += [
            f'<line class="{kind}" x1="{at(tick):.1f}" y1="4" x2="{at(tick):.1f}" y2="{bottom}"/>',
            f'<text class="tick" x="{at(tick):.1f}" y="{bottom + 17}" text-anchor="middle">{signed_tick(tick)}</text>',
        ]
    for row, effect in enumerate(effects):
        y = _ROW * row + 26
        parts.append(
            f'<text class="label" x="0" y="{y + 5}">{escape(shortened(effect.arm, 20))}<title>{escape(effect.arm)}</title></text>'
        )
        parts.append(f'<g class="{MARKS[effect.verdict]}">')
        parts += [
            f'<circle class="seed" cx="{at(value):.1f}" cy="{y + 9}" r="2.5"><title>seed {seed}: {value:+.2f}</title></circle>'
            for seed, value in zip(effect.seeds, effect.differences, strict=True)
        ]
        ends = (wider or {}).get(effect.arm)
        if ends is not None:
            first, last = (min(max(end, low), high) for end in ends)
            parts.append(f'<line class="joint" x1="{at(first):.1f}" y1="{y}" x2="{at(last):.1f}" y2="{y}"/>')
        if effect.low is not None and effect.high is not None:
            first, last = max(effect.low, low), min(effect.high, high)
            parts.append(f'<line class="interval" x1="{at(first):.1f}" y1="{y}" x2="{at(last):.1f}" y2="{y}"/>')
            if effect.low < low:
                parts.append(f'<path class="tip" d="M{left - _TIP},{y} l{_TIP},-5 v10 z"/>')
            if effect.high > high:
                parts.append(f'<path class="tip" d="M{right + _TIP},{y} l-{_TIP},-5 v10 z"/>')
        parts.append(f'<circle class="mean" cx="{at(effect.mean):.1f}" cy="{y}" r="5.5"/></g>')
        parts.append(f'<text class="number" x="{_WIDTH}" y="{y + 5}" text-anchor="end">{span(effect)}</text>')
    parts.append(
        f'<text class="tick" x="{(left + right) / 2}" y="{bottom + 38}" text-anchor="middle">'
        f"{escape(axis)}</text></svg>"
    )
    return "".join(parts)


def curves(lines: Curves, name: str, reference: str) -> str:
    """A value over epochs: each arm's mean over seeds as a line in a band from its lowest to its highest seed, its name at the end.

    Args:
        lines: the curves; at least one with at least two points.
        name: of the value.
        reference: the arm drawn in the colour of the text.
    """
    points = [point for arm in lines.values() for seed in arm for point in seed]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    high += (high - low) * 0.05 or 1.0
    left, right, top, bottom = 44, _WIDTH - 190, 12, 250

    def place(point: tuple[float, float]) -> str:
        x = left + (point[0] - first) / ((last - first) or 1) * (right - left)
        return f"{x:.1f},{bottom - (point[1] - low) / (high - low) * (bottom - top):.1f}"

    said = escape(f"{name} over epochs: {', '.join(lines)}")
    parts = [f'<svg class="chart" viewBox="0 0 {_WIDTH} {bottom + 42}" role="img" aria-label="{said}">']
    for tick in ticks(low, high):
        height = place((first, tick)).partition(",")[2]
        parts.append(f'<line class="grid" x1="{left}" y1="{height}" x2="{right}" y2="{height}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{float(height) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in ticks(first, last):
        x = place((tick, low)).partition(",")[0]
        parts.append(f'<text class="tick" x="{x}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text class="tick" x="{(left + right) / 2}" y="{bottom + 38}" text-anchor="middle">epoch</text>')
    bands, means, ends = [], [], []
    for row, (arm, seeds) in enumerate(lines.items()):
        color = color_class(row, arm == reference)
        shared = _shared(seeds)
        if not shared:  # seeds that were measured at different epochs have no mean
            bands += [f'<polyline class="faint {color}" points="{" ".join(map(place, seed))}"/>' for seed in seeds]
            continue
        if len(seeds) > 1:
            edge = [(epoch, max(values)) for epoch, values in shared]
            edge += [(epoch, min(values)) for epoch, values in reversed(shared)]
            bands.append(f'<polygon class="band {color}" points="{" ".join(map(place, edge))}"/>')
        mean = [(epoch, sum(values) / len(values)) for epoch, values in shared]
        means.append(
            f'<polyline class="line {color}" points="{" ".join(map(place, mean))}"><title>{escape(arm)}</title></polyline>'
        )
        ends.append((float(place(mean[-1]).partition(",")[2]), arm, color))
    parts += [*bands, *means]
    ends.sort()
    for y, (_, arm, color) in zip(_apart([y for y, _, _ in ends], bottom), ends, strict=True):
        parts += [
            f'<line class="line {color}" x1="{right + 8}" y1="{y:.1f}" x2="{right + 28}" y2="{y:.1f}"/>',
            f'<text class="end" x="{right + 34}" y="{y + 4:.1f}">{escape(shortened(arm, 20))}</text>',
        ]
    return "".join([*parts, "</svg>"])


def color_class(place: int, is_reference: bool) -> str:
    """The style sheet's class for an arm's colour."""
    return "ink" if is_reference else f"c{place % COLORS}"


def ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers between two: about `wanted` multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    # Multiples, not sums: no -1e-16 where 0 belongs.
    return [round(k * step, 12) + 0.0 for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _range(effects: Sequence[Effect], wider: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """What the axis shows: zero, every seed, and the intervals as far as they do not dwarf those."""
    seen = [0.0, *(value for effect in effects for value in (*effect.differences, effect.mean))]
    spread = (max(seen) - min(seen)) or 1.0
    ends = [end for effect in effects for end in (effect.low, effect.high) if end is not None]
    ends += [end for both in wider.values() for end in both]
    low = max(min([*seen, *ends]), min(seen) - spread)
    high = min(max([*seen, *ends]), max(seen) + spread)
    pad = 0.04 * (high - low) or 1.0  # where every difference is 0
    return low - pad, high + pad


def _shared(seeds: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, list[float]]]:
    """The epochs that every seed has, each with all values."""
    by_epoch: dict[float, list[float]] = {}
    for seed in seeds:
        for epoch, value in seed:
            by_epoch.setdefault(epoch, []).append(value)
    return [(epoch, values) for epoch, values in sorted(by_epoch.items()) if len(values) == len(seeds)]


def _apart(heights: Sequence[float], lowest: float) -> list[float]:
    """Sorted heights of labels, moved down where they would touch, then up where the last would leave the chart."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + _APART) if moved else height)
    limit = lowest
    for row in reversed(range(len(moved))):
        moved[row] = min(moved[row], limit)
        limit = moved[row] - _APART
    return moved


def signed_tick(value: float) -> str:
    """A tick of an axis of differences."""
    return "0" if value == 0 else f"{value:+g}".replace("-", "\N{MINUS SIGN}")


def shortened(text: str, length: int) -> str:
    """A name without its middle, where it is too long: arms of a rule differ at the end."""
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return f"{text[: length - 1 - end]}\N{HORIZONTAL ELLIPSIS}{text[-end:]}"
