"""Large images cut into overlapping tiles, with what their annotations become."""

from __future__ import annotations

import contextlib
import functools
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from augsuite.boxes import Layout, area, convert
from augsuite.dataset import stale
from augsuite.dataset.clipping import clip_polygons
from augsuite.dataset.files import inside, unique, with_sizes
from augsuite.dataset.grid import Grid, within
from augsuite.dataset.images import SUFFIXES, decode
from augsuite.dataset.losses import is_spelling
from augsuite.dataset.parallel import mapped
from augsuite.dataset.progress import track
from augsuite.dataset.shapes import polygons
from augsuite.dataset.tables import ABSENT, Annotations, Dataset, Images, Rows, Strings, objects, strings
from augsuite.errors import ConfigError, DataError

Encoding = Literal["same", "jpg", "png"]

_JPEG = frozenset({".jpg", ".jpeg"})
_ENCODINGS = {"jpg": (_JPEG, ".jpg"), "png": (frozenset({".png"}), ".png"), "same": (_JPEG | {".png"}, ".png")}
"""The suffixes that an image's tiles may keep, and the one that they get otherwise."""

_ROUNDING = (
    1e-9  # a box that is wholly seen passes a rule of 1.0 although its share is the quotient of two rounded areas
)


def tiled(
    data: Dataset,
    folder: Path,
    *,
    size: tuple[int, int] = (640, 640),
    overlap: float = 0.2,
    min_visible_frac: float = 0.1,
    keep_empty: bool = True,
    encoding: Encoding = "same",
    quality: int = 95,
    max_pixels: int | None = None,
) -> tuple[Dataset, dict[str, int]]:
    """Cut the images of a dataset into tiles, write these into a folder, and describe them in tables.

    A tile called `<stem>_<x>_<y>` shows the pixels from (x, y) on, and says so in the extras `tile.source` (the image's name), `tile.x`
    and `tile.y`: what is found in it at (u, v) stands in the image at (x + u, y + v). It keeps the image's split; ids are new.

    A box stays in each tile that shows at least a share of its area, cut to the tile; the share is that of the whole box as the
    dataset has it. Polygons are cut along; where the tile shows a corner of the box but nothing of its polygons, the box is left
    out. What else says where or how large an object is, such as an RLE mask or keypoints, is left out and counted, unless it is
    still true: an area, of a box that is whole; everything, of an image that fits one tile.

    Args:
        data: the dataset; its image files must exist.
        folder: an existing folder; takes the image files.
        size: width and height of a tile in pixels.
        overlap: of neighbours: below 1 a share of the tile's side, else pixels.
        min_visible_frac: a box stays if at least this share of its area is in the tile, in [0, 1].
        keep_empty: keep tiles without annotations.
        encoding: of the tiles: `jpg`, `png`, or `same`: JPEG for a JPEG, PNG (which changes no pixel) for all others. An image that
            fits one tile is copied as it is where its encoding stays.
        quality: of JPEG; with full colour resolution.
        max_pixels: the most pixels that an image may have; Pillow's limit by default.

    Returns:
        The tiles, with absolute paths of their files; and what could not be kept: kind -> how many values.

    Raises:
        DataError: if an image is missing, cannot be read, or has another size than the annotations say.
        ConfigError: if the sizes make no sense, or the folder cannot be written.
    """
    if not 0 <= min_visible_frac <= 1:
        raise ConfigError(f"min_visible_frac: expected a share in [0, 1], got {min_visible_frac:g}.")
    with _limit(max_pixels):
        data = with_sizes(data)
    grid = Grid.of(_known_sizes(data), size, _overlap(size, overlap))
    losses: dict[str, int] = {}
    annotations = _annotations(data, grid, min_visible_frac, losses)
    if not keep_empty:
        used = np.unique(annotations.image_rows)
        annotations = replace(annotations, image_rows=np.searchsorted(used, annotations.image_rows))
        grid = replace(grid, images=grid.images[used], places=grid.places[used])
    suffixes = _suffixes(data, encoding)[grid.images]
    files = [str((folder / f"{row}{suffix}").resolve()) for row, suffix in enumerate(suffixes)]
    images = _images(data, grid, suffixes, files, losses)
    _write(data, grid, files, quality, max_pixels)
    result = replace(data, images=images, annotations=annotations, root=folder.resolve())
    return result, {kind: n for kind, n in losses.items() if n}


