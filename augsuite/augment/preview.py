"""Originals and augmented samples side by side, with their boxes, for a person to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from augsuite.augment.policies import Policy
from augsuite.augment.render import render
from augsuite.augment.replay import Record, record
from augsuite.augment.steps import Step
from augsuite.config import to_plain
from augsuite.dataset import Dataset, Sample
from augsuite.dataset.colors import Color, class_color
from augsuite.errors import DataError

_PAPER, _INK, _FAINT, _MAT = (255, 255, 255), (20, 20, 20), (105, 105, 105), (228, 230, 233)
_GAP, _MARGIN = 8, 16
_TITLE, _TEXT, _TAG = 20, 14, 11  # font sizes
_CROWDED = 8  # from this many boxes on, a tag is drawn only inside a box that has room for it


def pick(data: Dataset, count: int, seed: int) -> list[int]:
    """Choose image rows at random among the images that have files; all of them where there are fewer.

    Raises:
        DataError: if no image has a file.
    """
    there = np.flatnonzero(data.images.files != "")
    if not len(there):
        raise DataError(f"{data.root}: no image files were found. Put the images beside the annotations.")
    order = np.random.default_rng(seed).permutation(len(there))
    return [int(row) for row in there[order[:count]]]


def grid(
    data: Dataset,
    policy: Policy,
    rows: Sequence[int],
    *,
    variants: int = 4,
    seed: int = 0,
    size: int = 300,
    title: str = "",
    progress: Callable[[int], None] | None = None,
    drawn: Callable[[Record], None] | None = None,
) -> PIL.Image.Image:
    """Draw a row for each image: the original, then what the policy makes of it in epochs 0, 1, 2, ... of a training.

    Args:
        data: the dataset; also where a mix step takes its partners from.
        policy: what is drawn.
        rows: image rows.
        variants: augmented samples of each image.
        seed: first part of the random keys.
        size: longest side at which an image is drawn, in pixels.
        title: above the policy's steps.
        progress: called with 1 for each image drawn.
        drawn: called with what was drawn for each.

    Raises:
        DataError: if an image cannot be read.
        ConfigError: if the policy makes no sense.
    """
    page = _Page(data, size, columns=1 + variants, rows=len(rows), title=title, lines=_steps(policy))
    for at, row in enumerate(rows):
        original = data.sample(row)
        page.cell(at, 0, original, str(data.images.names[row]))
        for epoch in range(variants):
            plan = policy.plan(original, (seed, epoch, row), data)
            sample = render(plan, original, data)
            page.cell(at, 1 + epoch, sample, f"#{epoch}")
            if drawn:
                drawn(record(plan, policy, data, (seed, epoch, row), sample))
            if progress:
                progress(1)
    return page.image


def _steps(policy: Policy) -> list[str]:
    """Each step with its parameters and probability, as text."""
    return [_step(step) for step in policy.steps] or ["no steps"]


def _step(step: Step) -> str:
    params = ", ".join(f"{key} {_shown(value)}" for key, value in to_plain(step.params).items())
    chance = f" p {step.p:g}" if step.p < 1 else ""
    return f"{step.do}{f' ({params})' if params else ''}{chance}"


def _shown(value: Any) -> str:
    """A parameter as text, the steps within it as steps are."""
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict) and "do" in value:
        params = {key: given for key, given in value.items() if key not in {"do", "p", "id"}}
        return _step(Step(value["do"], params, value.get("p", 1.0)))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(given)}" for key, given in value.items())
    return str(value)


@dataclass
class _Page:
    """The picture: title and legend above, then cells with a caption under each."""

    data: Dataset
    size: int
    columns: int
    rows: int
    title: str
    lines: list[str]

    @cached_property
    def image(self) -> PIL.Image.Image:
        """The page with its head drawn; as wide as its columns."""
        width = 2 * _MARGIN + self.columns * (self.size + _GAP) - _GAP
        heading = [(line, _TITLE, _INK) for line in _wrapped(self.title.split(), width, _TITLE, " ")]
        heading += [(line, _TEXT, _FAINT) for line in _wrapped(self.lines, width, _TEXT, "  >  ")]
        page = PIL.Image.new("RGB", (width, 1), _PAPER)
        top = _MARGIN + sum(size + 6 for _, size, _ in heading)
        self._top = top + self._legend(PIL.ImageDraw.Draw(page), top) + _GAP
        height = self._top + self.rows * self._cell_height - _GAP + _MARGIN
        page = PIL.Image.new("RGB", (width, height), _PAPER)
        pen = PIL.ImageDraw.Draw(page)
        y = _MARGIN
        for line, size, color in heading:
            pen.text((_MARGIN, y), line, font=_font(size), fill=color)
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
        for row, name in enumerate(self.data.categories.names):
            needed = _TEXT + 5 + _width(str(name), _TEXT) + 18
            if x + needed > right and x > _MARGIN:
                x, y = _MARGIN, y + _TEXT + 6
            pen.rectangle((x, y + 2, x + _TEXT - 2, y + _TEXT), fill=class_color(row))
            pen.text((x + _TEXT + 5, y), str(name), font=_font(_TEXT), fill=_INK)
            x += needed
        return y + _TEXT + 6 - top if len(self.data.categories) else 0

    def cell(self, row: int, column: int, sample: Sample, caption: str) -> None:
        """Draw one sample, whole, in the middle of its cell."""
        pixels = sample.image
        height, width = pixels.shape[:2]
        scale = self.size / max(width, height)
        shown = max(1, round(width * scale)), max(1, round(height * scale))
        picture = PIL.Image.fromarray(pixels).resize(shown, PIL.Image.Resampling.BICUBIC, reducing_gap=3.0)
        self._boxes(picture, sample, scale)
        page = self.image
        x = _MARGIN + column * (self.size + _GAP)
        y = self._top + row * self._cell_height
        pen = PIL.ImageDraw.Draw(page)
        pen.rectangle((x, y, x + self.size - 1, y + self.size - 1), fill=_MAT)
        page.paste(picture, (x + (self.size - shown[0]) // 2, y + (self.size - shown[1]) // 2))
        about = f"{width} x {height}"
        if len(sample.boxes) or sample.targets is None:
            about += f", {len(sample.boxes)} box{'' if len(sample.boxes) == 1 else 'es'}"
        if (sample.weights < 1).any():
            about += " of " + ", ".join(f"{weight:.2f}" for weight in dict.fromkeys(sample.weights.tolist()))
        text = f"{_shortened(caption, self.size // 2)}   {about}{self._targets(sample)}"
        pen.text((x, y + self.size + 3), _shortened(text, self.size), font=_font(_TEXT), fill=_FAINT)

    def _targets(self, sample: Sample) -> str:
        if sample.targets is None:
            return ""
        names = self.data.categories.names
        order = np.argsort(-sample.targets, kind="stable")
        parts = [(str(names[row]), float(sample.targets[row])) for row in order if sample.targets[row] > 0]
        return ", " + ", ".join(name if share == 1 else f"{name} {share:.2f}" for name, share in parts)

    def _boxes(self, picture: PIL.Image.Image, sample: Sample, scale: float) -> None:
        """Draw the boxes, large ones first, then the tags, so that no box hides one."""
        pen = PIL.ImageDraw.Draw(picture)
        corners = sample.boxes * scale
        extent = corners[:, 2:] - corners[:, :2]
        order = np.argsort(-extent.prod(axis=1), kind="stable")
        for row in order:
            # Pixel c covers [c, c + 1): the last pixel inside a box that ends at x is the one before it.
            left, top = np.maximum(np.floor(corners[row, :2] + 0.5), 0)
            right, bottom = np.maximum(np.floor(corners[row, 2:] - 0.5), (left, top))
            pen.rectangle((left, top, right, bottom), outline=class_color(int(sample.labels[row])), width=2)
        for row in order:
            weight = float(sample.weights[row])
            text = str(self.data.categories.names[sample.labels[row]]) + (f" {weight:.2f}" if weight < 1 else "")
            crowded = len(order) >= _CROWDED
            if crowded and (extent[row] < (_width(text, _TAG) + 10, 2 * _TAG)).any():
                continue
            color = class_color(int(sample.labels[row]))
            self._tag(pen, picture.size, corners[row], text, color, inside=crowded)

    def _tag(
        self,
        pen: PIL.ImageDraw.ImageDraw,
        limits: tuple[int, int],
        box: np.ndarray,
        text: str,
        color: Color,
        *,
        inside: bool,
    ) -> None:
        """Draw a name at the top left corner of a box: above it where there is room, unless it should be inside."""
        width, height = _width(text, _TAG) + 6, _TAG + 4
        x = float(np.clip(box[0], 0, max(0, limits[0] - width)))
        y = (
            box[1] - height
            if box[1] >= height and not inside
            else float(np.clip(box[1], 0, max(0, limits[1] - height)))
        )
        pen.rectangle((x, y, x + width - 1, y + height - 1), fill=color)
        red, green, blue = color
        bright = 0.299 * red + 0.587 * green + 0.114 * blue > 140
        pen.text((x + 3, y + 1), text, font=_font(_TAG), fill=_INK if bright else _PAPER)


def _font(size: int) -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont:
    return PIL.ImageFont.load_default(size)


def _width(text: str, size: int) -> int:
    return round(_font(size).getlength(text))


def _shortened(text: str, width: int) -> str:
    """The text, or its beginning and dots where it is wider than `width` pixels."""
    if _width(text, _TEXT) <= width:
        return text
    while text and _width(text + "...", _TEXT) > width:
        text = text[:-1]
    return text + "..."


def _wrapped(words: Sequence[str], width: int, size: int, between: str) -> list[str]:
    """Join words to lines that fit a page of `width` pixels."""
    lines: list[str] = []
    for word in words:
        if lines and _width(lines[-1] + between + word, size) <= width - 2 * _MARGIN:
            lines[-1] += between + word
        else:
            lines.append(word)
    return lines
