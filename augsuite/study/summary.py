"""From records to answers: what `study run`, `study show` and the report say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import msgspec

from augsuite.dataset import Dataset
from augsuite.protocols import RunRecord
from augsuite.study.bootstrap import joint
from augsuite.study.design import Rule, Series
from augsuite.study.effects import Effect, Values, Verdict, contrast, correct, describe, mean_of, measure, sd_of
from augsuite.study.predicted import MOST_DETECTIONS, Changes, changes, read_predicted, sizes
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
        images_s: training images in a second of wall time, while as many runs went on beside it as the engine let.
        extra_frac: by how much more CPU time training took than the reference's on the same seeds; 0.1 is a tenth more.
        peak_bytes: most memory that a run needed; None where it was not measured.
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
    images_s: float | None
    extra_frac: float | None
    peak_bytes: int | None
    failed: int
    missing: int


class Contrast(msgspec.Struct, frozen=True, kw_only=True):
    """What the arms of a rule say beyond their effects.

    Attributes:
        rule: that made the arms.
        what: in words.
        effects: corrected as a family of their own; `arm` is the row, the pair or the setting they are about.
    """

    rule: Rule
    what: str
    effects: list[Effect]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a study found so far.

    Attributes:
        state: the question.
        arms: in the order of the study file.
        contrasts: of the arms that rules made: from row to row, interactions, trends.
        explored: the effects on the other metrics; each metric corrected for its arms, none for there being several metrics.
        classes: the effects on the metric of each class, all of them corrected together.
        joint: the effects on the study's metric with intervals that count the test images as a draw, too, corrected over the arms.
        changes: what each arm did to single images.
        errors: arm and seed -> one line, for the runs that failed.
        seconds: wall time of all complete runs.
    """

    state: State
    arms: list[Arm]
    contrasts: list[Contrast]
    explored: list[Effect]
    classes: list[Effect]
    joint: list[Effect]
    changes: list[Changes]
    errors: dict[str, str]
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether every run has its record."""
        return not any(arm.failed or arm.missing for arm in self.arms)


def summarize(state: State, store: Store, val: Dataset | None = None) -> Summary:
    """Read the records of a study and judge its arms.

    Args:
        state: the question.
        store: where its runs are.
        val: the images measured on, if predictions are to be read as well: for `joint`, which is empty where seeds were added until
            the answer was clear, or where there are too many detections, and for `changes`.
    """
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
    sequential = state.until is not None
    predicted = {} if val is None else read_predicted(state, store, val)
    joined = val is not None and not sequential and 0 < sizes(predicted) <= MOST_DETECTIONS
    main = values[state.metric]
    effects = {effect.arm: effect for effect in measure({state.metric: main}, state.reference, sequential)}
    return Summary(
        state=state,
        arms=[_arm(state, name, records, main[name], effects.get(name), errors) for name in state.arms],
        contrasts=[found for series in state.designs for found in _contrasts(series, main, state.metric, sequential)],
        explored=[effect for name in others for effect in measure({name: values[name]}, state.reference, sequential)],
        classes=measure({name: values[name] for name in per_class}, state.reference, sequential),
        joint=joint(
            {arm: {seed: one.measure for seed, one in runs.items()} for arm, runs in predicted.items()},
            state.reference,
            state.metric,
            len(val),
        )
        if val is not None and joined
        else [],
        changes=[] if val is None else changes(predicted, state.reference, val),
        errors=errors,
        seconds=sum(record.seconds for arm in records.values() for record in arm.values()),
    )


def _values(records: Mapping[str, Mapping[int, RunRecord]], metric: str) -> dict[str, dict[int, float]]:
    return {
        arm: {seed: record.metrics[metric] for seed, record in runs.items() if metric in record.metrics}
        for arm, runs in records.items()
    }


def _contrasts(series: Series, values: Values, metric: str, sequential: bool) -> Iterator[Contrast]:
    """What the rule of a series asks beside each arm's effect."""
    rows: dict[str, dict[str, float]] = {}
    what = ""
    if series.rule == "cumulative":
        what = "what each row adds to the one above it"
        rows = {arm: {arm: 1.0, above: -1.0} for above, arm in pairwise([series.reference, *series.arms])}
    elif series.rule == "factorial":
        what = "interaction: what both together do beyond the sum of what each does alone"
        rows = {both: {both: 1.0, one: -1.0, two: -1.0, series.reference: 1.0} for one, two, both in series.pairs}
    elif series.rule == "grid":
        what = "linear trend: by how much the metric changes from the lowest value to the highest"
        rows = _trend(series)
    if rows:
        yield Contrast(rule=series.rule, what=what, effects=correct(contrast(values, rows, metric, sequential)))


