"""The preview as one HTML file that needs nothing else: each step alone, then the whole policy; no network, no script."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import jinja2
import msgspec
import numpy as np
import PIL.Image
from markupsafe import Markup

from augsuite.augment.plan import Mix, Plan
from augsuite.augment.policies import Policy
from augsuite.augment.render import measured, render
from augsuite.augment.replay import Record, record
from augsuite.augment.steps import Step
from augsuite.augment.transforms import declaration
from augsuite.augment.warp import Course
from augsuite.augment.words import Dropped, dropped, words
from augsuite.dataset import Dataset, Sample
from augsuite.dataset.colors import class_color

_DRAWS = 24
_STRENGTHS = (("weak", 0.1), ("middle", 0.5), ("strong", 0.9))
_KEYS = 24  # names in the legend
_BOXES = 300  # in one picture


@dataclass(frozen=True, slots=True)
class Alone:
    """One step, as the page shows it."""

    step: str
    summary: str
    source: str
    note: str
    figures: list[Markup]


def page(
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
) -> str:
    """Make the page.

    Args:
        data: the dataset; also where a mix step takes its partners from.
        policy: what is shown.
        rows: image rows; the first is the one on which each step is shown alone.
        variants: augmented samples of each image: what a training sees in epochs 0, 1, 2, ...
        seed: first part of the random keys.
        size: longest side at which an image is embedded, in pixels.
        title: the page's heading.
        progress: called with 1 for each step and each sample of the policy.
        drawn: called with what was drawn for each sample of the policy.

    Returns:
        HTML.

    Raises:
        DataError: if an image cannot be read.
        ConfigError: if the policy makes no sense.
    """
    done = progress or (lambda _: None)
    painter = _Painter(data, size)
    alone = []
    for step in policy.steps:
        alone.append(_alone(painter, policy, step, rows[0], seed))
        done(1)
    whole = []
    for row in rows:
        original = data.sample(row)
        figures = [painter.figure(original, str(data.images.names[row]), ["the original"])]
        for epoch in range(variants):
            plan = policy.plan(original, (seed, epoch, row), data)
            figures.append(painter.drawn(plan, original, f"epoch {epoch}"))
            if drawn:
                drawn(record(plan, policy, data, (seed, epoch, row), render(plan, original, data)))
            done(1)
        whole.append(figures)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("augsuite.augment", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("preview.html.j2").render(
        title=title,
        policy=policy,
        text=policy.to_yaml(),
        alone=alone,
        whole=whole,
        draws=_DRAWS,
        legend=[(str(name), f"rgb{class_color(row)}") for row, name in enumerate(data.categories.names[:_KEYS])],
        more=max(len(data.categories) - _KEYS, 0),
    )


def _alone(painter: _Painter, policy: Policy, step: Step, row: int, seed: int) -> Alone:
    """A step with p 1, at three strengths: of many draws, those at three quantiles of how much they change."""
    spec = declaration(step.do)
    original = measured(painter.data.sample(row))
    figures = [painter.figure(original, "original", [])]
    one = msgspec.structs.replace(policy, steps=(msgspec.structs.replace(step, p=1.0),))
    note = ""
    if spec.kind == "batch":
        return Alone(
            _written(step), spec.summary, spec.source, "It acts on whole batches, where a model is trained.", []
        )
    plans = [one.plan(original, (seed, draw, row), painter.data) for draw in range(_DRAWS)]
    acting = [plan for plan in plans if plan.ops or isinstance(plan.start, Mix)]
    if len(acting) < _DRAWS:
        note = f"{_DRAWS - len(acting)} of {_DRAWS} draws leave the image as it is."
    if not acting:
        return Alone(_written(step), spec.summary, spec.source, note, figures)
    strengths = np.array([strength(plan, original, painter.data) for plan in acting])
    order = np.argsort(strengths, kind="stable")
    if np.ptp(strengths) < 1e-9:
        figures.append(painter.drawn(acting[0], original, "always"))
    else:
        for name, share in _STRENGTHS:
            figures.append(painter.drawn(acting[order[round(share * (len(acting) - 1))]], original, name))
    return Alone(_written(step), spec.summary, spec.source, note, figures)


def _written(step: Step) -> str:
    params = "".join(f", {key}: {msgspec.json.encode(value).decode()}" for key, value in step.params.items())
    return f"{step.do}{params}" + (f", p: {step.p:g}" if step.p != 1 else "")


def strength(plan: Plan, sample: Sample, pool: Any) -> float:
    """How much a plan changes: how far it moves places, as a share of the canvas; or else by how much it changes values."""
    if plan.warps and not isinstance(plan.start, Mix):
        width, height = sample.source.width, sample.source.height
        course = Course(width, height, plan.warps)
        shares = np.stack(np.meshgrid(np.linspace(0.1, 0.9, 5), np.linspace(0.1, 0.9, 5)), axis=-1).reshape(-1, 2)
        moved = course.forward(shares * (width, height)) / (course.width, course.height)
        return float(np.nan_to_num(np.linalg.norm(moved - shares, axis=1), nan=1.0).mean())
    if not plan.ops and not isinstance(plan.start, Mix):
        return 0.0
    before, after = (_small(one.image) for one in (sample, render(plan, sample, pool)))
    return float(np.abs(after - before).mean())


def _small(image: np.ndarray) -> np.ndarray:
    return np.asarray(PIL.Image.fromarray(image).resize((64, 64), PIL.Image.Resampling.BOX), np.float32)


@dataclass(frozen=True, slots=True)
class _Painter:
    """Makes figures: pixels as an embedded JPEG, boxes as shapes, words below."""

    data: Dataset
    size: int

    def drawn(self, plan: Plan, original: Sample, caption: str) -> Markup:
        """What a plan makes of a sample, with what it leaves out, and in words."""
        left_out = dropped(plan, original, self.data)
        return self.figure(render(plan, original, self.data), caption, words(plan) or ["nothing drawn"], left_out)

    def figure(self, sample: Sample, caption: str, lines: Sequence[str], left_out: Sequence[Dropped] = ()) -> Markup:
        """A sample as a figure."""
        pixels = sample.image
        height, width = pixels.shape[:2]
        image = PIL.Image.fromarray(pixels)
        image.thumbnail((self.size, self.size), PIL.Image.Resampling.BOX)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=80)
        encoded = base64.b64encode(buffer.getvalue()).decode()
        shapes = [
            self._shape(box, int(label), "", self._name(int(label), float(weight)), max(width, height), float(weight))
            for box, label, weight in list(zip(sample.boxes, sample.labels, sample.weights, strict=True))[:_BOXES]
        ]
        shapes += [
            self._shape(one.box, one.label, "dropped", f"{self._name(one.label)}: {one.reason}", max(width, height))
            for one in left_out[:_BOXES]
            if np.isfinite(one.box).all()
        ]
        count = (
            f"{len(sample.boxes)} box{'' if len(sample.boxes) == 1 else 'es'}" if len(sample.boxes) or left_out else ""
        )
        head = " · ".join(part for part in (caption, f"{width} x {height}", count, self._targets(sample)) if part)
        reasons = Counter(f"{self._name(one.label)}: {one.reason}" for one in left_out)
        said = [escape(line) for line in lines] + [
            f'<span class="out">dropped {escape(text)}{f" ({times} boxes)" if times > 1 else ""}</span>'
            for text, times in reasons.most_common(8)
        ]
        said += [f'<span class="out">and {len(reasons) - 8} more kinds</span>'] * (len(reasons) > 8)
        return _safe(
            f'<figure><svg class="sample" viewBox="0 0 {width} {height}"><image width="{width}" height="{height}" '
            f'preserveAspectRatio="none" href="data:image/jpeg;base64,{encoded}"/>{"".join(shapes)}</svg>'
            f"<figcaption><b>{escape(head)}</b>{''.join(f'<br>{line}' for line in said)}</figcaption></figure>"
        )

    def _shape(self, box: np.ndarray, label: int, kind: str, text: str, longest: int, weight: float = 1.0) -> str:
        x0, y0, x1, y1 = box.tolist()
        color = f"rgb{class_color(label)}"
        kept = f'class="{kind}" ' if kind else ""
        shape = (
            f'<rect {kept}x="{x0:.1f}" y="{y0:.1f}" width="{max(x1 - x0, 0):.1f}" '
            f'height="{max(y1 - y0, 0):.1f}" stroke="{color}"><title>{escape(text)}</title></rect>'
        )
        if weight >= 1:
            return shape
        font = longest / 22
        return f'{shape}<text x="{x0 + font / 4:.1f}" y="{y0 + font:.1f}" font-size="{font:.1f}">{weight:.2f}</text>'

    def _name(self, label: int, weight: float = 1.0) -> str:
        name = str(self.data.categories.names[label])
        return f"{name} {weight:.2f}" if weight < 1 else name

    def _targets(self, sample: Sample) -> str:
        if sample.targets is None:
            return ""
        rows = np.flatnonzero(sample.targets)
        return ", ".join(self._name(int(row), float(sample.targets[row])) for row in rows)


def _safe(html: str) -> Markup:
    """HTML of our own making, in which every name has been escaped where it was put in."""
    return Markup(html)  # noqa: S704 - see above; the template escapes everything else
