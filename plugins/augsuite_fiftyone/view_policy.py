"""A policy in FiftyOne: for each image a group of the original, each step alone, and the whole policy."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bson import ObjectId

from augsuite.augment import Policy
from augsuite.augment.preview import pick
from augsuite.augment.words import Dropped, words
from augsuite.boxes import Boxes
from augsuite.dataset import Dataset
from augsuite.dataset.files import with_sizes
from augsuite_fiftyone import records
from augsuite_fiftyone.bulk import NewSample, insert_samples
from augsuite_fiftyone.database import URI, connect, home
from augsuite_fiftyone.drawn import Values, alike, drawn_values, field_of
from augsuite_fiftyone.labels import LISTS, Document, classifications_document, detections_document, labels_of
from augsuite_fiftyone.policy_looks import dress
from augsuite_fiftyone.slices import ORIGINAL, WHOLE, Shown, rendered, slices_of
from augsuite_fiftyone.store import Writing
from augsuite_fiftyone.view_dataset import identity, mark, place

DROPPED, UNPLACED = "dropped", "dropped_unplaced"
"""Label fields: boxes that a plan leaves out, where they would be; and those lost before a mix, which are nowhere."""

_SOURCE = "source_annotation"
_ABOUT = ("image", "acts", "boxes_dropped", "policy_drops", "drawn")


def view_policy(
    data: Dataset,
    policy: Policy,
    name: str,
    *,
    samples: int = 50,
    seed: int = 0,
    field: str = "ground_truth",
    exact_name: bool = False,
    keep: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Any:
    """Render what a policy makes of some images, and put it into FiftyOne as a dataset of groups.

    A group has the slices `original`, one for each step alone (`1 photometric`, `2 expand`, ...), and `policy`. They are drawn from the keys
    of a training with the same seed, in its first epoch. Images go to the user's folder and go away with the dataset.

    Args:
        data: the dataset; also where a mix step takes its partners from.
        policy: what is shown.
        name: what to call it in FiftyOne; where that is taken, it is followed by `-2`, `-3`, ...
        samples: images, chosen at random.
        seed: of that choice, and of the random keys.
        field: the name of the label field.
        exact_name: take no other name than `name`.
        keep: it stays in FiftyOne's database; otherwise whoever asked for it removes it (`remove`).
        progress: called with 1 for each image rendered.

    Returns:
        The `fiftyone.Dataset`.

    Raises:
        DataError: if no image has a file, or one cannot be read.
        ConfigError: if the policy makes no sense, or the user's folder cannot be written, or `exact_name` and the name is taken.
    """
    fo = connect(quiet=True)
    sweep()
    rows = pick(data, samples, seed)
    about = {"kind": "policy", "field": field, "samples": len(rows), "seed": seed, "policy": policy.to_yaml()}
    asked = identity(data.take(np.sort(rows)), about)
    free, found = place(name, asked, exact_name=exact_name)
    if found is not None and found.persistent:
        return found
    if found is not None:
        remove(found)
    dataset = fo.Dataset(free, persistent=False)
    try:
        steps = _fill(dataset, data, policy, rows, seed, field, progress)
        dress(dataset, field, DROPPED, steps, _ABOUT)
        mark(dataset, asked, about)
        dataset.persistent = keep
    except BaseException:
        remove(dataset)
        raise
    return dataset


def remove(dataset: Any) -> None:
    """Delete a view of a policy with its images.

    Args:
        dataset: what `view_policy` gave.
    """
    folder = _folder(dataset)
    connect(quiet=True).delete_dataset(dataset.name)
    shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Remove images whose dataset is gone, whoever deleted it."""
    fo = connect(quiet=True)
    folder = _pictures()
    if not folder.is_dir():
        return
    known = {str(each["_id"]) for each in fo.core.odm.get_db_conn().datasets.find({}, {"_id": 1})}
    for each in folder.iterdir():
        if each.name not in known:
            shutil.rmtree(each, ignore_errors=True)


