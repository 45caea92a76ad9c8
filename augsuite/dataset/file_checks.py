"""What can be wrong with image files: missing, broken, of another size, or shown twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.duplicates import alike
from augsuite.dataset.findings import Finding, Place, Severity, image_places
from augsuite.dataset.inspection import Condition, Inspection, sees_damage
from augsuite.dataset.tables import Dataset, Rows

_CONDITIONS: tuple[tuple[Condition, str, Severity, str, str], ...] = (
    (Condition.MISSING, "image-missing", "error", "images without a file", "put the files there; --fix --drop-images drops the images"),
    (Condition.UNREADABLE, "image-unreadable", "error", "image files that cannot be read", "replace the files; --fix --drop-images drops the images"),
    (Condition.DAMAGED, "image-damaged", "error", "image files that are damaged inside: a part of the picture is wrong", "look at them and replace the files; --fix --drop-images drops the images"),
    (Condition.DOUBTFUL, "image-doubtful", "warning", "image files with bytes that belong to nothing; mostly harmless", "look at them"),
)  # fmt: skip
_TURNED = 5  # EXIF orientations from here swap width and height


def file_findings(data: Dataset, found: Inspection, places: int) -> Iterator[Finding]:
    """What is wrong with the image files.

    Args:
        data: the dataset.
        found: its image files.
        places: how many places to name.
    """
    for condition, code, severity, what, advice in _CONDITIONS:
        rows = np.flatnonzero(found.conditions == condition)
        said = found.problems[rows[:places]].tolist()
        yield from _images(data, rows, code, severity, what, advice, places, said)
    if not sees_damage() and len(data):
        yield Finding(
            code="damage-not-searched",
            severity="info",
            count=1,
            what="without OpenCV, damage inside a JPEG that still decodes is not seen",
            advice="pip install 'augsuite[augment]'",
            places=[],
        )
    yield from _sizes(data, found, places)
    yield from _twice(data, found, places)


def _images(
    data: Dataset, rows: Rows, code: str, severity: Severity, what: str, advice: str, places: int, said: list[str]
) -> Iterator[Finding]:
    if len(rows):
        yield Finding(
            code=code,
            severity=severity,
            count=len(rows),
            what=what,
            advice=advice,
            places=image_places(data, rows[:places].tolist(), said),
        )


def wrong_sizes(data: Dataset, found: Inspection) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """`(I,)` images whose size differs from their file's; and `(I,)` those of them that have the size before EXIF turns them."""
    sizes = data.images.sizes
    known = (sizes > 0).all(axis=1) & (found.sizes > 0).all(axis=1)
    differs = known & (sizes != found.sizes).any(axis=1)
    turned = differs & (found.orientations >= _TURNED) & (sizes == found.sizes[:, ::-1]).all(axis=1)
    return differs & ~turned, turned


def _sizes(data: Dataset, found: Inspection, places: int) -> Iterator[Finding]:
    differs, turned = wrong_sizes(data, found)
    for mask, code, what, advice in (
        (
            differs,
            "size-mismatch",
            "images whose size differs from their file's",
            "--fix takes the file's, where no box then reaches out",
        ),
        (
            turned,
            "size-turned",
            "images whose size is that before EXIF turns them; their boxes may be, too",
            "look at them (augsuite preview); store the files upright, or correct the annotations",
        ),
    ):
        rows = np.flatnonzero(mask)
        said = ["{} x {}, the file {} x {}".format(*data.images.sizes[row], *found.sizes[row]) for row in rows[:places]]
        yield from _images(data, rows, code, "error", what, advice, places, said)
    oriented = np.flatnonzero((found.orientations > 1) & ~turned)
    yield from _images(
        data,
        oriented,
        "exif-orientation",
        "info",
        "images that EXIF turns or mirrors; programs that do not look at it see them otherwise",
        "nothing to do here; store them upright for others",
        places,
        [f"orientation {value}" for value in found.orientations[oriented[:places]]],
    )


