"""What an annotator changed, as one HTML file that needs nothing else: each image before and after, with a line for each object."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import PIL.Image

from augsuite.dataset import Dataset
from augsuite.dataset.correcting import Edit
from augsuite.dataset.images import Image
from augsuite.errors import DataError

_LARGEST = 60  # images on the page
_SIDE = 480  # pixels of the longer side at which an image is embedded

_COLOURS = {
    "moved": "#e8910c",
    "reshaped": "#b9770e",
    "relabelled": "#8e44ad",
    "attributes": "#2e86c1",
    "deleted": "#d0342c",
    "added": "#1e8449",
}
"""The first kind of an object that has several gives its colour."""

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { max-width: 1060px; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid #8886; padding: .8rem 0; }
h2 { font-size: 1rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; }
svg.shown { width: 100%; height: auto; background: #8883; }
rect { fill: none; vector-effect: non-scaling-stroke; stroke-width: 2; }
rect.same { stroke: #fffb; stroke-width: 1; }
figure { margin: 0; } figcaption { opacity: .7; font-size: .85rem; }
li span { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
"""


def page(before: Dataset, after: Dataset, edits: Sequence[Edit], title: str = "Corrections") -> str:
    """Draw the images on which something changed.

    Args:
        before: the dataset.
        after: the corrected one: the same images in the same order.
        edits: what changed.
        title: the heading.

    Returns:
        HTML. Of many images the first 60 are drawn, and the page says so; one whose file is missing has its boxes alone.
    """
    of_image: dict[tuple[str, str], list[Edit]] = defaultdict(list)
    for edit in edits:
        of_image[edit.split, edit.image].append(edit)
    rows = {
        place: row
        for row, place in enumerate(zip(before.images.splits, before.images.names, strict=True))
        if place in of_image
    }
    shown = list(of_image)[:_LARGEST]
    parts = [
        (
            "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
            f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>"
            f"<p>{len(edits):,} objects on {len(of_image):,} images were changed."
        ),
        f" The first {len(shown)} images are drawn.</p>" if len(shown) < len(of_image) else "</p>",
    ]
    corners = before.boxes(), after.boxes()
    for number, place in enumerate(shown):
        row = rows[place]
        name = f"{place[0]}: {place[1]}" if place[0] else place[1]
        width, height = before.images.sizes[row].tolist()
        picture = _picture(before, row)
        definition = (
            f"<svg width='0' height='0' style='position:absolute'><defs><image id='i{number}' width='{width}' height='{height}' "
            f"preserveAspectRatio='none' href='data:image/jpeg;base64,{picture}'/></defs></svg>"
            if picture
            else ""
        )
        parts.append(f"<section><h2>{escape(name)}</h2>{definition}<div class='two'>")
        for side, (data, said) in enumerate(((before, "before"), (after, "after"))):
            ids = {edit.id: edit for edit in of_image[place]}
            inside = [f"<use href='#i{number}'/>" if picture else ""]
            for at in data.rows_of(row).tolist():
                box = corners[side][at]
                if not np.isnan(box[0]):
                    inside.append(_rectangle(box.tolist(), ids.get(int(data.annotations.ids[at]))))
            parts.append(
                f"<figure><svg class='shown' viewBox='0 0 {width} {height}'>{''.join(inside)}</svg>"
                f"<figcaption>{said}</figcaption></figure>"
            )
        parts.append(f"</div><ul>{''.join(_items(of_image[place]))}</ul></section>")
    return "".join(parts) + "\n"


def _picture(data: Dataset, row: int) -> str:
    """An image as base64 of a small JPEG; "" where there is none."""
    try:
        pixels: Image = data.sample(row).image
    except (DataError, OSError):
        return ""
    picture = PIL.Image.fromarray(pixels)
    picture.thumbnail((_SIDE, _SIDE))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80)
    return base64.b64encode(out.getvalue()).decode()


def _rectangle(box: Sequence[float], edit: Edit | None) -> str:
    left, top, right, bottom = box
    place = f"x='{left:g}' y='{top:g}' width='{right - left:g}' height='{bottom - top:g}'"
    return (
        f"<rect class='same' {place}/>" if edit is None else f"<rect {place} style='stroke:{_COLOURS[edit.kinds[0]]}'/>"
    )


def _items(edits: Iterable[Edit]) -> Iterable[str]:
    for edit in edits:
        said = [", ".join(edit.kinds)]
        if "moved" in edit.kinds:
            said.append(f"by {edit.px:.4g} px")
        if edit.values:
            said.append(f"({', '.join(edit.values)})")
        names = f"{edit.category}, now {edit.category_now}" if edit.category_now else edit.category
        yield (
            f"<li><span style='background:{_COLOURS[edit.kinds[0]]}'></span>annotation {edit.id}: "
            f"{escape(names)}: {escape(' '.join(said))}</li>"
        )
