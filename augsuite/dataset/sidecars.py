"""A file beside a written dataset that keeps what its format could not hold, and reading it back.

When a dataset was written, it is read back at once. The sidecar holds whatever then differs: of each value what it was before and what
was read in its place, and where each image, class and box was found. Whatever is edited in the written files later wins: only a value
that is still as it was read becomes what it was before; an annotation that was moved is a new one, one that was deleted stays deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from augsuite.dataset.checks import Intake
from augsuite.dataset.packing import encode
from augsuite.dataset.restoring import alike, restore
from augsuite.dataset.sidecar_document import (
    NAME,
    VERSION,
    AnnotationsPart,
    CategoriesPart,
    Column,
    ImagesPart,
    Sidecar,
    load,
    packed,
    values_of,
)
from augsuite.dataset.tables import ABSENT, Dataset, Extra, Rows, objects
from augsuite.dataset.tracing import (
    CLOSE_PX,
    Place,
    pair_the_rest,
    trace_annotations,
    trace_categories,
    trace_images,
    with_sizes_of,
)

_ROW = "augsuite._row"


def mark(data: Dataset) -> Dataset:
    """The dataset with the number of each row in it, so that `write` knows which rows a format could hold."""
    images, table = data.images, data.annotations
    return replace(
        data,
        images=replace(images, extra={**images.extra, _ROW: objects(range(len(images)))}),
        annotations=replace(table, extra={**table.extra, _ROW: objects(range(len(table)))}),
    )


def unmark(data: Dataset) -> Dataset:
    """The dataset without those numbers."""
    images, table = data.images, data.annotations
    return replace(
        data,
        images=replace(images, extra={key: value for key, value in images.extra.items() if key != _ROW}),
        annotations=replace(table, extra={key: value for key, value in table.extra.items() if key != _ROW}),
    )


def write(folder: Path, data: Dataset, left: Dataset, paths: Sequence[str], format_name: str, back: Dataset) -> None:
    """Write the sidecar.

    Args:
        folder: where the dataset was written.
        data: the dataset, whole.
        left: what was left of `mark(data)` for the format, not yet unmarked.
        paths: where the images of `left` belong.
        format_name: the format that was written.
        back: what is read of the folder now.
    """
    images, categories, table = data.images, data.categories, data.annotations
    of_image = left.images.extra[_ROW].astype(np.int64)
    expected: list[Place | None] = [None] * len(data)
    for row, path, split, name in zip(of_image.tolist(), paths, left.images.splits, left.images.names, strict=True):
        expected[row] = Place(path, split, name)
    traced = trace_images(back, expected)
    image_of = _inverse(traced, len(data))
    of_category = trace_categories(back.categories, categories.names.tolist())
    _pair_categories(of_category, len(categories), len(back.categories))
    written = np.zeros(len(table), bool)
    written[left.annotations.extra[_ROW].astype(np.int64)] = True
    corners = with_sizes_of(data, back.images, traced).boxes()
    matches = trace_annotations(back, data, corners, written, traced, of_category)
    pair_the_rest(back, data, matches, written, traced, of_category)
    found = np.flatnonzero(matches >= 0)
    read = matches[found]
    others = back.boxes()[read]
    moved = ~(np.abs(corners[found] - others).max(axis=1, initial=0) <= CLOSE_PX) & ~np.isnan(others[:, 0])
    names = categories.names.tolist()
    for row, before in of_category.items():
        names[before] = back.categories.names[row]
    extra = {key: (data.extra.get(key, ABSENT), back.extra.get(key, ABSENT)) for key in {**data.extra, **back.extra}}
    extra = {key: change for key, change in extra.items() if not alike(*change)}
    document = Sidecar(
        VERSION,
        format_name,
        ImagesPart(
            images.names.tolist(),
            images.sizes.tolist(),
            images.ids.tolist(),
            images.splits.tolist(),
            [_place(back, row) if row >= 0 else None for row in image_of.tolist()],
            _columns(images.extra, back.images.extra, image_of),
        ),
        CategoriesPart(
            categories.names.tolist(),
            categories.ids.tolist(),
            names,
            _columns(
                categories.extra,
                back.categories.extra,
                _inverse(
                    np.array([of_category.get(row, -1) for row in range(len(back.categories))], np.int64), len(names)
                ),
            ),
        ),
        AnnotationsPart(
            table.image_rows.tolist(),
            table.category_rows.tolist(),
            table.boxes.tolist(),
            table.layout.value,
            table.ids.tolist(),
            table.ignore.tolist(),
            np.flatnonzero(matches < 0).tolist(),
            {int(row): tuple(box) for row, box in zip(found[moved].tolist(), others[moved].tolist(), strict=True)},
            found[table.ignore[found] != back.annotations.ignore[read]].tolist(),
            _columns(table.extra, back.annotations.extra, matches),
        ),
        packed({key: before for key, (before, _) in extra.items()}),
        packed({key: seen for key, (_, seen) in extra.items()}),
    )
    (folder / NAME).write_bytes(encode(document).encode())


def _inverse(rows: Rows, count: int) -> Rows:
    inverse = np.full(count, -1, np.int64)
    inverse[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
    return inverse


def _pair_categories(of_category: dict[int, int], count: int, read: int) -> None:
    """Match those that a writer had to rename, in order, if none came or went."""
    if count == read:
        missing = sorted(set(range(count)) - set(of_category.values()))
        of_category |= zip(sorted(set(range(read)) - of_category.keys()), missing, strict=True)


def _place(data: Dataset, row: int) -> tuple[str, str, str]:
    return data.images.files[row], data.images.splits[row], data.images.names[row]


def _columns(extra: Extra, back: Extra, source: Rows) -> dict[str, Column]:
    """What differs in extras; `source` says which row of `back` each row is (-1: none)."""
    columns = {}
    for key in dict.fromkeys((*extra, *back)):
        if key == _ROW:
            continue
        before = extra[key].tolist() if key in extra else [ABSENT] * len(source)
        now = np.full(len(source), ABSENT, object)
        if key in back:
            now[source >= 0] = back[key][source[source >= 0]]
        changes = [
            (row, value, seen)
            for row, (value, seen) in enumerate(zip(before, now.tolist(), strict=True))
            if not alike(value, seen)
        ]
        if changes:
            said = [(row, value) for row, value, _ in changes if value is not ABSENT]
            seen_of = [(row, seen) for row, _, seen in changes if seen is not ABSENT]
            columns[key] = Column(*values_of(key, said), *(values_of(key, seen_of) if seen_of else ()))
    return columns


def find(path: Path) -> Path | None:
    """The sidecar of a dataset, given its folder or a file in it."""
    for folder in (path, path.parent, path.parent.parent) if not path.is_dir() else (path,):
        if (folder / NAME).is_file():
            return folder / NAME
    return None


def bring_back(file: Path, data: Dataset, format_name: str, intake: Intake) -> Dataset:
    """The dataset with what its sidecar keeps.

    Args:
        file: the sidecar.
        data: what was read of the dataset beside it.
        format_name: the format that was read.
        intake: told what was brought back, and what was not.

    Raises:
        DataError: if the sidecar cannot be read.
    """
    format_of, memory = load(file)
    if format_of != format_name:
        intake.note(f"{file}: belongs to a dataset in the format {format_of}, and was left aside")
        return data
    return restore(data, memory, file, intake)
