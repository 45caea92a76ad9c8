"""The statistics of a dataset as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Sequence
from html import escape
from pathlib import Path

import jinja2
import numpy as np
import PIL.Image
from markupsafe import Markup

from augsuite.dataset import statcharts as charts
from augsuite.dataset.anchors import Anchors, box_shapes, setting, suggest
from augsuite.dataset.colors import class_color
from augsuite.dataset.patterns import CoOccurrence, patterns
from augsuite.dataset.progress import track
from augsuite.dataset.saving import save_text
from augsuite.dataset.stats import Bin, Summary, bin_name, summary
from augsuite.dataset.tables import Dataset
from augsuite.errors import DataError

_PICTURES = 12
_SIDE = 320  # pixels of a picture's longer side: twice what is shown, for dense screens
_CLASSES = 40  # bars
_KEYS = 24  # names beside the pictures
_ANCHORS = range(1, 10)
_GAIN = 0.01  # of mean IoU, for which one more anchor is worth its cost
_SIZES = 300  # discs
_BOXES = 300  # in one picture


def write_page(data: Dataset, path: Path, title: str, *, found: Summary | None = None) -> Path:
    """Write the statistics page.

    Args:
        data: the dataset; some of its images are shown where their files are there.
        path: the HTML file; replaced if it exists.
        title: the dataset's name.
        found: what `summary` said, where it is known already.

    Returns:
        `path`.

    Raises:
        DataError: if boxes are stored as fractions of images whose size is not known.
        ConfigError: if the file cannot be written.
    """
    found = found or summary(data)
    seen = patterns(data)
    anchors = suggest(box_shapes(data), _ANCHORS)
    chosen = pick_anchors(anchors)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("augsuite.dataset", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": lambda value: f"{value:,}", "setting": setting}
    aspect = _aspect(data)
    pictures, unreadable = _pictures(data)
    page = environment.get_template("stats.html.j2").render(
        title=title,
        found=found,
        seen=seen,
        classes=_safe(charts.bars(_class_rows(found), "annotations of each category")),
        unshown=max(sum(1 for each in found.categories if each.boxes + each.image_labels) - _CLASSES, 0),
        unused=[each.name for each in found.categories if not each.boxes + each.image_labels],
        per_image=_histogram(found.boxes_per_image_bins, "boxes per image", whole=True),
        sides=_histogram(found.box_side_bins, "boxes by side, in pixels"),
        ratios=_histogram(found.aspect_ratio_bins, "boxes by width over height"),
        centers=_safe(charts.heat(seen.box_centers, "centres of boxes", "left to right", "top to bottom", aspect)),
        shapes=_safe(
            charts.heat(
                seen.box_shapes,
                "boxes by width and height",
                "width of the box / width of the image, 0 to 1",
                "height, 0 to 1 downwards",
                over=charts.outlines(chosen.shapes if chosen else ()),
            )
        ),
        met=_met(seen.co_occurrence),
        sizes=_safe(charts.sizes(found.image_sizes[:_SIZES], "images by size")),
        anchors=anchors,
        chosen=chosen,
        curve=_safe(charts.curve([(each.k, each.mean_iou) for each in anchors], "mean IoU", chosen.k if chosen else 0)),
        pictures=pictures,
        unreadable=unreadable,
        legend=[(str(name), f"rgb{class_color(row)}") for row, name in enumerate(data.categories.names[:_KEYS])],
    )
    save_text(page, path)
    return path


def pick_anchors(found: Sequence[Anchors]) -> Anchors | None:
    """The first number of anchors to which one more would add less than 0.01 of mean IoU; None where there are none."""
    for each, after in itertools.pairwise(found):
        if after.mean_iou - each.mean_iou < _GAIN:
            return each
    return found[-1] if found else None


def _class_rows(found: Summary) -> list[tuple[str, int, str]]:
    total = max(1, found.boxes + found.image_labels)
    used = sorted(found.categories, key=lambda each: -each.boxes - each.image_labels)
    return [
        (each.name, count, f"{count / total:.1%} in {each.images:,} images")
        for each in used[:_CLASSES]
        if (count := each.boxes + each.image_labels)
    ]


def _histogram(bins: Sequence[Bin], title: str, *, whole: bool = False) -> Markup:
    filled = [at for at, each in enumerate(bins) if each.count]
    shown = bins[filled[0] : filled[-1] + 1] if filled else ()
    total = sum(each.count for each in bins) or 1
    rows = [(bin_name(each, whole=whole), each.count, f"{each.count / total:.1%}") for each in shown]
    return _safe(charts.bars(rows, title))


def _met(found: CoOccurrence) -> Markup:
    """The matrix of categories that meet; nothing where none does."""
    together = sum(value for row, counts in enumerate(found.images) for at, value in enumerate(counts) if at != row)
    return _safe(charts.matrix(found.names, found.images, "categories in one image")) if together else Markup()


def _aspect(data: Dataset) -> float:
    known = data.images.sizes[(data.images.sizes > 0).all(axis=1)]
    return float(np.median(known[:, 0] / known[:, 1])) if len(known) else 1.0


def _pictures(data: Dataset) -> tuple[list[Markup], int]:
    """Some images with their boxes, and how many of those chosen could not be read.

    Half of them are drawn among all images; each of the others shows a category, the frequent ones first.
    """
    there = np.flatnonzero(data.images.files != "")
    if not len(there):
        return [], 0
    rng = np.random.default_rng(0)
    table = data.annotations
    usual = np.argsort(-np.bincount(table.category_rows, minlength=len(data.categories)), kind="stable")
    rows: list[int] = []
    has_file = data.images.files != ""
    for category in usual[: _PICTURES // 2]:
        own = table.image_rows[table.category_rows == category]
        own = np.setdiff1d(own[has_file[own]], rows)
        rows += rng.choice(own, min(1, len(own)), replace=False).tolist()
    others = np.setdiff1d(there, rows)
    rows += rng.choice(others, min(_PICTURES - len(rows), len(others)), replace=False).tolist()
    pictures, unreadable = [], 0
    for row in track(sorted(rows), "pictures"):
        try:
            pictures.append(_picture(data, row))
        except DataError:
            unreadable += 1
    return pictures, unreadable


def _picture(data: Dataset, row: int) -> Markup:
    """An image as SVG: the pixels as an embedded JPEG, the boxes as shapes."""
    sample = data.sample(row)
    longest = max(sample.source.width, sample.source.height)
    reduce = next((step for step in (8, 4, 2) if longest >= step * _SIDE), 1)
    image = PIL.Image.fromarray(sample.source.decode(reduce))
    width, height = (sample.source.width or image.width), (sample.source.height or image.height)
    image.thumbnail((_SIDE, _SIDE), PIL.Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    pixels = base64.b64encode(buffer.getvalue()).decode()
    boxes = "".join(
        f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{max(x1 - x0, 0):.1f}" height="{max(y1 - y0, 0):.1f}" stroke="rgb{class_color(label)}">'
        f"<title>{escape(str(data.categories.names[label]))}</title></rect>"
        for (x0, y0, x1, y1), label in zip(sample.boxes[:_BOXES].tolist(), sample.labels[:_BOXES].tolist(), strict=True)
    )
    own = data.rows_of(row)
    labels = dict.fromkeys(data.annotations.category_rows[own[~data.annotations.is_box[own]]].tolist())
    name = escape(" · ".join([*(str(data.categories.names[label]) for label in labels), str(data.images.names[row])]))
    return _safe(
        f'<figure><svg class="sample" viewBox="0 0 {width} {height}"><image width="{width}" height="{height}" '
        f'preserveAspectRatio="none" href="data:image/jpeg;base64,{pixels}"/>{boxes}</svg><figcaption>{name}</figcaption></figure>'
    )


def _safe(html: str) -> Markup:
    """HTML of our own making, in which every name has been escaped where it was put in."""
    return Markup(html)  # noqa: S704 - see above; the template escapes everything else
