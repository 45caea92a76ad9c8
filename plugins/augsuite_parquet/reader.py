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


def read(path: Path, intake: Intake, boxes: str = "") -> Dataset:
    """Read a Parquet file, or those of a folder, as a whole; see `read_parts`."""
    return joined(read_parts(path, intake, boxes))


def read_parts(path: Path, intake: Intake, boxes: str = "") -> Iterator[Dataset]:
    """Read Parquet files with one row per image, in parts.

    Files of ours give back everything. In those of others, the image is the column `file_name`, `path` or `image` (also with the bytes
    embedded), its objects a struct of lists or a list of structs (`bbox`, `category`, `id`, ...), or a `label` of the whole image;
    columns that mean nothing to us become extras `parquet.<column>`.

    Args:
        path: a file or folder.
        intake: takes what is invalid or surprising.
        boxes: the layout of boxes in files of others; x, y, width, height in pixels by default.

    Raises:
        DataError: in one line: file, row, what was expected, what was found.
    """
    files = find_files(path)
    if not files:
        raise DataError(f"{path}: no Parquet file. Name one, or the folder that has them.")
    schemas = [read_schema(file) for file in files]
    heads = [_head(file, schema) for file, schema in zip(files, schemas, strict=True)]
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
        own_finder = replace(finder, folders=("", *_folders(root, file), "images", f"images/{split}", "data"))
        row = 0
        for group in _groups(file, column):
            batch = read_batch(file, row, group, column, categories, ours=ours, intake=intake, before=rows_of[split])
            row += len(group)
            advance("reading", len(group))
            part = _part(batch, split, own_finder, categories, layout, images, annotations)
            images += len(part)
            annotations += len(part.annotations)
            embedded += batch.embedded
            yield replace(part, root=root, extra=extra)
        missing += own_finder.missing
        rows_of[split] += row
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


def _groups(file: Path, columns: Columns) -> Iterator[pa.RecordBatch]:
    with opened(file) as content:
        yield from content.iter_batches(_ROWS, columns=list(columns.read), use_threads=False)


def _part(
    batch: Batch,
    split: str,
    finder: Finder,
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
            strings(finder.find(path) if path else "" for path in batch.paths),
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
