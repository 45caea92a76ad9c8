"""Samples of FiftyOne, read in bulk, as a policy takes them: all labels of an image in one sample, and a pool to mix from."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite import ConfigError
from augsuite.dataset import FileSource, Sample
from augsuite.dataset.images import read_size
from augsuite.dataset.sample_shapes import Shapes, made
from augsuite.dataset.shape_loading import mirror_order
from augsuite_fiftyone.app_plugin.documents import box_of, listed, rings_of, window_of
from augsuite_fiftyone.labels import LISTS, Document

MANY = 1 << 20
"""More labels than an image has: the row of a label is that of its image times this, plus its place."""

_WHOLE = frozenset({"Classification", "Classifications", "Regression"})
_STEP = 0.5  # pixels between the points by which an open line is followed
_KEPT = 4096  # images whose labels are remembered, for mixes


@dataclass(frozen=True)
class Item:
    """A label: the field that it stands in, and what the database holds of it."""

    field: str
    document: Document


@dataclass(frozen=True)
class Trail:
    """Points that move with an image: the keypoints of a label, or an open line followed in small steps.

    Attributes:
        item: the label.
        first: the place of the first point among those of the image.
        lengths: how many points each of its parts has.
        corners: `(P,)` which points the label has itself.
        mirrored: `(P,)` which point takes the place of each in a mirror image, counted from the first.
    """

    item: Item
    first: int
    lengths: tuple[int, ...]
    corners: NDArray[np.bool_]
    mirrored: NDArray[np.int64]


@dataclass(frozen=True)
class Original:
    """One sample of FiftyOne.

    Attributes:
        id: its id.
        path: its image file.
        tags: its tags.
        boxed: the labels that take up room, one for each box of `sample`.
        trails: the labels that are points and lines.
        whole: the labels of the whole image.
        sample: what a policy takes; `rows` say which label each box is, see `MANY`.
        followed: the same with one more box, the image itself, that carries the points of all trails; None without trails.
    """

    id: str
    path: Path
    tags: tuple[str, ...]
    boxed: tuple[Item, ...]
    trails: tuple[Trail, ...]
    whole: tuple[Item, ...]
    sample: Sample
    followed: Sample | None


@dataclass
class Originals:
    """The samples of a dataset or view, by row; a pool that mixes take partners from.

    Attributes:
        collection: a dataset or view of FiftyOne.
        ids: of its samples; row -> id.
        fields: the label fields to carry -> the name of their kind, such as `Detections`.
        skeletons: fields of keypoints -> the names of the points, by which left and right trade places in a mirror image.
        classes: (field, label) of whole images -> the place in `Sample.targets`.
    """

    collection: Any
    ids: Sequence[str]
    fields: Mapping[str, str]
    skeletons: Mapping[str, Sequence[str]] = field(default_factory=dict)
    classes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)
    _known: dict[int, Original] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, collection: Any, fields: Iterable[str], ids: Sequence[str] | None = None) -> Originals:
        """Look at a dataset or view.

        Args:
            collection: of FiftyOne.
            fields: the label fields to carry.
            ids: which samples, in that order; all by default.

        Raises:
            ConfigError: if it holds something else than images, or a field is none that can be carried.
        """
        check_images(collection)
        known = label_fields(collection)
        wanted = {}
        for name in fields:
            if name not in known:
                raise ConfigError(f"{name!r} is no label field that can be carried. There are: {', '.join(known)}.")
            wanted[name] = known[name]
        pairs = sorted(
            (name, str(label))
            for name, kind in wanted.items()
            if kind in {"Classification", "Classifications"}
            for label in collection.distinct(f"{name}.{LISTS[kind]}.label" if kind in LISTS else f"{name}.label")
        )
        found = list(collection.values("id")) if ids is None else list(ids)
        places = {pair: place for place, pair in enumerate(pairs)}
        return cls(collection, found, wanted, _skeletons(collection, wanted), places)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Original:
        """The sample of a row."""
        known = self._known.get(row)
        return self.load([row])[0] if known is None else known

    def sample(self, row: int) -> Sample:
        """What a mix takes of a row."""
        return self[row].sample

    def followed(self) -> Followed:
        """The same pool, whose samples carry points."""
        return Followed(self)

    def name_row(self, label: str) -> int:
        """The number of a label's name; a new one for a new name."""
        with self._lock:
            return self._names.setdefault(label, len(self._names))

    @property
    def label_names(self) -> list[str]:
        """The names of the labels seen so far, by number."""
        return list(self._names)

    def load(self, rows: Sequence[int]) -> list[Original]:
        """Read several at once, and remember them.

        Raises:
            ConfigError: if one is gone.
            DataError: if an image file cannot be read.
        """
        missing = [row for row in rows if row not in self._known]
        documents = self._documents([self.ids[row] for row in missing])
        found = {row: self._known[row] for row in rows if row not in missing}
        for row in missing:
            document = documents.get(self.ids[row])
            if document is None:
                raise ConfigError(f"the sample {self.ids[row]} is gone. Reload the dataset and choose again.")
            found[row] = self._made(row, document)
        with self._lock:
            self._known.update(found)
            while len(self._known) > max(_KEPT, 2 * len(rows)):
                del self._known[next(iter(self._known))]
        return [found[row] for row in rows]

    def _documents(self, ids: Sequence[str]) -> dict[str, Document]:
        if not ids:
            return {}
        chosen = self.collection.select(list(ids))
        pipeline = chosen._pipeline()  # noqa: SLF001 - the way past one object for each sample, which takes sixty times as long
        pipeline.append({"$project": dict.fromkeys(("filepath", "tags", *self.fields), True)})
        found = chosen._dataset._sample_collection.aggregate(pipeline, allowDiskUse=True)  # noqa: SLF001
        return {str(document["_id"]): document for document in found}

    def _made(self, row: int, document: Document) -> Original:
        path = Path(document["filepath"])
        size = read_size(path)
        items = [Item(name, label) for name, kind in self.fields.items() for label in listed(document.get(name), kind)]
        boxed = [item for item in items if _takes_room(item.document)]
        whole = [item for item in items if item.document.get("_cls") in _WHOLE]
        lines = [item for item in items if item.document.get("_cls") in {"Keypoint", "Polyline"} and item not in boxed]
        return self._original(row, path, size, document, boxed, lines, whole)

    def _original(
        self,
        row: int,
        path: Path,
        size: tuple[int, int],
        document: Document,
        boxed: list[Item],
        lines: list[Item],
        whole: list[Item],
    ) -> Original:
        rings = [rings_of(item.document, size) for item in boxed]
        windows = [window_of(item.document, size) for item in boxed]
        shapes = Shapes(tuple(rings), tuple(windows), *_nothing(len(boxed)))
        has_shapes = any(ring is not None for ring in rings) or any(window is not None for window in windows)
        boxes = np.array([box_of(item.document, size) for item in boxed], np.float64).reshape(-1, 4)
        sample = Sample(
            source=FileSource(path, *size),
            boxes=boxes,
            labels=np.array([self.name_row(str(item.document.get("label"))) for item in boxed], np.int64),
            weights=np.ones(len(boxed), np.float32),
            rows=row * MANY + np.arange(len(boxed), dtype=np.int64),
            targets=self._targets(whole),
            image_row=row,
            lazy=made(shapes) if has_shapes else None,
        )
        trails, points, swaps = self._trails(lines, size)
        return Original(
            id=str(document["_id"]),
            path=path,
            tags=tuple(document.get("tags") or ()),
            boxed=tuple(boxed),
            trails=trails,
            whole=tuple(whole),
            sample=sample,
            followed=_carrying(sample, shapes, size, points, swaps) if trails else None,
        )

    def _targets(self, whole: Sequence[Item]) -> NDArray[np.float32] | None:
        places = [
            self.classes[item.field, str(item.document.get("label"))]
            for item in whole
            if (item.field, str(item.document.get("label"))) in self.classes
        ]
        if not places:
            return None
        found = np.bincount(places, minlength=len(self.classes)).astype(np.float32)
        return np.asarray(found / found.sum(), np.float32)

    def _trails(
        self, lines: Sequence[Item], size: tuple[int, int]
    ) -> tuple[tuple[Trail, ...], NDArray[np.float64], NDArray[np.int64]]:
        """The trails of an image, their points `(K, 3)` and which of them trade places in a mirror image `(K,)`."""
        trails: list[Trail] = []
        points: list[NDArray[np.float64]] = [np.zeros((0, 3))]
        swaps: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        count = 0
        for item in lines:
            if item.document["_cls"] == "Keypoint":
                parts = [np.array(item.document.get("points") or [], np.float64).reshape(-1, 2) * size]
                corners = [np.ones(len(parts[0]), bool)]
            else:
                given = [np.array(part, np.float64).reshape(-1, 2) * size for part in item.document.get("points") or []]
                parts, corners = map(list, zip(*map(_dense, given), strict=True)) if given else ([], [])
            lengths = tuple(map(len, parts))
            own = np.concatenate([np.zeros((0, 2)), *parts])
            seen = np.isfinite(own).all(axis=1)
            names = self.skeletons.get(item.field, ()) if item.document["_cls"] == "Keypoint" else ()
            order = mirror_order(names) if len(names) == len(own) else np.arange(len(own))
            trails.append(Trail(item, count, lengths, np.concatenate([np.zeros(0, bool), *corners]), order))
            points.append(np.column_stack([np.where(seen[:, None], own, 0.0), 2.0 * seen]))
            swaps.append(order + count)
            count += len(own)
        return tuple(trails), np.concatenate(points), np.concatenate(swaps)


