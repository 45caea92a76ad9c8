"""What the predictions of a study's runs say image by image: which images an arm gets better or worse."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.dataset import Dataset
from augsuite.errors import DataError
from augsuite.evaluation import Evaluator, LabelScores, image_precision, per_image_labels, read_labels, read_results
from augsuite.study.bootstrap import Measure
from augsuite.study.store import State, Store

_SHOWN = 12
MOST_DETECTIONS = 2_000_000
"""Of all runs together; beyond that, resampling the test images would take many minutes, and is left out."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """One test image under two arms.

    Attributes:
        name: of its file.
        row: in the images measured on.
        before: the reference's value on it, over seeds; in percent: average precision at IoU 0.5 of the image alone, or the share
            of seeds that named its label.
        after: the arm's.
        up: seeds in which the arm is better.
        down: seeds in which it is worse.
        seed: the one whose change is nearest to the mean of all; of equal ones the first.
    """

    name: str
    row: int
    before: float
    after: float
    up: int
    down: int
    seed: int


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What an arm did to single images, on the seeds that it shares with the reference.

    Attributes:
        arm: its name.
        better: images that gained, over seeds.
        worse: images that lost.
        same: images that did neither.
        gains: those that gained most, most first; at most 12.
        losses: those that lost most.
    """

    arm: str
    better: int
    worse: int
    same: int
    gains: list[Image]
    losses: list[Image]


@dataclass(frozen=True, slots=True)
class Predicted:
    """One run's predictions.

    Attributes:
        values: `(I,)` of each image; NaN where there is nothing to be found.
        measure: the metric on resampled images.
        size: how many detections there are.
        judged: the boxes, matched with the ground truth; None for image labels.
        labels: the image labels' scores, of every image; None for boxes.
    """

    values: NDArray[np.float64]
    measure: Measure
    size: int
    judged: Evaluator | None = None
    labels: LabelScores | None = None


def read_predicted(state: State, store: Store, val: Dataset) -> dict[str, dict[int, Predicted]]:
    """The predictions of the runs that are complete, arm by arm, seed by seed; of trainers that leave none, nothing.

    Args:
        state: the question.
        store: where its runs are.
        val: the images measured on.
    """
    known: dict[str, Predicted | None] = {}
    found: dict[str, dict[int, Predicted]] = {name: {} for name in state.arms}
    for run in state.runs:
        if run.digest not in known:
            done = store.record(run.digest) is not None
            known[run.digest] = _tried(store.run_folder(run.digest), state.metric, val) if done else None
        one = known[run.digest]
        if one is not None:
            found[run.arm][run.seed] = one
    return found


def _tried(folder: Path, metric: str, val: Dataset) -> Predicted | None:
    """A run's predictions. Where they are damaged, nothing, and a warning: the study's numbers are in the records."""
    try:
        return _read(folder, metric, val)
    except (DataError, OSError) as error:
        warnings.warn(f"predictions are left out: {error}", RuntimeWarning, stacklevel=2)
        return None


def _read(folder: Path, metric: str, val: Dataset) -> Predicted | None:
    boxes, labels = folder / "predictions.json", folder / "predictions.csv"
    if metric == "AP" and boxes.exists():
        judged = Evaluator(val, read_results(boxes, val))
        return Predicted(image_precision(judged), judged.ap_of, len(judged.detections), judged=judged)
    if metric == "top1" and labels.exists():
        said = read_labels(labels, val)
        if len(said.image_rows) == len(val):
            values = per_image_labels(val, said.scores)
            return Predicted(values, _Share(values), len(val), labels=said)
    return None


def sizes(predicted: Mapping[str, Mapping[int, Predicted]]) -> int:
    """How many detections there are in all."""
    return sum(one.size for runs in predicted.values() for one in runs.values())


@dataclass(frozen=True, slots=True)
class _Share:
    """The mean of what is known of the images, each as often as it stands there."""

    values: NDArray[np.float64]

    def __call__(self, times: NDArray[np.int64]) -> float | None:
        known = np.isfinite(self.values) & (times > 0)
        return float(np.average(self.values[known], weights=times[known])) if known.any() else None


def changes(predicted: Mapping[str, Mapping[int, Predicted]], reference: str, val: Dataset) -> list[Changes]:
    """Which images each arm gets better or worse than the reference.

    One image of one seed says little: what a seed happens to get right is averaged out only over seeds. The lists are there to
    look at, not to prove anything.
    """
    found = []
    for arm in predicted:
        seeds, before, after = paired(predicted, arm, reference)
        if arm == reference or not seeds:
            continue
        moved = (after - before).mean(axis=0)
        rows = np.flatnonzero(np.isfinite(moved))
        order = rows[np.argsort(-moved[rows], kind="stable")]
        gained, lost = order[moved[order] > 0], order[moved[order] < 0]
        found.append(
            Changes(
                arm=arm,
                better=len(gained),
                worse=len(lost),
                same=len(rows) - len(gained) - len(lost),
                gains=[_image(val, row, seeds, before[:, row], after[:, row]) for row in gained[:_SHOWN].tolist()],
                losses=[_image(val, row, seeds, before[:, row], after[:, row]) for row in lost[::-1][:_SHOWN].tolist()],
            )
        )
    return found


def paired(
    predicted: Mapping[str, Mapping[int, Predicted]], arm: str, reference: str
) -> tuple[list[int], NDArray[np.float64], NDArray[np.float64]]:
    """The seeds that an arm shares with the reference, and on them `(S, I)` the values of the reference and of the arm."""
    ours, theirs = predicted.get(arm, {}), predicted.get(reference, {})
    seeds = sorted(ours.keys() & theirs.keys())
    return seeds, np.array([theirs[seed].values for seed in seeds]), np.array([ours[seed].values for seed in seeds])


def _image(
    val: Dataset, row: int, seeds: Sequence[int], before: NDArray[np.float64], after: NDArray[np.float64]
) -> Image:
    """What became of one image; `before` and `after` are its values, `(S,)` over `seeds`."""
    moved = after - before
    return Image(
        name=str(val.images.names[row]),
        row=row,
        before=float(before.mean()),
        after=float(after.mean()),
        up=int((moved > 0).sum()),
        down=int((moved < 0).sum()),
        seed=seeds[int(np.abs(moved - moved.mean()).argmin())],
    )
