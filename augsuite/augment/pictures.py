"""Pictures for a person to look at: boxes with their names drawn on images, and images in rows on a page."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from numpy.typing import NDArray

from augsuite.boxes import Boxes
from augsuite.dataset.colors import Color, class_color
from augsuite.dataset.images import Image

_PAPER, _INK, _FAINT, _MAT = (255, 255, 255), (20, 20, 20), (105, 105, 105), (228, 230, 233)
_GAP, _MARGIN = 8, 16
_TITLE, _TEXT, _TAG = 20, 14, 11  # font sizes
_CROWDED = 8  # from this many boxes on, a tag is drawn only inside a box that has room for it


@dataclass(frozen=True)
class Marks:
    """What is drawn on an image.

    Attributes:
        boxes: `(N, 4)` XYXY in pixels of the image.
        labels: `(N,)` rows of the categories, which give the colours.
        texts: N tags.
    """

    boxes: Boxes
    labels: NDArray[np.int64]
    texts: Sequence[str]


def draw_boxes(picture: PIL.Image.Image, marks: Marks, scale: float = 1.0, line: int = 2, text: int = _TAG) -> None:
    """Draw boxes on a picture, large ones first, then their tags, so that no box hides one.

    Args:
        picture: drawn upon.
        marks: the boxes, in pixels of an image that is `1 / scale` times the size of the picture.
        scale: see there.
        line: width of a box's line, in pixels of the picture.
        text: size of a tag's font.
    """
    pen = PIL.ImageDraw.Draw(picture)
    corners = marks.boxes * scale
    extent = corners[:, 2:] - corners[:, :2]
    order = np.argsort(-extent.prod(axis=1), kind="stable")
    for row in order:
        # Pixel c covers [c, c + 1): the last pixel inside a box that ends at x is the one before it.
        left, top = np.maximum(np.floor(corners[row, :2] + 0.5), 0)
        right, bottom = np.maximum(np.floor(corners[row, 2:] - 0.5), (left, top))
        pen.rectangle((left, top, right, bottom), outline=class_color(int(marks.labels[row])), width=line)
    for row in order:
        tag = marks.texts[row]
        crowded = len(order) >= _CROWDED
        if crowded and (extent[row] < (width_of(tag, text) + 10, 2 * text)).any():
            continue
        draw_tag(pen, picture.size, corners[row], tag, class_color(int(marks.labels[row])), text, inside=crowded)


def draw_tag(
    pen: PIL.ImageDraw.ImageDraw,
    limits: tuple[int, int],
    box: NDArray[np.float64],
    text: str,
    color: Color,
    size: int = _TAG,
    *,
    inside: bool,
) -> None:
    """Draw a name at the top left corner of a box: above it where there is room, unless it should be inside."""
    width, height = width_of(text, size) + 6, size + 4
    x = float(np.clip(box[0], 0, max(0, limits[0] - width)))
    y = box[1] - height if box[1] >= height and not inside else float(np.clip(box[1], 0, max(0, limits[1] - height)))
    pen.rectangle((x, y, x + width - 1, y + height - 1), fill=color)
    red, green, blue = color
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    pen.text((x + 3, y + 1), text, font=font(size), fill=_INK if bright else _PAPER)


@dataclass
class Page:
    """The picture: title and legend above, then cells with a caption under each.

    Attributes:
        names: of the categories.
        size: side of a cell, in pixels.
        columns: cells side by side.
        rows: cells below each other.
        title: above the lines.
        lines: what is said above the legend; wrapped.
    """

    names: Sequence[str]
    size: int
    columns: int
    rows: int
    title: str
    lines: list[str]

    @cached_property
    def image(self) -> PIL.Image.Image:
        """The page with its head drawn; as wide as its columns."""
        width = 2 * _MARGIN + self.columns * (self.size + _GAP) - _GAP
        heading = [(line, _TITLE, _INK) for line in wrapped(self.title.split(), width, _TITLE, " ")]
        heading += [(line, _TEXT, _FAINT) for line in wrapped(self.lines, width, _TEXT, "  >  ")]
        page = PIL.Image.new("RGB", (width, 1), _PAPER)
        top = _MARGIN + sum(size + 6 for _, size, _ in heading)
        self._top = top + self._legend(PIL.ImageDraw.Draw(page), top) + _GAP
        height = self._top + self.rows * self._cell_height - _GAP + _MARGIN
        page = PIL.Image.new("RGB", (width, height), _PAPER)
        pen = PIL.ImageDraw.Draw(page)
        y = _MARGIN
        for line, size, color in heading:
            pen.text((_MARGIN, y), line, font=font(size), fill=color)
            y += size + 6
        self._legend(pen, top)
        return page

    @property
    def _cell_height(self) -> int:
        return self.size + _TEXT + 6 + _GAP

    def _legend(self, pen: PIL.ImageDraw.ImageDraw, top: int) -> int:
        """Draw the categories with their colours, in as many lines as it takes.

        Returns:
            The height used, in pixels.
        """
        right = pen.im.size[0] - _MARGIN
        x, y = _MARGIN, top
        for row, name in enumerate(self.names):
            needed = _TEXT + 5 + width_of(str(name), _TEXT) + 18
            if x + needed > right and x > _MARGIN:
                x, y = _MARGIN, y + _TEXT + 6
            pen.rectangle((x, y + 2, x + _TEXT - 2, y + _TEXT), fill=class_color(row))
            pen.text((x + _TEXT + 5, y), str(name), font=font(_TEXT), fill=_INK)
            x += needed
        return y + _TEXT + 6 - top if len(self.names) else 0

    def cell(self, row: int, column: int, pixels: Image, marks: Marks, caption: str, about: str = "") -> None:
        """Draw one image with its boxes, whole, in the middle of its cell; `caption` is cut before `about` is."""
        height, width = pixels.shape[:2]
        scale = self.size / max(width, height)
        shown = max(1, round(width * scale)), max(1, round(height * scale))
        picture = PIL.Image.fromarray(pixels).resize(shown, PIL.Image.Resampling.BICUBIC, reducing_gap=3.0)
        draw_boxes(picture, marks, scale)
        page = self.image
        x = _MARGIN + column * (self.size + _GAP)
        y = self._top + row * self._cell_height
        pen = PIL.ImageDraw.Draw(page)
        pen.rectangle((x, y, x + self.size - 1, y + self.size - 1), fill=_MAT)
        page.paste(picture, (x + (self.size - shown[0]) // 2, y + (self.size - shown[1]) // 2))
        text = f"{shortened(caption, self.size // 2)}   {about}"
        pen.text((x, y + self.size + 3), shortened(text, self.size), font=font(_TEXT), fill=_FAINT)


@functools.cache
def font(size: int) -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont:
    """The font of all pictures; Pillow's own, which draws more than ASCII."""
    return PIL.ImageFont.load_default(size)


def width_of(text: str, size: int) -> int:
    """How wide a text is, in pixels."""
    return round(font(size).getlength(text))


def shortened(text: str, width: int) -> str:
    """The text, or its beginning and dots where it is wider than `width` pixels."""
    if width_of(text, _TEXT) <= width:
        return text
    while text and width_of(text + "...", _TEXT) > width:
        text = text[:-1]
    return text + "..."


def wrapped(words: Sequence[str], width: int, size: int, between: str) -> list[str]:
    """Join words to lines that fit a page of `width` pixels."""
    lines: list[str] = []
    for word in words:
        if lines and width_of(lines[-1] + between + word, size) <= width - 2 * _MARGIN:
            lines[-1] += between + word
        else:
            lines.append(word)
    return lines
