"""The report: one HTML file that needs nothing else, and the same findings as JSON."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import PIL.Image
import yaml
from markupsafe import Markup

from augsuite.augment import Policy
from augsuite.dataset import Dataset, Sample
from augsuite.dataset.colors import class_color
from augsuite.study import charts
from augsuite.study.effects import Effect
from augsuite.study.file import Study
from augsuite.study.session import write_json
from augsuite.study.store import State, Store
from augsuite.study.summary import MARKS, Arm, Summary, interval, number, table

_SHOWN = 6  # pictures per arm
_SIDE = 200  # pixels of a picture's longer side: twice what is shown, for dense screens
_MINUTE = 60


def write_report(summary: Summary, store: Store, study: Study) -> Path:
    """Write `report.html` and `report.json` into a study's folder.

    Args:
        summary: what was found.
        store: the study's folder.
        study: the study, for its pictures.

    Returns:
        The path of the HTML file.
    """
    write_json(store.folder / "report.json", summary)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("augsuite.study", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"interval": interval, "number": number}
    state = summary.state
    page = environment.get_template("report.html.j2").render(
        summary=summary,
        state=state,
        shades=MARKS,
        headline=headline(summary),
        sentences=[(MARKS[arm.effect.verdict], _safe(sentence(arm, state))) for arm in summary.arms if arm.effect],
        forest=_forest([arm.effect for arm in summary.arms if arm.effect], state),
        table=table(summary),
        marks=[MARKS[arm.effect.verdict] if arm.effect else "reference" for arm in summary.arms],
        curves=_curves(state, store),
        explored=_matrix(summary.explored, state),
        classes=_matrix(summary.classes, state, cut=f"{state.metric}/"),
        strips=strips(study.train, {name: arm.policy for name, arm in study.arms.items()}),
        legend=[(str(name), f"rgb{class_color(row)}") for row, name in enumerate(study.train.categories.names)],
        minutes=_duration(summary.seconds),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        policies={name: _as_yaml(arm.policy) for name, arm in state.arms.items()},
        config=yaml.safe_dump(state.config, sort_keys=False, default_flow_style=None, width=100),
    )
    path = store.folder / "report.html"
    partial = path.with_name(f".report.html.{os.getpid()}")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)
    return path


def headline(summary: Summary) -> str:
    """The finding in one line."""
    effects = [arm.effect for arm in summary.arms if arm.effect]
    metric, reference = summary.state.metric, summary.state.reference
    helping = sorted((e for e in effects if e.verdict == "helps"), key=lambda e: -e.mean)
    hurting = sorted((e for e in effects if e.verdict == "hurts"), key=lambda e: e.mean)
    if helping:
        best = helping[0]
        also = f" {_listed([e.arm for e in hurting])} {'hurts' if len(hurting) == 1 else 'hurt'}." if hurting else ""
        return (
            f"{best.arm} helps{' most' if len(helping) > 1 else ''}: {best.mean:+.1f} {metric} over {reference}.{also}"
        )
    if hurting:
        return f"Nothing was shown to help. {_listed([e.arm for e in hurting])} {'hurts' if len(hurting) == 1 else 'hurt'}."
    if not effects:
        return "Nothing to compare yet."
    if all(effect.verdict == "too few seeds" for effect in effects):
        return "One seed cannot tell an effect from chance: add seeds."
    return f"No arm was shown to differ from {reference}."


def sentence(arm: Arm, state: State) -> str:
    """The verdict on one arm as an HTML sentence."""
    effect = arm.effect
    if effect is None:
        return ""
    name, metric = f"<b>{escape(arm.arm)}</b>", escape(state.metric)
    seeds = f"{len(effect.seeds)} seed{'' if len(effect.seeds) == 1 else 's'}"
    if effect.low is None or effect.high is None:
        said = f"{name}: {escape(arm.verdict)}. {metric} {effect.mean:+.1f} ({seeds})."
    elif effect.verdict in {"helps", "hurts"}:
        said = (
            f"{name} <em>{effect.verdict}</em>: {metric} {effect.mean:+.1f}, "
            f"somewhere between {effect.low:+.1f} and {effect.high:+.1f} ({seeds}, p {_p(effect.p_corrected)})."
        )
    else:
        said = (
            f"{name}: <em>not shown</em>. {metric} {effect.mean:+.1f}, but anything between {effect.low:+.1f} and "
            f"{effect.high:+.1f} fits ({seeds}, p {_p(effect.p_corrected)})."
        )
        if effect.detectable is not None:
            said += f" A true effect under {effect.detectable:.1f} would probably be missed."
    if arm.failed:
        said += f" {arm.failed} of {len(state.seeds)} runs failed."
    return said.replace("-", "\N{MINUS SIGN}") if "-" not in arm.arm else said


def _safe(html: str) -> Markup:
    """HTML of our own making, in which every name has been escaped where it was put in."""
    return Markup(html)  # noqa: S704 - see above; the template escapes everything else


def _forest(effects: list[Effect], state: State) -> Markup:
    return _safe(charts.forest(effects, state.metric, state.reference)) if effects else Markup()


def _curves(state: State, store: Store) -> dict[str, Markup]:
    """A chart for each value that the runs logged at more than one epoch; the study's metric first, then the losses."""
    logged: dict[str, dict[str, list[list[tuple[float, float]]]]] = {}
    for run in state.runs:
        seeds: dict[str, list[tuple[float, float]]] = {}
        for line in store.curves(run.digest):
            for name, value in line.items():
                if name != "step" and "/" not in name and np.isfinite(value):
                    seeds.setdefault(name, []).append((line["step"], value))
        for name, points in seeds.items():
            if len(points) > 1:
                logged.setdefault(name, {}).setdefault(run.arm, []).append(points)
    # What is the same in every arm, such as a learning rate, has nothing to compare.
    differing = [name for name, arms in logged.items() if len({repr(seeds) for seeds in arms.values()}) > 1]
    names = sorted(differing, key=lambda name: (name != state.metric, "loss" not in name))[:4]
    return {name: _safe(charts.curves(logged[name], name, state.reference)) for name in names}