@dataclass(frozen=True)
class Followed:
    """A pool whose samples carry the points of trails."""

    pool: Originals

    def __len__(self) -> int:
        return len(self.pool)

    def sample(self, row: int) -> Sample:
        """What a mix takes of a row."""
        found = self.pool[row]
        return found.sample if found.followed is None else found.followed


def label_fields(collection: Any) -> dict[str, str]:
    """The fields whose labels can be carried: name -> kind."""
    kinds = {"Detection", "Polyline", "Keypoint", *_WHOLE, *LISTS}
    found = {}
    for name, declared in collection.get_field_schema().items():
        kind = getattr(getattr(declared, "document_type", None), "__name__", "")
        if kind in kinds:
            found[name] = kind
    return found


def check_images(collection: Any) -> None:
    """Refuse what is no plain set of images.

    Raises:
        ConfigError: saying what it is, and what to do.
    """
    if collection._is_generated:  # noqa: SLF001 - FiftyOne has no public way to ask
        raise ConfigError("this is a view of patches, clips or frames. Go back to the samples, and choose among them.")
    if collection._dataset.media_type == "group":  # noqa: SLF001 - a view of one slice is an image view of such a dataset
        raise ConfigError(
            "this is a grouped dataset, which takes no single images. Export a slice of it, and augment that."
        )
    if collection.media_type not in {"image", None}:
        raise ConfigError(f"these are samples of the kind {collection.media_type!r}. Only images can be augmented.")


