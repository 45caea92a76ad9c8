"""Tables to COCO files: `annotations/instances_<split>.json` with `images/<split>/`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Dataset
from augsuite.dataset.files import plain, unique
from augsuite.dataset.progress import advance
from augsuite.dataset.tables import Extra
from augsuite.protocols import Losses
from augsuite_coco.model import ODD_KEY, SHARED, spelling_of

PREFIX = "coco."
_BLOCK = 8192  # rows


def write(data: Dataset, folder: Path, losses: Losses, results: str = "") -> Sequence[str]:
    """Write one file per split.

    A file's `file_name`s are relative to `images/<split>/` (`images/` for a dataset without splits), which is what
    `torchvision.datasets.CocoDetection` takes as its root. `area` and `iscrowd`, which pycocotools needs, are derived where the
    dataset does not say them. What was read from COCO files is written with the ids and the numbers' spelling of those files.

    Args:
        data: the dataset.
        folder: an empty folder.
        losses: takes what cannot be represented.
        results: "yes" to write the detections beside it, too, as `results_<split>.json`: what `pycocotools.coco.COCO.loadRes` reads.
    """
    home = folder / "annotations"
    home.mkdir()
    placed = np.full(len(data), "", object)
    for split in dict.fromkeys(data.images.splits.tolist()) or [""]:
        here = np.array(data.images.splits == split, bool)
        rows = np.flatnonzero(here)
        prefix = f"images/{plain(split, 'split')}/" if split else "images/"
        names = unique(data.images.names[rows].tolist())
        losses["image names"] += sum(name != old for name, old in zip(names, data.images.names[rows], strict=True))
        placed[rows] = [prefix + name for name in names]
        of_split = np.flatnonzero(here[data.annotations.image_rows])
        file = _File(data, split, rows, of_split)
        ending = f"_{split}.json" if split else ".json"
        with (home / f"instances{ending}").open("wb") as out:
            file.write(out, names)
        if results == "yes":
            with (home / f"results{ending}").open("wb") as out:
                file.write_results(out)
    splits = set(data.images.splits.tolist())
    losses.update({key: 1 for key in data.extra if _of_no_file(key, splits)})
    return placed.tolist()


class _File:
    """What goes into one file."""

    def __init__(self, data: Dataset, split: str, rows: NDArray[np.int64], of_split: NDArray[np.int64]) -> None:
        self._data = data
        self._split = split
        self._rows = rows
        self._of_split = of_split
        self._image_ids = _own_ids(data.images.ids, data.images.extra, rows)
        self._annotation_ids = _own_ids(data.annotations.ids, data.annotations.extra, of_split)
        self._category_rows, self._category_ids = self._categories()

    def _categories(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which categories the file lists, in which order, and the ids of all: those of the file that this split was read from."""
        table = self._data.categories
        ids = table.ids.copy()
        everything = np.arange(len(ids))
        listed = self._data.extra.get(f"{PREFIX}_categories@{self._split}")
        if listed is None:
            return everything, ids
        place = {name: row for row, name in enumerate(table.names.tolist())}
        rows = [place[name] for _, name in listed if name in place]
        ids[rows] = [number for number, name in listed if name in place]
        used = np.unique(self._data.annotations.category_rows[self._of_split])
        rows += [row for row in used.tolist() if row not in set(rows)]
        if len(set(ids[rows].tolist())) != len(rows):
            return everything, table.ids
        return np.array(rows, np.int64), ids

    def write(self, out: BinaryIO, names: list[str]) -> None:
        out.write(b"{")
        out.writelines(
            b"%b:%b," % (msgspec.json.encode(key), msgspec.json.encode(value, enc_hook=_plain))
            for key, value in _head(self._data.extra, self._split).items()
        )
        out.write(b'"images":[')
        _write_rows(out, self._image_blocks(names))
        out.write(b'],"annotations":[')
        _write_rows(out, self._annotation_blocks())
        out.write(b'],"categories":[')
        categories = self._data.categories
        rows = self._category_rows
        _write_rows(
            out,
            iter(
                [
                    _encode(
                        {"id": self._category_ids[rows].tolist(), "name": categories.names[rows].tolist()},
                        _extras(categories.extra, rows),
                    )
                ]
            ),
        )
        out.write(b"]}")

    def _image_blocks(self, names: list[str]) -> Iterator[bytes]:
        images = self._data.images
        for start in range(0, len(self._rows), _BLOCK):
            rows = self._rows[start : start + _BLOCK]
            width, height = ([value or UNSET for value in images.sizes[rows, side].tolist()] for side in (0, 1))
            yield _encode(
                {
                    "id": self._image_ids[rows].tolist(),
                    "file_name": names[start : start + _BLOCK],
                    "width": width,
                    "height": height,
                },
                _extras(images.extra, rows),
            )

    def _annotation_blocks(self) -> Iterator[bytes]:
        table = self._data.annotations
        for start in range(0, len(self._of_split), _BLOCK):
            rows = self._of_split[start : start + _BLOCK]
            boxes = self._data.boxes(Layout.XYWH_PX, rows)
            corners = boxes.tolist()
            area = (boxes[:, 2] * boxes[:, 3]).tolist()
            if "coco.area" in table.extra:
                said = table.extra["coco.area"][rows].tolist()
                area = [own if value is ABSENT else value for value, own in zip(said, area, strict=True)]
            columns = {
                "id": self._annotation_ids[rows].tolist(),
                "image_id": self._image_ids[table.image_rows[rows]].tolist(),
                "category_id": self._category_ids[table.category_rows[rows]].tolist(),
                "bbox": corners,
                "area": area,
                "iscrowd": table.ignore[rows].astype(np.int64).tolist(),
            }
            extra = _extras(table.extra, rows, without=frozenset({"area"}))
            for key in ("bbox", "iscrowd", "area", "score"):
                spelled = table.extra.get(spelling_of(key))
                values = columns.get(key, extra.get(key))
                if spelled is not None and values is not None:
                    (extra if key in extra else columns)[key] = _as_spelled(
                        values, spelled[rows].tolist(), bool if key == "iscrowd" else _itself
                    )
            yield _encode(columns, extra)
            advance("writing", len(rows), len(self._data.annotations))

    def write_results(self, out: BinaryIO) -> None:
        """The boxes as detections; one without a score counts as certain."""
        table = self._data.annotations
        out.write(b"[")

        def blocks() -> Iterator[bytes]:
            for start in range(0, len(self._of_split), _BLOCK):
                rows = self._of_split[start : start + _BLOCK]
                extra = _extras(table.extra, rows)
                scores = extra.get("score", [UNSET] * len(rows))
                yield _encode(
                    {
                        "image_id": self._image_ids[table.image_rows[rows]].tolist(),
                        "category_id": self._category_ids[table.category_rows[rows]].tolist(),
                        "bbox": self._data.boxes(Layout.XYWH_PX, rows).tolist(),
                        "score": [1.0 if score is UNSET else score for score in scores],
                    },
                    {"segmentation": extra["segmentation"]} if "segmentation" in extra else {},
                )

        _write_rows(out, blocks())
        out.write(b"]")


