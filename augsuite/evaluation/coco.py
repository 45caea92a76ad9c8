"""COCO's average precision for boxes: the numbers of pycocotools to the last digit, in a fraction of its time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset.tables import Dataset, Rows
from augsuite.evaluation.detections import Detections, check
from augsuite.evaluation.matching import AREAS, HIT, IGNORED, IOUS, MAX_DETECTIONS, Objects, match, outside
from augsuite.evaluation.resampling import Curve

COCO_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's twelve numbers in the order of `COCOeval.stats`; s, m, l are areas below 32^2, below 96^2 and above."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""Where precision is read off a curve; the same floating-point numbers as `pycocotools`' `recThrs`."""

_LIMITS = (1, 10, MAX_DETECTIONS)
_75 = int(np.flatnonzero(IOUS == 0.75)[0])


@dataclass(frozen=True, slots=True)
class Category:
    """What was measured of one category, in percent; None where it has no such object.

    Attributes:
        name: the category.
        objects: how many there are that count.
        ap: COCO's average precision, over all ten thresholds.
        ap50: at IoU 0.5.
        ap75: at IoU 0.75.
        small: average precision of small objects (area up to 32^2).
        medium: of those from there to 96^2.
        large: of those above.
        recall: average recall with 100 detections an image.
    """

    name: str
    objects: int
    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None
    recall: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """COCO's two tables; -1 where there is no such object.

    Attributes:
        precision: `(10, 101, C, 4)` for thresholds, recalls, categories by ascending id, and sizes (all, small, medium, large).
        recall: `(10, C, 4, 3)` for thresholds, categories, sizes and at most 1, 10 and 100 detections.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    def metrics(self) -> dict[str, float]:
        """The numbers of `COCO_NAMES`, in percent; one without objects is absent."""
        means = [
            mean(self.precision[:, :, :, 0]),
            mean(self.precision[:1, :, :, 0]),
            mean(self.precision[_75 : _75 + 1, :, :, 0]),
            *(mean(self.precision[:, :, :, size]) for size in (1, 2, 3)),
            *(mean(self.recall[:, :, 0, limit]) for limit in (0, 1, 2)),
            *(mean(self.recall[:, :, size, 2]) for size in (1, 2, 3)),
        ]
        return {name: 100.0 * value for name, value in zip(COCO_NAMES, means, strict=True) if value is not None}


def mean(values: NDArray[np.float64]) -> float | None:
    """The mean of what is there, in COCO's order of summation; None where nothing is."""
    there = values[values > -1]
    return float(np.mean(there)) if len(there) else None


