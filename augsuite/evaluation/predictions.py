"""Predictions as others stored them: COCO results, a CSV file of label scores, or a dataset whose annotations have scores."""

from __future__ import annotations

import contextlib
import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from augsuite.boxes import Layout, convert
from augsuite.dataset.delimited import cells, write_lines
from augsuite.dataset.image_matching import match_images
from augsuite.dataset.tables import Annotations, Categories, Dataset, Images, Rows
from augsuite.errors import DataError, nearest
from augsuite.evaluation.detections import Detections
from augsuite.evaluation.labels import Scores

_COLUMNS = ("image", "predicted", "score")


@dataclass(frozen=True, slots=True)
class LabelScores:
    """What a classifier said.

    Attributes:
        image_rows: `(P,)` rows of the dataset's images that it said something of, ascending.
        scores: `(P, C)` for the dataset's categories; 0 where it said nothing.
        complete: whether it gave all scores, not the highest alone: what top-5 needs.
    """

    image_rows: Rows
    scores: NDArray[np.float64]
    complete: bool


class _Result(msgspec.Struct, frozen=True):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


def is_results(path: Path) -> bool:
    """Whether a file looks like COCO results: a JSON list."""
    return _head(path).lstrip().startswith(b"[")


def is_label_scores(path: Path) -> bool:
    """Whether a file looks like what `write_labels` writes: a CSV file with the columns image, predicted and score first."""
    line = _head(path).decode("utf-8-sig", "replace").partition("\n")[0]
    return tuple(next(csv.reader([line.strip()]), ()))[:3] == _COLUMNS


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def read_results(path: Path, data: Dataset) -> Detections:
    """Read COCO results of boxes: a JSON list of `image_id`, `category_id`, `bbox` (x, y, width, height) and `score`.

    Args:
        path: the file.
        data: whose ids these are.

    Raises:
        DataError: if the file is something else, or an id is not in the dataset.

    Source: https://cocodataset.org/#format-results.
    """
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[_Result])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: no COCO results of boxes ({error}). Each needs image_id, category_id, bbox and score."
        ) from error
    boxes = np.array([row.bbox for row in rows], np.float64).reshape(-1, 4)
    images = np.array([row.image_id for row in rows], np.int64)
    categories = np.array([row.category_id for row in rows], np.int64)
    return Detections(
        _rows(path, "image_id", images, data.images.ids),
        _rows(path, "category_id", categories, data.categories.ids),
        convert(boxes, Layout.XYWH_PX, Layout.XYXY_PX),
        np.array([row.score for row in rows], np.float64),
        boxes,
    )


def _rows(path: Path, what: str, ids: Rows, known: Rows) -> Rows:
    order = np.argsort(known, kind="stable")
    ordered = known[order]
    if (ordered[1:] == ordered[:-1]).any():
        twice = int(ordered[1:][ordered[1:] == ordered[:-1]][0])
        raise DataError(f"{path}: {what} {twice} stands for several of the dataset. Judge one split: --split NAME.")
    at = np.minimum(np.searchsorted(ordered, ids), max(len(known) - 1, 0))
    right = ordered[at] == ids if len(known) else np.zeros(len(ids), bool)
    if not right.all():
        number = int(np.flatnonzero(~right)[0])
        raise DataError(
            f"{path}: result {number}: {what} {ids[number]} is not in the dataset ({int((~right).sum()):,} of {len(ids):,} such). "
            "Are they predictions for another dataset or split?"
        )
    return order[at]


def detections_of(predicted: Dataset, data: Dataset, where: str) -> Detections:
    """Take the boxes of a dataset whose annotations have scores for predictions.

    Images are told apart as `augsuite diff` does it (by split, name, file name), categories by name.

    Args:
        predicted: the predictions.
        data: the ground truth.
        where: what the predictions are called in errors.

    Raises:
        DataError: if a box has no score, or its image or category is not in the dataset.
    """
    rows = np.flatnonzero(predicted.annotations.is_box)
    images, categories, scores = _scored(predicted, rows, data, where)
    return Detections(images, categories, predicted.boxes(Layout.XYXY_PX, rows), scores)


def predicted_only(data: Dataset, detections: Detections) -> tuple[Dataset, Detections]:
    """The images in which something was found, and the detections, whose rows are of these."""
    rows, at = np.unique(detections.image_rows, return_inverse=True)
    return data.take(rows), replace(detections, image_rows=at.reshape(-1))


def labels_of(predicted: Dataset, data: Dataset, where: str) -> LabelScores:
    """Take the image labels of a dataset, which have scores, for predictions; see `detections_of`.

    Raises:
        DataError: see there.
    """
    rows = np.flatnonzero(~predicted.annotations.is_box)
    images, categories, scores = _scored(predicted, rows, data, where)
    named, at = np.unique(images, return_inverse=True)
    table = np.zeros((len(named), len(data.categories)))
    table[at, categories] = scores
    return LabelScores(named, table, len(np.unique(at * len(data.categories) + categories)) == table.size)