def _own_ids(ids: NDArray[np.int64], extra: Extra, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """All ids, those of `rows` as the file that they were read from had them, where that leaves them different."""
    before = extra.get("coco._id")
    if before is None:
        return ids
    own = ids.copy()
    own[rows] = [
        number if value is ABSENT else value
        for value, number in zip(before[rows].tolist(), ids[rows].tolist(), strict=True)
    ]
    return own if len(np.unique(own[rows])) == len(rows) else ids


def _extras(extra: Extra, rows: NDArray[np.int64], without: frozenset[str] = frozenset()) -> dict[str, list[Any]]:
    """Key of the file -> values; ABSENT, which is msgspec's UNSET, is left out by the encoder."""
    columns = {}
    for key, values in extra.items():
        name = key.removeprefix(PREFIX)
        if (key.startswith(PREFIX) or key in SHARED) and name not in without and not name.startswith("_"):
            columns[name] = values[rows].tolist()
    return columns


def _as_spelled(values: list[Any], spelled: list[Any], of: Callable[[Any], Any]) -> list[Any]:
    """The text that was read in place of each value that is still the same, judged by `of`; nothing where nothing was read."""
    result = []
    for value, text in zip(values, spelled, strict=True):
        if not isinstance(text, msgspec.Raw):
            result.append(value)
        elif not bytes(text):
            result.append(UNSET)
        else:
            result.append(text if of(value) == of(msgspec.json.decode(text)) else value)
    return result


def _itself(value: Any) -> Any:
    return value


def _encode(columns: Mapping[str, list[Any]], extra: Mapping[str, list[Any]]) -> bytes:
    """Columns to the text of a JSON array of one object per row, without its brackets."""
    named = {**columns, **extra}
    if any(map(ODD_KEY.search, named)):
        values = zip(*named.values(), strict=True)
        rows = [{key: value for key, value in zip(named, row, strict=True) if value is not UNSET} for row in values]
        return msgspec.json.encode(rows, enc_hook=_plain)[1:-1]
    row = _row_type(tuple(named))
    return msgspec.json.encode(list(itertools.starmap(row, zip(*named.values(), strict=True))), enc_hook=_plain)[1:-1]


@functools.lru_cache(8)
def _row_type(keys: tuple[str, ...]) -> type[msgspec.Struct]:
    return msgspec.defstruct(
        "Row",
        [(f"field_{number}", Any, UNSET) for number in range(len(keys))],
        rename={f"field_{number}": key for number, key in enumerate(keys)},
        gc=False,
    )


def _write_rows(out: BinaryIO, blocks: Iterator[bytes]) -> None:
    first = True
    for block in blocks:
        if block:
            out.write(block if first else b"," + block)
            first = False


def _head(extra: Mapping[str, Any], split: str) -> dict[str, Any]:
    """What one file says as a whole; the reader's `_head`, back."""
    head: dict[str, Any] = {}
    for key, value in extra.items():
        name, marked, of = key.removeprefix(PREFIX).partition("@")
        if key.startswith(PREFIX) and not name.startswith("_") and (not marked or of == split):
            head[name] = value
    return head


def _of_no_file(key: str, splits: Collection[str]) -> bool:
    """Whether `coco.info@val` is said of a split that the dataset does not have (any more)."""
    name, marked, split = key.removeprefix(PREFIX).partition("@")
    return key.startswith(PREFIX) and not name.startswith("_") and bool(marked) and split not in splits


def _plain(value: Any) -> Any:
    """What numpy holds, as JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
