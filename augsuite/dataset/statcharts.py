"""The charts of the statistics page as inline SVG: no script, no font and no colour of their own; its style sheet colours them.

Where the pointer rests on a mark, the browser shows the mark's title.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from augsuite.dataset.stats import SizeCount

_WIDTH = 760
_ROW = 26
_NAMES, _VALUES = 170, 210  # columns left and right of bars
_SIDE = 360  # of a map
_LABELS = 18  # letters of a category's name
_BUBBLE = 26  # largest radius
_DARK = 0.55  # opacity from which letters must be light


def bars(rows: Sequence[tuple[str, int, str]], title: str, color: str = "mark") -> str:
    """Horizontal bars with a name before and a number behind each.

    Args:
        rows: name, value, and what stands behind the value.
        title: what they count, for a reader who does not see them.
        color: a class of the style sheet.
    """
    longest = max((value for _, value, _ in rows), default=0) or 1
    height = _ROW * len(rows) + 6
    parts = [_head(_WIDTH, height, title)]
    for at, (name, value, note) in enumerate(rows):
        y = _ROW * at + 3
        width = value / longest * (_WIDTH - _NAMES - _VALUES)
        parts += [
            f'<text class="label" x="{_NAMES - 10}" y="{y + 16}" text-anchor="end">{escape(_short(name, 22))}<title>{escape(name)}</title></text>',
            f'<rect class="{color}" x="{_NAMES}" y="{y + 3}" width="{max(width, 1.0 if value else 0.0):.1f}" height="{_ROW - 8}" rx="2"/>',
            f'<text class="number" x="{_NAMES + width + 8:.1f}" y="{y + 16}">{value:,}<tspan class="soft" dx="8">{escape(note)}</tspan></text>',
        ]
    return "".join([*parts, "</svg>"])


def heat(
    counts: Sequence[Sequence[int]], title: str, across: str, down: str, aspect: float = 1.0, over: str = ""
) -> str:
    """A map of counts; the stronger the colour, the more.

    Args:
        counts: rows from the top, each from the left. The colour grows with the square root, so that few are seen beside many.
        title: what it counts.
        across: what runs from left to right.
        down: what runs from top to bottom.
        aspect: width over height of what the map stands for.
        over: SVG to draw above, in units of the map's sides: 0 to 1.
    """
    width = _SIDE if aspect >= 1 else _SIDE * max(aspect, 0.4)
    height = _SIDE if aspect <= 1 else _SIDE / min(aspect, 2.5)
    most = max((value for row in counts for value in row), default=0) or 1
    across_step, down_step = width / max(len(counts[0]), 1), height / max(len(counts), 1)
    parts = [_head(_SIDE + 30, height + 30, title)]
    parts.append(f'<rect class="field" x="24" y="2" width="{width:.1f}" height="{height:.1f}"/><g class="heat">')
    parts += [
        f'<rect x="{24 + x * across_step:.2f}" y="{2 + y * down_step:.2f}" width="{across_step + 0.2:.2f}" height="{down_step + 0.2:.2f}" '
        f'opacity="{(value / most) ** 0.5:.3f}"/>'
        for y, row in enumerate(counts)
        for x, value in enumerate(row)
        if value
    ]
    parts.append("</g>")
    if over:
        parts.append(f'<g transform="translate(24 2) scale({width:.1f} {height:.1f})">{over}</g>')
    parts += [
        f'<text class="tick" x="{24 + width / 2:.1f}" y="{height + 22:.1f}" text-anchor="middle">{escape(across)}</text>',
        f'<text class="tick" transform="translate(14 {2 + height / 2:.1f}) rotate(-90)" text-anchor="middle">{escape(down)}</text>',
    ]
    return "".join([*parts, "</svg>"])


def outlines(shapes: Sequence[tuple[float, float]]) -> str:
    """Anchors as rings at their width and height, for `heat`'s `over`."""
    return "".join(
        f'<circle class="anchor" cx="{width:.4f}" cy="{height:.4f}" r="0.014"><title>{width:.3f} x {height:.3f}</title></circle>'
        for width, height in shapes
    )


