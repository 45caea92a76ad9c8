"""Tables to YOLO label files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Dataset
from augsuite.dataset.files import inside, is_image, plain, unique
from augsuite.dataset.images import SUFFIXES
from augsuite.dataset.parallel import mapped
from augsuite.dataset.progress import advance
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite_yolo.config import NO_SPLIT, Config
from augsuite_yolo.lines import Batch, write_batch
from augsuite_yolo.paths import label_base, label_path, name_prefix

_BATCH = 4096  # images
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # what ends a line for some program
_PLAIN = re.compile(
    rf"[^\x00-\x1f\x7f-\x9f\u2028\u2029/\\:. ][^\x00-\x1f\x7f-\x9f\u2028\u2029/\\:]*(?:{'|'.join(map(re.escape, SUFFIXES))})",
    re.IGNORECASE,
).fullmatch
_RESERVED = {
    "ultralytics": {"path", "names", "nc", "download", NO_SPLIT},
    "darknet": {"classes", "names", "backup", "results", "eval", "valid", NO_SPLIT, "data"},
}


def write(
    data: Dataset, folder: Path, losses: Losses, layout: str = "ultralytics", task: str = "", clip: str = "yes"
) -> Sequence[str]:
    """Write a label file for each image, the lists of images and what names the classes.

    Ultralytics: `data.yaml`, `images/<split>/`, `labels/<split>/` and `<split>.txt`, the list of its images. Darknet: `obj.data`,
    `obj.names`, the lists, and images with their labels in `obj_<split>_data/`. Images without a split are in `images.txt`. Beside each
    list stand the sizes of its images (`<split>.shapes`). Numbers are written so that they read back as the same float64; classes
    count from 0 in the order of the categories.

    Args:
        data: the dataset.
        folder: where to write.
        losses: takes what cannot be represented.
        layout: `ultralytics` or `darknet`.
        task: `detect`: boxes; `segment`: polygons of one part, and every other box as a rectangle, since Ultralytics takes polygons only
            where all objects have one; "": as a YOLO dataset was read, `detect` for others.
        clip: `yes` or `no`; see `augsuite_yolo.lines.fit`.

    Raises:
        DataError: if a box is in pixels and the size of its image is not known, or a name cannot be written.
    """
    images, labels = _paths(data, layout, losses)
    for parent in {path.rpartition("/")[0] for path in labels}:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    _write_lists(data, images, folder, layout, losses)
    for lost in mapped(write_batch, _batches(data, labels, folder, losses, task, layout, clip=clip == "yes")):
        losses.update(lost)
    return images


def _paths(data: Dataset, layout: str, losses: Losses) -> tuple[list[str], list[str]]:
    """Where each image and its labels belong."""
    homes = {split: _home(split, layout) for split in set(data.images.splits.tolist())}
    images, labels, unusual = [], [], []
    for row, (name, split) in enumerate(zip(data.images.names, data.images.splits, strict=True)):
        home, label_home = homes[split]
        if _PLAIN(name):
            images.append(home + name)
            labels.append(label_home + label_base(name))
        else:
            images.append(home + _safe(name, data.images.files[row]))
            labels.append(_label(images[-1], layout))
            unusual.append(row)
    if len(set(labels)) != len(labels):  # `a.jpg` and `a.png` of one split would share their labels
        stems = unique(posixpath.splitext(path)[0] for path in images)
        images = [stem + posixpath.splitext(path)[1] for stem, path in zip(stems, images, strict=True)]
        labels = [_label(path, layout) for path in images]
        unusual = list(range(len(images)))
    for row in unusual:
        parent, _, base = images[row].rpartition("/")
        read = name_prefix(parent, {data.images.splits[row] or NO_SPLIT}) + base
        losses["image names"] += data.images.names[row] != read
    return images, labels


def _home(split: str, layout: str) -> tuple[str, str]:
    """The folders of a split's images and labels."""
    if split and (plain(split, "split") in _RESERVED[layout] or _CONTROL.search(split) or split != split.strip()):
        raise DataError(f"split {split!r} cannot be the name of a split in the layout of {layout}. Rename it first.")
    if layout == "darknet":
        return (f"obj_{split}_data/",) * 2 if split else ("obj_data/",) * 2
    return (f"images/{split}/", f"labels/{split}/") if split else ("images/", "labels/")


def _label(image: str, layout: str) -> str:
    if layout == "ultralytics":
        return label_path(image)
    folder, base = posixpath.split(image)
    return posixpath.join(folder, label_base(base))


def _safe(name: str, file: str) -> str:
    """A name as a path, without what ends a line, with the suffix of the image's file where it has none."""
    path = inside(_CONTROL.sub("_", name).strip().replace("\\", "/"))
    if path is None:
        raise DataError(f"image {name!r} would be written outside the output. Rename it.")
    path = path.removeprefix("images/")  # a folder of that name means something here
    return path if is_image(path) or not is_image(file) else path + posixpath.splitext(file)[1]