def _trend(series: Series) -> dict[str, dict[str, float]]:
    """The weights of a straight line through a grid of one number, times the range; nothing for other grids."""
    names = {name for at in series.at for name in at}
    doses = [value for at in series.at for value in at.values()]
    if len(names) != 1 or not all(isinstance(dose, int | float) and not isinstance(dose, bool) for dose in doses):
        return {}
    middle = sum(doses) / len(doses)
    square = sum((dose - middle) ** 2 for dose in doses)
    if not square:
        return {}
    slopes = {
        arm: (dose - middle) / square * (max(doses) - min(doses)) for arm, dose in zip(series.arms, doses, strict=True)
    }
    return {names.pop(): slopes}


def _arm(
    state: State,
    name: str,
    all_records: Mapping[str, Mapping[int, RunRecord]],
    values: dict[int, float],
    effect: Effect | None,
    errors: Mapping[str, str],
) -> Arm:
    records, reference = all_records[name], all_records[state.reference]
    asked = [run.seed for run in state.runs if run.arm == name]
    failed = sum(f"{name}, seed {seed}" in errors for seed in asked)
    common = records.keys() & reference.keys()
    mine, theirs = (sum(runs[seed].cpu_seconds for seed in common) for runs in (records, reference))
    seconds = sum(record.seconds for record in records.values())
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
        images_s=images / seconds if seconds else None,
        extra_frac=mine / theirs - 1 if theirs else None,
        peak_bytes=max((record.peak_bytes for record in records.values() if record.peak_bytes), default=None),
        failed=failed,
        missing=len(asked) - len(records) - failed,
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
    metric = summary.state.metric
    steps = {
        effect.arm: effect for found in summary.contrasts if found.rule == "cumulative" for effect in found.effects
    }
    headings = ["arm", metric, f"effect on {metric}", "on the row above", "seeds", "ms/image", "verdict"]
    rows = [
        [
            arm.arm,
            number(arm.mean),
            interval(arm.effect),
            interval(steps.get(arm.arm)),
            str(len(arm.effect.seeds) if arm.effect else len(arm.values)),
            number(arm.augment_ms, 2),
            arm.verdict,
        ]
        for arm in summary.arms
    ]
    return (headings, rows) if steps else (headings[:3] + headings[4:], [row[:3] + row[4:] for row in rows])


def contrast_lines(summary: Summary) -> list[tuple[str, list[str]]]:
    """What the arms of rules say beyond the table: a heading, and a line for each; rows of cumulative tables stand in the table."""
    return [
        (
            f"{found.rule}: {found.what}",
            [f"{effect.arm}: {interval(effect)}: {_in_words(found.rule, effect)}" for effect in found.effects],
        )
        for found in summary.contrasts
        if found.rule != "cumulative" and found.effects
    ]


_WORDS: Mapping[str, Mapping[str, str]] = {
    "factorial": {
        "helps": "more than the sum of both",
        "hurts": "less than the sum of both",
        "identical": "none (with every seed exactly the sum of both)",
    },
    "grid": {"helps": "rises", "hurts": "falls", "identical": "flat (no slope with any seed)"},
}
"""An interaction or a slope is no arm: it neither helps nor hurts, and has no partner to equal."""


def _in_words(rule: Rule, effect: Effect) -> str:
    return _WORDS.get(rule, {}).get(effect.verdict) or describe(effect)


def number(value: float | None, digits: int = 1) -> str:
    """A number for a reader; a dash where there is none."""
    return "-" if value is None else f"{value:z.{digits}f}"


def interval(effect: Effect | None, digits: int = 1) -> str:
    """`+2.5 [1.6, 3.5]`, or without the interval where there is none."""
    if effect is None:
        return ""
    mean = f"{effect.mean:+z.{digits}f}"  # z: what rounds to 0 is not -0.0
    if effect.low is None or effect.high is None:
        return mean
    return f"{mean} [{effect.low:z.{digits}f}, {effect.high:z.{digits}f}]"