def matrix(names: Sequence[str], values: Sequence[Sequence[int]], title: str) -> str:
    """Of the images with the category of a row, the percentage that also has that of a column."""
    count = len(names)
    cell = min(40.0, (_WIDTH - _NAMES - 50) / max(count, 1))
    top = 92
    parts = [_head(_WIDTH, top + cell * count + 6, title)]
    for at, name in enumerate(names):
        x, y = _NAMES + cell * (at + 0.5), top + cell * (at + 0.5)
        said, short = escape(name), escape(_short(name, _LABELS))
        parts += [
            f'<text class="label" x="{_NAMES - 8}" y="{y + 5:.1f}" text-anchor="end">{short}<title>{said}</title></text>',
            f'<text class="label" transform="translate({x + 4:.1f} {top - 8}) rotate(-50)">{short}<title>{said}</title></text>',
        ]
    for row, counts in enumerate(values):
        for column, met in enumerate(counts):
            x, y = _NAMES + cell * column, top + cell * row
            share = met / (counts[row] or 1)
            square = f'<rect class="{{}}" x="{x:.1f}" y="{y:.1f}" width="{cell - 2:.1f}" height="{cell - 2:.1f}"{{}}/>'
            said = (
                f"{names[row]}: in {met:,} images"
                if row == column
                else f"{met:,} of the {counts[row]:,} images with {names[row]} also have {names[column]}"
            )
            parts.append(f"<g><title>{escape(said)}</title>" + square.format("field", ""))
            if row != column:
                strong = " strong" if share > _DARK else ""
                parts += [
                    square.format("cell", f' opacity="{share:.3f}"'),
                    f'<text class="in{strong}" x="{x + cell / 2 - 1:.1f}" y="{y + cell / 2 + 3:.1f}" text-anchor="middle">{_percent(share)}</text>',
                ]
            parts.append("</g>")
    return "".join([*parts, "</svg>"])


def sizes(found: Sequence[SizeCount], title: str) -> str:
    """Image sizes as discs at their width and height, as large in area as there are images of that size."""
    left, top, right, bottom = 60.0, 16.0, _WIDTH - 20.0, 330.0
    widest = max((each.width for each in found), default=1) * 1.08
    highest = max((each.height for each in found), default=1) * 1.12
    scale = min((right - left) / widest, (bottom - top) / highest)
    most = max((each.images for each in found), default=1)
    right, top = left + widest * scale, bottom - highest * scale
    parts = [_head(_WIDTH, bottom + 44, title)]
    parts.append(f'<path class="axis" d="M{left},{top:.1f} V{bottom} H{right:.1f}"/>')
    parts += [
        f'<circle class="disc" cx="{left + each.width * scale:.1f}" cy="{bottom - each.height * scale:.1f}" '
        f'r="{max(_BUBBLE * (each.images / most) ** 0.5, 2):.1f}"><title>{each.width} x {each.height}: {each.images:,} images</title></circle>'
        for each in found
    ]
    for each in found[:3]:
        x, y = left + each.width * scale, bottom - each.height * scale
        parts.append(
            f'<text class="number" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{each.width} x {each.height}</text>'
        )
    parts += [
        f'<text class="tick" x="{(left + right) / 2:.1f}" y="{bottom + 22}" text-anchor="middle">width, px (to {widest / 1.08:,.0f})</text>',
        f'<text class="tick" transform="translate({left - 14} {(top + bottom) / 2:.1f}) rotate(-90)" text-anchor="middle">height, px (to {highest / 1.12:,.0f})</text>',
    ]
    return "".join([*parts, "</svg>"])


def curve(points: Sequence[tuple[int, float]], title: str, chosen: int) -> str:
    """Mean IoU over the number of anchors: a dot for each with its value."""
    left, right, top, bottom = 20, _WIDTH - 20, 30, 150
    low = min((value for _, value in points), default=0.0)
    high = max((value for _, value in points), default=1.0)
    parts = [_head(_WIDTH, bottom + 44, title)]
    placed = [
        (
            left + 20 + at * (right - left - 40) / max(len(points) - 1, 1),
            bottom - (value - low) / ((high - low) or 1) * (bottom - top),
        )
        for at, (_, value) in enumerate(points)
    ]
    parts.append(f'<polyline class="line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in placed)}"/>')
    for (x, y), (k, value) in zip(placed, points, strict=True):
        parts += [
            f'<circle class="dot{" chosen" if k == chosen else ""}" cx="{x:.1f}" cy="{y:.1f}" r="{6 if k == chosen else 4}"/>',
            f'<text class="number" x="{x:.1f}" y="{y - 11:.1f}" text-anchor="middle">{value:.3f}</text>',
            f'<text class="tick" x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{k}</text>',
        ]
    parts.append(f'<text class="tick" x="{(left + right) / 2}" y="{bottom + 40}" text-anchor="middle">anchors</text>')
    return "".join([*parts, "</svg>"])


def _head(width: float, height: float, title: str) -> str:
    return f'<svg class="chart" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">'


def _percent(share: float) -> str:
    return "0" if share == 0 else "<1" if share < 0.005 else f"{100 * share:.0f}"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}\N{HORIZONTAL ELLIPSIS}"