class Evaluator:
    """A model's detections, matched with the ground truth once; measured as often as wanted, over any images.

    Attributes:
        data: the ground truth.
        detections: what the model found.
        kept: `(K,)` rows of the detections that count (at most 100 of an image and category), by category and then falling
            score; in this order are the four below.
        image_rows: `(K,)`.
        category_rows: `(K,)`.
        states: `(4, 10, K)` int8 for sizes (all, small, medium, large), thresholds and detections: `matching.MISS`, `HIT` or
            `IGNORED`.
        found: `(K,)` the annotation row that each finds at IoU 0.5; -1 for none.
        category_order: `(C,)` the dataset's categories by ascending id: those of `scores`.
        wanted: annotation rows of the objects that are to be found.
        small: those of `wanted` that COCO counts as small: of an area up to 32^2 pixels of the original image.
    """

    def __init__(self, data: Dataset, detections: Detections) -> None:
        """Match; see `augsuite.evaluation.matching.match`.

        Raises:
            DataError: if a row lies outside the dataset, or a number is not finite.
        """
        check(data, detections)
        self.data = data
        self.detections = detections
        # Images and categories go by their ids, as in pycocotools: it decides between equal scores.
        images = np.argsort(np.argsort(data.images.ids, kind="stable"), kind="stable")
        self.category_order = np.argsort(data.categories.ids, kind="stable")
        categories = np.argsort(self.category_order, kind="stable")
        table = data.annotations
        truth_rows = np.flatnonzero(table.is_box)
        boxes = data.boxes(Layout.XYWH_PX)[truth_rows]
        truth_categories = categories[table.category_rows[truth_rows]]
        self._truth_images = table.image_rows[truth_rows]
        areas = _areas(data, truth_rows, boxes[:, 2] * boxes[:, 3])
        crowd = table.ignore[truth_rows]
        objects = Objects(truth_categories * len(data) + images[self._truth_images], boxes, areas, crowd)

        groups = categories[detections.category_rows] * len(data) + images[detections.image_rows]
        rows = np.lexsort((-detections.scores, groups))
        places = _places(groups[rows])
        rows, places = rows[places < MAX_DETECTIONS], places[places < MAX_DETECTIONS]
        matched = match(objects, groups[rows], detections.in_xywh()[rows])
        order = np.lexsort((-detections.scores[rows], categories[detections.category_rows[rows]]))
        self.kept: Rows = rows[order]
        self.image_rows: Rows = detections.image_rows[self.kept]
        self.category_rows: Rows = detections.category_rows[self.kept]
        self.states: NDArray[np.int8] = matched.states[:, :, order]
        self.found: Rows = np.append(truth_rows, -1)[matched.objects[order]]  # the last stands for no object
        self._places = places[order]
        self._counts = ~(outside(areas) | crowd)  # (4, G) which objects are to be found
        self.wanted: Rows = truth_rows[self._counts[0]]
        self.small: Rows = truth_rows[self._counts[1]]
        self._truth_categories = truth_categories
        edges = np.searchsorted(categories[self.category_rows], np.arange(len(data.categories) + 1))
        self._parts = [slice(low, high) for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]

    @cached_property
    def scores(self) -> Scores:
        """The two tables over all images."""
        return self.scores_of(None)

    def metrics(self) -> dict[str, float]:
        """The twelve numbers, and `AP/<category>` for each that has objects; in percent."""
        values = self.scores.metrics()
        for row, each in enumerate(self.by_category()):
            if each.ap is not None:
                values[f"AP/{self.data.categories.names[row]}"] = each.ap
        return values

    def by_category(self) -> list[Category]:
        """Each category of the dataset in its order."""
        at = np.argsort(self.category_order, kind="stable")
        precision, recall = self.scores.precision[:, :, at], self.scores.recall[:, at]
        objects = np.bincount(self._truth_categories[self._counts[0]], minlength=len(at))[at]
        return [
            Category(
                str(name),
                int(objects[row]),
                _percent(precision[:, :, row, 0]),
                _percent(precision[0, :, row, 0]),
                _percent(precision[_75, :, row, 0]),
                _percent(precision[:, :, row, 1]),
                _percent(precision[:, :, row, 2]),
                _percent(precision[:, :, row, 3]),
                _percent(recall[:, row, 0, 2]),
            )
            for row, name in enumerate(self.data.categories.names)
        ]

    def ap_of(self, times: Rows) -> float | None:
        """AP of the dataset in which each image stands so many times, as a bootstrap draws them.

        Args:
            times: `(I,)` integers, 0 and more.

        Returns:
            In percent; None where nothing is left to be found. It is what COCO's evaluation says of a dataset with copies of the
            images beside each other.
        """
        drawn = np.asarray(times, np.int64)
        precision = np.full((len(IOUS), len(RECALLS), len(self._parts)), -1.0)
        for row, (part, curve) in enumerate(zip(self._parts, self._curves, strict=True)):
            wanted = int(drawn[curve.truth_images].sum())
            if wanted and self._tied(part):
                precision[:, :, row] = curves(self.states[0, :, part][:, self._repeated(part, drawn)], wanted)
            elif wanted:
                precision[:, :, row] = curve.precision(drawn, wanted, RECALLS)
        value = mean(precision)
        return None if value is None else 100.0 * value

    def _tied(self, part: slice) -> bool:
        """Whether equal scores of one image make a difference: both copies of a hit need not come before those of a false alarm."""
        scores, images, states = self.detections.scores[self.kept[part]], self.image_rows[part], self.states[0, :, part]
        same = (scores[1:] == scores[:-1]) & (images[1:] == images[:-1])  # equal scores go by image
        return bool(same.any() and (states[:, 1:] != states[:, :-1])[:, same].any())

    @cached_property
    def _curves(self) -> list[Curve]:
        """Each category by ascending id, ready to be resampled."""
        return [
            Curve.of(
                self.states[0, :, part],
                self.image_rows[part],
                self._truth_images[self._counts[0] & (self._truth_categories == row)],
            )
            for row, part in enumerate(self._parts)
        ]

    def scores_of(self, times: Rows | None, sizes: int = len(AREAS)) -> Scores:
        """The tables of the dataset in which each image stands so many times.

        Args:
            times: `(I,)` integers; None for once each.
            sizes: how many of all, small, medium, large to measure.
        """
        classes = len(self._parts)
        precision = np.full((len(IOUS), len(RECALLS), classes, sizes), -1.0)
        recall = np.full((len(IOUS), classes, sizes, len(_LIMITS)), -1.0)
        own = None if times is None else np.asarray(times, np.int64)[self._truth_images]
        for row, part in enumerate(self._parts):
            of_class = self._truth_categories == row
            wanted = self._counts[:sizes] & of_class
            number = wanted.sum(axis=1) if own is None else (wanted * own).sum(axis=1)
            there = np.flatnonzero(number)
            if not len(there):
                continue
            states, places = self.states[:sizes, :, part], self._places[part]
            if times is not None:
                rows = self._repeated(part, np.asarray(times, np.int64))
                states, places = states[:, :, rows], places[rows]
            for size in there:
                precision[:, :, row, size] = curves(states[size], int(number[size]))
            for at, limit in enumerate(_LIMITS):
                hits = np.count_nonzero(states[there][:, :, places < limit] == HIT, axis=2)
                recall[:, row, there, at] = (hits / number[there, None]).T
        return Scores(precision, recall)

    def _repeated(self, part: slice, times: Rows) -> Rows:
        """Detections of one category, each as often as its image, in the order in which copies beside each other would rank."""
        number = times[self.image_rows[part]]
        rows = np.repeat(np.arange(len(number)), number)
        scores = self.detections.scores[self.kept[part]]
        images = self.image_rows[part]
        tied = (scores[1:] == scores[:-1]) & (images[1:] == images[:-1])
        if tied.any():  # those of one copy stand together
            copy = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
            run = np.cumsum(np.concatenate([[True], ~tied]))
            rows = rows[np.lexsort((rows, copy, run[rows]))]
        return rows