def _twice(data: Dataset, found: Inspection, places: int) -> Iterator[Finding]:
    """Files that show the same, within a split and across."""
    pairs = alike(found)
    splits = np.unique(data.images.splits.astype(str), return_inverse=True)[1].reshape(-1)
    present = found.conditions < Condition.MISSING
    # One image stands for all with its content and split; the others are copies of it.
    units, first_row, unit = np.unique(
        np.column_stack([pairs.contents, splits]), axis=0, return_index=True, return_inverse=True
    )
    first_row = first_row.astype(np.int64)
    copies = np.flatnonzero(present & (first_row[unit.reshape(-1)] != np.arange(len(data))))
    originals = first_row[unit.reshape(-1)][copies]
    starts = np.searchsorted(units[:, 0], units[:, 0])  # the first unit of the same content
    across = np.flatnonzero(starts != np.arange(len(units)))
    leaks = first_row[across]
    sources = first_row[starts[across]]
    near = _near_units(units[:, 0], pairs.first, pairs.second, pairs.distances)
    one, other = first_row[near[0]], first_row[near[1]]
    apart = splits[one] != splits[other]
    same = "the same file as {}"
    alike_to = "differs by {} bits from {}"
    for code, severity, first, second, what, advice, words, far in (
        ("leak", "error", leaks, sources, "image files that stand in two splits", "`augsuite dedupe --across` drops them", same, None),
        ("near-leak", "warning", one[apart], other[apart], "images that look like one of another split", "look at them; `augsuite dedupe --across` drops them", alike_to, near[2][apart]),
        ("repeated-image", "warning", copies, originals, "image files that stand twice in one split", "`augsuite dedupe` drops them", same, None),
        ("near-repeated-image", "info", one[~apart], other[~apart], "images that look like another one of their split", "look at them; `augsuite dedupe` drops them", alike_to, near[2][~apart]),
    ):  # fmt: skip
        rows, at = np.unique(first, return_index=True)
        said = [
            words.format(*([] if far is None else [far[pair]]), _name(data, int(second[pair])))
            for pair in at[:places].tolist()
        ]
        yield from _images(data, rows, code, severity, what, advice, places, said)  # type: ignore[arg-type]  # as in _CONDITIONS


def _near_units(contents: Rows, first: Rows, second: Rows, distances: Rows) -> tuple[Rows, Rows, Rows]:
    """Pairs of contents as pairs of rows of the sorted column `contents`, in which each may stand several times.

    Returns:
        The later and the earlier row of each pair, and the distance.
    """
    columns: list[tuple[int, int, int]] = []
    low = [np.searchsorted(contents, side, "left").tolist() for side in (first, second)]
    high = [np.searchsorted(contents, side, "right").tolist() for side in (first, second)]
    for pair, far in enumerate(distances.tolist()):
        columns.extend(
            (one, other, far)
            for one in range(low[0][pair], high[0][pair])
            for other in range(low[1][pair], high[1][pair])
        )
    listed = np.array(columns, np.int64).reshape(-1, 3)
    return listed[:, :2].max(axis=1), listed[:, :2].min(axis=1), listed[:, 2]


def _name(data: Dataset, row: int) -> str:
    split = data.images.splits[row]
    return f"{data.images.names[row]} in {split}" if split else str(data.images.names[row])


def reader_findings(skipped: list[str], notes: dict[str, int], places: int) -> Iterator[Finding]:
    """What the reader left out and what it noticed."""
    unknown = [line for line in skipped if "there is no category" in line]
    invalid = [line for line in skipped if "there is no category" not in line]
    for lines, code, what in (
        (unknown, "unknown-category", "annotations of a category that does not exist"),
        (invalid, "invalid-row", "rows that cannot be read"),
    ):
        if lines:
            yield Finding(
                code=code,
                severity="error",
                count=len(lines),
                what=what,
                advice="fix the file; --fix leaves them out",
                places=[Place(said=line) for line in lines[:places]],
            )
    if notes:
        yield Finding(
            code="note",
            severity="info",
            count=sum(notes.values()),
            what="things that the reader noticed",
            advice="nothing is lost by them",
            places=[
                Place(said=f"{line} ({times:,} times)" if times > 1 else line)
                for line, times in list(notes.items())[:places]
            ],
        )
