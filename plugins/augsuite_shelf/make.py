"""Writes a shelf dataset: JPEG images and one COCO file for each split."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import PIL.Image

from augsuite.boxes import Layout
from augsuite.dataset import Annotations, Categories, Dataset, Images, checked
from augsuite.errors import ConfigError, nearest
from augsuite_shelf.products import KINDS
from augsuite_shelf.render import Placed, render
from augsuite_shelf.scene import HEIGHT, WIDTH, Shift, draw_scene

JPEG_QUALITY = 85
_CATEGORY_ID = {name: number for number, name in enumerate(KINDS, start=1)}


def make_shelf(
    folder: Path,
    images: int,
    seed: int,
    progress: Callable[[int], None],
    shift: str = "none",
    val: str = "0.25",
) -> Dataset:
    """Make a shelf dataset.

    Image `i` depends on `(seed, i)`, its split and the shift, not on `images`: a larger dataset begins with the smaller one.
    The training split is the same for every shift.

    Args:
        folder: an empty folder; gets `images/train`, `images/val` and `annotations/instances_{train,val}.json`.
        images: how many in all; 1 or more.
        seed: 0 or more.
        progress: called with 1 after each image.
        shift: what differs in the validation split: `none`, `light`, `mirror` or `scale`; see `augsuite_shelf.scene`.
        val: share of the images in the validation split, above 0 and below 1, as text.

    Returns:
        The dataset, rooted at `folder`, boxes as COCO has them.

    Raises:
        ConfigError: if an argument lies outside its range.
    """
    share = _share(val)
    shifts = get_args(Shift)
    if shift not in shifts:
        raise ConfigError(f"shelf: unknown shift {shift!r}. {nearest(shift, shifts)}")
    if images < 1 or seed < 0:
        raise ConfigError(f"shelf: expected 1 image or more and a seed of 0 or more, got {images} and {seed}.")
    splits = [split_of(index, share) for index in range(images)]
    for split in ("train", "val"):
        (folder / "images" / split).mkdir(parents=True)
    found: list[list[Placed]] = []
    for index, split in enumerate(splits):
        shown: Shift = shift if split == "val" else "none"  # type: ignore[assignment]  # checked above
        jpeg, placed = make_image(seed, index, shown)
        (folder / "images" / split / image_name(index)).write_bytes(jpeg)
        found.append(placed)
        progress(1)
    info = {
        "description": "augsuite shelf: rendered retail shelves with known answers",
        "version": "1",
        "seed": seed,
        "shift": shift,
        "val": share,
    }
    _write_coco(folder / "annotations", info, splits, found)
    return _dataset(folder, splits, found)


def make_image(seed: int, index: int, shift: Shift) -> tuple[bytes, list[Placed]]:
    """One image as a JPEG file, and what is in it."""
    pixels, placed = render(draw_scene(seed, index, shift))
    buffer = io.BytesIO()
    # no chroma subsampling: at this size it would blur the colours of the small print into each other
    PIL.Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue(), placed


def split_of(index: int, val: float) -> str:
    """The split of image `index`: validation images are spread evenly, so a prefix keeps the share and its members."""
    return "val" if int((index + 1) * val) > int(index * val) else "train"


def image_name(index: int) -> str:
    """The file name of image `index`."""
    return f"{index + 1:06d}.jpg"


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise ConfigError(f"shelf: option val: expected a share above 0 and below 1, got {text!r}.")
    return value


def _write_coco(folder: Path, info: dict[str, Any], splits: list[str], found: list[list[Placed]]) -> None:
    folder.mkdir()
    categories = [
        {"id": number, "name": name, "supercategory": name.partition("_")[0]} for name, number in _CATEGORY_ID.items()
    ]
    first_ids = np.cumsum([1, *(len(placed) for placed in found)]).tolist()  # ids are unique across the splits
    for split in ("train", "val"):
        rows = [row for row, name in enumerate(splits) if name == split]
        content = {
            "info": info,
            "licenses": [{"id": 1, "name": "CC0-1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
            "images": [
                {"id": row + 1, "file_name": image_name(row), "width": WIDTH, "height": HEIGHT, "license": 1}
                for row in rows
            ],
            "annotations": [
                {
                    "id": first_ids[row] + number,
                    "image_id": row + 1,
                    "category_id": _CATEGORY_ID[item.product.kind],
                    "bbox": item.box,
                    "area": item.box[2] * item.box[3],
                    "iscrowd": 0,
                }
                for row in rows
                for number, item in enumerate(found[row])
            ],
            "categories": categories,
        }
        (folder / f"instances_{split}.json").write_bytes(msgspec.json.encode(content) + b"\n")


def _dataset(folder: Path, splits: list[str], found: list[list[Placed]]) -> Dataset:
    names = [image_name(row) for row in range(len(splits))]
    items = [(row, item) for row, placed in enumerate(found) for item in placed]
    data = Dataset(
        images=Images.of(
            names,
            sizes=[[WIDTH, HEIGHT]] * len(names),
            splits=splits,
            files=[f"images/{split}/{name}" for split, name in zip(splits, names, strict=True)],
        ),
        categories=Categories.of(_CATEGORY_ID),
        annotations=Annotations.of(
            [row for row, _ in items],
            [_CATEGORY_ID[item.product.kind] - 1 for _, item in items],
            [item.box for _, item in items],
            Layout.XYWH_PX,
        ),
        root=folder,
    )
    return checked(data, str(folder))