def _fill(
    dataset: Any,
    data: Dataset,
    policy: Policy,
    rows: Sequence[int],
    seed: int,
    field: str,
    progress: Callable[[int], None] | None,
) -> list[str]:
    """Render, and insert group by group; gives the fields of the steps, in their order."""
    fo = connect(quiet=True)
    dataset.add_group_field("group", default=WHOLE)
    for name in (ORIGINAL, *(each.name for each in slices_of(policy))):
        dataset.add_group_slice(name, "image")
    folder = _folder(dataset)
    folder.mkdir(parents=True)
    tables, shown = rendered(data, policy, rows, folder, seed=seed, progress=progress)
    writing = Writing(with_sizes(tables), field)
    dataset.info = {**dataset.info, records.FIELD: records.write(writing.record)}
    dataset.default_classes = data.categories.names.tolist()
    dataset.save()
    fresh = list(writing.samples())
    values = alike(drawn_values(one.plan, data.images.names.tolist()) for one in shown)
    insert_samples(dataset, _grouped(data, rows, shown, fresh, values))
    if DROPPED not in dataset.get_field_schema():  # it should be there to be looked for all the same
        dataset.add_sample_field(DROPPED, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    order = {field_of(step.id): number for number, step in enumerate(policy.steps)}
    return sorted({step for row in values for step in row}, key=lambda step: (order.get(step, len(order)), step))


def _grouped(
    data: Dataset,
    rows: Sequence[int],
    shown: Sequence[Shown],
    fresh: Sequence[NewSample],
    values: Sequence[dict[str, Values]],
) -> Iterator[NewSample]:
    names = [str(name) for name in data.categories.names]
    width = len(shown) // len(rows)
    for at, row in enumerate(rows):
        group = str(ObjectId())
        own = range(at * width, (at + 1) * width)
        lost = len(shown[own[-1]].dropped)
        about = {"image": str(data.images.names[row]), "image_row": int(row), "policy_drops": lost}
        original = fresh[at]
        ids = {source: str(label) for label, source in _sources(original.fields).items()}
        yield replace(original, fields={**original.fields, **about}, group=(group, ORIGINAL))
        for number in own:
            one, new = shown[number], fresh[len(rows) + number]
            sources = _sources(new.fields)
            fields = {key: _linked(value, sources, ids) for key, value in new.fields.items()}
            documents = {step: {"_cls": "DynamicEmbeddedDocument", **each} for step, each in values[number].items()}
            fields |= {
                DROPPED: _dropped(one.dropped, names, (new.width, new.height), ids),
                UNPLACED: _unplaced(one.dropped, names, ids),
            }
            fields |= {**documents, **about, "acts": one.acts, "boxes_dropped": len(one.dropped)}
            fields |= {"drawn": words(one.plan), "plan": one.plan.to_json()}
            yield replace(new, fields=fields, group=(group, one.slice.name))


def _sources(fields: Mapping[str, Any]) -> dict[ObjectId, int]:
    """The id of each label that comes from an annotation -> its row. Polygons and keypoints have the id of their box."""
    return {
        label["_id"]: int(label[_SOURCE])
        for value in fields.values()
        if _is_document(value)
        for label in labels_of(value)
        if label.get(_SOURCE) is not None
    }


def _linked(value: Any, sources: Mapping[ObjectId, int], ids: Mapping[int, str]) -> Any:
    """A label document whose labels say which label of the original they come from."""
    if not _is_document(value):
        return value
    labels = [{**label, **_link(sources.get(label["_id"]), ids)} for label in labels_of(value)]
    place = LISTS.get(str(value["_cls"]))
    return {**value, place: labels} if place else labels[0]


def _is_document(value: Any) -> bool:
    return isinstance(value, Mapping) and "_cls" in value


def _link(row: int | None, ids: Mapping[int, str]) -> dict[str, str]:
    return {"source_id": ids[row]} if row is not None and row in ids else {}


def _dropped(
    lost: Sequence[Dropped], names: Sequence[str], size: tuple[int, int], ids: Mapping[int, str]
) -> Document | None:
    """Boxes that a plan leaves out and that have a place, also beyond the image."""
    there = [one for one in lost if np.isfinite(_box(one)).all()]
    extra = [{"state": DROPPED, "visible_frac": one.seen_frac, **_why(one, ids)} for one in there]
    boxes = np.array([_box(one) for one in there])
    return detections_document(boxes, [names[one.label] for one in there], size, extra=extra) if there else None


def _box(one: Dropped) -> Boxes:
    """The whole box; what is seen of it, where the whole has no place."""
    return one.whole if np.isfinite(one.whole).all() else one.box


def _unplaced(lost: Sequence[Dropped], names: Sequence[str], ids: Mapping[int, str]) -> Document | None:
    """Boxes that were lost on their way into a mix: they have no place in what came of it."""
    nowhere = [one for one in lost if not np.isfinite(_box(one)).all()]
    if not nowhere:
        return None
    return classifications_document([names[one.label] for one in nowhere], extra=[_why(one, ids) for one in nowhere])


def _why(one: Dropped, ids: Mapping[int, str]) -> dict[str, Any]:
    row = one.row if one.row >= 0 else None
    return {"reason": one.reason, **({} if row is None else {_SOURCE: row}), **_link(row, ids)}


def _pictures() -> Path:
    """Where rendered images of the datasets of this database lie, each dataset's in a folder called by its id."""
    uri = os.environ.get(URI, "")
    own = uri == os.environ.get("AUGSUITE_FIFTYONE_URI")
    return home() / "views" / ("own" if own else hashlib.sha256(uri.encode()).hexdigest()[:16])


def _folder(dataset: Any) -> Path:
    return _pictures() / str(dataset._doc.id)  # noqa: SLF001 - what a dataset keeps when it is renamed
