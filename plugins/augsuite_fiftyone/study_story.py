"""A study as plain JSON: what the panel in the App shows without the study's folder. Pure: FiftyOne is not imported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from augsuite import StudyResults

KEY = "augsuite_study"
"""Where it stands in the `info` of a FiftyOne dataset."""

VERSION = 1
"""A panel refuses another one, instead of showing half of it."""

_POINTS = 120  # of a curve


def story(
    results: StudyResults, runs: Sequence[Mapping[str, Any]], views: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What the panel needs to know.

    Args:
        results: the study's.
        runs: the runs that are label fields: `arm`, `seed`, `field`, the study's metric of it, and from which score on it is shown.
        views: arm -> kind -> `name` and `images` of a saved view.
    """
    headings, rows = results.table()
    short = {name: arm.effect.verdict for name, arm in results.arms.items() if arm.effect is not None}
    said = {each.arm: " ".join(f"{each.verdict}{each.text}".split()) for each in results.verdicts()}
    arms = []
    for name, arm in results.arms.items():
        effect = arm.effect
        arms.append(
            {
                "arm": name,
                "mean": arm.mean,
                "values": {str(seed): value for seed, value in arm.values.items()},
                "effect": None
                if effect is None
                else {
                    "mean": effect.mean,
                    "low": effect.low,
                    "high": effect.high,
                    "seeds": list(effect.seeds),
                    "differences": list(effect.differences),
                },
                "mark": results.mark(name),
                "verdict": arm.verdict,
                "said": said.get(name, ""),
                "policy": _lines(results.state.arms[name].policy.get("steps") or []),
                "config": results.state.arms[name].config,
                "views": dict(views.get(name, {})),
            }
        )
    plain: dict[str, Any] = _finite(
        {
            "version": VERSION,
            "study": results.name,
            "question": results.question(),
            "headline": results.headline(),
            "metric": results.metric,
            "reference": results.reference,
            "images": len(results.val),
            "headings": headings,
            "rows": [
                [*row[:-1], _with_failures(short.get(row[0], row[-1]), results.arms[row[0]].failed)] for row in rows
            ],
            "arms": arms,
            "runs": [dict(run) for run in runs],
            "curves": {
                name: {arm: [_thinned(points) for points in seeds] for arm, seeds in lines.items()}
                for name, lines in results.curves.items()
            },
        }
    )
    return plain


def _with_failures(verdict: str, failed: int) -> str:
    """The verdict in a word or two; the whole of it stands in the sentence on the arm."""
    return f"{verdict}; {failed} failed" if failed and "failed" not in verdict else verdict


def _lines(steps: Sequence[Any]) -> list[str]:
    """A policy as it stands in a study file, a line for each step."""
    return [
        str(yaml.safe_dump(step, default_flow_style=True, sort_keys=False, width=math.inf)).strip() for step in steps
    ]


def _thinned(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    """At most 120 points of a curve, evenly chosen, with the first and the last."""
    count = len(points)
    if count <= _POINTS:
        return [list(point) for point in points]
    return [list(points[round(at * (count - 1) / (_POINTS - 1))]) for at in range(_POINTS)]


def _finite(value: Any) -> Any:
    """JSON has no NaN: None instead."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
