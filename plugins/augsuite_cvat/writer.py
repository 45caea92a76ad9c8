"""Tables to CVAT for images: `annotations.xml` and `images/`, in a folder per subset where there are splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from augsuite.dataset import ABSENT, Dataset
from augsuite.dataset.files import inside, plain, unique
from augsuite.dataset.progress import track
from augsuite.dataset.tables import Extra
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite_cvat.elements import TAG, attribute, listed, text, written
from augsuite_cvat.layout import split_of
from augsuite_cvat.shapes import Shapes
from augsuite_cvat.tables import LARGEST_ID, free_ids

_PREFIX = "cvat."
_OF_IMAGE = {"id", "name", "subset", "width", "height"}
_HOLDERS = ("task", "project", "job")
_BUFFER = 1 << 20


def write(data: Dataset, folder: Path, losses: Losses) -> Sequence[str]:
    """Write one XML file and say where the images belong: `images/`, or `images/<subset>/`.

    A dataset that came from CVAT keeps what the file said of its task or project; another one with splits becomes a project with a task
    for each. Coordinates have two decimals where they have no more, else all they need. A polygon whose box is not its extent carries
    the box in attributes that CVAT ignores; the parts of an object are polygons of one group.
    """
    placed = unique(_home(split) + _safe(name) for name, split in zip(*_columns_of(data), strict=True))
    names = [path[len(_home(split)) :] for path, split in zip(placed, data.images.splits.tolist(), strict=True)]
    losses["image names"] += sum(new != old for new, old in zip(names, data.images.names, strict=True))
    ids = _image_ids(data, losses)
    meta = _meta(data, losses)
    default, file = _default_split(data, meta)
    labels = [attribute(name, losses) for name in data.categories.names.tolist()]
    shapes = Shapes(data, labels, losses)
    extras = [
        (key.removeprefix(_PREFIX), values.tolist())
        for key, values in data.images.extra.items()
        if key.startswith(_PREFIX) and key not in {"cvat.id", "cvat.shapes"}
    ]
    loose = data.images.extra.get("cvat.shapes")
    with (folder / file).open("w", encoding="utf-8", newline="\n", buffering=_BUFFER) as out:
        out.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        for tag, value in _head(data, meta).items():
            out.write(_meta_text(value, data, losses) if tag == "meta" else written(tag, value, losses, 1))
        for row, split in enumerate(track(data.images.splits.tolist(), "writing")):
            width, height = data.images.sizes[row].tolist()
            size = f' width="{width}" height="{height}"' if width and height else ""
            subset = f' subset="{attribute(split, losses)}"' if split != default else ""
            others = "".join(
                _attribute(key, values[row], losses) for key, values in extras if values[row] is not ABSENT
            )
            inner = shapes.written(row, ABSENT if loose is None else loose[row])
            start = f'  <image id="{ids[row]}" name="{attribute(names[row], losses)}"{subset}{others}{size}'
            out.write(f"{start}>\n{inner}  </image>\n" if inner else f"{start}/>\n")
        out.write("</annotations>\n")
    return placed


def _columns_of(data: Dataset) -> tuple[list[str], list[str]]:
    return data.images.names.tolist(), data.images.splits.tolist()


def _home(split: str) -> str:
    return f"images/{plain(split, 'split')}/" if split else "images/"


def _safe(name: str) -> str:
    path = inside(name)
    if path is None:
        raise DataError(f"image {name!r} would be written outside the output. Rename it.")
    return path


def _image_ids(data: Dataset, losses: Losses) -> list[int]:
    """The ids to write, and how many of them a reader will not give back: CVAT counts anew in each task, we do not."""
    own = data.images.ids.tolist()
    said: Iterable[Any] = data.images.extra.get("cvat.id", [ABSENT] * len(own))
    ids: list[int | None] = [old if isinstance(old, int) else new for old, new in zip(said, own, strict=True)]
    ids = [number if number is not None and abs(number) <= LARGEST_ID else None for number in ids]
    back = free_ids(ids)
    losses["image ids"] += sum(new != old for new, old in zip(back, own, strict=True))
    return [new if number is None else number for number, new in zip(ids, back, strict=True)]


def _attribute(key: str, value: Any, losses: Losses) -> str:
    if key in _OF_IMAGE or not TAG.fullmatch(key) or isinstance(value, bool) or not isinstance(value, str | int):
        losses[f"{_PREFIX}{key}"] += 1
        return ""
    return f' {key}="{attribute(str(value), losses)}"'


def _meta(data: Dataset, losses: Losses) -> dict[str, Any]:
    """What the file says of its task or project, with a place for the labels.

    A task is one subset; with several, what came from a task becomes a project.
    """
    splits = [split for split in dict.fromkeys(data.images.splits.tolist()) if split]
    given = data.extra.get("cvat.meta")
    said = dict(given) if isinstance(given, dict) else {}
    if not any(isinstance(said.get(name), dict) and "labels" in said[name] for name in _HOLDERS):
        task = said.get("task")
        said["task"] = {**(task if isinstance(task, dict) else {}), "labels": None}
    holder = next(name for name in _HOLDERS if isinstance(said.get(name), dict) and "labels" in said[name])
    if given is None and not splits:
        return {"task": {"size": str(len(data)), "mode": "annotation", "labels": None}}
    if holder != "project" and (given is None or len(set(data.images.splits.tolist())) > 1):
        losses["cvat.meta"] += given is not None
        own = {key: value for key, value in said.pop(holder).items() if key not in {"labels", "subset"}}
        counts = Counter(data.images.splits.tolist())
        common = {"mode": "annotation"} | own
        tasks = [{**common, "name": split, "size": str(counts[split]), "subset": split} for split in splits]
        return {"project": {"tasks": {"task": tasks}, "subsets": "\n".join(splits), "labels": None}, **said}
    return said


def _default_split(data: Dataset, meta: dict[str, Any]) -> tuple[str, str]:
    """The split of images that do not say theirs, and the name of the file, which says it where the task does not."""
    task = meta.get("task")
    if not isinstance(task, dict):
        return "", "annotations.xml"
    said = task.get("subset")
    if isinstance(said, str) and said:
        return said, "annotations.xml"
    splits = set(data.images.splits.tolist())
    split = splits.pop() if len(splits) == 1 else ""
    named = split_of(Path(f"{split}.xml"), alone=True)
    return named, f"{named or 'annotations'}.xml"


def _head(data: Dataset, meta: dict[str, Any]) -> dict[str, Any]:
    """The elements before the images: those read, in their order, or those that CVAT writes."""
    said = {key.removeprefix(_PREFIX): value for key, value in data.extra.items() if key.startswith(_PREFIX)}
    version = said.pop("_version", "1.1")
    return {"version": version, **said, "meta": meta}


def _meta_text(meta: dict[str, Any], data: Dataset, losses: Losses) -> str:
    """<meta>, with the categories as its labels."""
    name = next(name for name in _HOLDERS if isinstance(meta.get(name), dict) and "labels" in meta[name])
    mark = "labels of the dataset"
    marked = {**meta, name: {**meta[name], "labels": mark}}
    before, _, after = written("meta", marked, losses, 1).partition(f"      <labels>{mark}</labels>\n")
    return before + _labels(data, losses) + after


def _labels(data: Dataset, losses: Losses) -> str:
    extra = data.categories.extra
    lines = ["      <labels>\n"]
    for row, name in enumerate(data.categories.names.tolist()):
        said = _said(extra, row)
        sublabels = said.pop("sublabels", [])
        inner = "".join(written(key, value, losses, 5) for key, value in said.items())
        lines.append(f"        <label>\n          <name>{text(name, losses)}</name>\n{inner}        </label>\n")
        lines.append(written("label", listed(sublabels), losses, 4))
    return "".join([*lines, "      </labels>\n"])


def _said(extra: Extra, row: int) -> dict[str, Any]:
    return {
        key.removeprefix(_PREFIX): values[row]
        for key, values in extra.items()
        if key.startswith(_PREFIX) and values[row] is not ABSENT
    }