def _takes_room(document: Document) -> bool:
    kind = document.get("_cls")
    return kind == "Detection" or (kind == "Polyline" and bool(document.get("closed") or document.get("filled")))


def _nothing(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """No keypoints, no oriented boxes."""
    return np.zeros((count, 0, 3)), np.full((count, 4, 2), np.nan), np.zeros((count, 0), np.int64)


def _carrying(
    sample: Sample, shapes: Shapes, size: tuple[int, int], points: NDArray[np.float64], swaps: NDArray[np.int64]
) -> Sample:
    """The sample with the image itself as its last box, which has the points."""
    count = len(sample.boxes)
    carrier = Shapes((None,), (None,), points[None], np.full((1, 4, 2), np.nan), swaps[None])
    return Sample(
        source=sample.source,
        boxes=np.concatenate([sample.boxes, [[0.0, 0.0, *size]]]),
        labels=np.append(sample.labels, -1),
        weights=np.append(sample.weights, np.float32(1)),
        rows=np.append(sample.rows, sample.image_row * MANY + count),
        targets=sample.targets,
        image_row=sample.image_row,
        lazy=made(Shapes.joined([shapes, carrier])),
    )


def _dense(line: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A line with points between its corners, and which are corners."""
    parts, corners = [line[:1]], [np.ones(len(line[:1]), bool)]
    for start, end in itertools.pairwise(line):
        length = float(np.hypot(*(end - start)))
        count = max(1, int(np.ceil(length / _STEP))) if np.isfinite(length) else 1
        parts.append(start + (end - start) * (np.arange(1, count + 1) / count)[:, None])
        corners.append(np.arange(1, count + 1) == count)
    return np.concatenate(parts), np.concatenate(corners)


def _skeletons(collection: Any, fields: Mapping[str, str]) -> dict[str, Sequence[str]]:
    found: dict[str, Sequence[str]] = {}
    for name, kind in fields.items():
        if kind in {"Keypoint", "Keypoints"}:
            skeleton = collection.skeletons.get(name) or collection.default_skeleton
            if skeleton is not None and skeleton.labels:
                found[name] = list(skeleton.labels)
    return found