@dataclass(frozen=True, slots=True)
class Matrix:
    """Effects as a table: a line for each metric, a column for each arm."""

    arms: list[str]
    lines: list[tuple[str, list[Effect | None]]]


def _matrix(effects: Sequence[Effect], state: State, cut: str = "") -> Matrix:
    found = {(effect.metric, effect.arm): effect for effect in effects}
    arms = [arm for arm in state.arms if arm != state.reference]
    metrics = dict.fromkeys(effect.metric for effect in effects)
    lines = [(name.removeprefix(cut), [found.get((name, arm)) for arm in arms]) for name in metrics]
    return Matrix(arms, lines)


def strips(data: Dataset, arms: Mapping[str, Policy]) -> list[tuple[str, list[Markup]]]:
    """The same pictures under every arm, as the trainer sees them in one epoch; evenly chosen among the training images."""
    rows = np.unique(np.linspace(0, len(data) - 1, min(_SHOWN, len(data))).round().astype(int)).tolist()
    return [
        (name, [_picture(policy(data.sample(row), key=(0, 0, row), pool=data), data) for row in rows])
        for name, policy in arms.items()
    ]


def _picture(sample: Sample, data: Dataset) -> Markup:
    """A sample as SVG: the pixels as an embedded JPEG, the boxes as shapes."""
    image = PIL.Image.fromarray(sample.image)
    image.thumbnail((_SIDE, _SIDE), PIL.Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    pixels = base64.b64encode(buffer.getvalue()).decode()
    height, width = sample.image.shape[:2]
    boxes = "".join(
        f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}" stroke="rgb{class_color(label)}">'
        f"<title>{escape(str(data.categories.names[label]))}</title></rect>"
        for (x0, y0, x1, y1), label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True)
    )
    return _safe(
        f'<svg class="sample" viewBox="0 0 {width} {height}"><image width="{width}" height="{height}" '
        f'preserveAspectRatio="none" href="data:image/jpeg;base64,{pixels}"/>{boxes}</svg>'
    )


def _as_yaml(plain: Mapping[str, Any]) -> str:
    return "\n".join(f"- {_flow(step)}" for step in plain.get("steps", ())) or "no steps"


def _flow(step: Any) -> str:
    return str(yaml.safe_dump(step, default_flow_style=True, sort_keys=False, width=float("inf"))).strip()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 2 * _MINUTE else f"{seconds / _MINUTE:.0f} min"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
