"""Tables to OpenImages' CSV files."""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, UNREAD, Dataset
from augsuite.dataset.delimited import cells, numbers, write_lines
from augsuite.dataset.files import inside, plain
from augsuite.dataset.images import SUFFIXES
from augsuite.dataset.progress import advance
from augsuite.dataset.unique import Unique
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite_openimages.reader import CORNERS, FLAGS, OWN_IMAGE_COLUMNS

_OWNER = "openimages."
_IMAGE_COLUMNS = (
    "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL", "Author", "Title", "OriginalSize", "OriginalMD5",
    "Thumbnail300KURL", "Rotation",
)  # fmt: skip
_ABSENT_LABELS = "openimages.absent"
_CHUNK = 1 << 16


def write(data: Dataset, folder: Path, losses: Losses) -> Sequence[str]:
    """Write `annotations/` with a list of images, boxes and labels of each split, and the images in `images/<split>/`.

    An `ImageID` is the image's name without its suffix, made unique. `LabelName` is the label that OpenImages gave, else the name.
    """
    home = folder / "annotations"
    home.mkdir()
    labels = _labels(data)
    with (home / "class-descriptions-boxable.csv").open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows(zip(labels, data.categories.names, strict=True))
    ids, paths = _places(data)
    losses["spaces around text"] += sum(text != text.strip() for text in (*ids, *labels))
    table = data.annotations
    boxes = data.boxes(Layout.XYXY_UNIT)
    given = data.images.splits.tolist()
    grouped = given == sorted(given)
    if not grouped:  # one list for all, as OpenImages has it, too, keeps the order
        _write_images(home / "image_ids_and_rotation.csv", data, ids, np.arange(len(data)))
    for split in dict.fromkeys(given) or [""]:
        prefix = f"{plain(split, 'split')}-" if split else ""
        rows = np.flatnonzero(data.images.splits == split)
        if grouped:
            _write_images(home / f"{prefix}images-with-rotation.csv", data, ids, rows)
        own = data.images.splits[table.image_rows] == split
        boxed, labelled = (np.flatnonzero(own & mask) for mask in (table.is_box, ~table.is_box))
        if len(boxed):
            _write_rows(home / f"{prefix}annotations-bbox.csv", data, ids, labels, boxed, losses, boxes)
        absent = _absent(data, ids, rows)
        if len(labelled) or absent:
            file = home / f"{prefix}annotations-human-imagelabels.csv"
            _write_rows(file, data, ids, labels, labelled, losses, None)
            with file.open("a", encoding="utf-8", newline="") as opened:
                csv.writer(opened, lineterminator="\n").writerows(absent)
    return paths


def _labels(data: Dataset) -> list[str]:
    said = data.categories.extra.get(f"{_OWNER}LabelName")
    names: list[str] = data.categories.names.tolist()
    if said is None:
        labels = names
    else:
        labels = [name if label is ABSENT else str(label) for label, name in zip(said, names, strict=True)]
    if len(set(labels)) != len(labels) or "" in labels:
        raise DataError("two categories have one openimages.LabelName, or a name is empty. Rename a category.")
    return labels


def _places(data: Dataset) -> tuple[list[str], list[str]]:
    """The `ImageID` of each image, and where its file belongs."""
    stems, suffixes = [], []
    for name, file in zip(data.images.names.tolist(), data.images.files.tolist(), strict=True):
        kept = inside(name)
        if kept is None:
            raise DataError(f"image {name!r} would be written outside the output. Rename it.")
        stem, suffix = posixpath.splitext(kept)
        known = suffix.lower() in SUFFIXES
        stems.append(stem if known else kept)
        suffixes.append(suffix if known else posixpath.splitext(file)[1])
    ids = Unique().names(stems)
    splits = data.images.splits.tolist()
    homes = [posixpath.join("images", split, each) for split, each in zip(splits, ids, strict=True)]
    return ids, [home + suffix for home, suffix in zip(homes, suffixes, strict=True)]


