"""What the columns of a CSV file mean, from their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from augsuite.boxes import Layout
from augsuite.errors import DataError

_NAMES: Mapping[str, tuple[str, ...]] = {
    "image": ("filename", "file", "image", "imagename", "imagefile", "imagefilename", "imagepath", "filepath", "path", "img",
              "imgname", "imgpath", "imageid"),
    "label": ("class", "label", "celltype", "category", "classname", "labelname", "categoryname", "object", "objectname", "type",
              "species", "name"),
    "width": ("imagewidth", "imgwidth", "width"),
    "height": ("imageheight", "imgheight", "height"),
    "split": ("split", "subset", "set", "usage"),
    "ignore": ("ignore", "iscrowd", "difficult"),
}  # fmt: skip
_BOXES: tuple[tuple[str, tuple[str, str, str, str]], ...] = (
    ("xyxy", ("xmin", "ymin", "xmax", "ymax")),
    ("xyxy", ("x1", "y1", "x2", "y2")),
    ("xyxy", ("x0", "y0", "x1", "y1")),
    ("xyxy", ("left", "top", "right", "bottom")),
    ("xyxy", ("bboxxmin", "bboxymin", "bboxxmax", "bboxymax")),
    ("cxcywh", ("xcenter", "ycenter", "w", "h")),
    ("cxcywh", ("xcenter", "ycenter", "width", "height")),
    ("cxcywh", ("cx", "cy", "w", "h")),
    ("cxcywh", ("centerx", "centery", "width", "height")),
    ("xywh", ("bboxx", "bboxy", "bboxwidth", "bboxheight")),
    ("xywh", ("bboxx", "bboxy", "bboxw", "bboxh")),
    ("xywh", ("left", "top", "width", "height")),
    ("xywh", ("xmin", "ymin", "width", "height")),
    ("xywh", ("x", "y", "w", "h")),
    ("xywh", ("x", "y", "width", "height")),
)
_PART_OF_BOX = re.compile(r"(bbox|[xy](min|max|cent(er|re))|box$|bndbox|boundingbox|[xy][012]$|[xy]$)")
"""Names that speak of a box, where no set of four is whole."""
_SUFFIX = re.compile(r"[_ .\-](norm|normalized|normalised|unit|rel|relative|frac|px|pixel|pixels)$", re.IGNORECASE)
LARGEST_FRACTION = 2.0
"""Above it a coordinate must be pixels. A fraction may lie a little above 1, where a box was drawn over the border; a dataset whose
boxes all lie within two pixels is none."""
_OPEN_IMAGES = ("ImageID", "XMin", "XMax", "YMin", "YMax")


@dataclass(frozen=True)
class Header:
    """Where the columns are.

    Attributes:
        columns: meaning ("image", "label", "width", "height", "split", "ignore") -> index, for those there are.
        corners: how the four box columns say a box, "" where there are none.
        box: their indices, x first.
        units: "pixel" or "unit" where the header says so, else "".
        others: name -> index of the columns that mean nothing to us.
        count: how many columns there are.
    """

    columns: Mapping[str, int]
    corners: str
    box: tuple[int, ...]
    units: str
    others: Mapping[str, int]
    count: int

    def layout(self, units: str) -> Layout:
        """The layout of the boxes, given "pixel" or "unit"."""
        return Layout(f"{self.corners or 'xyxy'}_{'unit' if units == 'unit' else 'px'}")


def understand(file: Path, names: Sequence[str]) -> Header:
    """Find out what the columns mean.

    Names are compared without case, spaces and marks: `X-Min`, `x_min` and `xmin` are one. `width` and `height` are those of the
    image, unless the box needs them (`x, y, width, height`). Units are said by an ending (`xmin_norm`, `xmin_px`), or by being
    OpenImages' own columns, which are fractions.

    Raises:
        DataError: if there is no column for the image, or neither a box nor a class; says which columns were found.
    """
    plain = [_plain(name) for name in names]
    corners, box = _find_box(plain)
    columns: dict[str, int] = {}
    for meaning, known in _NAMES.items():
        index = next((plain.index(name) for name in known if name in plain and plain.index(name) not in box), None)
        if index is not None and index not in columns.values():
            columns[meaning] = index
    found = " ".join(", ".join(names)[:200].split())
    if "image" not in columns:
        raise DataError(
            f"{file}: line 1: expected a header with a column for the image such as filename, got: {found}. Add one."
        )
    parts = box_names(names)
    if not box and parts:
        raise DataError(
            f"{file}: line 1: {', '.join(parts)[:100]!r} speak of a box, but are no whole set such as xmin, ymin, xmax, ymax "
            "(or xmin_norm, ... for fractions). Name four columns so."
        )
    if not box and "label" not in columns:
        raise DataError(
            f"{file}: line 1: expected a header with the columns xmin, ymin, xmax, ymax or a column class, got: {found}. Add them."
        )
    if box and "label" not in columns:
        raise DataError(
            f"{file}: line 1: expected a header with a column for the class such as class, got: {found}. Add one."
        )
    if ("width" in columns) != ("height" in columns):
        columns = {meaning: index for meaning, index in columns.items() if meaning not in {"width", "height"}}
    used = {*columns.values(), *box}
    others = {names[index].strip(): index for index in range(len(names)) if index not in used and names[index].strip()}
    return Header(columns, corners, box, _units(names, box), others, len(names))


def box_names(names: Sequence[str]) -> list[str]:
    """The columns that speak of a box, whole or not."""
    return [name for name in names if _PART_OF_BOX.match(_plain(name))]


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-z]", "", _SUFFIX.sub("", name.strip()).lower())


def _find_box(plain: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    for corners, wanted in _BOXES:
        if all(name in plain for name in wanted):
            return corners, tuple(plain.index(name) for name in wanted)
    return "", ()


def _units(names: Sequence[str], box: Sequence[int]) -> str:
    said = {match.group(1).lower() for index in box if (match := _SUFFIX.search(names[index].strip()))}
    if said:
        return "pixel" if said <= {"px", "pixel", "pixels"} else "unit"
    return "unit" if all(name in [given.strip() for given in names] for name in _OPEN_IMAGES) else ""
