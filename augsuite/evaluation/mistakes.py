"""Where a detector errs: its errors at one score threshold, the confusion matrix, and the images that it does worst on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.overlaps import assigned, overlaps
from augsuite.dataset.tables import Dataset, Rows
from augsuite.evaluation.coco import Evaluator, curves
from augsuite.evaluation.detections import Detections
from augsuite.evaluation.matching import HIT, IGNORED, IOUS


@dataclass(frozen=True, slots=True)
class Mistakes:
    """What became of each object and each detection that counts, at one score threshold and IoU 0.5.

    Attributes:
        threshold: detections below it were left out.
        hits: `(H, 2)` rows of a detection and of the annotation that it finds.
        confused: `(X, 2)` of a detection and of an annotation of another category that it covers; both are among the next two.
        alarms: `(A,)` rows of detections that find nothing of their category.
        missed: `(M,)` rows of annotations that nothing of their category finds.
    """

    threshold: float
    hits: Rows
    confused: Rows
    alarms: Rows
    missed: Rows

    @property
    def precision(self) -> float:
        """Share of the detections that are hits; 0 where there are none."""
        return len(self.hits) / max(len(self.hits) + len(self.alarms), 1)

    @property
    def recall(self) -> float:
        """Share of the objects that are found; 0 where there are none."""
        return len(self.hits) / max(len(self.hits) + len(self.missed), 1)


def best_threshold(judged: Evaluator) -> float:
    """The score from which on detections have the best F1 at IoU 0.5, over all images and categories together.

    Of equally good ones the highest; 0 where nothing was found at all.
    """
    live = np.flatnonzero(judged.states[0, 0] != IGNORED)
    if not len(live):
        return 0.0
    scores = judged.detections.scores[judged.kept[live]]
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(judged.states[0, 0, live[order]] == HIT)
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + max(len(judged.wanted), 1))
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores come together or not at all
    return float(scores[order][np.argmax(np.where(last, f1, -1.0))])


def mistakes(judged: Evaluator, threshold: float | None = None) -> Mistakes:
    """Sort detections and objects into hits, false alarms and misses.

    Hits are those of COCO's matching at IoU 0.5 within a category. What is left over, detections and objects of different
    categories, is paired where it overlaps by at least 0.5, the largest overlap first: those are confused (the classification
    errors of TIDE). Ignored objects and what finds them are left out.

    Args:
        judged: the detections.
        threshold: the least score; None for that of `best_threshold`.

    Source: the kinds of errors: Bolya et al. 2020, TIDE, section 2.2, arXiv:2008.08115.
    """
    least = best_threshold(judged) if threshold is None else threshold
    sure = judged.detections.scores[judged.kept] >= least
    state = judged.states[0, 0]
    hit = sure & (state == HIT)
    hits = np.stack([judged.kept[hit], judged.found[hit]], axis=1)
    alarms = judged.kept[sure & (state != HIT) & (state != IGNORED)]
    missed = np.setdiff1d(judged.wanted, hits[:, 1])
    data, detections = judged.data, judged.detections
    left, right, overlap = overlaps(
        detections.image_rows[alarms],
        detections.boxes[alarms],
        data.annotations.image_rows[missed],
        data.boxes(rows=missed),
        float(IOUS[0]),
    )
    other = detections.category_rows[alarms[left]] != data.annotations.category_rows[missed[right]]
    left, right, overlap = left[other], right[other], overlap[other]
    chosen = assigned(left, right, overlap)
    confused = np.stack([alarms[left[chosen]], missed[right[chosen]]], axis=1)
    return Mistakes(least, hits, confused, np.sort(alarms), missed)


def confusion(judged: Evaluator, made: Mistakes) -> NDArray[np.int64]:
    """`(C + 1, C + 1)` how many objects of a row's category were taken for a column's; the last of each is the background.

    The last column counts objects that nothing covers, the last row detections that cover nothing.
    """
    classes = len(judged.data.categories)
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    truth, said = judged.data.annotations.category_rows, judged.detections.category_rows
    for pairs in (made.hits, made.confused):
        np.add.at(counts, (truth[pairs[:, 1]], said[pairs[:, 0]]), 1)
    counts[:classes, classes] = np.bincount(truth[np.setdiff1d(made.missed, made.confused[:, 1])], minlength=classes)
    counts[classes, :classes] = np.bincount(said[np.setdiff1d(made.alarms, made.confused[:, 0])], minlength=classes)
    return counts


def errors_per_image(judged: Evaluator, made: Mistakes) -> Rows:
    """`(I,)` false alarms plus missed objects of each image; an object under a wrong name counts as both."""
    images = len(judged.data)
    return np.asarray(
        np.bincount(judged.detections.image_rows[made.alarms], minlength=images)
        + np.bincount(judged.data.annotations.image_rows[made.missed], minlength=images)
    )


def per_image(data: Dataset, detections: Detections) -> NDArray[np.float64]:
    """`(I,)` the average precision of each image alone at IoU 0.5, in percent; NaN for an image without objects that count.

    Matched within categories, then ranked by score over all of them, and read off at COCO's 101 recalls. Which images have a
    number depends on the ground truth alone, so that two models can be compared image by image.

    Raises:
        DataError: if a row lies outside the dataset, or a number is not finite.
    """
    return image_precision(Evaluator(data, detections))


def image_precision(judged: Evaluator) -> NDArray[np.float64]:
    """See `per_image`; of detections that are matched already."""
    images = len(judged.data)
    wanted = np.bincount(judged.data.annotations.image_rows[judged.wanted], minlength=images)
    order = np.lexsort((-judged.detections.scores[judged.kept], judged.image_rows))
    edges = np.searchsorted(judged.image_rows[order], np.arange(images + 1))
    values = np.full(images, np.nan)
    for image in np.flatnonzero(wanted):
        own = order[edges[image] : edges[image + 1]]
        values[image] = 100.0 * curves(judged.states[0, :1][:, own], int(wanted[image])).mean()
    return values