def _write_images(file: Path, data: Dataset, ids: list[str], rows: NDArray[np.int64]) -> None:
    images = data.images
    extra = {key.removeprefix(_OWNER): values for key, values in images.extra.items() if key.startswith(_OWNER)}
    others = [key for key in extra if key not in {*_IMAGE_COLUMNS, "absent"}]
    columns = [*_IMAGE_COLUMNS, *others]
    with file.open("w", encoding="utf-8", newline="") as opened:
        out = csv.writer(opened, lineterminator="\n")
        out.writerow(["ImageID", "Subset", *columns, *OWN_IMAGE_COLUMNS])
        for row in rows.tolist():
            said = [_text(extra[key][row]) if key in extra else "" for key in columns]
            width, height = images.sizes[row].tolist()
            out.writerow([ids[row], images.splits[row], *said, images.names[row], width or "", height or ""])


def _write_rows(
    file: Path,
    data: Dataset,
    ids: list[str],
    labels: list[str],
    rows: NDArray[np.int64],
    losses: Losses,
    boxes: NDArray[np.float64] | None,
) -> None:
    """Write boxes, or labels of whole images where `boxes` is None."""
    table = data.annotations
    known = ("Source", *(FLAGS if boxes is not None else ()))
    extra = {key.removeprefix(_OWNER): values for key, values in table.extra.items() if key.startswith(_OWNER)}
    others = [
        key for key in extra if key not in {"Source", *FLAGS} and any(value is not ABSENT for value in extra[key][rows])
    ]
    corners = ("XMin", "XMax", "YMin", "YMax") if boxes is not None else ()
    heading = ["ImageID", "Source", "LabelName", "Confidence", *corners, *known[1:], *others]
    names, classes = cells(pa.array(ids, pa.string())), cells(pa.array(labels, pa.string()))
    with file.open("wb") as out:
        write_lines(out, [cells(pa.array([name])) for name in heading])
        for start in range(0, len(rows), _CHUNK):
            some = rows[start : start + _CHUNK]
            columns = [
                names.take(pa.array(table.image_rows[some])),
                _column(extra, "Source", some, ""),
                classes.take(pa.array(table.category_rows[some])),
                pa.array(_confidences(table.extra.get("score"), some, losses)),
            ]
            columns += [numbers(boxes[some, CORNERS.index(name)]) for name in corners] if boxes is not None else []
            for flag in known[1:]:
                column = _column(extra, flag, some, "0" if flag == "IsGroupOf" else "-1")
                if flag == "IsGroupOf":
                    said = zip(column.to_pylist(), table.ignore[some].tolist(), strict=True)
                    column = pa.array(["1" if ignore else text for text, ignore in said], pa.string())
                columns.append(column)
            columns += [_column(extra, key, some, "") for key in others]
            write_lines(out, columns)
            advance("writing", len(some))
    if boxes is None:
        losses["ignore"] += int(table.ignore[rows].sum())


def _column(extra: Mapping[str, NDArray[np.object_]], key: str, rows: NDArray[np.int64], default: str) -> pa.Array:
    if key not in extra:
        return pa.array([default] * len(rows), pa.string())
    return cells(pa.array([_text(value) or default for value in extra[key][rows].tolist()], pa.string()))


def _confidences(scores: NDArray[np.object_] | None, rows: NDArray[np.int64], losses: Losses) -> list[str]:
    """`1` where there is no score, since a person said so; a score of one is `1.0`."""
    if scores is None:
        return ["1"] * len(rows)
    said = scores[rows].tolist()
    losses["score"] += sum(value is not ABSENT and not isinstance(value, int | float) for value in said)
    return [repr(float(value)) if isinstance(value, int | float) else "1" for value in said]


def _absent(data: Dataset, ids: list[str], rows: NDArray[np.int64]) -> list[list[str]]:
    """Rows for the labels that were verified to be absent."""
    said = data.images.extra.get(_ABSENT_LABELS)
    if said is None:
        return []
    return [
        [ids[row], *([*each[1:2], ""][:1]), each[0], "0"]
        for row in rows.tolist()
        if isinstance(said[row], list)
        for each in said[row]
    ]


def _text(value: Any) -> str:
    return "" if value is ABSENT or value is UNREAD or value is None else str(value)
