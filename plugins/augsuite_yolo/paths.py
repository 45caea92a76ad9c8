"""Which label file belongs to which image, and what an image is called."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection

_OBJ = re.compile(r"obj_.+_data|obj_data").fullmatch


def label_path(image: str) -> str:
    """The label file of an image: the last folder `images` becomes `labels`, the suffix `.txt`.

    Source: Ultralytics, `ultralytics.data.utils.img2label_paths`.
    """
    folder, base = posixpath.split(image)
    return posixpath.join(label_folder(folder), label_base(base))


def label_base(base: str) -> str:
    """The name of the label file of an image's file."""
    stem = base.rpartition(".")[0]
    return f"{stem or base}.txt"


def label_folder(folder: str, word: str = "labels") -> str:
    """A folder of images with its last part called `images` replaced; the folder itself where there is none."""
    parts = folder.split("/")
    for at in range(len(parts) - 1, -1, -1):
        if parts[at] == "images":
            return "/".join([*parts[:at], word, *parts[at + 1 :]])
    return folder


def name_prefix(folder: str, known: Collection[str]) -> str:
    """What of an image's folder belongs to its name: nothing, or a path that ends in a slash.

    Args:
        folder: relative to the dataset's root.
        known: names that stand for a split: `images/train/a/1.jpg` is `a/1.jpg` where `train` is known.
    """
    parts = [part for part in folder.split("/") if part]
    if "images" in parts:
        parts = parts[len(parts) - parts[::-1].index("images") :]
    if parts and (parts[0] in known or _OBJ(parts[0])):
        parts = parts[1:]
    return "".join(f"{part}/" for part in parts)
