"""An evaluation as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape

import jinja2
import numpy as np
import PIL.Image
from markupsafe import Markup

from augsuite.boxes import Boxes
from augsuite.dataset.progress import track
from augsuite.dataset.sample import FileSource
from augsuite.dataset.tables import Dataset
from augsuite.errors import DataError
from augsuite.evaluation import charts
from augsuite.evaluation.coco import Evaluator
from augsuite.evaluation.detections import Detections
from augsuite.evaluation.mistakes import Mistakes, mistakes
from augsuite.evaluation.predictions import LabelScores
from augsuite.evaluation.report import DetectionReport, LabelReport

_SIDE = 320  # pixels of a picture's longer side
_LINES = 16  # precision-recall curves
_CELLS = 40  # rows of a confusion matrix
_BOXES = 200  # of one kind in one picture

WORDS = {
    "AP": "mean over IoU 0.5 to 0.95",
    "AP50": "at IoU 0.5",
    "AP75": "at IoU 0.75",
    "APs": "small objects, area up to 32² pixels",
    "APm": "medium objects",
    "APl": "large objects, area from 96² pixels",
    "AR1": "recall with 1 detection an image",
    "AR10": "recall with 10",
    "AR100": "recall with 100",
    "ARs": "recall of small objects",
    "ARm": "recall of medium objects",
    "ARl": "recall of large objects",
    "mAP": "Pascal VOC since 2010: area under the curve",
    "mAP11": "Pascal VOC 2007: eleven points",
    "top1": "the surest label is right",
    "top5": "one of the five surest is right",
    "ece": "expected calibration error",
}
"""What a number is, in a few words."""


def page(data: Dataset, found: Detections | LabelScores, report: DetectionReport | LabelReport, title: str) -> str:
    """The page as HTML.

    Args:
        data: the ground truth; the worst images are shown where their files are there.
        found: the predictions.
        report: what was said of them.
        title: what the predictions are called.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("augsuite.evaluation", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value: f"{value:,}",
        "percent": lambda value: "-" if value is None else f"{value:.1f}",
    }
    colors = {str(name): row for row, name in enumerate(data.categories.names)}
    boxes = isinstance(report, DetectionReport)
    usual = (
        sorted(report.curves, key=lambda name: -_objects(report)[name]) if isinstance(report, DetectionReport) else []
    )
    pictures, unreadable = _pictures(data, found, report)
    return environment.get_template("evaluation.html.j2").render(
        title=title,
        report=report,
        boxes=boxes,
        words=WORDS,
        curves=_safe(charts.precision_recall({name: report.curves[name] for name in usual}, colors, _LINES))
        if isinstance(report, DetectionReport)
        else "",
        lines=_LINES,
        confusion=_safe(charts.confusion(report.names, report.confusion)) if len(report.names) <= _CELLS else "",
        swapped=_swapped(report),
        reliability=_safe(
            charts.reliability([(b.low, b.high, b.images, b.confidence, b.accuracy) for b in report.calibration])
        )
        if isinstance(report, LabelReport) and report.calibration
        else "",
        pictures=pictures,
        unreadable=unreadable,
    )


def _objects(report: DetectionReport) -> dict[str, int]:
    return {each.name: each.objects for each in report.categories}


def _swapped(report: DetectionReport | LabelReport) -> list[tuple[str, str, int]]:
    """The most frequent confusions: what, for what, how often."""
    counts = np.array(report.confusion, np.int64).reshape(len(report.names), -1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:10]
    return [
        (report.names[row], report.names[column], int(counts[row, column]))
        for row, column in zip(*np.unravel_index(order, counts.shape), strict=True)
        if counts[row, column]
    ]


def _pictures(
    data: Dataset, found: Detections | LabelScores, report: DetectionReport | LabelReport
) -> tuple[list[Markup], int]:
    """The worst images, and how many of them cannot be shown."""
    if isinstance(report, DetectionReport):
        if not isinstance(found, Detections):
            raise TypeError("a report of detections needs detections")
        made = mistakes(Evaluator(data, found), report.threshold)
        drawn = [
            (each.row, _outlines(data, found, made, each.row), _counted(each.alarms, each.missed))
            for each in report.worst
        ]
    else:
        drawn = [
            (each.row, "", f"{', '.join(each.labels)}, taken for {each.predicted} ({each.score:.2f})")
            for each in report.worst
        ]
    pictures, unreadable = [], 0
    for row, outlines, said in track(drawn, "pictures"):
        try:
            pictures.append(_picture(data, row, outlines, said))
        except (DataError, OSError):
            unreadable += 1
    return pictures, unreadable


def _counted(alarms: int, missed: int) -> str:
    return f"{alarms} false, {missed} missed"


def _outlines(data: Dataset, found: Detections, made: Mistakes, row: int) -> str:
    """Hits, false alarms and missed objects of one image."""
    names = data.categories.names
    hits, alarms = made.hits[:, 0], made.alarms
    missed = made.missed[data.annotations.image_rows[made.missed] == row]
    parts = [
        _rectangles(
            "missed", data.boxes(rows=missed), (f"missed: {names[at]}" for at in data.annotations.category_rows[missed])
        )
    ]
    for css, rows in (("hit", hits), ("alarm", alarms)):
        own = rows[found.image_rows[rows] == row]
        own = own[np.argsort(-found.scores[own], kind="stable")]
        said = (f"{css}: {names[found.category_rows[at]]} {found.scores[at]:.2f}" for at in own)
        parts.append(_rectangles(css, found.boxes[own], said))
    return "".join(parts)


def _rectangles(css: str, boxes: Boxes, titles: Iterable[str]) -> str:
    return "".join(
        f'<rect class="{css}" x="{x0:.1f}" y="{y0:.1f}" width="{max(x1 - x0, 0):.1f}" height="{max(y1 - y0, 0):.1f}"><title>{escape(said)}</title></rect>'
        for (x0, y0, x1, y1), said in zip(boxes[:_BOXES].tolist(), titles, strict=False)
    )


def _picture(data: Dataset, row: int, outlines: str, said: str) -> Markup:
    """An image as SVG: the pixels as an embedded JPEG, boxes as shapes above."""
    width, height = (int(side) for side in data.images.sizes[row])
    source = FileSource(data.path(row), width, height)
    reduce = next((step for step in (8, 4, 2) if max(width, height) >= step * _SIDE), 1)
    image = PIL.Image.fromarray(source.decode(reduce))
    width, height = (width or image.width), (height or image.height)
    image.thumbnail((_SIDE, _SIDE), PIL.Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    pixels = base64.b64encode(buffer.getvalue()).decode()
    name = escape(str(data.images.names[row]))
    return _safe(
        f'<figure><svg class="sample" viewBox="0 0 {width} {height}"><image width="{width}" height="{height}" '
        f'preserveAspectRatio="none" href="data:image/jpeg;base64,{pixels}"/>{outlines}</svg>'
        f'<figcaption>{escape(said)}<br><span title="{name}">{name}</span></figcaption></figure>'
    )


def _safe(html: str) -> Markup:
    """HTML of our own making, in which every name has been escaped where it was put in."""
    return Markup(html)  # noqa: S704 - see above; the template escapes everything else