def _scored(predicted: Dataset, rows: Rows, data: Dataset, where: str) -> tuple[Rows, Rows, NDArray[np.float64]]:
    """Image rows and category rows in `data`, and the scores, of some annotations of `predicted`."""
    table = predicted.annotations
    said = table.extra.get("score")
    scores = [] if said is None else [value for value in said[rows] if isinstance(value, int | float)]
    if len(scores) != len(rows):
        raise DataError(
            f"{where}: {len(rows) - len(scores):,} of {len(rows):,} annotations have no score. Are these predictions, and not labels?"
        )
    categories = _columns(where, predicted.categories.names.tolist(), np.unique(table.category_rows[rows]), data)
    images = _images(where, predicted, np.unique(table.image_rows[rows]), data)
    return images[table.image_rows[rows]], categories[table.category_rows[rows]], np.array(scores, np.float64)


def _images(where: str, predicted: Dataset, used: Rows, data: Dataset) -> Rows:
    """`(I,)` for each image of `predicted` its row in `data`; -1 for an unused one that is not there."""
    rows = np.full(len(predicted), -1, np.int64)
    own, theirs = match_images(predicted, data)
    rows[own] = theirs
    if (rows[used] < 0).any():
        lost = used[rows[used] < 0]
        raise DataError(
            f"{where}: {predicted.images.names[lost[0]]}: no such image in the dataset, or several ({len(lost):,} of {len(used):,} "
            "such). Are they predictions for another dataset or split?"
        )
    return rows


def _columns(where: str, names: list[str], used: Rows, data: Dataset) -> Rows:
    """`(C,)` for each category name its row in `data`; -1 for an unused one that is not there."""
    known = {str(name): row for row, name in enumerate(data.categories.names)}
    rows = np.array([known.get(name, -1) for name in names], np.int64)
    for at in used:
        if rows[at] < 0:
            raise DataError(
                f"{where}: category {names[at]!r} is not in the dataset. {nearest(names[at], sorted(known))}".rstrip()
            )
    return rows


def write_labels(path: Path, data: Dataset, scores: Scores) -> None:
    """Write what a classifier says of all images as CSV: `image,predicted,score`, then all scores, a column for each category.

    The first three columns are for the reader's eye; the others are what top-5 and calibration need. Numbers read back as they were.

    Args:
        path: the file; written to a temporary sibling and renamed.
        data: gives the names.
        scores: `(I, C)`, higher is surer.
    """
    best = scores.argmax(axis=1)
    names = pa.array([str(name) for name in data.categories.names], pa.string())
    columns = [
        cells(pa.array([str(name) for name in data.images.names], pa.string())),
        pc.take(cells(names), pa.array(best)),
        *(pc.cast(pa.array(column), pa.string()) for column in (scores[np.arange(len(best)), best], *scores.T)),
    ]
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        header = io.StringIO(newline="")
        csv.writer(header, lineterminator="\n").writerow([*_COLUMNS, *names.to_pylist()])
        file.write(header.getvalue().encode())
        write_lines(file, columns)
    partial.replace(path)


def read_labels(path: Path, data: Dataset) -> LabelScores:
    """Read what `write_labels` writes; of a file that has the first three columns alone, the highest score of each image.

    Args:
        path: the file.
        data: the ground truth; columns may stand for some of its categories, in any order.

    Raises:
        DataError: if the file is something else, or an image or category is not in the dataset.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
    except (ValueError, csv.Error) as error:  # also a file without a line, and text that is not UTF-8
        raise DataError(
            f"{path}: no CSV file of label scores ({error}). Its header is image,predicted,score,..."
        ) from error
    names = header[3:]
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise DataError(f"{path}: line {number}: expected {len(header)} cells as in the header, got {len(row)}.")
    listed = [row[0] for row in rows]
    images = np.arange(len(rows))
    if listed != data.images.names.tolist():  # else as written: images of two splits may have one name
        images = _images(path.name, _named(listed), images, data)
    order = np.argsort(images, kind="stable")
    if (np.diff(images[order]) == 0).any():
        twice = rows[int(order[:-1][np.diff(images[order]) == 0][0])][0]
        raise DataError(f"{path}: {twice}: stands there twice. Leave one line for each image.")
    table = np.zeros((len(rows), len(data.categories)))
    if names:
        table[:, _columns(path.name, names, np.arange(len(names)), data)] = _numbers(path, [row[3:] for row in rows])
    else:
        predicted = [row[1] for row in rows]
        table[np.arange(len(rows)), _columns(path.name, predicted, np.arange(len(rows)), data)] = _numbers(
            path, [[row[2]] for row in rows]
        )[:, 0]
    return LabelScores(images[order], table[order], set(names) == set(data.categories.names.tolist()))


def _numbers(path: Path, rows: list[list[str]]) -> NDArray[np.float64]:
    with contextlib.suppress(ValueError):
        table = np.array(rows, np.float64)
        if np.isfinite(table).all():
            return table
    for number, row in enumerate(rows, 2):
        for value in row:
            try:
                good = np.isfinite(float(value))
            except ValueError:
                good = False
            if not good:
                raise DataError(f"{path}: line {number}: expected a number as score, got {value!r}.")
    raise DataError(f"{path}: the scores cannot be read.")


def _named(names: list[str]) -> Dataset:
    return Dataset(Images.of(names), Categories.of([]), Annotations.of([], []))
