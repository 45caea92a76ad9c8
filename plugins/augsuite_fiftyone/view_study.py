"""A study in FiftyOne: its test images with the ground truth, each arm's predictions, and what each arm did to each image."""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from augsuite import __version__, read_study
from augsuite.dataset import Dataset
from augsuite.dataset.files import with_sizes
from augsuite.errors import ConfigError, PluginError
from augsuite_fiftyone.bulk import set_labels, set_values
from augsuite_fiftyone.database import connect
from augsuite_fiftyone.labels import Document, classification_document, detections_document
from augsuite_fiftyone.store import store
from augsuite_fiftyone.study_looks import Column, Views, paint, save_views, save_workspace, settings
from augsuite_fiftyone.study_marks import EVAL, Marked, Shown, attributes, fields_of, mark, plain_name, with_verdicts
from augsuite_fiftyone.study_story import KEY, VERSION, story

if TYPE_CHECKING:
    from augsuite import StudyResults

TRUTH = "ground_truth"
_TAKEN = (TRUTH, "id", "filepath", "tags", "metadata", "group", "created_at", "last_modified_at")


def open_study(
    folder: str | Path,
    *,
    name: str | None = None,
    seeds: Sequence[int] | Literal["all"] | None = None,
    min_score: float | None = None,
    images: str | None = None,
    persistent: bool = False,
    database: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Any:
    """Put a study into FiftyOne: one dataset of the images measured on.

    It has the ground truth; a label field for each arm, with `eval` on each label; for each arm a number on each image (average
    precision at IoU 0.5 of the image alone, or the share of seeds that named its label) and its difference from the reference, both
    over all seeds; saved views of the images that each arm fixed and broke, of the objects that it alone finds, and of small ones; and
    in its `info` what the panel shows.

    Args:
        folder: the study's.
        name: of the FiftyOne dataset; `study-<study>` by default. One that was made of a study, and in which nobody has changed anything
            since, is replaced; beside one with tags or corrections, the name gets a number.
        seeds: whose predictions are shown, in a field for each arm and seed; None for the first seed of each arm. Numbers on images
            are over all seeds, whichever are shown.
        min_score: the least score of a box that is shown; None for the score with the best F1, for each run.
        images: where the images are now, if not where they were; see `augsuite.read_study`.
        persistent: whether it stays in the database when the last process that uses it ends.
        database: a MongoDB's URI; augsuite's own by default.
        progress: called with the number of images, after each batch and field.

    Returns:
        The `fiftyone.Dataset`. If it was made before of the same runs in the same way, it is the same, with whatever was done to it.

    Raises:
        ConfigError: if there is no such study or seed, or a dataset of that name that was not made of a study.
        DataError: if the images are not those of the study.
    """
    results = read_study(folder, images)
    shown = list(fields_of(results, seeds, _TAKEN))
    for seed in seeds if isinstance(seeds, Sequence) and not isinstance(seeds, str) else ():
        if not any(run.seed == seed for run in shown):
            raise ConfigError(f"{folder}: no predictions of the seed {seed}; there are {_said(results)}.")
    fo = connect(database)
    made = _digest(results, shown, min_score)
    title, old = _place(fo, name or f"study-{results.name}", made)
    if old is not None:
        if persistent:
            old.persistent = True
        return old
    fresh = f"{title}-{secrets.token_hex(4)}"
    dataset = _fill(fo, fresh, results, shown, min_score, made, progress)
    if title in fo.list_datasets():
        fo.delete_dataset(title)
    dataset.name = title
    dataset.persistent = persistent
    return dataset


def _place(fo: Any, wished: str, made: str) -> tuple[str, Any]:
    """A name to take, and None; or the name and the dataset that is just what is asked for.

    A dataset of other runs is replaced, unless somebody has worked in it: then it stays, and the name gets a number.
    """
    number = 0
    while True:
        number += 1
        title = wished if number == 1 else f"{wished}-{number}"
        if title not in fo.list_datasets():
            return title, None
        old = fo.load_dataset(title)
        known = (old.info or {}).get(KEY)
        if not isinstance(known, dict):
            if number > 1:
                continue
            raise ConfigError(
                f"{title}: a FiftyOne dataset of this name exists, and was not made of a study. Give another: --name."
            )
        if known.get("made") == made:
            return title, old
        if known.get("left") == _left(old):
            return title, None


def _left(dataset: Any) -> list[Any]:
    """What changes with a tag, an edited label, a sample more or less, a field, or a saved view."""
    _, latest = dataset.bounds("last_modified_at")
    schema = sorted(dataset.get_field_schema(flat=True))
    return [len(dataset), latest.isoformat() if latest else "", schema, sorted(dataset.list_saved_views())]


def _fill(
    fo: Any,
    name: str,
    results: StudyResults,
    shown: Sequence[Shown],
    min_score: float | None,
    made: str,
    progress: Callable[[int], None] | None,
) -> Any:
    """Make the dataset under a name of its own, which nobody misses if this ends halfway."""
    marked = {
        run: mark(judged, min_score)
        for run in shown
        if (judged := results.predicted[run.arm][run.seed].judged) is not None
    }
    data = with_sizes(with_verdicts(results, [run for run in shown if run in marked], marked, min_score))
    dataset = store(data, name, field=TRUTH, persistent=False, progress=progress)
    ids, numbers = dataset.values(["id", "image_id"])
    if numbers != data.images.ids.tolist():
        raise PluginError(
            f"{name}: FiftyOne gives the images in another order than they were stored. Report this as an error."
        )
    for run in shown:
        documents = _boxes(data, results, run, marked[run]) if run in marked else _labels(results, run)
        kind = "Detections" if run in marked else "Classification"
        set_labels(dataset, run.field, dict(zip(ids, documents, strict=True)), kind, progress)
        dataset.get_field(run.field).description = _described(results, run, marked.get(run))
        dataset.get_field(run.field).save()
    columns = _columns(fo, dataset, ids, results, {run.field for run in shown})
    strongest = sorted(
        (a for a in results.arms.values() if a.effect), key=lambda arm: -abs(arm.effect.mean if arm.effect else 0)
    )
    views = save_views(dataset, TRUTH, list(columns.values()), [arm.arm for arm in strongest], bool(marked))
    chosen = settings(columns, shown, TRUTH, results.reference)
    first = next((arm.arm for arm in strongest if arm.arm in chosen), results.reference)
    paint(dataset, TRUTH, shown, chosen.get(first, [TRUTH]), list(columns.values()))
    save_workspace(dataset)
    dataset.info[KEY] = {**_told(results, shown, marked, views, chosen, made), "left": _left(dataset)}
    dataset.description = f"{results.question()} {results.headline()}"
    dataset.save()
    return dataset


def _boxes(data: Dataset, results: StudyResults, run: Shown, marked: Marked) -> list[Document]:
    """`(I,)` the predictions of a run, image by image."""
    judged = results.predicted[run.arm][run.seed].judged
    if judged is None:
        return []
    found = judged.detections
    names = data.categories.names
    images = found.image_rows[marked.rows]
    edges = np.searchsorted(images, np.arange(len(data) + 1)).tolist()
    documents = []
    for image, (low, high) in enumerate(itertools.pairwise(edges)):
        rows = marked.rows[low:high]
        width, height = data.images.sizes[image].tolist()
        documents.append(
            detections_document(
                found.boxes[rows],
                names[found.category_rows[rows]].tolist(),
                (width, height),
                found.scores[rows],
                attributes(data, marked, slice(low, high)),
            )
        )
    return documents


def _labels(results: StudyResults, run: Shown) -> list[Document]:
    """`(I,)` the surest label that a classifier gives each image, and whether it is right."""
    one = results.predicted[run.arm][run.seed]
    if one.labels is None:
        return []
    names, scores = results.val.categories.names, one.labels.scores
    best = scores.argmax(axis=1)
    return [
        classification_document(
            str(names[label]),
            float(scores[image, label]),
            {EVAL: "correct" if value > 0 else "incorrect"} if np.isfinite(value) else None,
        )
        for image, (label, value) in enumerate(zip(best.tolist(), one.values.tolist(), strict=True))
    ]


def _columns(fo: Any, dataset: Any, ids: Sequence[str], results: StudyResults, taken: set[str]) -> dict[str, Column]:
    """Put the number of each image under each arm into fields; NaN, where there is nothing to be found, is no value."""
    what = (
        "AP at IoU 0.5 of the image alone, its categories ranked together"
        if results.metric == "AP"
        else "share of seeds that name the label"
    )
    own = plain_name(results.metric.lower())
    used, columns = {*taken, *_TAKEN}, {}
    for arm, runs in results.predicted.items():
        if not runs:
            continue
        number = 1
        plain = plain_name(arm)
        while {f"{own}_{plain}", f"effect_{plain}"} & used:
            number += 1
            plain = f"{plain_name(arm)}_{number}"
        effect = f"effect_{plain}" if arm != results.reference else None
        fields = {f"{own}_{plain}": (results.image_values(arm), f"{arm}: {what}, over seeds, in percent")}
        if effect is not None:
            fields[effect] = (
                results.image_effects(arm),
                f"{arm} minus {results.reference}: {what}, over the seeds of both, in percent",
            )
        for field, (values, said) in fields.items():
            used.add(field)
            plain_values = [value if np.isfinite(value) else None for value in values.tolist()]
            set_values(dataset, field, fo.FloatField, dict(zip(ids, plain_values, strict=True)))
            dataset.get_field(field).description = said
            dataset.get_field(field).save()
        columns[arm] = Column(arm, f"{own}_{plain}", effect)
    return columns


def _described(results: StudyResults, run: Shown, marked: Marked | None) -> str:
    value = results.arms[run.arm].values.get(run.seed)
    number = "" if value is None else f", {results.metric} {value:.2f}"
    score = "" if marked is None else f"; boxes with a score of at least {marked.threshold:.3g}"
    return f"predictions of {run.arm}, seed {run.seed}{number}{score}"


def _told(
    results: StudyResults,
    shown: Sequence[Shown],
    marked: Mapping[Shown, Marked],
    views: Views,
    chosen: Mapping[str, list[str]],
    made: str,
) -> dict[str, Any]:
    """What stands in the dataset's info."""
    runs = [
        {
            "arm": run.arm,
            "seed": run.seed,
            "field": run.field,
            results.metric: results.arms[run.arm].values.get(run.seed),
            "min_score": marked[run].threshold if run in marked else None,
            "folder": str(results.run_folder(run.arm, run.seed)),
        }
        for run in shown
    ]
    return {**story(results, runs, views), "fields": dict(chosen), "small": views.get("", {}), "made": made}


def _digest(results: StudyResults, shown: Sequence[Shown], min_score: float | None) -> str:
    """Of all that the dataset is made of: equal where making it again would change nothing."""
    plain = [
        results.state.data["val"],
        results.table(),
        [[run.arm, run.seed, run.digest] for run in results.state.runs],
        {arm: sorted(runs) for arm, runs in results.predicted.items()},
        [[run.arm, run.seed, run.field] for run in shown],
        min_score,
        [__version__, VERSION],
    ]
    return hashlib.blake2b(json.dumps(plain).encode(), digest_size=16).hexdigest()


def _said(results: StudyResults) -> str:
    have = sorted({seed for runs in results.predicted.values() for seed in runs})
    return f"those of {', '.join(map(str, have))}" if have else "none at all"
