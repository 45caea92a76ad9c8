"""COCO files to datasets of a few thousand images each, in memory that hardly grows with the files: 17 bytes for each image.

A first pass takes the images, which wait on disk, the categories and what is said of the file as a whole. A second one takes the
annotations, decoded and checked as in a whole read, and sorts them on disk by the part that their image belongs to.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw

from augsuite.boxes import Layout
from augsuite.dataset import Annotations, Categories, Dataset, Images, Intake
from augsuite.dataset.progress import advance
from augsuite.errors import DataError
from augsuite_coco import layout
from augsuite_coco.blocks import blocks
from augsuite_coco.file_ids import FileIds
from augsuite_coco.model import CategoryRow
from augsuite_coco.reader import (
    NOT_IN_BLOCKS,
    check_lists,
    collector_off,
    finder_of,
    head_value,
    load_at_once,
    read,
)
from augsuite_coco.results import is_results
from augsuite_coco.rows import Rows
from augsuite_coco.spool import Spool
from augsuite_coco.tables import Tables, add_categories, head_of
from augsuite_coco.waiting_annotations import WaitingAnnotations
from augsuite_coco.waiting_images import WaitingImages


def read_parts(path: Path, intake: Intake, images: str = "") -> Iterator[Dataset]:
    """Read as `augsuite_coco.reader.read` does, in parts.

    A file of results, and one that is not laid out as usual, is read at once and makes one part.

    Args:
        path: a file or folder.
        intake: takes what is invalid or surprising.
        images: of results, the file whose images and categories they are about.

    Raises:
        DataError: as `read` does; for the annotations of a file after the parts of those before it.
        ConfigError: if there is no room for temporary files.
    """
    files = layout.find_files(path) if path.is_dir() else [path]
    if images or not files or (len(files) == 1 and is_results(files[0])):
        yield read(path, intake, images)
        return
    with contextlib.ExitStack() as opened:
        quiet = replace(intake, skipped=[], notes=Counter())
        try:
            whole = _Whole(path, files, opened, quiet)
        except NOT_IN_BLOCKS:
            opened.close()
            yield read(path, intake)
            return
        intake.skipped += quiet.skipped
        intake.notes.update(quiet.notes)
        given = 0
        for number in range(len(files)):
            for part in whole.parts(number, opened, intake):
                given += 1
                yield part
        if not given:
            yield whole.dataset(Images.of([]), Annotations.of([], [], layout=Layout.XYWH_PX))


class _Whole:
    """All files: what each part needs to know of them."""

    def __init__(self, path: Path, files: list[Path], opened: contextlib.ExitStack, intake: Intake) -> None:
        self._root = path if path.is_dir() else layout.root_of(path)
        self._tables = tables = Tables(self._root)
        self._files = [_File(file, layout.split_of(file, alone=len(files) == 1)) for file in files]
        self._ids: list[FileIds] = []
        self._keys: dict[str, None] = {}  # extras of annotations in the order in which a whole read would have them
        self._image_keys: dict[str, None] = {}
        for file in self._files:
            finder = finder_of(self._root, file.path, file.split, intake)
            file.images = WaitingImages(file.path, finder, opened.enter_context(Spool()), intake, self._image_keys)
            with collector_off():
                file.read_images(tables, intake)
        self._categories = Categories.of(
            tables.categories, np.array(tables.category_ids, np.int64), tables.category_extra.extras()
        )
        self._extra = head_of(tables.heads)

    def dataset(self, images: Images, annotations: Annotations) -> Dataset:
        """A part."""
        return Dataset(images, self._categories, annotations, self._root, self._extra)

    def parts(self, number: int, opened: contextlib.ExitStack, intake: Intake) -> Iterator[Dataset]:
        """The parts of one file."""
        file = self._files[number]
        with Spool() as rows, Spool() as ids:
            table = WaitingAnnotations(file.path, file.images, file.categories, (rows, ids), intake, self._keys)
            with collector_off():
                file.read_annotations(table, intake)
            numbering = table.ids.number(file.path, table.rejected, table.without, self._ids, intake)
            if numbering.shift:
                self._keys.setdefault("coco._id")
            if number + 1 < len(self._files):
                self._ids.append(table.ids.moved(table.rejected, numbering.shift, opened.enter_context(Spool())))
            empty = 0
            for part in range(file.images.parts):
                images = file.images.part(part, file.split)
                if len(images):
                    annotations = table.part(part, numbering)
                    empty += int((annotations.boxes[:, 2:] == 0).any(axis=1).sum())
                    yield self.dataset(images, annotations)
            if empty:
                intake.note(f"{file.path}: {empty:,} boxes have no area")


@dataclass
class _File:
    """One file.

    Attributes:
        path: where it is.
        split: what split it is.
        images: its images.
        categories: id in the file -> row.
    """

    path: Path
    split: str
    images: WaitingImages = field(init=False)
    categories: dict[int, int] = field(default_factory=dict)

    def read_images(self, tables: Tables, intake: Intake) -> None:
        """Read all but the annotations.

        Raises:
            DataError: if a row, or a list, is not as it must be.
        """
        kinds = Rows("categories", CategoryRow, intake)
        found: set[str] = set()
        head: dict[str, Any] = {}
        for key, value in self.blocks({"images": self.images.take, "categories": kinds.decode, "annotations": _passed}):
            found.add(key)
            if isinstance(value, Raw):
                head[key] = head_value(value)
        check_lists(self.path, found, head)
        self.images.finish(tables)
        self.categories = add_categories(tables, self.path, self.split, kinds, intake)
        tables.heads[self.split] = {**tables.heads.get(self.split, {}), **head}

    def read_annotations(self, table: WaitingAnnotations, intake: Intake) -> None:
        """Read the annotations.

        Raises:
            DataError: if one is not as it must be, or the file is no JSON after all.
        """
        try:
            for _ in self.blocks({"images": _passed, "categories": _passed, "annotations": table.take}):
                pass
        except NOT_IN_BLOCKS as error:
            load_at_once(self.path, intake)  # says what is wrong
            raise DataError(f"{self.path}: cannot be read in parts. Read it at once: drop --stream.") from error
        table.finish()

    def blocks(self, lists: dict[str, Callable[[bytes], None]]) -> Iterator[tuple[str, Raw | None]]:
        """See `augsuite_coco.blocks`."""
        size = self.path.stat().st_size
        return blocks(self.path, lists, lambda step: advance("reading", step, 2 * size))


class _Nothing(msgspec.Struct, gc=False):
    """A row that nobody looks at."""


_NOTHING = msgspec.json.Decoder(list[_Nothing])
_ROWS = msgspec.json.Decoder(list[Raw])


def _passed(data: bytes) -> None:
    """See to it that rows are JSON, and no more."""
    if not data.isascii():
        data.decode()
    try:
        _NOTHING.decode(data)
    except msgspec.ValidationError:  # a row that is no object; whoever reads the annotations says so
        _ROWS.decode(data)
