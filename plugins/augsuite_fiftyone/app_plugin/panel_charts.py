"""The charts of the study panel as Plotly's plain data. Pure: FiftyOne is not imported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

MARKS = {"good": "#2ca02c", "bad": "#d62728", "open": "#9e9e9e", "reference": "#9e9e9e"}
"""The colour of a verdict."""

_COLORS = ("#3f8efc", "#ff9f1c", "#b565d9", "#2ec4b6", "#e15bac", "#a0783c", "#7bc043", "#5c6bc0")
_REFERENCE = "#9e9e9e"
_ROW, _MARGIN = 34, 80  # pixels
_SPREAD = 1.0  # of what was seen: how far beyond it an interval is drawn

Trace = dict[str, Any]


def intervals(arms: Sequence[Mapping[str, Any]], metric: str) -> tuple[list[Trace], dict[str, Any]]:
    """Each arm's effect with its interval, and every seed's difference as a dot.

    An interval of two seeds may be a hundred times as wide as what was seen: the axis then ends before it.

    Args:
        arms: of a study's story, those with an effect.
        metric: what the effect is on.

    Returns:
        Traces and layout. The first trace has a point for each arm, with the arm as its y.
    """
    names = [arm["arm"] for arm in arms]
    effects = [arm["effect"] for arm in arms]
    means = [effect["mean"] for effect in effects]
    colors = [MARKS.get(arm["mark"], MARKS["open"]) for arm in arms]
    mean: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "effect",
        "x": means,
        "y": names,
        "ids": names,
        "text": [f"{arm['arm']}: {span(arm['effect'])}, {arm['verdict']}" for arm in arms],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"size": 11, "color": colors},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [_reach(effect["high"], effect["mean"]) for effect in effects],
            "arrayminus": [_reach(effect["mean"], effect["low"]) for effect in effects],
            "color": "#9e9e9e",
            "thickness": 2,
            "width": 5,
        },
    }
    seeds: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "each seed",
        "x": [value for effect in effects for value in effect["differences"]],
        "y": [arm["arm"] for arm in arms for _ in arm["effect"]["differences"]],
        "text": [f"seed {seed}" for effect in effects for seed in effect["seeds"]],
        "hovertemplate": "%{text}: %{x:+.2f}<extra></extra>",
        "marker": {"size": 6, "symbol": "line-ns-open", "color": "#9e9e9e"},
    }
    seen = [0.0, *means, *seeds["x"]]
    ends = [end for effect in effects for end in (effect["low"], effect["high"]) if end is not None]
    room = _SPREAD * ((max(seen) - min(seen)) or 1.0)
    low, high = max(min([*seen, *ends]), min(seen) - room), min(max([*seen, *ends]), max(seen) + room)
    pad = 0.05 * (high - low)
    layout = _layout(_ROW * len(arms) + _MARGIN)
    layout["xaxis"] |= {"title": {"text": f"difference in {metric}"}, "range": [low - pad, high + pad]}
    layout["yaxis"] |= {"autorange": "reversed", "type": "category"}
    layout["shapes"] = [{"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": "#9e9e9e", "width": 1, "dash": "dot"}}]  # fmt: skip
    return [mean, seeds], layout


def curves(
    lines: Mapping[str, Sequence[Sequence[Sequence[float]]]], name: str, reference: str
) -> tuple[list[Trace], dict[str, Any]]:
    """A value over epochs: the mean over seeds of each arm as a line, each seed as a faint one.

    Args:
        lines: arm -> seeds -> points (epoch, value).
        name: of the value.
        reference: the arm that is drawn grey and dashed.

    Returns:
        Traces and layout.
    """
    faint: list[Trace] = []
    strong: list[Trace] = []
    others = [arm for arm in lines if arm != reference]
    for arm, seeds in lines.items():
        color = _REFERENCE if arm == reference else _COLORS[others.index(arm) % len(_COLORS)]
        line = {"color": color, "width": 2.5, "dash": "dash" if arm == reference else "solid"}
        mean = _mean(seeds)
        if mean:
            strong.append(_line(arm, mean, line, shown=True))
        if len(seeds) > 1 or not mean:
            for place, seed in enumerate(seeds):
                named = not mean and place == 0
                faint.append({**_line(arm, seed, {**line, "width": 1}, shown=named), "opacity": 0.35})
    layout = _layout(260)
    layout["xaxis"] |= {"title": {"text": "epoch"}}
    layout["yaxis"] |= {"title": {"text": name}}
    return faint + strong, layout


def span(effect: Mapping[str, Any]) -> str:
    """`+2.5 [1.6, 3.5]`, or without the interval where there is none; as the command line writes it."""
    mean = f"{effect['mean']:+z.1f}"
    if effect["low"] is None or effect["high"] is None:
        return mean
    return f"{mean} [{effect['low']:z.1f}, {effect['high']:z.1f}]"


def _line(arm: str, points: Sequence[Sequence[float]], line: Mapping[str, Any], *, shown: bool) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": arm,
        "legendgroup": arm,
        "showlegend": shown,
        "x": [point[0] for point in points],
        "y": [point[1] for point in points],
        "line": dict(line),
    }


def _mean(seeds: Sequence[Sequence[Sequence[float]]]) -> list[list[float]]:
    """The mean over seeds at the epochs that all of them have; nothing where they have none in common."""
    by_epoch: dict[float, list[float]] = {}
    for seed in seeds:
        for epoch, value in seed:
            if value is not None:
                by_epoch.setdefault(epoch, []).append(value)
    return [
        [epoch, math.fsum(values) / len(values)]
        for epoch, values in sorted(by_epoch.items())
        if len(values) == len(seeds)
    ]


def _reach(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else high - low


def _layout(height: int) -> dict[str, Any]:
    """What both charts have in common; the App sets the colours of text and background."""
    return {
        "height": height,
        "margin": {"l": 10, "r": 10, "t": 10, "b": 45},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"automargin": True, "zeroline": False},
        "yaxis": {"automargin": True, "zeroline": False},
    }