def _batches(
    data: Dataset, labels: list[str], folder: Path, losses: Losses, task: str, layout: str, *, clip: bool
) -> Iterator[Batch]:
    keypoints = _keypoints_of(data, layout)
    table = _upright(data, losses)
    task = task or str(data.extra.get("yolo.task", "detect"))
    shapes = {"segment": "all", "mixed": "some"}.get(task, "none") if not keypoints else "none"
    if not keypoints and "yolo.keypoints" in table.extra:
        losses["yolo.keypoints"] = _said(table.extra["yolo.keypoints"])
    keys = ["score"] + ["segmentation"] * (shapes != "none") + ["yolo.keypoints"] * bool(keypoints)
    extra = {key: table.extra[key] for key in keys if key in table.extra}
    order = np.argsort(table.image_rows, kind="stable")
    counts = np.bincount(table.image_rows, minlength=len(data))
    starts = np.concatenate([[0], np.cumsum(counts)])
    for first in range(0, len(data), _BATCH):
        last = min(first + _BATCH, len(data))
        rows = order[starts[first] : starts[last]]
        yield Batch(
            str(folder),
            labels[first:last],
            counts[first:last],
            table.category_rows[rows],
            table.boxes[rows],
            table.layout,
            data.images.sizes[table.image_rows[rows]],
            {key: values[rows] for key, values in extra.items()},
            shapes,
            keypoints,
            clip,
        )
        advance("writing", last - first, len(data))


def _upright(data: Dataset, losses: Losses) -> Annotations:
    """The annotations without boxes of negative width or height, which no reader would take.

    Raises:
        DataError: if the size of an image is needed and not known.
    """
    table = data.annotations
    if not table.layout.unit and not (data.images.sizes > 0).all():
        data.boxes(Layout.CXCYWH_UNIT)  # says which size, where one is needed
    extent = table.boxes[:, 2:] - (table.boxes[:, :2] if table.layout.corners == "xyxy" else 0)
    upright = np.asarray((extent >= 0).all(axis=1))
    if upright.all():
        return table
    losses["boxes"] += int((~upright).sum())
    return table.take(upright)


def _said(values: NDArray[np.object_]) -> int:
    return sum(value is not ABSENT for value in values.tolist())


def _keypoints_of(data: Dataset, layout: str) -> int:
    rest = data.extra.get("yolo.yaml")
    return Config(Path(), rest=dict(rest)).keypoints if isinstance(rest, Mapping) and layout == "ultralytics" else 0


def _write_lists(data: Dataset, images: list[str], folder: Path, layout: str, losses: Losses) -> None:
    """Write the lists of images with their sizes, and the file that names lists and classes."""
    here = "./" if layout == "ultralytics" else ""
    lists = {}
    for split in dict.fromkeys(data.images.splits.tolist()):
        rows = np.flatnonzero(data.images.splits == split)
        sizes = data.images.sizes[rows]
        stem = split or NO_SPLIT
        lists[stem] = f"{stem}.txt"
        _put(folder / lists[stem], "".join([f"{here}{images[row]}\n" for row in rows.tolist()]))
        if sizes.any():
            _put(folder / f"{stem}.shapes", "".join([f"{width} {height}\n" for width, height in sizes.tolist()]))
    names = data.categories.names.tolist()
    if layout == "ultralytics":
        _write_sheet(folder / "data.yaml", data, lists, names)
    else:
        losses["yolo.yaml"] += "yolo.yaml" in data.extra
        _write_data(folder, lists, names, losses)


def _write_sheet(file: Path, data: Dataset, lists: dict[str, str], names: list[str]) -> None:
    rest: Any = data.extra.get("yolo.yaml")
    keys = dict(rest) if isinstance(rest, Mapping) else {}
    comment = ""
    first = next(iter(lists.values()), f"{NO_SPLIT}.txt")
    needed = [key for key in ("train", "val") if key not in lists and (key != "val" or "validation" not in lists)]
    if needed:
        comment = f"# There is no split {' or '.join(needed)}. Ultralytics asks for both, so other images stand in.\n"
    lists = {**{key: lists.get("train", first) for key in needed}, **lists}
    if set(needed) == {"train", "val"}:
        lists.pop(NO_SPLIT, None)
    keys |= {**lists, "nc": len(names), "names": dict(enumerate(names))}
    try:
        text = yaml.safe_dump(keys, sort_keys=False, allow_unicode=True, width=1 << 20)
    except yaml.YAMLError as error:
        raise DataError(f"yolo.yaml: cannot be written as YAML ({str(error).splitlines()[0]}). Remove it.") from error
    _put(file, comment + text)


def _write_data(folder: Path, lists: dict[str, str], names: list[str], losses: Losses) -> None:
    lines = [_CONTROL.sub("_", name).strip() or "_" for name in names]
    clean = unique(lines)
    losses["category names"] += sum(name != line for name, line in zip(names, clean, strict=True))
    _put(folder / "obj.names", "".join(f"{line}\n" for line in clean))
    keys = {"valid" if key == "val" else key: value for key, value in lists.items()}
    if set(keys) == {NO_SPLIT}:
        keys = {"train": keys[NO_SPLIT]}
    keys = {"classes": str(len(names)), **keys, "names": "obj.names", "backup": "backup/"}
    _put(folder / "obj.data", "".join(f"{key} = {value}\n" for key, value in keys.items()))


def _put(file: Path, text: str) -> None:
    try:
        file.write_bytes(text.encode())
    except UnicodeEncodeError as error:
        raise DataError(
            f"{file.name}: {text[error.start - 20 : error.end]!r} is no text that UTF-8 can write. Rename it."
        ) from error
