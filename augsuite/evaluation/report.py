"""All that is said of a model's predictions, as plain values: for the terminal, for JSON and for the page."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from augsuite.dataset.tables import Dataset
from augsuite.evaluation.coco import Category, Evaluator
from augsuite.evaluation.detections import Detections
from augsuite.evaluation.labels import (
    Scores,
    calibration,
    evaluate_labels,
    label_confusion,
    per_image_labels,
)
from augsuite.evaluation.mistakes import confusion, errors_per_image, mistakes
from augsuite.evaluation.predictions import LabelScores
from augsuite.evaluation.voc import voc_categories

Metric = Literal["coco", "voc"]

BACKGROUND = "(background)"
WORST = 12


class BadImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that a detector does badly on.

    Attributes:
        row: of the dataset's images.
        image: its name.
        errors: false alarms and missed objects together.
        alarms: detections that find nothing.
        missed: objects that are not found.
    """

    row: int
    image: str
    errors: int
    alarms: int
    missed: int


class VocNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """A category by Pascal's rule, in percent; see `augsuite.evaluation.voc.VocCategory`."""

    name: str
    objects: int
    ap: float
    ap11: float


class DetectionReport(msgspec.Struct, frozen=True, kw_only=True):
    """How good detections are.

    Attributes:
        images: how many were judged.
        images_without_predictions: of these, those of which nothing was predicted.
        objects: to be found.
        detections: how many there are.
        metrics: COCO's twelve numbers, or Pascal's two, in percent.
        categories: COCO's numbers of each.
        voc: Pascal's numbers of each; empty where COCO's were asked for.
        threshold: detections of at least this score count below; it has the best F1 unless it was given.
        precision: share of those that are hits, in percent, at IoU 0.5.
        recall: share of the objects that they find, in percent.
        curves: category -> precision at recalls 0, 0.01, ... 1 at IoU 0.5, in percent.
        names: of the rows and columns of `confusion`.
        confusion: objects of a row's category taken for a column's; see `augsuite.evaluation.confusion`.
        worst: the images with most errors, the worst first.
    """

    images: int
    images_without_predictions: int
    objects: int
    detections: int
    metrics: dict[str, float]
    categories: list[Category]
    voc: list[VocNumbers]
    threshold: float
    precision: float
    recall: float
    curves: dict[str, list[float]]
    names: list[str]
    confusion: list[list[int]]
    worst: list[BadImage]


def detection_report(
    data: Dataset, detections: Detections, *, metric: Metric = "coco", threshold: float | None = None
) -> DetectionReport:
    """Judge detections.

    Args:
        data: the ground truth.
        detections: what a model found.
        metric: whose numbers to give.
        threshold: the least score for what is counted, not ranked; None for the one with the best F1.

    Raises:
        DataError: if a row lies outside the dataset, or a number is not finite.
    """
    judged = Evaluator(data, detections)
    made = mistakes(judged, threshold)
    errors = errors_per_image(judged, made)
    alarms = np.bincount(detections.image_rows[made.alarms], minlength=len(data))
    found = voc_categories(data, detections) if metric == "voc" else []
    if metric == "voc":
        values = {"mAP": [each.ap for each in found], "mAP11": [each.ap11 for each in found]}
        metrics = {name: float(np.mean(numbers)) for name, numbers in values.items() if numbers}
    else:
        metrics = judged.scores.metrics()
    precision = judged.scores.precision[
        0, :, np.argsort(judged.category_order), 0
    ]  # of the dataset's categories in turn
    return DetectionReport(
        images=len(data),
        images_without_predictions=len(data) - len(np.unique(detections.image_rows)),
        objects=len(judged.wanted),
        detections=len(detections),
        metrics=metrics,
        categories=judged.by_category(),
        voc=[VocNumbers(name=each.name, objects=each.objects, ap=each.ap, ap11=each.ap11) for each in found],
        threshold=made.threshold,
        precision=100.0 * made.precision,
        recall=100.0 * made.recall,
        curves={
            str(name): (100.0 * precision[row]).tolist()
            for row, name in enumerate(data.categories.names)
            if precision[row, 0] > -1
        },
        names=[*map(str, data.categories.names), BACKGROUND],
        confusion=confusion(judged, made).tolist(),
        worst=[
            BadImage(
                row=int(row),
                image=str(data.images.names[row]),
                errors=int(errors[row]),
                alarms=int(alarms[row]),
                missed=int(errors[row] - alarms[row]),
            )
            for row in np.argsort(-errors, kind="stable")[:WORST]
            if errors[row]
        ],
    )


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """A bin of a calibration: images whose confidence lies above `low` and up to `high`; None where it is empty."""

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


class WrongImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that a classifier is sure of, and wrong.

    Attributes:
        row: of the dataset's images.
        image: its name.
        labels: what it is.
        predicted: what was said.
        score: how surely.
    """

    row: int
    image: str
    labels: list[str]
    predicted: str
    score: float


class LabelReport(msgspec.Struct, frozen=True, kw_only=True):
    """How good labels are.

    Attributes:
        images: how many have a label and a prediction, and were judged.
        images_without_predictions: how many others there are of which nothing was predicted.
        metrics: `top1`, `top5`, and `ece`, the expected calibration error where scores are probabilities; in percent.
        categories: category -> the share of its images whose surest label is right, in percent.
        calibration: bins of the calibration; empty where scores are no probabilities.
        names: of the rows and columns of `confusion`.
        confusion: images of a row's category taken for a column's.
        worst: wrong with most confidence, the surest first.
    """

    images: int
    images_without_predictions: int
    metrics: dict[str, float]
    categories: dict[str, float]
    calibration: list[Bin]
    names: list[str]
    confusion: list[list[int]]
    worst: list[WrongImage]


def label_report(data: Dataset, found: LabelScores) -> LabelReport:
    """Judge labels; images of which nothing was predicted are left out.

    Args:
        data: the ground truth.
        found: what a classifier said.

    Raises:
        DataError: if a score is NaN.
    """
    own, scores = data.take(found.image_rows), found.scores
    metrics = evaluate_labels(own, scores)
    if not found.complete:
        metrics.pop("top5", None)
    probable = scores.size > 0 and scores.min() >= 0 and scores.max() <= 1 + 1e-6
    measured = calibration(own, scores) if probable else None
    right = per_image_labels(own, scores)
    return LabelReport(
        images=int((~np.isnan(right)).sum()),
        images_without_predictions=len(data) - len(own),
        metrics={name: value for name, value in metrics.items() if "/" not in name}
        | ({"ece": measured.error} if measured else {}),
        categories={name.partition("/")[2]: value for name, value in metrics.items() if name.startswith("top1/")},
        calibration=[]
        if measured is None
        else [
            Bin(
                low=float(measured.edges[at]),
                high=float(measured.edges[at + 1]),
                images=int(count),
                confidence=float(measured.confidence[at]) if count else None,
                accuracy=float(measured.accuracy[at]) if count else None,
            )
            for at, count in enumerate(measured.images)
        ],
        names=[*map(str, data.categories.names)],
        confusion=label_confusion(own, scores).tolist(),
        worst=_wrong(data, found, right == 0),
    )


def _wrong(data: Dataset, found: LabelScores, wrong: np.ndarray) -> list[WrongImage]:
    if not wrong.any():
        return []
    said: np.ndarray = found.scores.argmax(axis=1)
    sure: Scores = found.scores.max(axis=1)
    names, table = data.categories.names, data.annotations
    rows = np.flatnonzero(wrong)
    listed = []
    for at in rows[np.argsort(-sure[rows], kind="stable")][:WORST].tolist():
        row = int(found.image_rows[at])
        own = data.rows_of(row)
        labels = dict.fromkeys(table.category_rows[own[~table.is_box[own] & ~table.ignore[own]]].tolist())
        listed.append(
            WrongImage(
                row=row,
                image=str(data.images.names[row]),
                labels=[str(names[label]) for label in labels],
                predicted=str(names[said[at]]),
                score=float(sure[at]),
            )
        )
    return listed
