"""Parquet files to tables, row group by row group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from augsuite.boxes import Layout
from augsuite.dataset import Annotations, Dataset, Images, Intake
from augsuite.dataset.files import Finder
from augsuite.dataset.packing import decode
from augsuite.dataset.parts import joined
from augsuite.dataset.progress import advance
from augsuite.dataset.tables import Categories, strings
from augsuite.errors import DataError
from augsuite_parquet.foreign import Columns, categories_of, understand
from augsuite_parquet.layout import find_files, opened, read_schema, root_of, split_of
from augsuite_parquet.rows import Batch, read_batch
from augsuite_parquet.schema import KEY, Head

_ROWS = 2048  # images read at a time


def read(path: Path, intake: Intake, boxes: str = "", verify: str = "") -> Dataset:
    """Read a Parquet file, or those of a folder, as a whole; see `read_parts`."""
    return joined(read_parts(path, intake, boxes, verify))


def read_parts(path: Path, intake: Intake, boxes: str = "", verify: str = "") -> Iterator[Dataset]:
    """Read Parquet files with one row per image, in parts.

    Files of ours give back everything. In those of others, the image is the column `file_name`, `path` or `image` (also with the bytes
    embedded), its objects a struct of lists or a list of structs (`bbox`, `category`, `id`, ...), or a `label` of the whole image;
    columns that mean nothing to us become extras `parquet.<column>`.

    Args:
        path: a file or folder.
        intake: takes what is invalid or surprising.
        boxes: the layout of boxes in files of others; x, y, width, height in pixels by default.
        verify: "bytes" to read the embedded images, too, so that their checksums are looked at.

    Raises:
        DataError: in one line: file, row, what was expected, what was found.
    """
    files = find_files(path)
    if not files:
        raise DataError(f"{path}: no Parquet file. Name one, or the folder that has them.")
    files, schemas, heads = _sound(files, intake)
    if not files:
        raise DataError(f"{path}: none of its Parquet files can be read. Copy or download them again.")
    ours = heads[0] is not None and all(head == heads[0] for head in heads)
    extra: dict[str, Any] = {}
    if ours and heads[0] is not None:
        categories, extra = heads[0].table(str(files[0])), dict(decode(heads[0].extra, str(files[0])))
        columns = [understand(file, schema) for file, schema in zip(files, schemas, strict=True)]
    else:
        columns = [understand(file, schema) for file, schema in zip(files, schemas, strict=True)]
        categories = categories_of(files, columns)
    layout = Layout(boxes if boxes.endswith("_unit") else f"{boxes or 'xywh'}_px") if not ours else Layout.XYWH_PX
    root = root_of(path).resolve()
    finder = Finder(root, ("", "images", "data"), allow_outside=intake.allow_outside)
    images = annotations = embedded = missing = 0
    rows_of: Counter[str] = Counter()
    for file, column in zip(files, columns, strict=True):
        split = split_of(file, files)
        inside = file.resolve().relative_to(root).as_posix() if ours and column.held else ""
        own_finder = replace(finder, folders=("", *_folders(root, file), "images", f"images/{split}", "data"))
        rows = 0
        for row, group in _groups(file, column, intake, verify=bool(verify)):
            batch = read_batch(file, row, group, column, categories, ours=ours, intake=intake, before=rows_of[split])
            if inside:
                batch.paths = [f"{inside}/{held}" if held else "" for held in batch.paths]
            advance("reading", len(group))
            part = _part(batch, split, None if inside else own_finder, categories, layout, images, annotations)
            images += len(part)
            annotations += len(part.annotations)
            embedded += batch.embedded
            rows = row + len(group)
            yield replace(part, root=root, extra=extra)
        missing += own_finder.missing
        rows_of[split] += rows
    if embedded:
        intake.note(
            f"{path}: {embedded:,} images are embedded in the Parquet files; they were read with their names and sizes, but are no "
            "files that could be shown, augmented or placed"
        )
    if missing - embedded > 0:
        intake.note(f"{path}: {missing - embedded:,} of {images:,} images have no file")
    if not images:
        yield Dataset(Images.of([]), categories, Annotations.of([], [], layout=layout), root=root, extra=extra)


def _head(file: Path, schema: pa.Schema) -> Head | None:
    """What our own files say of the dataset."""
    text = (schema.metadata or {}).get(KEY)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Head)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(f"{file}: metadata {KEY.decode()!r}: {error}. Remove it, or copy the file again.") from error


def _folders(root: Path, file: Path) -> list[str]:
    """The file's own folder, from the root."""
    folder = file.resolve().parent
    return [folder.relative_to(root).as_posix()] if folder != root and folder.is_relative_to(root) else []


def _sound(files: Sequence[Path], intake: Intake) -> tuple[list[Path], list[pa.Schema], list[Head | None]]:
    """The files that can be opened, with their columns and heads; one that cannot is invalid as a whole."""
    found: list[Path] = []
    schemas: list[pa.Schema] = []
    heads: list[Head | None] = []
    for file in files:
        try:
            schema = read_schema(file)
            head = _head(file, schema)
        except DataError as error:
            if not intake.skip_invalid:
                raise DataError(f"{error} Or pass --skip-invalid to leave it out.") from error
            intake.skipped.append(f"{error} Left out: all of it.")
            continue
        found.append(file)
        schemas.append(schema)
        heads.append(head)
    return found, schemas, heads


def _groups(file: Path, columns: Columns, intake: Intake, *, verify: bool) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches of rows, each with the number of its first; of a damaged row group those before the damage."""
    with opened(file) as content:
        first = 0
        for number in range(content.num_row_groups):
            row = first
            first += content.metadata.row_group(number).num_rows
            try:
                if verify:
                    content.read_row_group(number, use_threads=False)
                for batch in content.iter_batches(
                    _ROWS, row_groups=[number], columns=list(columns.read), use_threads=False
                ):
                    yield row, batch
                    row += len(batch)
            except (pa.ArrowException, OSError, ValueError) as error:
                said = " ".join(str(error).split())[:200]
                intake.reject(f"{file}: rows {row} to {first - 1}", f"cannot be read ({said})", first - row)


def _part(
    batch: Batch,
    split: str,
    finder: Finder | None,
    categories: Categories,
    layout: Layout,
    images: int,
    annotations: int,
) -> Dataset:
    """The tables of one batch; rows are numbered on from those before it."""
    count = len(batch.names)
    splits: Sequence[str] = batch.splits if batch.splits is not None else [split] * count
    ids = np.arange(images + 1, images + count + 1) if batch.ids is None else batch.ids
    own = len(batch.image_rows)
    return Dataset(
        Images(
            strings(batch.names),
            batch.sizes,
            ids.astype(np.int64),
            strings(splits),
            strings(batch.paths if finder is None else [finder.find(path) if path else "" for path in batch.paths]),
            batch.image_extra,
        ),
        categories,
        Annotations(
            batch.image_rows,
            batch.category_rows,
            batch.boxes,
            layout,
            np.arange(annotations + 1, annotations + own + 1) if batch.annotation_ids is None else batch.annotation_ids,
            batch.ignore,
            batch.annotation_extra,
        ),
    )
