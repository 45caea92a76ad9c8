"""Small datasets that ask a format for everything it may be asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, objects


def example_datasets(folder: Path) -> Mapping[str, Dataset]:
    """Small datasets with image files, that ask a format for everything it may be asked for.

    Args:
        folder: where the image files are put.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = ("a.png", "b c.png", "sub/ü&<'\">,;.png", "a.png", "empty.png", "10.png")
    files = []
    for row in range(len(names)):
        path = folder / f"{row}.png"
        PIL.Image.new("RGB", (40 + row, 30), (row * 40, 255 - row * 40, 7)).save(path)
        files.append(path.name)
    sizes = [[40 + row, 30] for row in range(len(names))]
    plain = Dataset(
        Images.of([f"{row}.png" for row in range(3)], sizes[:3], files=files[:3]),
        Categories.of(["cat", "dog"]),
        Annotations.of(
            [0, 0, 1, 2], [0, 1, 1, 0], np.array([[1, 2, 11, 22], [3, 4, 30, 30], [0, 0, 41, 30], [5, 5, 6, 7]], float)
        ),
        root=folder,
    )
    hard = Dataset(
        Images.of(
            names, sizes, [7, 3, 900_100_581_904, 5, 11, 2], ["train", "train", "val", "val", "", "test"], files,
            {"stranger.weather": objects(["sun", None, ABSENT, ABSENT, "", 3])},
        ),
        Categories.of(["dog", "a & b", "unused", "cat"], [3, 1, 90, 7], {"stranger.colour": objects([ABSENT, 1, ABSENT, 2])}),
        Annotations.of(
            [1, 0, 0, 2, 3, 5], [0, 1, 0, 3, 3, 0],
            np.array([[0.5, 0.25, 10.1, 20.7], [1, 2, 3, 4], [1 / 3, 2 / 3, 30.123456789, 25], [0, 0, 42, 30], [7, 7, 7, 9], [-2, 1, 50, 20]]),
            Layout.XYXY_PX, [12, 4, 5, 800, 2, 1], [False, True, False, False, True, False],
            {"stranger.score": objects([0.5, ABSENT, None, ABSENT, ABSENT, ABSENT])},
        ),
        root=folder,
        extra={"stranger.note": "hello"},
    )  # fmt: skip
    labels = Dataset(
        Images.of(["cat/1.png", "x.png", "dog/2.png"], sizes[:3], splits=["train", "val", "val"], files=files[:3]),
        Categories.of(["cat", "dog", "unused"]),
        Annotations.of([0, 1, 2], [0, 0, 1]),
        root=folder,
    )
    fractions = replace(
        plain,
        annotations=Annotations.of(
            [0, 1, 1],
            [0, 1, 0],
            np.array([[0.5, 0.5, 0.25, 1 / 3], [0.1, 0.2, 0.1, 0.1], [0.7, 0.7, 0.6, 0.6]]),
            Layout.CXCYWH_UNIT,
        ),
    )
    tiny = replace(plain, annotations=Annotations.of([0], [0], [[0, 0, 1, 1]]))
    both = replace(
        plain,
        annotations=Annotations.of(
            [0, 0, 1, 2], [0, 1, 1, 0], np.array([[1, 2, 3, 4], [np.nan] * 4, [np.nan] * 4, [2, 2, 9, 9]])
        ),
    )
    rings = [[[3, 4, 30, 4, 30, 30.5, 3, 12.25]], [[0.1, 0.2, 20, 0.2, 9, 9.7], [21, 12, 41, 12, 41, 30, 30.5, 30]]]
    shapes = replace(
        plain,
        annotations=Annotations.of(
            [0, 0, 1, 2, 2],
            [0, 1, 1, 0, 1],
            np.array([[3, 4, 30, 30.5], [3, 4, 31, 30], [0.1, 0.2, 41, 30], [5, 5, 6, 7], [1, 1, 9, 9]], float),
            extra={
                "segmentation": objects(
                    [rings[0], rings[0], rings[1], ABSENT, {"size": [30, 42], "counts": [0, 9, 1251]}]
                ),
                "score": objects([0.5, ABSENT, 0.25, 0.987654321, 1.0]),
            },
        ),
    )
    return {
        "plain": plain,
        "hard": hard,
        "labels": labels,
        "fractions": fractions,
        "tiny": tiny,
        "both": both,
        "shapes": shapes,
    }


def without_files(data: Dataset) -> Dataset:
    """The dataset as if no image file had been found; names are made different."""
    names = [f"{row} {name}" for row, name in enumerate(data.images.names)]
    return replace(
        data, images=Images.of(names, data.images.sizes, data.images.ids, data.images.splits, extra=data.images.extra)
    )


def renamed(data: Dataset, part: str, name: str) -> Dataset:
    """The dataset with its first image, its first category or its split called `name`."""
    if part == "image":
        names = [name, *data.images.names[1:]]
        return replace(data, images=replace(data.images, names=objects(names)))
    if part == "split":
        return replace(data, images=replace(data.images, splits=objects([name] * len(data))))
    return replace(data, categories=replace(data.categories, names=objects([name, *data.categories.names[1:]])))


def with_notes(data: Dataset, owners: Iterable[str]) -> Dataset:
    """The dataset with an extra `<owner>.kit` on every second annotation, for each owner."""
    notes = objects(["a note" if row % 2 else ABSENT for row in range(len(data.annotations))])
    extra = {**data.annotations.extra, **{f"{owner}.kit": notes for owner in owners}}
    return replace(data, annotations=replace(data.annotations, extra=extra))
