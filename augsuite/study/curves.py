"""What runs logged over their epochs, arm by arm."""

from __future__ import annotations

from collections.abc import Collection

from augsuite.study.store import Store
from augsuite.study.summary import Summary

Curves = dict[str, dict[str, list[list[tuple[float, float]]]]]
"""Value -> arm -> one curve for each seed -> (epoch, value)."""

_MOST = 4  # values


def logged(summary: Summary, store: Store, arms: Collection[str]) -> Curves:
    """The study's metric and others of its kind, and losses, where complete runs logged them at several epochs.

    Args:
        summary: which runs are complete, and what metrics there are.
        store: where the runs are.
        arms: whose curves are wanted.

    Returns:
        At most four values: the study's metric first, then losses.
    """
    state = summary.state
    complete = {(arm.arm, seed) for arm in summary.arms for seed in arm.values if arm.arm in arms}
    metrics = {state.metric, *(effect.metric for effect in summary.explored)}
    found: Curves = {}
    for run in state.runs:
        seeds: dict[str, list[tuple[float, float]]] = {}
        for line in store.curves(run.digest) if (run.arm, run.seed) in complete else ():
            for name, value in line.items():
                if name in metrics or "loss" in name:
                    seeds.setdefault(name, []).append((line["step"], value))
        for name, points in seeds.items():
            if len(points) > 1:
                found.setdefault(name, {}).setdefault(run.arm, []).append(points)
    names = sorted(found, key=lambda name: (name != state.metric, "loss" not in name))[:_MOST]
    return {name: found[name] for name in names}
