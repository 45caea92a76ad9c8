"""From records to answers: what `study run`, `study show` and the report say."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from augsuite.protocols import RunRecord
from augsuite.study.effects import Effect, Verdict, describe, mean_of, measure, sd_of
from augsuite.study.store import State, Store


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table.

    Attributes:
        arm: its name.
        values: seed -> the study's metric, for the runs that are complete.
        mean: of `values`; None where there are none.
        sd: their standard deviation over seeds; None with fewer than two.
        effect: against the reference; None for the reference itself, and where no seed is shared with it.
        verdict: in words, with what qualifies it.
        augment_ms: CPU milliseconds to draw and render one training image, decoding included where it was not cached; None
            where it was not measured.
        train_ms: CPU milliseconds of the whole training per training image, augmentation included.
        failed: how many runs failed.
        missing: how many runs have not been trained.
    """

    arm: str
    values: dict[int, float]
    mean: float | None
    sd: float | None
    effect: Effect | None
    verdict: str
    augment_ms: float | None
    train_ms: float | None
    failed: int
    missing: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a study found so far.

    Attributes:
        state: the question.
        arms: in the order of the study file.
        explored: the effects on the other metrics; each metric corrected for its arms, none for there being several metrics.
        classes: the effects on the metric of each class, all of them corrected together.
        errors: arm and seed -> one line, for the runs that failed.
        seconds: wall time of all complete runs.
    """

    state: State
    arms: list[Arm]
    explored: list[Effect]
    classes: list[Effect]
    errors: dict[str, str]
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether every run has its record."""
        return not any(arm.failed or arm.missing for arm in self.arms)


def summarize(state: State, store: Store) -> Summary:
    """Read the records of a study and judge its arms."""
    records: dict[str, dict[int, RunRecord]] = {name: {} for name in state.arms}
    errors: dict[str, str] = {}
    for run in state.runs:
        record = store.record(run.digest)
        if record is not None:
            records[run.arm][run.seed] = record
        elif (error := store.error(run.digest)) is not None:
            errors[f"{run.arm}, seed {run.seed}"] = error
    names = dict.fromkeys(name for arm in records.values() for record in arm.values() for name in record.metrics)
    per_class = [name for name in names if name.startswith(f"{state.metric}/")]
    others = [name for name in names if "/" not in name and name != state.metric]

    values = {name: _values(records, name) for name in [state.metric, *per_class, *others]}
    effects = {effect.arm: effect for effect in measure({state.metric: values[state.metric]}, state.reference)}
    return Summary(
        state=state,
        arms=[
            _arm(state, name, records[name], values[state.metric][name], effects.get(name), errors)
            for name in state.arms
        ],
        explored=[effect for name in others for effect in measure({name: values[name]}, state.reference)],
        classes=measure({name: values[name] for name in per_class}, state.reference),
        errors=errors,
        seconds=sum(record.seconds for arm in records.values() for record in arm.values()),
    )


def _values(records: Mapping[str, Mapping[int, RunRecord]], metric: str) -> dict[str, dict[int, float]]:
    return {
        arm: {seed: record.metrics[metric] for seed, record in runs.items() if metric in record.metrics}
        for arm, runs in records.items()
    }


def _arm(
    state: State,
    name: str,
    records: Mapping[int, RunRecord],
    values: dict[int, float],
    effect: Effect | None,
    errors: Mapping[str, str],
) -> Arm:
    failed = sum(f"{name}, seed {seed}" in errors for seed in state.seeds)
    images = sum(record.images for record in records.values())
    augmented = [record for record in records.values() if record.augment_seconds is not None]
    rendered = sum(record.images for record in augmented)
    return Arm(
        arm=name,
        values=values,
        mean=mean_of(values),
        sd=sd_of(values),
        effect=effect,
        verdict=_verdict(name == state.reference, effect, failed),
        augment_ms=1000 * sum(r.augment_seconds or 0.0 for r in augmented) / rendered if rendered else None,
        train_ms=1000 * sum(record.cpu_seconds for record in records.values()) / images if images else None,
        failed=failed,
        missing=len(state.seeds) - len(records) - failed,
    )


def _verdict(is_reference: bool, effect: Effect | None, failed: int) -> str:
    said = "reference" if is_reference else describe(effect) if effect is not None else "no runs to compare"
    return f"{said}; {failed} failed" if failed else said


MARKS: Mapping[Verdict, str] = {
    "helps": "good",
    "hurts": "bad",
    "not shown": "open",
    "too few seeds": "open",
    "no spread": "open",
    "identical": "open",
}
"""How a verdict is coloured."""


def table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the table that the command line prints and the report repeats."""
    headings = ["arm", summary.state.metric, f"effect on {summary.state.metric}", "seeds", "ms/image", "verdict"]
    rows = [
        [
            arm.arm,
            number(arm.mean),
            interval(arm.effect),
            str(len(arm.effect.seeds) if arm.effect else len(arm.values)),
            number(arm.augment_ms, 2),
            arm.verdict,
        ]
        for arm in summary.arms
    ]
    return headings, rows


def number(value: float | None, digits: int = 1) -> str:
    """A number for a reader; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(effect: Effect | None, digits: int = 1) -> str:
    """`+2.5 [1.6, 3.5]`, or without the interval where there is none."""
    if effect is None:
        return ""
    mean = f"{effect.mean:+.{digits}f}"
    if effect.low is None or effect.high is None:
        return mean
    return f"{mean} [{effect.low:.{digits}f}, {effect.high:.{digits}f}]"
