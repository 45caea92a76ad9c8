"""The charts of the evaluation page as inline SVG; its style sheet colours them. Where the pointer rests, the browser shows a title."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from augsuite.dataset.colors import class_color

_WIDTH = 760
_SIDE = 360  # of a square chart
_LEFT, _TOP = 44, 12
_NAMES = 170
_LETTERS = 18  # of a category's name
_DARK = 0.55  # opacity from which letters must be light


def _head(width: float, height: float, title: str, css: str = "chart") -> str:
    return f'<svg class="{css}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">'


def _axes(across: str, down: str) -> list[str]:
    """A square with ticks at every fifth, 0 to 1, and names."""
    parts = [f'<rect class="field" x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}"/>']
    for step in range(6):
        share = step / 5
        x, y = _place(share, share)
        parts += [
            f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_TOP + _SIDE}"/>',
            f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + _SIDE}" y2="{y:.1f}"/>',
            f'<text class="tick" x="{x:.1f}" y="{_TOP + _SIDE + 18}" text-anchor="middle">{share:g}</text>',
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:g}</text>',
        ]
    middle = _TOP + _SIDE / 2
    return [
        *parts,
        f'<text class="tick" x="{_LEFT + _SIDE / 2}" y="{_TOP + _SIDE + 38}" text-anchor="middle">{escape(across)}</text>',
        f'<text class="tick" transform="translate(11 {middle}) rotate(-90)" text-anchor="middle">{escape(down)}</text>',
    ]


def _place(x: float, y: float) -> tuple[float, float]:
    return _LEFT + x * _SIDE, _TOP + (1 - y) * _SIDE


def precision_recall(curves: Mapping[str, Sequence[float]], colors: Mapping[str, int], most: int) -> str:
    """Precision over recall, a line for each category.

    Args:
        curves: category -> percent at recalls 0 to 1 in equal steps.
        colors: category -> its number, which gives the colour.
        most: so many lines at most, the first.
    """
    shown = list(curves)[:most]
    parts = [_head(_WIDTH, _TOP + _SIDE + 46, "precision over recall"), *_axes("recall", "precision")]
    for at, name in enumerate(shown):
        values = curves[name]
        color = f"rgb{class_color(colors[name])}"
        points = [_place(step / max(len(values) - 1, 1), value / 100) for step, value in enumerate(values)]
        said = f"{name}: AP50 {sum(values) / len(values):.1f}"
        y = _TOP + 14 + 22 * at
        parts += [
            f'<polyline class="line" style="stroke: {color}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"><title>{escape(said)}</title></polyline>',
            f'<rect x="{_LEFT + _SIDE + 24}" y="{y - 10}" width="12" height="12" rx="2" style="fill: {color}"/>',
            f'<text x="{_LEFT + _SIDE + 44}" y="{y}">{escape(_short(name, 24))} <tspan class="soft">{sum(values) / len(values):.1f}</tspan><title>{escape(said)}</title></text>',
        ]
    return "".join([*parts, "</svg>"])


def reliability(bins: Sequence[tuple[float, float, int, float | None, float | None]]) -> str:
    """Accuracy over confidence: a bar for each bin, and where it should end.

    Args:
        bins: low, high, images, mean confidence and accuracy in [0, 1]; None where a bin is empty.
    """
    total = sum(each[2] for each in bins) or 1
    parts = [_head(_LEFT + _SIDE + 20, _TOP + _SIDE + 46, "accuracy over confidence", "chart square")]
    parts += _axes("confidence", "accuracy")
    for low, high, images, confidence, accuracy in bins:
        if confidence is None or accuracy is None:
            continue
        (x0, top), (x1, bottom) = _place(low, accuracy), _place(high, 0)
        said = f"confidence {100 * confidence:.1f} %, right {100 * accuracy:.1f} %: {images:,} images, {images / total:.1%}"
        middle, wished = _place(confidence, confidence)
        parts.append(
            f'<g><title>{said}</title><rect class="mark" x="{x0 + 1:.1f}" y="{top:.1f}" width="{x1 - x0 - 2:.1f}" height="{max(bottom - top, 1):.1f}" '
            f'opacity="{0.25 + 0.75 * (images / total) ** 0.5:.2f}"/><circle class="wish" cx="{middle:.1f}" cy="{wished:.1f}" r="3.5"/></g>'
        )
    (x0, y0), (x1, y1) = _place(0, 0), _place(1, 1)
    parts.append(f'<line class="ideal" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}"/>')
    return "".join([*parts, "</svg>"])


def confusion(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """What was taken for what: rows are the truth; the colour is the share of a row."""
    cell = min(44.0, (_WIDTH - _NAMES - 60) / max(len(names), 1))
    top = 112
    parts = [_head(_WIDTH, top + cell * len(names) + 8, "confusion matrix")]
    for at, name in enumerate(names):
        x, y = _NAMES + cell * (at + 0.5), top + cell * (at + 0.5)
        said, short = escape(name), escape(_short(name, _LETTERS))
        parts += [
            f'<text class="label" x="{_NAMES - 8}" y="{y + 5:.1f}" text-anchor="end">{short}<title>{said}</title></text>',
            f'<text class="label" transform="translate({x + 4:.1f} {top - 8}) rotate(-50)">{short}<title>{said}</title></text>',
        ]
    for row, values in enumerate(counts):
        total = sum(values) or 1
        for column, value in enumerate(values):
            x, y = _NAMES + cell * column, top + cell * row
            share = value / total
            square = f'<rect class="{{}}" x="{x:.1f}" y="{y:.1f}" width="{cell - 2:.1f}" height="{cell - 2:.1f}"{{}}/>'
            said = f"{names[row]} taken for {names[column]}: {value:,}, {share:.1%} of the row"
            parts.append(f"<g><title>{escape(said)}</title>" + square.format("field", ""))
            if value:
                right = "cell" if row == column else "cell wrong"
                parts.append(square.format(right, f' opacity="{share:.3f}"'))
                if cell >= 24:
                    parts.append(
                        f'<text class="in{" strong" if share > _DARK else ""}" x="{x + cell / 2 - 1:.1f}" y="{y + cell / 2 + 3:.1f}" text-anchor="middle">{_brief(value)}</text>'
                    )
            parts.append("</g>")
    return "".join([*parts, "</svg>"])


def _brief(value: int) -> str:
    return f"{value}" if value < 10_000 else f"{value / 1000:.0f}k" if value < 1_000_000 else f"{value / 1e6:.0f}M"


def _short(name: str, letters: int) -> str:
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
