"""The dataset: three flat tables of numpy columns, and an honest remainder.

Frozen; every edit returns a new one through `take` or `dataclasses.replace`. Row numbers, not ids, tie the tables together:
`annotations.image_rows` and `annotations.category_rows` index the other two.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from augsuite.boxes import Boxes, Layout, convert
from augsuite.dataset import shape_loading
from augsuite.dataset.archives import at
from augsuite.dataset.sample import FileSource, Sample
from augsuite.dataset.urls import url_of
from augsuite.errors import DataError

Strings = NDArray[np.object_]
Rows = NDArray[np.int64]
Extra = Mapping[str, NDArray[np.object_]]

ABSENT = msgspec.UNSET
"""What an extra holds for a row whose file did not say anything; None is a value that the file did say."""


class Unread(enum.Enum):
    """See `UNREAD`."""

    VALUE = "unread"

    def __repr__(self) -> str:
        return "UNREAD"


UNREAD = Unread.VALUE
"""What an extra holds for a row whose file did say something that nobody asked for (`Intake.wants`): it is counted, never written."""

_NOTHING: Extra = MappingProxyType({})


def strings(values: Iterable[str]) -> Strings:
    """A column of strings, as object references: no padding, no length limit."""
    return np.fromiter(values, object)


def objects(values: Iterable[Any]) -> NDArray[np.object_]:
    """A column of any values, one reference each, never unpacked into more dimensions."""
    return np.fromiter(values, object)


@dataclass(frozen=True)
class Images:
    """One row per image.

    Attributes:
        names: `(I,)` the name by which the annotation file calls the image.
        sizes: `(I, 2)` int64 width and height in pixels; 0 where unknown.
        ids: `(I,)` int64, as read, or row + 1 where the format has none.
        splits: `(I,)` such as "train"; "" where the dataset has none.
        files: `(I,)` where the pixels are: a path with forward slashes relative to `Dataset.root`, or an absolute path or
            URL; "" where no file was found.
        extra: what one format says beyond that: `coco.license` -> `(I,)` values, ABSENT where a row has none.
    """

    names: Strings
    sizes: NDArray[np.int64]
    ids: Rows
    splits: Strings
    files: Strings
    extra: Extra = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        names: Iterable[str],
        sizes: ArrayLike | None = None,
        ids: ArrayLike | None = None,
        splits: Iterable[str] | None = None,
        files: Iterable[str] | None = None,
        extra: Extra = _NOTHING,
    ) -> Images:
        """Build the table from anything that numpy takes; see the attributes for the columns left out."""
        column = strings(names)
        count = len(column)
        return cls(
            names=column,
            sizes=np.zeros((count, 2), np.int64) if sizes is None else np.asarray(sizes, np.int64).reshape(-1, 2),
            ids=np.arange(1, count + 1, dtype=np.int64) if ids is None else np.asarray(ids, np.int64).reshape(-1),
            splits=strings([""] * count if splits is None else splits),
            files=strings([""] * count if files is None else files),
            extra=dict(extra),
        )

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Rows) -> Images:
        """The images at `rows`, in that order."""
        return Images(
            self.names[rows],
            self.sizes[rows],
            self.ids[rows],
            self.splits[rows],
            self.files[rows],
            {key: values[rows] for key, values in self.extra.items()},
        )


@dataclass(frozen=True)
class Categories:
    """One row per category.

    Attributes:
        names: `(C,)` unique.
        ids: `(C,)` int64, as read (they may have gaps), or row + 1 where the format has none.
        extra: as in `Images`.
    """

    names: Strings
    ids: Rows
    extra: Extra = field(default_factory=dict)

    @classmethod
    def of(cls, names: Iterable[str], ids: ArrayLike | None = None, extra: Extra = _NOTHING) -> Categories:
        """Build the table."""
        column = strings(names)
        count = len(column)
        return cls(
            column,
            np.arange(1, count + 1, dtype=np.int64) if ids is None else np.asarray(ids, np.int64).reshape(-1),
            dict(extra),
        )

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Rows) -> Categories:
        """The categories at `rows`, in that order."""
        return Categories(self.names[rows], self.ids[rows], {key: values[rows] for key, values in self.extra.items()})


@dataclass(frozen=True)
class Annotations:
    """One row per box, or per label of a whole image.

    Attributes:
        image_rows: `(N,)` int64 rows of `Images`.
        category_rows: `(N,)` int64 rows of `Categories`.
        boxes: `(N, 4)` float64 as read, in `layout`; four NaN where the annotation labels the whole image.
        layout: what the four numbers mean.
        ids: `(N,)` int64, as read, or row + 1.
        ignore: `(N,)` bool: no training target, and neither hit nor miss in an evaluation (COCO's crowd, VOC's difficult).
        extra: as in `Images`; beside those of formats two that formats share: `segmentation`, a shape in the image's pixels as COCO
            writes it (a list of polygons `[[x, y, x, y, ...], ...]`, or an RLE object with `size` and `counts`), decoded or as
            `msgspec.Raw`; and `score`, the confidence of a detection, in [0, 1].
    """

    image_rows: Rows
    category_rows: Rows
    boxes: Boxes
    layout: Layout
    ids: Rows
    ignore: NDArray[np.bool_]
    extra: Extra = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        image_rows: ArrayLike,
        category_rows: ArrayLike,
        boxes: ArrayLike | None = None,
        layout: Layout = Layout.XYXY_PX,
        ids: ArrayLike | None = None,
        ignore: ArrayLike | None = None,
        extra: Extra = _NOTHING,
    ) -> Annotations:
        """Build the table; without `boxes`, every row labels a whole image."""
        images = np.asarray(image_rows, np.int64).reshape(-1)
        count = len(images)
        return cls(
            images,
            np.asarray(category_rows, np.int64).reshape(-1),
            np.full((count, 4), np.nan) if boxes is None else np.asarray(boxes, np.float64).reshape(-1, 4),
            layout,
            np.arange(1, count + 1, dtype=np.int64) if ids is None else np.asarray(ids, np.int64).reshape(-1),
            np.zeros(count, bool) if ignore is None else np.asarray(ignore, bool).reshape(-1),
            dict(extra),
        )

    def __len__(self) -> int:
        return len(self.image_rows)

    @cached_property
    def is_box(self) -> NDArray[np.bool_]:
        """`(N,)` whether the row is a box, not a label of the whole image."""
        return ~np.isnan(self.boxes[:, 0])

    def take(self, rows: Rows | NDArray[np.bool_]) -> Annotations:
        """The annotations at `rows` (or where a mask is set), in that order."""
        return Annotations(
            self.image_rows[rows],
            self.category_rows[rows],
            self.boxes[rows],
            self.layout,
            self.ids[rows],
            self.ignore[rows],
            {key: values[rows] for key, values in self.extra.items()},
        )


@dataclass(frozen=True)
class Dataset:
    """Images, categories and annotations, and what a format says of the dataset as a whole.

    Attributes:
        images: one row per image.
        categories: one row per category.
        annotations: one row per box or image label.
        root: the folder that `images.files` is relative to.
        extra: values about the whole dataset, such as `coco.info`.
    """

    images: Images
    categories: Categories
    annotations: Annotations
    root: Path = field(default_factory=Path)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def boxes(self, layout: Layout = Layout.XYXY_PX, rows: Rows | None = None) -> Boxes:
        """`(N, 4)` all boxes, or those of some annotation rows, in `layout`; NaN for image labels.

        Raises:
            DataError: if an image's size is needed and unknown.
        """
        table = self.annotations
        boxes, sizes = table.boxes if rows is None else table.boxes[rows], None
        if table.layout.unit != layout.unit:
            images = table.image_rows if rows is None else table.image_rows[rows]
            sizes = self.images.sizes[images]
            if not (sizes > 0).all():
                row = int(images[(sizes <= 0).any(axis=1)][0])
                raise DataError(
                    f"{self.images.names[row]}: the size of the image is not known, so its boxes cannot change between "
                    f"{table.layout.value} and {layout.value}. Put the image files beside the annotations."
                )
        return convert(boxes, table.layout, layout, sizes)

    @cached_property
    def _order(self) -> tuple[Rows, Rows]:
        """Annotation rows sorted by image (stably), and where each image's begin: `(N,)` and `(I + 1,)`."""
        order = np.argsort(self.annotations.image_rows, kind="stable")
        counts = np.bincount(self.annotations.image_rows, minlength=len(self.images))
        return order, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def rows_of(self, image_row: int) -> Rows:
        """`(K,)` the annotation rows of one image, in the order read."""
        order, starts = self._order
        return order[starts[image_row] : starts[image_row + 1]]

    @cached_property
    def _corners(self) -> Boxes:
        return self.boxes(Layout.XYXY_PX)

    def path(self, image_row: int) -> Path:
        """The file that holds an image's pixels.

        Raises:
            DataError: if none was found when the dataset was read.
        """
        name = self.images.files[image_row]
        if not name:
            raise DataError(
                f"{self.images.names[image_row]}: no image file of that name was found under {self.root}. "
                "Put the images beside the annotations."
            )
        return at(Path(name) if ":/" in name and url_of(name) else self.root / str(name))

    def sample(self, image_row: int) -> Sample:
        """One image with its annotations, ready for a policy; pixels are decoded when asked for.

        Ignored annotations (crowds, difficult objects) are left out: they are no training target.
        """
        rows = self.rows_of(image_row)
        rows = rows[~self.annotations.ignore[rows]]
        boxed = self.annotations.is_box[rows]
        width, height = (int(value) for value in self.images.sizes[image_row])
        return Sample(
            source=FileSource(self.path(image_row), width, height),
            boxes=self._corners[rows[boxed]],
            labels=self.annotations.category_rows[rows[boxed]],
            weights=np.ones(int(boxed.sum()), np.float32),
            rows=rows[boxed],
            targets=_soft_targets(self.annotations.category_rows[rows[~boxed]], len(self.categories)),
            image_row=image_row,
            lazy=shape_loading.lazy(self, rows[boxed], image_row),
        )

    def take(self, image_rows: ArrayLike) -> Dataset:
        """The images at `image_rows`, in that order and each once, with their annotations.

        Raises:
            ValueError: if a row is asked for twice.
        """
        rows = np.asarray(image_rows, np.int64).reshape(-1)
        if len(np.unique(rows)) != len(rows):
            raise ValueError("an image can be taken once only")
        position = np.full(len(self.images), -1, np.int64)
        position[rows] = np.arange(len(rows))
        kept = self.annotations.take(position[self.annotations.image_rows] >= 0)
        return replace(
            self, images=self.images.take(rows), annotations=replace(kept, image_rows=position[kept.image_rows])
        )

    def where(self, *, categories: Collection[str] | None = None, splits: Collection[str] | None = None) -> Dataset:
        """Keep some categories or splits; see `augsuite.dataset.edits.where`."""
        from augsuite.dataset import edits

        return edits.where(self, categories=categories, splits=splits)

    def split(self, first: float, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Cut the images in two at random; see `augsuite.dataset.edits.split`."""
        from augsuite.dataset import edits

        return edits.split(self, first, seed)

    def draw(self, count: float, seed: int = 0, *, balance: Literal["class", "split"] | None = None) -> Dataset:
        """Take a number or a share of the images at random; see `augsuite.dataset.sampling.draw`."""
        from augsuite.dataset import sampling

        return sampling.draw(self, count, seed, balance=balance)

    def with_splits(self, shares: Mapping[str, float], **options: Any) -> Dataset:
        """Give the images splits, stratified by class; see `augsuite.dataset.splitting.with_splits`."""
        from augsuite.dataset import splitting

        return splitting.with_splits(self, shares, **options)

    def filter(self, expression: str | None = None, **conditions: Any) -> Dataset:
        """Keep what satisfies conditions; see `augsuite.dataset.filtering.filter`."""
        from augsuite.dataset import filtering

        return filtering.filter(self, expression, **conditions)

    def remap(self, mapping: Mapping[str, str | None], **options: Any) -> Dataset:
        """Rename, merge and drop categories; see `augsuite.dataset.remapping.remap`."""
        from augsuite.dataset import remapping

        return remapping.remap(self, mapping, **options)


def _soft_targets(labels: Rows, classes: int) -> NDArray[np.float32] | None:
    """`(C,)` float32 class targets that sum to 1, or None where the image has no label."""
    if not len(labels):
        return None
    targets = np.bincount(labels, minlength=classes).astype(np.float32)
    return np.asarray(targets / targets.sum(), np.float32)
