"""Labels that were corrected by hand in an annotation tool come back to the dataset that they were made of.

What a tool cannot hold, and what its files round, must not look like somebody's edit. So the dataset is written in the tool's format and
read again: what came back is compared with that, and only the difference goes to the dataset.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np

from augsuite.conversion import read_as, write
from augsuite.dataset import Dataset, Intake
from augsuite.dataset.correcting import Edit, Kind, Work, apply
from augsuite.dataset.files import with_sizes
from augsuite.dataset.grouped_parts import joined
from augsuite.dataset.image_matching import match_images
from augsuite.dataset.object_pairs import pair_objects
from augsuite.dataset.tables import Rows
from augsuite.dataset.tracing import Place, pair_the_rest, trace_annotations, trace_categories, trace_images
from augsuite.detection import detect, find_format, find_place
from augsuite.errors import AugsuiteError, ConfigError, DataError, nearest
from augsuite.spec import FormatSpec

TOLERANCE_PX = 0.01
"""CVAT writes two decimals."""

_KNOWS_OUTLINES_ONLY = frozenset({"cvat"})
"""Formats of tools in which an object with an outline has no box of its own."""


@dataclass(frozen=True)
class Corrections:
    """What an annotator changed.

    Attributes:
        images: how many images came back.
        images_changed: on how many of them something changed.
        images_left: how many images of the dataset the annotator was not given.
        same: how many objects of the images that came back are as they were.
        edits: what changed, object by object, in the order of the images.
        categories_added: names of classes that the dataset did not have.
        notes: what else there is to say -> how often.
    """

    images: int
    images_changed: int
    images_left: int
    same: int
    edits: list[Edit]
    categories_added: list[str]
    notes: Mapping[str, int] = field(default_factory=dict)

    def counts(self) -> dict[Kind, int]:
        """How many objects each kind of edit concerns; one that was moved and relabelled counts in both."""
        counted = Counter(kind for edit in self.edits for kind in edit.kinds)
        return {kind: counted[kind] for kind in get_args(Kind)}


def correct(
    data: Dataset,
    annotated: str | os.PathLike[str] | Dataset,
    source_format: str | FormatSpec | None = None,
    *,
    tolerance: float = TOLERANCE_PX,
    new_categories: bool = False,
    intake: Intake | None = None,
    options: Mapping[str, str] | None = None,
) -> tuple[Dataset, Corrections]:
    """Take over what an annotator changed; all else stays as it was, with its ids, extras and every digit.

    Images are matched by name (see `match_images`), then by the bytes of their files. On an image that came back an object that is missing
    was deleted, one more was added. Images that did not come back stay as they are.

    Args:
        data: the dataset of which the annotator's work was made.
        annotated: what came back: a file or folder of any format, or the dataset read from it.
        source_format: its format; detected where it is None.
        tolerance: pixels that the tool may have rounded off.
        new_categories: take classes that the dataset does not have; otherwise they are an error.
        intake: takes what is invalid or surprising in the files that came back.
        options: of their reader.

    Returns:
        The corrected dataset, and what was changed.

    Raises:
        DataError: if what came back holds an image that the dataset does not have or that has another size, or cannot be read.
        ConfigError: if it holds an unknown class, or its format does not fit.
    """
    if not tolerance >= 0:
        raise ConfigError(f"tolerance: expected pixels from 0 up, got {tolerance:g}.")
    data, spec = with_sizes(data), None
    if not isinstance(annotated, Dataset):
        spec = find_format(source_format) if source_format else detect(find_place(annotated))
        annotated = read_as(annotated, spec, intake or Intake(), options or {})
    notes: Counter[str] = Counter()
    left, right = _pair_images(data, annotated, spec, notes)
    annotated = _with_sizes_of(data, annotated, left, right)
    part = data.take(left)
    given = _given(part, spec, notes)
    image_of_given = trace_images(given, _places(part))
    of_category = trace_categories(given.categories, part.categories.names.tolist())
    back = np.full(len(part), -1, np.int64)
    back[image_of_given[image_of_given >= 0]] = np.flatnonzero(image_of_given >= 0)
    if (back < 0).any():
        name = part.images.names[int(np.flatnonzero(back < 0)[0])]
        raise DataError(
            f"{name}: the format {_name(spec)} cannot hold this image, so nobody can have corrected it there."
        )
    given = _with_sizes_of(part, given, np.arange(len(part)), back)
    if spec is not None and spec.name in _KNOWS_OUTLINES_ONLY:
        annotated = joined(annotated, given, back, right)
    categories, new = _categories(data, given, annotated, of_category, new_categories=new_categories)
    rows_before, rows_after, gone, added = pair_objects(given, annotated, back, right, tolerance)
    base_of = _objects(given, part, image_of_given, of_category, notes)
    whole = np.flatnonzero(np.isin(data.annotations.image_rows, left))  # the row that each row of the part was
    to_whole = np.append(whole, -1)
    work = Work(
        data, given, annotated,
        base=to_whole[base_of[rows_before]], before=rows_before, after=rows_after,
        deleted=whole[base_of[gone][base_of[gone] >= 0]], added=added,
        images=left, images_given=back, images_after=right,
        categories=categories, new_categories=new,
        shapes_only=spec is not None and spec.name in _KNOWS_OUTLINES_ONLY,
    )  # fmt: skip
    corrected, edits, said = apply(work, tolerance)
    counts = [np.bincount(each.annotations.image_rows, minlength=len(each)) for each in (given, annotated)]
    bare = int(((counts[0][back] > 0) & (counts[1][right] == 0)).sum())
    if bare:
        notes[
            "images came back without any object, so all of theirs count as deleted; leave out those nobody looked at"
        ] += bare
    touched = sum("added" not in edit.kinds for edit in edits)
    return corrected, Corrections(
        images=len(right),
        images_changed=len({(edit.split, edit.image) for edit in edits}),
        images_left=len(data) - len(left),
        same=len(part.annotations) - touched,
        edits=edits,
        categories_added=list(new),
        notes=notes + said,
    )


def _name(spec: FormatSpec | None) -> str:
    return spec.name if spec is not None else "of the work"


def _places(data: Dataset) -> list[Place | None]:
    return [Place("", split, name) for split, name in zip(data.images.splits, data.images.names, strict=True)]


def _given(data: Dataset, spec: FormatSpec | None, notes: Counter[str]) -> Dataset:
    """The dataset as the tool was given it: written in its format, and read again."""
    if spec is None or not spec.writable:
        return data
    with tempfile.TemporaryDirectory(prefix="augsuite-given-") as folder:
        target = Path(folder) / "given"
        intake = Intake(skip_invalid=True, allow_outside=True)
        try:
            write(data, target, spec, images="none", intake=intake)
            return read_as(target, spec, intake, {})
        except AugsuiteError as error:
            notes[f"compared without regard to what {spec.name} cannot hold ({error})"] += 1
            return data


def _pair_images(data: Dataset, annotated: Dataset, spec: FormatSpec | None, notes: Counter[str]) -> tuple[Rows, Rows]:
    """Pair the images by name, by the name that the format's writer gave them, by content.

    Raises:
        DataError: if one that came back is none of the dataset.
    """
    pairs = np.stack(match_images(data, annotated))

    def rest() -> tuple[Rows, Rows]:
        return np.setdiff1d(np.arange(len(data)), pairs[0]), np.setdiff1d(np.arange(len(annotated)), pairs[1])

    left, right = rest()
    if len(left) and len(right):
        given = _given(data, spec, notes)
        traced = trace_images(given, _places(data))
        names, splits = data.images.names.copy(), data.images.splits.copy()
        found = traced >= 0
        names[traced[found]], splits[traced[found]] = given.images.names[found], given.images.splits[found]
        renamed = replace(data, images=replace(data.images, names=names, splits=splits))
        more = match_images(renamed.take(left), annotated.take(right))
        pairs = np.concatenate([pairs, np.stack([left[more[0]], right[more[1]]])], axis=1)
        left, right = rest()
    if len(left) and len(right):
        by_content = {digest: row for row, digest in zip(left, _digests(data, left), strict=True) if digest}
        found_rows = [
            (by_content.pop(digest), row)
            for row, digest in zip(right, _digests(annotated, right), strict=True)
            if digest in by_content
        ]
        pairs = np.concatenate([pairs, np.array(found_rows, np.int64).reshape(-1, 2).T], axis=1)
        left, right = rest()
    if len(right):
        name = str(annotated.images.names[right[0]])
        if _named(annotated, right[0]) in {_named(annotated, row) for row in pairs[1]}:
            raise DataError(f"image {name!r} came back twice. Leave out the one that does not count.")
        more_said = f" (and {len(right) - 1:,} others)" if len(right) > 1 else ""
        raise DataError(
            f"image {name!r}{more_said} came back, and the dataset has no image of that name or content. "
            f"{nearest(name, data.images.names[left].tolist())} Rename it there, or merge what is new: augsuite merge"
        )
    order = np.argsort(pairs[0], kind="stable")
    return pairs[0][order], pairs[1][order]


def _named(data: Dataset, row: int) -> tuple[str, str]:
    return data.images.splits[row], data.images.names[row]


def _digests(data: Dataset, rows: Rows) -> list[bytes]:
    """What the bytes of each image file come to; empty where there is no file."""
    found = []
    for row in rows.tolist():
        path = data.path(row) if data.images.files[row] else None
        found.append(hashlib.sha256(path.read_bytes()).digest() if path is not None and path.is_file() else b"")
    return found


def _with_sizes_of(data: Dataset, other: Dataset, left: Rows, right: Rows) -> Dataset:
    """The other dataset with the sizes that it does not know.

    Raises:
        DataError: if it knows others.
    """
    sizes = other.images.sizes.copy()
    own = data.images.sizes[left]
    known = (sizes[right] > 0).all(axis=1) & (own > 0).all(axis=1)
    wrong = np.flatnonzero(known & (sizes[right] != own).any(axis=1))
    if len(wrong):
        at = int(wrong[0])
        name, (width, height), (now_width, now_height) = data.images.names[left[at]], own[at], sizes[right[at]]
        raise DataError(
            f"{name}: has {width} x {height} pixels, and came back with {now_width} x {now_height}: its boxes do not fit. "
            "Correct it on an image of the same size."
        )
    sizes[right[~known]] = own[~known]
    return replace(other, images=replace(other.images, sizes=sizes))


def _categories(
    data: Dataset, given: Dataset, annotated: Dataset, of_category: Mapping[int, int], *, new_categories: bool
) -> tuple[Rows, list[str]]:
    """For each class that came back its row in the dataset; and the names of new ones, which follow.

    Raises:
        ConfigError: if a class that an object has is unknown.
    """
    rows = {name: row for row, name in enumerate(data.categories.names.tolist())}
    rows |= {str(given.categories.names[row]): before for row, before in of_category.items()}
    used = np.bincount(annotated.annotations.category_rows, minlength=len(annotated.categories)) > 0
    result = np.full(len(annotated.categories), -1, np.int64)
    new: list[str] = []
    for row, name in enumerate(annotated.categories.names.tolist()):
        if name not in rows and used[row]:
            if not new_categories:
                raise ConfigError(
                    f"label {name!r} came back, and the dataset has no such class. {nearest(name, rows)} Rename it in the tool, or pass "
                    "--new-categories (new_categories=True) to take it."
                )
            rows[name] = len(data.categories) + len(new)
            new.append(name)
        result[row] = rows.get(name, -1)
    return result, new


def _objects(given: Dataset, part: Dataset, images: Rows, of_category: Mapping[int, int], notes: Counter[str]) -> Rows:
    """For each object of `given` its row in the dataset it was made of, or -1."""
    written = np.ones(len(part.annotations), bool)
    matches = trace_annotations(given, part, part.boxes(), written, images, of_category)
    pair_the_rest(given, part, matches, written, images, of_category)
    base_of = np.full(len(given.annotations), -1, np.int64)
    found = np.flatnonzero(matches >= 0)
    base_of[matches[found]] = found
    hidden = int((matches < 0).sum())
    if hidden:
        notes["objects that the tool's format cannot hold were kept as they are"] += hidden
    return base_of
