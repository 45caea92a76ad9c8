"""Charts of a report beside effects and curves: effect over dose, gain over cost, intervals over seeds; as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from augsuite.study.charts import shortened, signed_tick, ticks
from augsuite.study.effects import Effect
from augsuite.study.report_words import span
from augsuite.study.summary import MARKS

_WIDTH, _HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 20, 14, 48
_LETTER, _LINE = 7.4, 17  # of a label: width of a letter, height
_SMALL = 240, 150


class _Frame:
    """Where values lie in a chart, and its grid."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], width: int = _WIDTH, height: int = _HEIGHT
    ) -> None:
        self.x, self.y = _padded(*x), _padded(*y)
        self.left, self.right, self.top, self.bottom = _LEFT, width - _RIGHT, _TOP, height - _BOTTOM

    def across(self, value: float) -> float:
        return self.left + (value - self.x[0]) / (self.x[1] - self.x[0]) * (self.right - self.left)

    def down(self, value: float) -> float:
        """Values beyond the chart are drawn at its edge."""
        value = min(max(value, self.y[0]), self.y[1])
        return self.bottom - (value - self.y[0]) / (self.y[1] - self.y[0]) * (self.bottom - self.top)

    def lines(self, wanted: int = 6) -> list[str]:
        parts = []
        for tick in ticks(*self.y, wanted):
            y = self.down(tick)
            parts += [
                f'<line class="{"grid" if tick else "zero"}" x1="{self.left}" y1="{y:.1f}" x2="{self.right}" y2="{y:.1f}"/>',
                f'<text class="tick" x="{self.left - 8}" y="{y + 4:.1f}" text-anchor="end">{signed_tick(tick)}</text>',
            ]
        return parts

    def names(self, below: str, beside: str) -> list[str]:
        middle = (self.top + self.bottom) / 2
        return [
            f'<text class="tick" x="{(self.left + self.right) / 2:.1f}" y="{self.bottom + 40}" text-anchor="middle">{escape(below)}</text>',
            f'<text class="tick" transform="translate(12 {middle:.1f}) rotate(-90)" text-anchor="middle">{escape(beside)}</text>',
        ]


def dose(doses: Sequence[Any], effects: Sequence[Effect], name: str, metric: str, reference: str) -> str:
    """Effect over dose: a point with its interval for each arm of a grid, and a line through them.

    Args:
        doses: what is varied, one value for each effect; numbers lie to scale, anything else at equal distances.
        effects: at least one.
        name: of what is varied.
        metric: its name.
        reference: the arm compared with, which is the line of zero.
    """
    numeric = all(isinstance(each, int | float) and not isinstance(each, bool) for each in doses)
    places = [float(each) for each in doses] if numeric else [float(row) for row in range(len(doses))]
    frame = _Frame((min(places), max(places)), _reach(effects))
    said = "; ".join(f"{each} {span(effect)}" for each, effect in zip(doses, effects, strict=True))
    parts = [_head(_WIDTH, _HEIGHT, f"Effect on {metric} over {name}: {said}"), *frame.lines()]
    for place, each in zip(places, doses, strict=True):
        parts.append(
            f'<text class="tick" x="{frame.across(place):.1f}" y="{frame.bottom + 20}" text-anchor="middle">{escape(shortened(str(each), 14))}</text>'
        )
    ordered = sorted(zip(places, effects, strict=True), key=lambda pair: pair[0])
    path = " ".join(f"{frame.across(place):.1f},{frame.down(effect.mean):.1f}" for place, effect in ordered)
    parts.append(f'<polyline class="thread" points="{path}"/>')
    for place, each, effect in zip(places, doses, effects, strict=True):
        parts.append(_point(frame, frame.across(place), effect, f"{name} {each}"))
    return "".join([*parts, *frame.names(name, f"effect on {metric}, from {reference}"), "</svg>"])


