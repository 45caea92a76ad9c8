"""Several datasets become one."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset.archives import at
from augsuite.dataset.checks import Intake
from augsuite.dataset.files import with_sizes
from augsuite.dataset.heads import recut, without_spellings
from augsuite.dataset.images import SUFFIXES
from augsuite.dataset.tables import ABSENT, Annotations, Categories, Dataset, Extra, Images, Rows, objects, strings
from augsuite.dataset.urls import url_of
from augsuite.errors import ConfigError

_LARGEST_ID = 2**63 - 1


def merge(
    datasets: Sequence[Dataset],
    *,
    splits: Sequence[str | None] | None = None,
    labels: Sequence[str] | None = None,
    intake: Intake | None = None,
) -> Dataset:
    """Put datasets together: the images of the first, then those of the second, and so on.

    - Categories are one by name. Of two with one name the first keeps id and extras; extras that it lacks come from the others.
    - Ids stay where they are free. Those of a dataset that shares some with the datasets before it are all moved up together;
      a single category's id moves to the next free one.
    - An image whose name an earlier dataset has in the same split gets another: `a.jpg` becomes `a_2.jpg`. Its file stays.
    - Boxes stay as they are where all datasets have one layout. Otherwise they become pixels, in the layout that most boxes have.
    - Extras of all are kept, ABSENT where a dataset has none. What is said of datasets as a whole is kept where none contradicts;
      else the key ends with the split that it is about, or the dataset's label: `coco.info@train`.

    Args:
        datasets: at least one.
        splits: for each dataset a split for all its images; None (or all None) leaves them theirs.
        labels: for each dataset what to call it in notes and extras; by default the name of its folder.
        intake: takes what changed.

    Raises:
        ConfigError: if there are no datasets, or not as many splits or labels.
        DataError: if boxes as fractions must become pixels and an image's size is not known.
    """
    if not datasets:
        raise ConfigError("there is nothing to merge. Name at least one dataset.")
    for what, given in (("splits", splits), ("labels", labels)):
        if given is not None and len(given) != len(datasets):
            raise ConfigError(f"{len(given)} {what} for {len(datasets)} datasets. Give one for each.")
    intake = intake or Intake()
    said = _labels([data.root.resolve().name for data in datasets] if labels is None else labels)
    parts = [_in_split(data, split) for data, split in zip(datasets, splits or [None] * len(datasets), strict=True)]
    categories, category_rows = _categories(parts, said, intake)
    root, files = _files(parts, intake)
    counts = [len(data) for data in parts]
    layout, parts = _one_layout(parts, said, intake)
    tables = [data.annotations for data in parts]
    first_rows = np.cumsum([0, *counts[:-1]])
    return Dataset(
        Images(
            _names(parts, said, intake),
            np.concatenate([data.images.sizes for data in parts]),
            _ids([data.images.ids for data in parts], said, "image", intake),
            np.concatenate([data.images.splits for data in parts]),
            files,
            _extras([data.images.extra for data in parts], counts),
        ),
        categories,
        Annotations(
            np.concatenate([table.image_rows + first for table, first in zip(tables, first_rows, strict=True)]),
            np.concatenate([rows[table.category_rows] for table, rows in zip(tables, category_rows, strict=True)]),
            np.concatenate([table.boxes for table in tables]),
            layout,
            _ids([table.ids for table in tables], said, "annotation", intake),
            np.concatenate([table.ignore for table in tables]),
            _extras([table.extra for table in tables], [len(table) for table in tables]),
        ),
        root=root,
        extra=_heads(parts, said, intake),
    )


def _labels(names: Sequence[str]) -> list[str]:
    """The names, with a number where two datasets have the same."""
    return [name if names.count(name) == 1 else f"{name}#{number}" for number, name in enumerate(names, start=1)]


def _in_split(data: Dataset, split: str | None) -> Dataset:
    if split is None:
        return data
    splits = strings([split] * len(data))
    extra = recut(_unmarked(data.extra), data.images.splits.tolist(), splits.tolist())
    return replace(data, images=replace(data.images, splits=splits), extra=extra)


def _unmarked(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """`coco.info@train` as `coco.info`, where nothing else is said of another split."""
    bases = Counter(key.partition("@")[0] for key in extra)
    return {key.partition("@")[0] if bases[key.partition("@")[0]] == 1 else key: value for key, value in extra.items()}


def _categories(parts: Sequence[Dataset], labels: Sequence[str], intake: Intake) -> tuple[Categories, list[Rows]]:
    """The categories of all, and for each dataset where its own went."""
    rows: dict[str, int] = {}
    ids: list[int] = []
    taken: set[int] = set()
    extra: dict[str, list[Any]] = {key: [] for data in parts for key in data.categories.extra}
    went = []
    for data, label in zip(parts, labels, strict=True):
        own = data.categories
        places = np.empty(len(own), np.int64)
        made_up = _made_up(own.ids)
        # A name that is new gives way to an id that this dataset itself uses further down.
        later = set(own.ids.tolist())
        for row, (name, number) in enumerate(zip(own.names.tolist(), own.ids.tolist(), strict=True)):
            place = places[row] = rows.setdefault(name, len(rows))
            values = {key: own.extra[key][row] if key in own.extra else ABSENT for key in extra}
            if place == len(ids):
                free = number if number not in taken else _free(taken | later)
                if free != number and not made_up:
                    intake.note(f"{label}: category {name!r}: id {number} is another's; now {free}")
                ids.append(free)
                taken.add(free)
                for key, value in values.items():
                    extra[key].append(value)
                continue
            if ids[place] != number and not made_up:
                intake.note(f"{label}: category {name!r} has id {number} here and {ids[place]} before; the first stays")
            for key, value in values.items():
                if extra[key][place] is ABSENT:
                    extra[key][place] = value
                elif value is not ABSENT and value != extra[key][place]:
                    intake.note(f"{label}: category {name!r} says another {key} than before; the first stays")
        went.append(places)
    columns = {key: objects(values) for key, values in extra.items()}
    return Categories(strings(rows), np.array(ids, np.int64), columns), went


def _made_up(ids: Rows) -> bool:
    """Whether ids are what a reader gives to rows that have none, so that nobody misses them."""
    return bool((ids == np.arange(1, len(ids) + 1)).all())


def _free(taken: set[int]) -> int:
    """The id after the largest, or the smallest that is free where that is too large."""
    largest = max(taken)
    return (
        largest + 1 if largest < _LARGEST_ID else next(each for each in range(1, len(taken) + 2) if each not in taken)
    )


def _ids(columns: Sequence[Rows], labels: Sequence[str], what: str, intake: Intake) -> Rows:
    """All ids, each once."""
    done = columns[0]
    for ids, label in zip(columns[1:], labels[1:], strict=True):
        if len(done) and len(ids) and len(np.intersect1d(done, ids, assume_unique=True)):
            shift = int(done.max()) + 1 - int(ids.min())
            if max(int(ids.max()) + shift, shift) > _LARGEST_ID:
                intake.note(
                    f"{label}: {what} ids stand in an earlier dataset too, and are too large; all were numbered"
                )
                return np.arange(1, sum(map(len, columns)) + 1, dtype=np.int64)
            if not _made_up(ids):
                intake.note(f"{label}: {what} ids stand in an earlier dataset too; {shift:,} was added to each")
            ids = ids + shift  # noqa: PLW2901 - those that go in
        done = np.concatenate([done, ids])
    return done


def _names(parts: Sequence[Dataset], labels: Sequence[str], intake: Intake) -> NDArray[np.object_]:
    """All names; one that an earlier dataset has in the same split is changed."""
    taken: set[tuple[str, str]] = set()
    names: list[str] = []
    for data, label in zip(parts, labels, strict=True):
        own = list(zip(data.images.splits.tolist(), data.images.names.tolist(), strict=True))
        twice = [row for row, key in enumerate(own) if key in taken]
        if twice:
            used = taken.union(own)
            before = own[twice[0]][1]
            for row in twice:
                own[row] = _other(*own[row], used)
                used.add(own[row])
            intake.note(
                f"{label}: {len(twice):,} images have the name of an earlier dataset's and were renamed, "
                f"such as {before!r} to {own[twice[0]][1]!r}"
            )
        taken.update(own)
        names.extend(name for _, name in own)
    return strings(names)


def _other(split: str, name: str, used: Collection[tuple[str, str]]) -> tuple[str, str]:
    """`a.jpg` -> `a_2.jpg`, or the first number that is free."""
    stem, suffix = posixpath.splitext(name)
    if suffix.lower() not in SUFFIXES:  # a dot in a name without a suffix
        stem, suffix = name, ""
    number = 2
    while (split, f"{stem}_{number}{suffix}") in used:
        number += 1
    return split, f"{stem}_{number}{suffix}"


def _files(parts: Sequence[Dataset], intake: Intake) -> tuple[Path, NDArray[np.object_]]:
    """The deepest folder that holds all, and the files as seen from there."""
    root, files = _common(parts)
    found = Counter(name for name in files if name)
    if len(found) < sum(found.values()):
        intake.note(f"{sum(found.values()) - len(found):,} images are files that an earlier image has too")
    return root, strings(files)


def _common(parts: Sequence[Dataset]) -> tuple[Path, list[str]]:
    urls = [url_of(data.root) for data in parts]
    # A link's name stays as it is.
    roots = [str(url) if url else os.path.abspath(data.root) for url, data in zip(urls, parts, strict=True)]  # noqa: PTH100
    if len(set(roots)) == 1:
        return parts[0].root, [name for data in parts for name in data.images.files.tolist()]
    try:
        hosts = {url and (url.scheme, url.rest.partition("/")[0]) for url in urls}
        common = os.path.commonpath(roots) if len(hosts) == 1 else ""
    except ValueError:  # several drives
        common = ""
    files: list[str] = []
    for data, root in zip(parts, roots, strict=True):
        way = (os.path.relpath(root, common) if common else root).replace(os.sep, "/")
        prefix = "" if way == "." else way.rstrip("/") + "/"
        files.extend(
            name if not name or posixpath.isabs(name) else prefix + name for name in data.images.files.tolist()
        )
    return at(Path(common)), files


def _one_layout(parts: Sequence[Dataset], labels: Sequence[str], intake: Intake) -> tuple[Layout, list[Dataset]]:
    """One layout for all boxes, and the datasets with their boxes in it."""
    boxes: dict[Layout, int] = {}
    for data in parts:
        table = data.annotations
        if table.is_box.any():
            boxes[table.layout] = boxes.get(table.layout, 0) + int(table.is_box.sum())
    if not boxes:
        return parts[0].annotations.layout, list(parts)
    pixels = {layout: count for layout, count in boxes.items() if not layout.unit}
    layout = max(pixels or boxes, key=boxes.__getitem__)
    result = []
    for data, label in zip(parts, labels, strict=True):
        table = data.annotations
        if table.layout is layout or not table.is_box.any():
            result.append(data)
            continue
        sized = with_sizes(data) if table.layout.unit != layout.unit else data
        intake.note(f"{label}: boxes were {table.layout.value}; now {layout.value} as most others")
        result.append(replace(sized, annotations=replace(table, boxes=sized.boxes(layout), layout=layout)))
    return layout, result


def _extras(extras: Sequence[Extra], counts: Sequence[int]) -> Extra:
    """The extras of all; ABSENT for the rows of a dataset that has none."""
    merged = {}
    for key in dict.fromkeys(key for extra in extras for key in extra):
        columns = []
        for extra, count in zip(extras, counts, strict=True):
            column = extra.get(key)
            if column is None:
                column = np.empty(count, object)
                column[:] = ABSENT
            columns.append(column)
        merged[key] = np.concatenate(columns)
    return merged


def _heads(parts: Sequence[Dataset], labels: Sequence[str], intake: Intake) -> Mapping[str, Any]:
    """What is said of datasets as a whole."""
    if len(parts) == 1:
        return parts[0].extra
    parts = [replace(data, extra=without_spellings(data.extra)) for data in parts]
    merged: dict[str, Any] = {}
    of_splits = [set(data.images.splits.tolist()) for data in parts]
    for key in dict.fromkeys(key for data in parts for key in data.extra):
        owners = [index for index, data in enumerate(parts) if key in data.extra]
        first = parts[owners[0]].extra[key]
        if all(parts[index].extra[key] == first for index in owners[1:]):
            merged[key] = first
            continue
        for index in owners:
            others = set().union(*(found for other, found in enumerate(of_splits) if other != index))
            own = of_splits[index]
            marks = (
                sorted(own) if own and "" not in own and own.isdisjoint(others) and "@" not in key else [labels[index]]
            )
            merged.update({f"{key}@{mark}": parts[index].extra[key] for mark in marks})
        intake.note(f"{key} is not the same for all datasets; it was kept for each, as {key}@...")
    return merged
