"""A whole dataset into FiftyOne, in bulk, and out of it again (`loading`)."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
from bson import ObjectId
from numpy.typing import NDArray

from augsuite.dataset.files import with_sizes
from augsuite.dataset.tables import Dataset, Extra
from augsuite.errors import ConfigError, DataError
from augsuite_fiftyone import records
from augsuite_fiftyone.attributes import OF_LABELS, OF_SAMPLES, attributes, decoded, seen_of
from augsuite_fiftyone.bulk import NewSample, insert_samples
from augsuite_fiftyone.canvas import corners_of, relative_boxes
from augsuite_fiftyone.database import connect
from augsuite_fiftyone.labels import (
    Document,
    classifications_document,
    detections_of,
    keypoints_document,
    polylines_document,
)
from augsuite_fiftyone.loading import load
from augsuite_fiftyone.media import files_of
from augsuite_fiftyone.outlines import Outlines, any_outlines, outlines_of

__all__ = ["load", "store"]

_WRITER = "augsuite_writer"  # in the info of a dataset that is being written: the process
_MARK = "augsuite partial"


def store(
    data: Dataset,
    name: str,
    *,
    field: str = "ground_truth",
    persistent: bool = True,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Any:
    """Put a dataset into FiftyOne, whole or not at all.

    Boxes become detections in `field`, polygons polylines in `<field>_polygons`, RLE the masks of detections, keypoints those in
    `<field>_keypoints`; labels of whole images are classifications in `<field>_labels`, or in `field` where the dataset has no boxes. Extras
    of native types are attributes of the labels and fields of the samples. What the tables hold exactly stands beside it, for `load`.

    Args:
        data: the dataset.
        name: of the dataset in FiftyOne.
        field: the label field.
        persistent: whether FiftyOne keeps it when the last process that uses its database ends.
        overwrite: replace a dataset of that name; it stays until the new one is whole.
        progress: called with the number of samples after each batch.

    Returns:
        The `fiftyone.Dataset`.

    Raises:
        ConfigError: if the name is taken or FiftyOne does not take it, or another process writes it.
        DataError: if FiftyOne cannot hold the data.
    """
    fo = connect(quiet=True)
    sweep(fo, name)
    _check_name(fo, name, overwrite=overwrite)
    data = with_sizes(data)
    with fresh_dataset(fo, name, persistent=persistent, overwrite=overwrite) as dataset:
        writing = Writing(data, field)
        dataset.info = {**dataset.info, records.FIELD: records.write(writing.record)}
        names = data.categories.names.tolist()
        dataset.default_classes = names
        _describe_skeletons(fo, dataset, data, writing.record.keypoints)
        dataset.save()
        try:
            insert_samples(dataset, writing.samples(), progress)
        except (OverflowError, ValueError) as error:  # bson's errors are ValueErrors
            raise DataError(
                f"{name}: FiftyOne cannot hold this ({error}). Leave out the image or the values."
            ) from error
    return fo.load_dataset(name)


@contextlib.contextmanager
def fresh_dataset(fo: Any, name: str, *, persistent: bool = True, overwrite: bool = False) -> Iterator[Any]:
    """A dataset under another name that takes its own at the end, with `overwrite` in place of one that is there; it vanishes on an error.

    Raises:
        ConfigError: if the name is taken by then, as by another process.
    """
    dataset = fo.Dataset(
        f"{name} {_MARK} {secrets.token_hex(4)}"
    )  # not persistent: FiftyOne itself deletes it after a kill
    dataset.info = {_WRITER: os.getpid()}
    dataset.save()
    try:
        yield dataset
        _check_name(fo, name, overwrite=overwrite)
        dataset.info = {key: value for key, value in dataset.info.items() if key != _WRITER}
        dataset.persistent = persistent
        old = None
        if fo.dataset_exists(name):
            old = fo.load_dataset(name)
            old.name = f"{name} {_MARK} {secrets.token_hex(4)} replaced"
        dataset.name = name
        if old is not None:
            old.delete()
    except BaseException:
        if dataset.name != name:
            dataset.delete()
        raise


def sweep(fo: Any, name: str) -> None:
    """Remove what killed writers of a name left, and bring back what one of them was about to replace.

    Raises:
        ConfigError: if another process is writing it.
    """
    for found in fo.list_datasets(glob_patt=None):
        if not found.startswith(f"{name} {_MARK} "):
            continue
        left = fo.load_dataset(found)
        if found.endswith(" replaced"):
            if fo.dataset_exists(name):
                left.delete()
            else:
                left.name = name
            continue
        writer = left.info.get(_WRITER)
        if isinstance(writer, int) and writer != os.getpid() and psutil.pid_exists(writer):
            raise ConfigError(f"{name}: is being written by process {writer}. Wait for it, or choose another name.")
        left.delete()


def _check_name(fo: Any, name: str, *, overwrite: bool) -> None:
    from fiftyone.core import utils

    try:
        utils.to_slug(name)
    except ValueError as error:
        raise ConfigError(f"{name!r}: FiftyOne does not take this name ({error}). Choose another.") from error
    if not overwrite and fo.dataset_exists(name):
        raise ConfigError(f"{name}: FiftyOne has a dataset of that name. Choose another, or replace it explicitly.")


class Writing:
    """A dataset on its way."""

    def __init__(self, data: Dataset, field: str) -> None:
        table = data.annotations
        self.data = data
        self.relative = relative_boxes(data)
        self.corners = corners_of(data)
        boxed = bool(table.is_box.any()) or not len(table)
        owners = {key.partition(".")[0] for extra in (table.extra, data.images.extra) for key in extra}
        outlined = any_outlines(data)
        taken = {field, f"{field}_labels", f"{field}_polygons", f"{field}_keypoints"}
        self.record = records.DatasetRecord(
            version=records.VERSION,
            root=os.path.abspath(data.root),  # noqa: PTH100 - links stay as the user wrote them
            layout=table.layout.value,
            boxes=field if boxed else "",
            labels="" if table.is_box.all() else f"{field}_labels" if boxed else field,
            polygons=f"{field}_polygons" if outlined else "",
            keypoints=f"{field}_keypoints" if outlined else "",
            categories=[
                records.CategoryRecord(name, number, records.pack(_row(data.categories.extra, row)))
                for row, (name, number) in enumerate(
                    zip(data.categories.names.tolist(), data.categories.ids.tolist(), strict=True)
                )
            ],
            extra=records.pack(data.extra),
            of_images=seen_of(data.images.extra, OF_SAMPLES | _members("Sample") | taken),
            of_labels=seen_of(table.extra, OF_LABELS | _members("Detection", "Classification", "Polyline", "Keypoint")),
            ignored=["iscrowd", "difficult"] if "voc" in owners else ["iscrowd"],
            columns=(list(data.images.extra), list(table.extra)),
            splits=list(dict.fromkeys(data.images.splits.tolist())),
        )

    def samples(self) -> Iterator[NewSample]:
        """The samples, in order."""
        data, files = self.data, files_of(self.data)
        images = data.images
        columns = zip(
            images.names.tolist(),
            images.ids.tolist(),
            images.sizes.tolist(),
            images.splits.tolist(),
            images.files.tolist(),
            files,
            strict=True,
        )
        for row, (name, number, size, split, file, filepath) in enumerate(columns):
            fields, labels = self._labels(row)
            extra = _row(images.extra, row)
            record = records.SampleRecord(
                row, number, name, tuple(size), split, file, filepath, records.pack(extra), labels
            )
            fields |= attributes(self.record.of_images, extra)
            fields |= {"image_id": number, records.FIELD: records.write(record)}
            if split:
                fields["split"] = split
            yield NewSample(filepath, size[0], size[1], fields, (split,) if split else ())

    def _labels(self, image_row: int) -> tuple[dict[str, Any], dict[str, records.LabelRecord]]:
        """The label fields of an image, and the records of its labels."""
        data, record = self.data, self.record
        rows = data.rows_of(image_row)
        if not len(rows):
            return ({record.boxes: detections_of([], [])} if record.boxes else {}), {}
        table = data.annotations
        categories = data.categories
        boxed = table.is_box[rows]
        ids = [ObjectId() for _ in rows]
        names = categories.names[table.category_rows[rows]].tolist()
        extras = [_row(table.extra, row) for row in rows.tolist()]
        shown = []
        for row, extra in zip(rows.tolist(), extras, strict=True):
            seen = attributes(record.of_labels, extra)
            ignored = int(table.ignore[row])
            seen |= {"annotation_id": int(table.ids[row]), "category_id": int(categories.ids[table.category_rows[row]])}
            seen |= dict.fromkeys(record.ignored, ignored)
            if "confidence" in seen:
                seen["confidence"] = _number(seen["confidence"])
            shown.append(seen)
        kept = {
            str(ids[place]): records.LabelRecord(
                row, int(table.ids[row]), names[place], bool(table.ignore[row]),
                tuple(table.boxes[row].tolist()) if boxed[place] else None, records.pack(extras[place]),
            )
            for place, row in enumerate(rows.tolist())
        }  # fmt: skip
        fields: dict[str, Any] = {}
        if record.boxes:
            places = np.flatnonzero(boxed).tolist()
            fields |= self._boxes(
                image_row,
                rows[boxed],
                [names[at] for at in places],
                [shown[at] for at in places],
                [ids[at] for at in places],
            )
        if record.labels and not boxed.all():
            places = np.flatnonzero(~boxed).tolist()
            fields[record.labels] = classifications_document(
                [names[at] for at in places], None, [shown[at] for at in places], ids=[ids[at] for at in places]
            )
        return fields, kept

    def _boxes(
        self,
        image_row: int,
        rows: NDArray[np.int64],
        names: list[str],
        shown: list[dict[str, Any]],
        ids: list[ObjectId],
    ) -> dict[str, Document]:
        """Detections, polylines and keypoints of an image."""
        data, record = self.data, self.record
        outlines = outlines_of(data, image_row, rows, self.corners[rows]) if record.polygons else Outlines([], [], [])
        fields = {
            record.boxes: detections_of(
                self.relative[rows].tolist(), names, None, shown, masks=outlines.masks or None, ids=ids
            )
        }
        size = tuple(data.images.sizes[image_row].tolist())
        for field, values in ((record.polygons, outlines.rings), (record.keypoints, outlines.points)):
            at = [place for place, value in enumerate(values) if value is not None]
            if not at:
                continue
            chosen = [values[place] for place in at]
            own = [{key: shown[place][key] for key in ("annotation_id", "category_id")} for place in at]
            named, known = [names[place] for place in at], [ids[place] for place in at]
            if field == record.polygons:
                fields[field] = polylines_document(chosen, named, size, None, own, ids=known)  # type: ignore[arg-type]  # rings
            else:
                fields[field] = keypoints_document(chosen, named, size, own, ids=known)  # type: ignore[arg-type]  # points
        return fields


def _members(*classes: str) -> set[str]:
    """Names that no field may have: one would hide a method of FiftyOne's (`copy`), and then no sample can be read."""
    from fiftyone.core.odm import DatasetSampleDocument

    fo = connect(quiet=True)
    found = [getattr(fo, name) for name in classes] + [DatasetSampleDocument] * ("Sample" in classes)
    return {name for each in found for name in dir(each)}


def _row(extra: Extra, row: int) -> dict[str, Any]:
    return {key: values[row] for key, values in extra.items()}


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, int | float) else value


def _describe_skeletons(fo: Any, dataset: Any, data: Dataset, field: str) -> None:
    """Names and connections of keypoints, where all categories that have some agree."""
    columns = [data.categories.extra.get(key) for key in ("coco.keypoints", "coco.skeleton")]
    if columns[0] is None or not field:
        return
    found = {}
    for row in range(len(data.categories)):
        names, edges = (decoded(column[row]) if column is not None else None for column in columns)
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            links = [[int(point) - 1 for point in edge] for edge in edges] if isinstance(edges, list) else []
            found[repr((names, links))] = (
                names,
                [link for link in links if all(0 <= point < len(names) for point in link)],
            )
    if len(found) == 1:
        names, links = next(iter(found.values()))
        dataset.skeletons = {field: fo.KeypointSkeleton(labels=names, edges=links)}
