"""What a policy makes of the first sample, as a picture for a form."""

from __future__ import annotations

import base64
import io

import numpy as np
import PIL.Image

from augsuite import Policy
from augsuite.augment.pictures import Marks, draw_boxes
from augsuite.augment.render import render
from augsuite.augment.words import words
from augsuite.dataset import Sample
from augsuite_fiftyone.app_plugin.originals import Originals

_HEIGHT, _GAP, _WIDEST = 240, 8, 420


def picture(pool: Originals, policy: Policy, seed: int, row: int = 0) -> tuple[str, list[str]]:
    """A sample before and after, with its boxes.

    Args:
        pool: the samples that are to be augmented.
        policy: what happens to them.
        seed: first part of the random key; the picture is what the first copy of the sample will be.
        row: of the sample.

    Returns:
        A JPEG as a `data:` URI, and what was drawn, in words.

    Raises:
        AugsuiteError: if the policy makes no sense for it, or the image cannot be read.
    """
    before = pool.sample(row)
    plan = policy.plan(before, (seed, 0, row), pool)
    after = render(plan, before, pool)
    cells = [_cell(sample, pool) for sample in (before, after)]
    width = sum(cell.width for cell in cells) + _GAP
    sheet = PIL.Image.new("RGB", (width, max(cell.height for cell in cells)), (228, 230, 233))
    left = 0
    for cell in cells:
        sheet.paste(cell, (left, 0))
        left += cell.width + _GAP
    with io.BytesIO() as file:
        sheet.save(file, "JPEG", quality=80)
        data = base64.b64encode(file.getvalue()).decode()
    return f"data:image/jpeg;base64,{data}", words(plan)


def _cell(sample: Sample, pool: Originals) -> PIL.Image.Image:
    image = PIL.Image.fromarray(np.ascontiguousarray(sample.image))
    scale = min(_HEIGHT / image.height, _WIDEST / image.width)
    cell = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    names = pool.label_names
    texts = [names[label] for label in sample.labels.tolist()]
    draw_boxes(cell, Marks(sample.boxes, sample.labels, texts), scale)
    return cell
