"""An augmented copy of a dataset on disk, for a trainer that cannot augment by itself."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from augsuite.augment.policies import Policy
from augsuite.augment.policies import policy as as_policy
from augsuite.augment.render import render
from augsuite.augment.shape_extras import KEYS, moved_value
from augsuite.boxes import Boxes, Layout, convert
from augsuite.dataset import ABSENT, Annotations, Dataset, Images, Sample, objects, parallel, strings
from augsuite.dataset.files import inside, unique
from augsuite.dataset.images import SUFFIXES, Image
from augsuite.dataset.losses import is_spelling
from augsuite.dataset.sample_shapes import Shapes
from augsuite.dataset.stale import is_of_file, moved_makes_wrong
from augsuite.dataset.tables import Extra, Rows
from augsuite.errors import ConfigError
from augsuite.protocols import Losses

Encoding = Literal["jpg", "png"]

WEIGHT = "augsuite.weight"
"""The extra that holds a mixed box's or label's weight where it is below 1; a format that cannot keep it counts it as lost."""

_SAVE: Mapping[str, dict[str, Any]] = {"jpg": {"quality": 95}, "png": {"compress_level": 3}}


@dataclass(frozen=True)
class Piece:
    """What one augmented image adds to the tables.

    Attributes:
        image_row: of the source.
        name: of the image.
        file: where its pixels are, absolute.
        size: width and height in pixels.
        moved: whether anything is elsewhere than in the source.
        boxes: `(N, 4)` XYXY in pixels; NaN for labels of the whole image, which come last.
        labels: `(N,)` category rows.
        rows: `(N,)` annotations of the source; -1 where it has none.
        weights: `(N,)` in [0, 1].
        shapes: those of the boxes; None where nothing has any or nothing moved.
    """

    image_row: int
    name: str
    file: str
    size: tuple[int, int]
    moved: bool
    boxes: Boxes
    labels: Rows
    rows: Rows
    weights: NDArray[np.float32]
    shapes: Shapes | None


def augmented(
    data: Dataset,
    policy: Policy,
    folder: Path,
    *,
    copies: int = 1,
    seed: int = 0,
    keep_originals: bool = True,
    image_rows: Sequence[int] | None = None,
    encoding: Encoding = "jpg",
    progress: Callable[[int], None] | None = None,
) -> tuple[Dataset, Losses]:
    """Render augmented copies of images into a folder, and describe them in tables.

    Copy k of an image is what a training with the same seed would see of it in epoch k - 1, as long as nothing is ignored:
    here ignored annotations (crowds, difficult objects) move with their image like the others, and stay ignored.

    Polygons, masks and keypoints move with their boxes. Any other extra that says where something is or how large (an area, whether
    an object is cut off), or that is no plain value and so might, is left out of an image that was moved, and counted; and so is
    what is true of the original file alone. A box
    or label of a mixed image gets its weight as the extra `augsuite.weight`. A `normalize` step is the trainer's, and does
    nothing here.

    Args:
        data: the dataset; its image files must exist.
        policy: what happens to each image.
        folder: an existing folder; takes the image files.
        copies: of each image, named `<stem>_aug1`, `<stem>_aug2`, ...
        seed: first part of every random key.
        keep_originals: the result begins with the dataset as it is.
        image_rows: the images to augment; by default all. The others are kept as they are in any case.
        encoding: `jpg` at quality 95, or `png`.
        progress: called with 1 for each image rendered.

    Returns:
        The dataset, with absolute paths of its image files; and what could not be kept.

    Raises:
        DataError: if an image cannot be read.
        ConfigError: if the policy makes no sense, or the folder cannot be written.
    """
    rows = np.arange(len(data)) if image_rows is None else np.asarray(image_rows, np.int64)
    jobs = [(int(row), copy) for row in rows for copy in range(copies)]
    # Ignored annotations are no training target, so `sample` leaves them out; here they must move with their image.
    everything = replace(data, annotations=replace(data.annotations, ignore=np.zeros(len(data.annotations), bool)))
    names = _names(data, jobs)
    kept = np.arange(len(data)) if keep_originals else np.setdiff1d(np.arange(len(data)), rows)

    rendering = _Rendering(everything, policy.to_plain(), folder, encoding, seed)
    listed = [(at, *job, name) for at, (job, name) in enumerate(zip(jobs, names, strict=True))]
    pieces: list[Piece] = []
    for part in _rendered(rendering, policy, listed):
        pieces += part
        if progress:
            progress(len(part))
    return assemble(_absolute(data).take(kept), data, pieces, encoding)


_Job = tuple[int, int, int, str]
"""Number of the file, row of the image, number of the copy, name."""

_CHUNK = 16  # images in one piece of work


@dataclass(frozen=True)
class _Rendering:
    """Renders some images; travels to other processes, for which the policy is plain: classes of some transforms are made on demand."""

    data: Dataset
    steps: Mapping[str, Any]
    folder: Path
    encoding: Encoding
    seed: int

    def __call__(self, jobs: Sequence[_Job]) -> list[Piece]:
        steps = as_policy(self.steps)
        return [self.one(steps, job) for job in jobs]

    def one(self, steps: Policy, job: _Job) -> Piece:
        at, row, copy, name = job
        before = self.data.sample(row)
        plan = steps.plan(before, (self.seed, copy, row), self.data)
        after = render(plan, before, self.data)
        file = self.folder / f"{at}.{self.encoding}"
        save_image(after.image, file, self.encoding)
        return piece_of(self.data, before, after, name, file, bent=any(warp.field for warp in plan.warps))


def _rendered(rendering: _Rendering, steps: Policy, jobs: Sequence[_Job]) -> Iterator[list[Piece]]:
    """The pieces in the order of the jobs: on an engine where one was asked for, else on threads."""
    if parallel.is_shared():
        yield from parallel.mapped(rendering, [jobs[at : at + _CHUNK] for at in range(0, len(jobs), _CHUNK)])
        return
    # Decoding, warping and encoding run outside Python's lock, so threads are enough; the keys make their order irrelevant.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for piece in pool.map(lambda job: rendering.one(steps, job), jobs):
                yield [piece]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def save_image(pixels: Image, file: Path, encoding: Encoding) -> None:
    """Write the file of an augmented image.

    Args:
        pixels: `(H, W, 3)` uint8 RGB.
        file: where; replaced if it is there.
        encoding: `jpg` at quality 95, or `png`.

    Raises:
        ConfigError: if it cannot be written.
    """
    try:
        PIL.Image.fromarray(pixels).save(file, **_SAVE[encoding])
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written ({error.strerror or error}). Choose another place.") from error


def _names(data: Dataset, jobs: Sequence[tuple[int, int]]) -> list[str]:
    """Names of the copies, without a suffix, that differ from each other and from the names that exist."""
    existing = [_stem(name) for name in data.images.names.tolist()]
    wanted = [f"{existing[row]}_aug{copy + 1}" for row, copy in jobs]
    return unique([*dict.fromkeys(existing), *wanted])[len(set(existing)) :]


def _stem(name: str) -> str:
    stem, suffix = posixpath.splitext(inside(name) or posixpath.basename(name))
    return stem if suffix.lower() in SUFFIXES else stem + suffix


def piece_of(data: Dataset, before: Sample, after: Sample, name: str, file: Path, *, bent: bool) -> Piece:
    """Describe an augmented image.

    Args:
        data: the source.
        before: a sample of it.
        after: what a policy made of that.
        name: of the new image, without a suffix.
        file: where its pixels are.
        bent: whether a displacement field moved it, which `after.matrix` does not say.
    """
    width, height = after.source.width, after.source.height
    size = (before.source.width, before.source.height)
    known = after.rows[after.rows >= 0]
    mixed = bool((after.weights < 1).any() or (data.annotations.image_rows[known] != before.image_row).any())
    moved = mixed or bent or not np.array_equal(after.matrix, np.eye(3)) or (all(size) and size != (width, height))
    labels, label_rows, shares = _image_labels(data, before, after)
    return Piece(
        image_row=before.image_row,
        name=name,
        file=str(file.resolve()),
        size=(width, height),
        moved=bool(moved),
        boxes=np.concatenate([after.boxes, np.full((len(labels), 4), np.nan)]),
        labels=np.concatenate([after.labels, labels]),
        rows=np.concatenate([after.rows, label_rows]),
        weights=np.concatenate([after.weights, shares]),
        shapes=after.shapes if moved and after.lazy is not None else None,
    )


def _image_labels(data: Dataset, before: Sample, after: Sample) -> tuple[Rows, Rows, NDArray[np.float32]]:
    """Labels of the whole image, the annotations they come from, and their weights: below 1 only in a mixed image."""
    own = data.rows_of(before.image_row)
    own = own[~data.annotations.is_box[own]]
    if after.targets is None or (before.targets is not None and np.array_equal(before.targets, after.targets)):
        return data.annotations.category_rows[own], own, np.ones(len(own), np.float32)
    labels = np.flatnonzero(after.targets)
    return labels, np.full(len(labels), -1, np.int64), after.targets[labels]


def _absolute(data: Dataset) -> Dataset:
    files = strings(str((data.root / file).resolve()) if file else "" for file in data.images.files)
    return replace(data, images=replace(data.images, files=files))


def assemble(kept: Dataset, data: Dataset, pieces: Sequence[Piece], encoding: str) -> tuple[Dataset, Losses]:
    """The tables of what is kept, followed by those of the augmented images; and what these could not keep."""
    losses = Losses()
    origin = np.array([piece.image_row for piece in pieces], np.int64)
    sizes = np.array([piece.size for piece in pieces], np.int64).reshape(-1, 2)
    old, table = kept.images, kept.annotations
    suffixed = [posixpath.splitext(data.images.names[row])[1].lower() in SUFFIXES for row in origin]
    images = Images(
        names=strings(
            [*old.names, *(piece.name + f".{encoding}" * had for piece, had in zip(pieces, suffixed, strict=True))]
        ),
        sizes=np.concatenate([old.sizes, sizes]),
        ids=_ids(data.images.ids, old.ids, len(pieces)),
        splits=np.concatenate([old.splits, data.images.splits[origin]]),
        files=strings([*old.files, *(piece.file for piece in pieces)]),
        extra=_image_extras(old.extra, data.images.extra, origin, losses),
    )
    counts = [len(piece.labels) for piece in pieces]
    own_image = np.repeat(np.arange(len(pieces)), counts)
    rows = _joined([piece.rows for piece in pieces], np.int64)
    boxes = np.concatenate([np.empty((0, 4)), *(piece.boxes for piece in pieces)])
    ignored = np.where(rows >= 0, np.append(data.annotations.ignore, False)[rows], False)
    annotations = Annotations(
        image_rows=np.concatenate([table.image_rows, len(old) + own_image]),
        category_rows=np.concatenate([table.category_rows, _joined([piece.labels for piece in pieces], np.int64)]),
        boxes=np.concatenate([table.boxes, convert(boxes, Layout.XYXY_PX, table.layout, sizes[own_image])]),
        layout=table.layout,
        ids=_ids(data.annotations.ids, table.ids, len(rows)),
        ignore=np.concatenate([table.ignore, ignored]),
        extra=_annotation_extras(table.extra, data.annotations.extra, pieces, losses),
    )
    weights = _joined([piece.weights for piece in pieces], np.float32)
    if (weights < 1).any():
        said = [float(weight) if weight < 1 else ABSENT for weight in weights]
        annotations.extra[WEIGHT] = objects([*[ABSENT] * len(table), *said])  # type: ignore[index]  # our own dict
    return replace(data, images=images, annotations=annotations), Losses(+losses)


def _annotation_extras(
    kept: Extra, extras: Extra, pieces: Sequence[Piece], losses: Losses
) -> dict[str, NDArray[np.object_]]:
    """The extras of annotations: shapes moved along, without what else moving an image makes wrong; that is counted."""
    result = {}
    for key, values in extras.items():
        added: list[Any] = []
        for piece in pieces:
            taken = [values[row] if row >= 0 else ABSENT for row in piece.rows.tolist()]
            for at, value in enumerate(taken if piece.moved else ()):
                if value is ABSENT or not moved_makes_wrong(key, value):
                    continue
                taken[at] = ABSENT
                if key in KEYS and piece.shapes is not None and at < len(piece.shapes):
                    taken[at] = moved_value(key, value, piece.shapes, at, piece.size)
                losses[key] += taken[at] is ABSENT and not is_spelling(key)
            added += taken
        result[key] = objects([*kept[key], *added])
    return result


def _image_extras(kept: Extra, extras: Extra, rows: Rows, losses: Losses) -> dict[str, NDArray[np.object_]]:
    """The extras of images, without what is true of the original file alone; that is counted."""
    result = {}
    for key, values in extras.items():
        taken = values[rows].tolist()
        wrong = [at for at, value in enumerate(taken) if is_of_file(key) and value is not ABSENT]
        result[key] = _without(kept[key], taken, wrong)
        losses[key] += 0 if is_spelling(key) else len(wrong)
    return result


def _without(kept: NDArray[np.object_], added: list[Any], wrong: Sequence[int]) -> NDArray[np.object_]:
    for at in wrong:
        added[at] = ABSENT
    return objects([*kept, *added])


def _ids(source: Rows, kept: Rows, count: int) -> Rows:
    """The ids that are kept, then `count` that follow the largest; row + 1 where the source says no more than that."""
    if np.array_equal(source, np.arange(1, len(source) + 1)):
        return np.arange(1, len(kept) + count + 1, dtype=np.int64)
    return np.concatenate([kept, source.max(initial=0) + np.arange(1, count + 1, dtype=np.int64)])


def _joined(parts: Sequence[NDArray[Any]], dtype: type[Any]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *parts])
