"""COCO files to tables; several files become one dataset."""

from __future__ import annotations

import gc
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from augsuite.dataset import Dataset, Intake
from augsuite.dataset.files import line_of, not_utf8, read_bytes
from augsuite.dataset.finder import Finder
from augsuite.dataset.progress import advance
from augsuite.errors import DataError
from augsuite_coco import layout
from augsuite_coco.blocks import NotInBlocksError, blocks, load_whole
from augsuite_coco.model import AnnotationRow, CategoryRow, ImageRow, said
from augsuite_coco.results import as_dataset, is_results
from augsuite_coco.rows import Rows
from augsuite_coco.tables import Document, Rejects, Tables, add

NOT_IN_BLOCKS = (NotInBlocksError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, OSError)
"""What decoding block by block raises for a file that has to be read at once, if only to say what is wrong with it."""


def read(path: Path, intake: Intake, images: str = "") -> Dataset:
    """Read a COCO file, a folder of them as one dataset, or a file of results.

    Boxes stay as they are in the file (x, y, width, height in pixels); a crowd is ignored in training and evaluation. Keys that
    the tables have no column for become extras `coco.<key>`; masks and keypoints are kept as undecoded JSON (`msgspec.Raw`).
    Categories of several files are one by name; ids that two files share are renumbered, with a note.

    Args:
        path: a file or folder.
        intake: takes what is invalid or surprising.
        images: of results, the file whose images and categories they are about.

    Raises:
        DataError: in one line: file, place, what was expected, what was found.
    """
    files = layout.find_files(path) if path.is_dir() else [path]
    if not files:
        raise DataError(
            f"{path}: no JSON file in annotations/, in a folder per split or in the folder itself. Name the file."
        )
    if len(files) == 1 and is_results(files[0]):
        about = read(_beside(files[0], images), intake) if images else None
        return as_dataset(files[0], _load_results(files[0], intake), about, intake)
    if images:
        raise DataError(f"{path}: images= is for a file of results, a list of detections. Leave it out here.")
    root = path if path.is_dir() else layout.root_of(path)
    tables = Tables(root)
    for file in files:
        split = layout.split_of(file, alone=len(files) == 1)
        with collector_off():
            document = load(file, intake)
        add(tables, file, split, document, finder_of(root, file, split, intake), intake)
    return tables.dataset()


def _beside(file: Path, name: str) -> Path:
    """A file named from where the user stands, or from beside another file."""
    given = Path(name)
    return given if given.exists() else file.parent / name


def _load_results(file: Path, intake: Intake) -> Rows:
    data = read_bytes(file).removeprefix(b"\xef\xbb\xbf")
    rows = Rows("results", AnnotationRow, intake)
    try:
        rows.decode(data)
    except UnicodeDecodeError as error:
        raise not_utf8(file, data, error) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(file, data, error) from error
    Rejects(file, rows).tell(intake)
    return rows


def finder_of(root: Path, file: Path, split: str, intake: Intake) -> Finder:
    """Where the images of a file are looked for."""
    return Finder(root, layout.image_folders(root, file, split), allow_outside=intake.allow_outside)


def load(file: Path, intake: Intake) -> Document:
    """Decode one COCO file.

    Raises:
        DataError: if it is no JSON or no COCO; says where.
    """
    try:
        document, found = _empty(intake)
        size = file.stat().st_size
        for key, value in blocks(file, _decoders(document), lambda step: advance("reading", step, size)):
            found.add(key)
            if isinstance(value, Raw):
                document.head[key] = head_value(value)
        return _complete(file, document, found)
    except NOT_IN_BLOCKS:
        return load_at_once(file, intake)


def _empty(intake: Intake) -> tuple[Document, set[str]]:
    return Document(
        Rows("images", ImageRow, intake),
        Rows("categories", CategoryRow, intake),
        Rows("annotations", AnnotationRow, intake),
        {},
    ), set()


def _decoders(document: Document) -> dict[str, Any]:
    return {rows.name: rows.decode for rows in (document.images, document.categories, document.annotations)}


def check_lists(file: Path, found: Collection[str], head: Mapping[str, Any]) -> None:
    """Refuse a file that lacks a list.

    Args:
        file: the file.
        found: its keys.
        head: what it says beside its lists.

    Raises:
        DataError: if it does.
    """
    for key in ("images", "categories"):
        if key not in found or key in head:
            raise DataError(
                f"{file}: expected a COCO object with the lists images, annotations and categories, got no list {key}. "
                "Name another file, or its format with --from."
            )


def _complete(file: Path, document: Document, found: set[str]) -> Document:
    check_lists(file, found, document.head)
    document.annotations.decode(b"[]")  # an empty column where the file has no such list
    return document


def head_value(raw: Raw) -> Any:
    """A value about the file as a whole, decoded; one that JSON would not give back as it was stays undecoded."""
    value = msgspec.json.decode(raw)
    return value if msgspec.json.encode(value) == msgspec.json.format(bytes(raw), indent=-1) else Raw(bytes(raw))


def load_at_once(file: Path, intake: Intake) -> Document:
    """As `load`, in the memory that the whole file takes, and with a line that says what is wrong."""
    data = read_bytes(file)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(file, data, error) from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    document, found = _empty(intake)
    try:
        for key, value in load_whole(data, _decoders(document)):
            found.add(key)
            if isinstance(value, Raw):
                document.head[key] = head_value(value)
        return _complete(file, document, found)
    except msgspec.ValidationError as error:
        raise DataError(
            f"{file}: expected a COCO object with the lists images, annotations and categories: {said(error)}. "
            "Name another file, or its format with --from."
        ) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(file, data, error) from error


_AFTER_WORD = re.compile(rb"[^-A-Za-z]")


def _malformed(file: Path, data: bytes, error: Exception) -> DataError:
    try:
        msgspec.json.decode(data)  # a list was decoded by itself: where in the file is it malformed?
    except (msgspec.DecodeError, RecursionError) as whole:
        error = whole
    if isinstance(error, RecursionError):
        return DataError(f"{file}: nested too deeply to be COCO. Name another file.")
    found = re.search(r"\(byte (\d+)\)", str(error))
    offset = min(int(found.group(1)), len(data)) if found else len(data)
    offset -= data[offset - 1 : offset + 1] == b"-I"
    if "truncated" in str(error):
        reason = "the file ends in the middle of its JSON. Copy or download it again"
    elif data[offset : offset + 1] in (b"N", b"I") or data[offset : offset + 2] == b"-I":
        reason = f"expected a JSON number, got {_AFTER_WORD.split(data[offset : offset + 9])[0].decode()}. Replace it by a number"
    else:
        text = str(error).partition(": ")[2].partition(" (byte")[0] or said(error)
        reason = f"malformed JSON: {text}. Fix the file there"
    return DataError(f"{file}: line {line_of(data, offset)}, byte {offset}: {reason}.")


@contextmanager
def collector_off() -> Iterator[None]:
    """Decoding makes many objects and no garbage; the collector would walk them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