def curves(states: NDArray[np.int8], wanted: int) -> NDArray[np.float64]:
    """Precision at COCO's 101 recalls, at each of them the best of this and all higher recalls.

    Precision rises at a hit only, so that nothing else needs to be looked at.

    Args:
        states: `(T, N)`, the surest detection first.
        wanted: how many objects there are, at least 1.

    Returns:
        `(T, 101)`; 0 where a recall is not reached.
    """
    hits = states == HIT
    row, _ = np.nonzero(hits)
    ends = np.cumsum(np.count_nonzero(hits, axis=1))
    place = np.arange(len(row)) - np.concatenate([[0], ends])[row]
    seen = np.cumsum(states != IGNORED, axis=1, dtype=np.int32)[hits]
    precision = np.zeros((len(states), wanted))
    precision[row, place] = (place + 1) / (seen + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(best[:, np.searchsorted(np.arange(1, wanted + 1) / wanted, RECALLS)])


def evaluate_detections(data: Dataset, detections: Detections) -> dict[str, float]:
    """COCO's twelve numbers and the average precision of each category.

    Of one category at most the 100 surest boxes of an image count. An ignored annotation is neither hit nor miss, with COCO's crowd
    rule: any number of detections may fall on it. Sizes are judged by `coco.area` where the annotations have it, else by the box.

    Args:
        data: the ground truth; image labels are left out.
        detections: what a model found.

    Returns:
        `AP`, `AP50`, ... (see `COCO_NAMES`) and `AP/<category>`, in percent. A number without ground truth (no large objects,
        say) is absent. They equal those of pycocotools 2.0.11 to the last digit.

    Raises:
        DataError: if a row lies outside the dataset, or a number is not finite.

    Source: Lin et al. 2014, Microsoft COCO, section 5 and https://cocodataset.org/#detection-eval.
    """
    return Evaluator(data, detections).metrics()


def _percent(values: NDArray[np.float64]) -> float | None:
    value = mean(values)
    return None if value is None else 100.0 * value


def _places(groups: Rows) -> Rows:
    """`(N,)` the place of each in its group, from 0; equal groups stand together."""
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(begins, np.diff(begins, append=len(groups)))


def _areas(data: Dataset, rows: Rows, own: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the annotations say of their areas, and the area of the box where they say nothing."""
    said = data.annotations.extra.get("coco.area")
    if said is None:
        return own
    return np.array(
        [value if isinstance(value, int | float) else area for value, area in zip(said[rows], own, strict=True)],
        np.float64,
    )
