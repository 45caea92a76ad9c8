"""Which boxes of a study's runs find what, ready to be put on labels. Pure: FiftyOne is not imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset import Dataset
from augsuite.dataset.overlaps import pairwise_iou
from augsuite.dataset.tables import ABSENT, Rows, objects
from augsuite.evaluation import Evaluator, best_threshold, mistakes
from augsuite.evaluation.matching import IGNORED

if TYPE_CHECKING:
    from augsuite import StudyResults

TP, FP, FN, SOME, LEFT_OUT = "tp", "fp", "fn", "some", "ignored"
"""What `eval` says. Of a prediction: a find, a false alarm, or neither, since it covers what does not count. Of an object: that all arms
find it, that none does, that some do."""

EVAL, FOUND_BY, ONLY, MISSED_BY, SIZE = "eval", "found_by", "only_found_by", "missed_by", "size"
"""Attributes of objects."""

OWNER = "study"
"""Of the extras that become those attributes."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One run that is shown as a label field.

    Attributes:
        arm: its arm.
        seed: its seed.
        field: what its field is called.
    """

    arm: str
    seed: int
    field: str


@dataclass(frozen=True, slots=True)
class Marked:
    """What became of a run's boxes from a score on, at IoU 0.5.

    Attributes:
        threshold: the score.
        rows: `(D,)` of its detections, by image, and then the surest first.
        evals: `(D,)` `tp`, `fp` or `ignored`, each.
        overlaps: `(D,)` IoU with the object that each finds; NaN where it finds none.
        instead: `(D,)` rows of the annotations of another category that false alarms cover; -1 for none.
        found: rows of the annotations that are found.
    """

    threshold: float
    rows: Rows
    evals: NDArray[np.object_]
    overlaps: NDArray[np.float64]
    instead: Rows
    found: Rows


def mark(judged: Evaluator, least: float | None) -> Marked:
    """Say of each box of a run whether it finds something, by COCO's matching at IoU 0.5.

    A threshold changes none of it: matching goes by falling score, so what a box finds does not depend on those below it.

    Args:
        judged: the run's boxes.
        least: the least score; None for that with the best F1 over all images.
    """
    threshold = best_threshold(judged) if least is None else least
    made = mistakes(judged, threshold)
    detections, data = judged.detections, judged.data
    count = len(detections)
    evals = np.full(count, LEFT_OUT, object)
    evals[judged.kept[judged.states[0, 0] != IGNORED]] = FP
    evals[made.hits[:, 0]] = TP
    overlaps = np.full(count, np.nan)
    overlaps[made.hits[:, 0]] = pairwise_iou(detections.boxes[made.hits[:, 0]], data.boxes(rows=made.hits[:, 1]))
    instead = np.full(count, -1, np.int64)
    instead[made.confused[:, 0]] = made.confused[:, 1]
    order = np.lexsort((-detections.scores, detections.image_rows))
    rows = order[detections.scores[order] >= threshold]
    return Marked(threshold, rows, evals[rows], overlaps[rows], instead[rows], made.hits[:, 1])


def attributes(data: Dataset, marked: Marked, each: slice) -> list[dict[str, Any]]:
    """What is said on the labels of some boxes of a run, beside category and score."""
    names = data.categories.names[data.annotations.category_rows]
    found = []
    for verdict, overlap, other in zip(
        marked.evals[each], marked.overlaps[each].tolist(), marked.instead[each].tolist(), strict=True
    ):
        said: dict[str, Any] = {EVAL: verdict}
        if verdict == TP:
            said["eval_iou"] = overlap
        if other >= 0:
            said["instead_of"] = str(names[other])
        found.append(said)
    return found


def with_verdicts(
    results: StudyResults, shown: Sequence[Shown], marked: Mapping[Shown, Marked], least: float | None
) -> Dataset:
    """The test images, with extras of their objects that say who found them.

    An arm finds an object where more than half of its seeds do, each from the score with its best F1 on (or from `least` on).

    Args:
        results: the study's.
        shown: the runs that are shown.
        marked: their boxes.
        least: as in `mark`.

    Returns:
        The images with `eval`, `found_by`, `only_found_by` and `size` on the objects that count, and `missed_by`: the fields of the
        runs that are shown and do not find it.
    """
    data = results.val
    judged = [one.judged for runs in results.predicted.values() for one in runs.values() if one.judged is not None]
    if not judged:
        return data
    total, wanted = len(data.annotations), judged[0].wanted
    known = {(run.arm, run.seed): marked[run].found for run in shown}
    finders: dict[str, NDArray[np.bool_]] = {}
    for arm, runs in results.predicted.items():
        times = np.zeros(total, np.int64)
        boxed = {seed: one.judged for seed, one in runs.items() if one.judged is not None}
        for seed, each in boxed.items():
            times[known[arm, seed] if (arm, seed) in known else mark(each, least).found] += 1
        if boxed:
            finders[arm] = 2 * times > len(boxed)
    found = np.array(list(finders.values()))[:, wanted]
    names = np.array(list(finders), object)
    missed = np.array([np.isin(wanted, marked[run].found, invert=True) for run in shown]).reshape(len(shown), -1)
    fields = np.array([run.field for run in shown], object)
    counts = found.sum(axis=0)
    columns = {
        EVAL: np.where(counts == 0, FN, np.where(counts == len(names), TP, SOME)),
        FOUND_BY: objects(names[by].tolist() for by in found.T),
        ONLY: objects(
            str(names[by][0]) if count == 1 and len(names) > 1 else ABSENT
            for by, count in zip(found.T, counts, strict=True)
        ),
        MISSED_BY: objects(fields[by].tolist() for by in missed.T),
        SIZE: np.where(np.isin(wanted, judged[0].small), "small", "larger"),
    }
    own = {}
    for name, values in columns.items():
        own[f"{OWNER}.{name}"] = np.full(total, ABSENT, object)
        own[f"{OWNER}.{name}"][wanted] = objects(values.tolist())
    # Ours first: where an extra of the dataset would have the same name in FiftyOne, it is that one which gets another.
    return replace(data, annotations=replace(data.annotations, extra={**own, **data.annotations.extra}))


def fields_of(
    results: StudyResults, seeds: Sequence[int] | Literal["all"] | None, taken: Sequence[str]
) -> Iterator[Shown]:
    """The runs that are to be shown, and what their fields are called.

    Args:
        results: the study's.
        seeds: which seeds; None for the first that each arm has. A field for one seed alone has the arm's name.
        taken: names that fields must not have.
    """
    used = set(taken)
    for arm, runs in results.predicted.items():
        have = sorted(runs)
        asked = have[:1] if seeds is None else have if seeds == "all" else [seed for seed in seeds if seed in runs]
        for seed in asked:
            name = plain_name(arm if len(asked) == 1 else f"{arm}_seed{seed}")
            field, number = name, 1
            while field in used:
                number += 1
                field = f"{name}_{number}"
            used.add(field)
            yield Shown(arm, seed, field)


def plain_name(arm: str) -> str:
    """An arm's name as a field of FiftyOne may be called: letters, digits and single underscores."""
    letters = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in arm)
    return "_".join(letters.split()) or "arm"
