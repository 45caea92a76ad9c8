"""Originals and augmented samples side by side, with their boxes, for a person to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import PIL.Image

from augsuite.augment.pictures import Marks, Page
from augsuite.augment.policies import Policy
from augsuite.augment.render import render
from augsuite.augment.replay import Record, record
from augsuite.augment.steps import Step
from augsuite.config import to_plain
from augsuite.dataset import Dataset, Sample
from augsuite.errors import DataError


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
    names = [str(name) for name in data.categories.names]
    page = Page(names, size, columns=1 + variants, rows=len(rows), title=title, lines=_steps(policy))
    for at, row in enumerate(rows):
        original = data.sample(row)
        _cell(page, at, 0, original, str(data.images.names[row]))
        for epoch in range(variants):
            plan = policy.plan(original, (seed, epoch, row), data)
            sample = render(plan, original, data)
            _cell(page, at, 1 + epoch, sample, f"#{epoch}")
            if drawn:
                drawn(record(plan, policy, data, (seed, epoch, row), sample))
            if progress:
                progress(1)
    return page.image


def _cell(page: Page, row: int, column: int, sample: Sample, caption: str) -> None:
    """Draw one sample, and say under it what it is."""
    pixels = sample.image
    about = f"{pixels.shape[1]} x {pixels.shape[0]}"
    if len(sample.boxes) or sample.targets is None:
        about += f", {len(sample.boxes)} box{'' if len(sample.boxes) == 1 else 'es'}"
    if (sample.weights < 1).any():
        about += " of " + ", ".join(f"{weight:.2f}" for weight in dict.fromkeys(sample.weights.tolist()))
    texts = [
        page.names[label] + (f" {weight:.2f}" if weight < 1 else "")
        for label, weight in zip(sample.labels.tolist(), sample.weights.tolist(), strict=True)
    ]
    marks = Marks(sample.boxes, sample.labels, texts)
    page.cell(row, column, pixels, marks, caption, about + _targets(page.names, sample))


def _targets(names: Sequence[str], sample: Sample) -> str:
    if sample.targets is None:
        return ""
    order = np.argsort(-sample.targets, kind="stable")
    parts = [(names[row], float(sample.targets[row])) for row in order if sample.targets[row] > 0]
    return ", " + ", ".join(name if share == 1 else f"{name} {share:.2f}" for name, share in parts)


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
