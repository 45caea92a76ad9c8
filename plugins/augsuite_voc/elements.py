"""One VOC file, whatever it holds, to rows: the way for files that `augsuite_voc.scan` leaves aside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from augsuite.dataset import Intake
from augsuite.dataset.checks import number
from augsuite.dataset.xml import parse
from augsuite.errors import DataError
from augsuite_voc.found import Found, whole_number

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def add_file(found: Found, file: Path, data: bytes, intake: Intake) -> None:
    """Append one file.

    Args:
        found: takes it.
        file: what to call it in an error.
        data: its content.
        intake: takes objects that are invalid.

    Raises:
        DataError: if it is no VOC file, or an object is invalid and `intake` stops at those.
    """
    top = parse(data, file)
    if top.tag != "annotation":
        raise DataError(
            f"{file}: expected the root element <annotation>, got <{top.tag}>. Name the format with --from."
        )
    size = _size(file, top)
    row = found.add_image((top.findtext("filename") or "").strip(), size)
    for key, value in top.attrib.items():
        found.image_extra.add(row, f"@{key}", value)
    for tag, value in _children(top, without=("filename", "object", "size")).items():
        found.image_extra.add(row, tag, whole_number(value))
    depth = top.findtext("size/depth")
    if depth is not None:
        found.image_extra.add(row, "depth", whole_number(depth.strip()))
    for index, element in enumerate(top.iterfind("object")):
        _add_object(found, element, f"{file}: object[{index}]", intake)


def _add_object(found: Found, element: Element, where: str, intake: Intake) -> None:
    label = (element.findtext("name") or "").strip()
    box = element.find("bndbox")
    if not label:
        intake.reject(f"{where}.name", "expected the name of a class, got nothing")
        return
    if box is None:
        intake.reject(f"{where}.bndbox", "expected a box, got nothing")
        return
    values = [number(box.findtext(tag)) for tag in _CORNERS]
    if not np.isfinite(values).all():
        said = [box.findtext(tag) for tag in _CORNERS]
        bad = next(place for place in range(4) if not np.isfinite(values[place]))
        intake.reject(f"{where}.bndbox.{_CORNERS[bad]}", f"expected a number, got {said[bad]!r}")
        return
    if values[2] - values[0] < -1 or values[3] - values[1] < -1:
        intake.reject(f"{where}.bndbox", f"expected xmin <= xmax and ymin <= ymax, got {values}")
        return
    others = {tag: whole_number(value) for tag, value in _children(element, without=("name", "bndbox")).items()}
    found.add_object(label, values, others)


def _size(file: Path, top: Element) -> tuple[int, int]:
    """Width and height; zeros where the file does not say."""
    values = []
    for tag in ("width", "height"):
        text = (top.findtext(f"size/{tag}") or "0").strip()
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not (0 <= value < 2**31 and value == int(value)):
            raise DataError(f"{file}: size.{tag}: expected a whole number of pixels, got {text!r}. Fix the file.")
        values.append(int(value))
    return values[0], values[1]


def _children(element: Element, without: Sequence[str]) -> dict[str, Any]:
    """Tag -> value of the children, but for some; a list where a tag is repeated."""
    values: dict[str, Any] = {}
    repeated = set()
    for child in element:
        if child.tag in without:
            continue
        value = _value(child)
        if child.tag in repeated:
            values[child.tag].append(value)
        elif child.tag in values:
            values[child.tag] = [values[child.tag], value]
            repeated.add(child.tag)
        else:
            values[child.tag] = value
    return values


def _value(element: Element) -> Any:
    """An element as text, or as a dictionary of its attributes (`@name`) and children."""
    text = (element.text or "").strip()
    if not len(element) and not element.attrib:
        return text
    value = {f"@{key}": said for key, said in element.attrib.items()} | _children(element, ())
    return value | {"#text": text} if text else value