def _overlap(size: tuple[int, int], overlap: float) -> tuple[int, int]:
    across, down = size
    if 0 <= overlap < max(size):  # also no NaN
        across, down = (round(side * overlap) if overlap < 1 else int(overlap) for side in size)
    if min(size) < 1 or across >= size[0] or down >= size[1]:
        raise ConfigError(
            f"tiles of {size[0]} x {size[1]} that overlap by {overlap:g}: a tile needs a size, and the overlap must be less than that."
        )
    return across, down


def _known_sizes(data: Dataset) -> NDArray[np.int64]:
    for row in np.flatnonzero((data.images.sizes <= 0).any(axis=1))[:1]:
        data.path(int(row))  # says that there is no file
    return data.images.sizes


# Annotations


def _annotations(data: Dataset, grid: Grid, min_visible_frac: float, losses: dict[str, int]) -> Annotations:
    """The annotations of all tiles, ordered by tile, each in the order of the dataset."""
    table, single = data.annotations, grid.single
    corners = data.boxes()
    unmoved = single[table.image_rows]
    solid = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    losses["image labels"] = int((~table.is_box & ~unmoved).sum())
    losses["empty boxes"] = int((table.is_box & ~solid & ~unmoved).sum())
    candidates = np.flatnonzero(solid & ~unmoved)
    at, tiles = grid.seen(corners[candidates], table.image_rows[candidates])
    rows = candidates[at]
    share = area(within(corners[rows], grid.places[tiles])) / area(corners[rows])
    enough = share >= min_visible_frac - _ROUNDING
    same = np.flatnonzero(unmoved)
    rows = np.concatenate([rows[enough], same])
    tiles = np.concatenate([tiles[enough], grid.first[table.image_rows[same]]])
    whole = np.concatenate([share[enough], np.ones(len(same))]) >= 1 - _ROUNDING
    order = np.lexsort((rows, tiles))
    rows, tiles, whole = rows[order], tiles[order], whole[order]

    shapes, gone = _shapes(table, grid, rows, tiles, losses)
    if gone.any():
        rows, tiles, whole, shapes = rows[~gone], tiles[~gone], whole[~gone], shapes[~gone]
    losses["boxes too little seen in every tile"] = len(candidates) - len(np.intersect1d(candidates, rows))
    moved = ~unmoved[rows]
    boxes = table.boxes[rows]
    places = grid.places[tiles[moved]]
    boxes[moved] = convert(within(corners[rows[moved]], places), Layout.XYXY_PX, table.layout, places[:, 2:])
    extra = {
        key: shapes if key == "segmentation" else _extra(key, values[rows], moved, whole, losses)
        for key, values in table.extra.items()
    }
    ids = np.arange(1, len(rows) + 1)
    return Annotations(tiles, table.category_rows[rows], boxes, table.layout, ids, table.ignore[rows], extra)