def gain(points: Sequence[tuple[str, float, Effect | None]], cost: str, metric: str) -> str:
    """Effect over cost: up is better, left is cheaper.

    Args:
        points: arm, what it costs, and its effect; None for the reference, which stands at zero.
        cost: what the cost is, with its unit.
        metric: its name.
    """
    effects = [effect for _, _, effect in points if effect is not None]
    frame = _Frame((min(x for _, x, _ in points), max(x for _, x, _ in points)), _reach(effects))
    said = "; ".join(f"{arm} {x:.2f}, {span(effect) if effect else 'the reference'}" for arm, x, effect in points)
    parts = [_head(_WIDTH, _HEIGHT, f"Effect on {metric} over {cost}: {said}"), *frame.lines()]
    parts += [
        f'<text class="tick" x="{frame.across(tick):.1f}" y="{frame.bottom + 20}" text-anchor="middle">{tick:g}</text>'
        for tick in ticks(*frame.x)
    ]
    taken = [(frame.across(x), frame.down(effect.mean if effect else 0.0), 12.0, 12.0) for _, x, effect in points]
    labels = []
    for arm, x, effect in points:
        at = frame.across(x), frame.down(effect.mean if effect else 0.0)
        if effect is None:
            parts.append(
                f'<circle class="ring" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="5.5"><title>{escape(arm)}: {x:.2f}</title></circle>'
            )
        else:
            parts.append(_point(frame, at[0], effect, f"{arm}: {x:.2f}"))
        labels.append(_label(frame, shortened(arm, 22), at, taken))
    return "".join([*parts, *labels, *frame.names(cost, f"effect on {metric}"), "</svg>"])


def narrowing(arm: str, looks: Sequence[Effect], until: float, metric: str) -> str:
    """How an arm's interval became narrower with each seed.

    Args:
        arm: its name.
        looks: its effect on the first seed, the first two, and so on.
        until: half the width that was wanted.
        metric: its name.
    """
    last = looks[-1]
    frame = _Frame((1, max(len(looks), 2)), _reach(looks), *_SMALL)
    frame.left = 40
    parts = [_head(*_SMALL, f"{arm}: {metric} after {len(looks)} seeds {span(last)}, wanted ± {until:g}", "small")]
    parts += frame.lines(4)
    for count, effect in enumerate(looks, 1):
        x = frame.across(count)
        parts.append(_point(frame, x, effect, f"{count} seed{'' if count == 1 else 's'}", 3.5))
        if len(looks) <= 8 or count in {1, len(looks)} or count % 5 == 0:
            parts.append(f'<text class="tick" x="{x:.1f}" y="{frame.bottom + 18}" text-anchor="middle">{count}</text>')
    middle = (frame.left + frame.right) / 2
    parts.append(
        f'<text class="label" x="{middle:.1f}" y="{frame.bottom + 38}" text-anchor="middle">{escape(shortened(arm, 24))}</text>'
    )
    return "".join([*parts, "</svg>"])


def _point(frame: _Frame, x: float, effect: Effect, name: str, radius: float = 5.5) -> str:
    bar = ""
    if effect.low is not None and effect.high is not None:
        ends = frame.down(effect.low), frame.down(effect.high)
        bar = f'<line class="interval thin" x1="{x:.1f}" y1="{ends[0]:.1f}" x2="{x:.1f}" y2="{ends[1]:.1f}"/>'
    return (
        f'<g class="{MARKS[effect.verdict]}">{bar}<circle class="mean" cx="{x:.1f}" cy="{frame.down(effect.mean):.1f}" r="{radius}">'
        f"<title>{escape(name)}: {span(effect)}</title></circle></g>"
    )


def _label(frame: _Frame, text: str, at: tuple[float, float], taken: list[tuple[float, float, float, float]]) -> str:
    """A name beside its point, where it covers no other; nothing where there is no such place: the pointer still tells it."""
    width = len(text) * _LETTER
    x, y = at
    for middle, height in ((x + 10 + width / 2, y), (x - 10 - width / 2, y), (x, y - _LINE), (x, y + _LINE)):
        inside = frame.left <= middle - width / 2 and middle + width / 2 <= frame.right
        inside = inside and frame.top <= height - _LINE / 2 and height + _LINE / 2 <= frame.bottom
        own = (middle, height, width, float(_LINE))
        if inside and not any(
            abs(own[0] - o[0]) < (own[2] + o[2]) / 2 and abs(own[1] - o[1]) < (own[3] + o[3]) / 2 for o in taken
        ):
            taken.append(own)
            return (
                f'<text class="label" x="{middle:.1f}" y="{height + 5:.1f}" text-anchor="middle">{escape(text)}</text>'
            )
    return ""


def _reach(effects: Sequence[Effect]) -> tuple[float, float]:
    """Zero, every mean, and the intervals as far as they do not dwarf the means."""
    means = [0.0, *(effect.mean for effect in effects)]
    spread = 3 * ((max(means) - min(means)) or 1.0)
    ends = [end for effect in effects for end in (effect.low, effect.high) if end is not None]
    low, high = min([*means, *ends]), max([*means, *ends])
    return max(low, min(means) - spread), min(high, max(means) + spread)


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = 0.07 * (high - low) or max(abs(high) * 0.1, 0.1)
    return low - pad, high + pad


def _head(width: int, height: int, title: str, kind: str = "") -> str:
    return f'<svg class="chart {kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