def _shapes(
    table: Annotations, grid: Grid, rows: Rows, tiles: Rows, losses: dict[str, int]
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """The extra `segmentation` of each annotation in its tile, and whether its tile shows nothing of it."""
    gone = np.zeros(len(rows), bool)
    if "segmentation" not in table.extra:
        return np.full(len(rows), ABSENT, object), gone
    shapes = table.extra["segmentation"][rows]
    moved = np.flatnonzero(~grid.single[table.image_rows[rows]])
    previous, rings = -1, None
    for at in track(moved[np.argsort(rows[moved], kind="stable")].tolist(), "polygons"):
        if shapes[at] is ABSENT or _says_nothing(shapes[at]):
            continue
        if rows[at] != previous:  # the tiles of one annotation follow each other
            previous, rings = rows[at], polygons(shapes[at])
        if rings is None:
            shapes[at] = ABSENT
            losses["segmentation"] = losses.get("segmentation", 0) + 1
        else:
            shapes[at] = clip_polygons(rings, *grid.places[tiles[at]].tolist())
            gone[at] = not shapes[at]
    return shapes, gone


def _says_nothing(shape: Any) -> bool:
    """Whether a `segmentation` is an empty list, as many files have it for a box without a shape."""
    return shape == [] or (isinstance(shape, msgspec.Raw) and bytes(shape) == b"[]")


def _extra(
    key: str,
    values: NDArray[np.object_],
    moved: NDArray[np.bool_],
    whole: NDArray[np.bool_],
    losses: dict[str, int],
) -> NDArray[np.object_]:
    """An extra of annotations, without the values that are wrong in a tile."""
    wrong = [
        at
        for at in np.flatnonzero(moved).tolist()
        if values[at] is not ABSENT
        and (stale.shift_makes_wrong if whole[at] else stale.moved_makes_wrong)(key, values[at])
    ]
    values[wrong] = ABSENT
    losses[key] = 0 if is_spelling(key) else len(wrong)
    return values


# Images


def _suffixes(data: Dataset, encoding: Encoding) -> Strings:
    """For each image the suffix of its tiles: its own, where that is one of the encoding."""
    kept, other = _ENCODINGS[encoding]
    own = [posixpath.splitext(file)[1] for file in data.images.files.tolist()]
    return strings(suffix if suffix.lower() in kept else other for suffix in own)


def _images(data: Dataset, grid: Grid, suffixes: Strings, files: list[str], losses: dict[str, int]) -> Images:
    old, at = data.images, grid.images
    stems = [_stem(name) for name in old.names.tolist()]
    splits = old.splits.tolist()
    # Names differ within a split; two splits may have a file of one name, before as after.
    wanted = unique(
        f"{splits[row]}\0{stems[row][0]}_{x}_{y}"
        for row, x, y in zip(at.tolist(), *grid.places[:, :2].T.tolist(), strict=True)
    )
    names = [
        name.partition("\0")[2] + (suffix if stems[row][1] else "")
        for name, suffix, row in zip(wanted, suffixes.tolist(), at.tolist(), strict=True)
    ]
    extra: dict[str, Any] = {}
    for key, values in old.extra.items():
        extra[key] = values[at]
        if stale.is_of_file(key):
            losses[key] = 0 if is_spelling(key) else sum(value is not ABSENT for value in extra[key])
            extra[key] = np.full(len(at), ABSENT, object)
    extra |= {"tile.source": old.names[at], "tile.x": objects(grid.places[:, 0].tolist())}
    extra["tile.y"] = objects(grid.places[:, 1].tolist())
    return Images.of(names, grid.places[:, 2:], splits=old.splits[at], files=files, extra=extra)


def _stem(name: str) -> tuple[str, bool]:
    """A name without the suffix of an image, and whether it had one."""
    stem, suffix = posixpath.splitext(inside(name) or posixpath.basename(name))
    return (stem, True) if suffix.lower() in SUFFIXES else (stem + suffix, False)


@dataclass(frozen=True, slots=True)
class _Job:
    """One image and the tiles to cut from it."""

    source: Path
    size: tuple[int, int]
    places: list[list[int]]
    files: list[str]


def _write(data: Dataset, grid: Grid, files: list[str], quality: int, max_pixels: int | None) -> None:
    ends = np.flatnonzero(np.diff(grid.images, append=-1)) + 1
    starts = [0, *ends[:-1].tolist()]
    jobs = (
        _Job(
            data.path(int(grid.images[start])),
            (int(data.images.sizes[grid.images[start], 0]), int(data.images.sizes[grid.images[start], 1])),
            grid.places[start:end].tolist(),
            files[start:end],
        )
        for start, end in zip(starts, ends.tolist(), strict=False)
    )
    for _ in track(mapped(functools.partial(_cut, quality=quality, max_pixels=max_pixels), jobs), "tiling", len(ends)):
        pass


def _cut(job: _Job, quality: int, max_pixels: int | None) -> None:
    """Write the tiles of one image."""
    width, height = job.size
    whole = job.places == [[0, 0, width, height]]
    with _limit(max_pixels):
        pixels = decode(job.source)
    if pixels.shape[:2] != (height, width):
        raise DataError(
            f"{job.source}: the image is {pixels.shape[1]} x {pixels.shape[0]}, but its annotations say {width} x {height}. "
            "Fix the annotations first: no box would be where it belongs."
        )
    for (x, y, w, h), file in zip(job.places, job.files, strict=True):
        suffix = posixpath.splitext(file)[1]
        try:
            if whole and suffix == job.source.suffix:
                Path(file).write_bytes(job.source.read_bytes())
            elif suffix.lower() in _JPEG:
                tile = PIL.Image.fromarray(pixels[y : y + h, x : x + w])
                tile.save(file, "JPEG", quality=quality, subsampling=0)
            else:
                PIL.Image.fromarray(pixels[y : y + h, x : x + w]).save(file, "PNG", compress_level=3)
        except OSError as error:
            raise ConfigError(
                f"{file}: cannot be written ({error.strerror or error}). Choose another place."
            ) from error


@contextlib.contextmanager
def _limit(max_pixels: int | None) -> Iterator[None]:
    """Let Pillow open images of up to so many pixels."""
    before = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = max_pixels or before
    try:
        yield
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = before
