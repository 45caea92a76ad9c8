"""The report: one HTML file that needs nothing else, and the same findings as Markdown and as JSON."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from augsuite.study import charts, report_charts
from augsuite.study.curves import logged
from augsuite.study.effects import Effect, contrast, correct
from augsuite.study.file import Study
from augsuite.study.report_machine import machine, trained_on
from augsuite.study.report_pictures import Album, changed_most, legend, strips
from augsuite.study.report_tables import (
    by_strength,
    cost_table,
    main_table,
    matrix,
    pairs,
    size_names,
)
from augsuite.study.report_words import Said, duration, headline, listed, question, signed, span, statistics, verdicts
from augsuite.study.session import write_json
from augsuite.study.store import State, Store
from augsuite.study.summary import MARKS, Summary, number

_SAID = 10  # sentences that are shown at once
_NARROWING = 8  # arms


class Report(Summary, frozen=True, kw_only=True):
    """`report.json`: what a study found, and what the report says beyond that.

    Attributes:
        question: in a sentence.
        headline: the finding in a sentence.
        verdicts: a sentence on each arm; what was shown first.
        machine: that on which the report was written.
        trained_on: where the runs were trained.
        made: when the report was written, UTC.
    """

    question: str
    headline: str
    verdicts: list[Said]
    machine: dict[str, str]
    trained_on: str
    made: str


def write_report(summary: Summary, store: Store, study: Study) -> Path:
    """Write `report.html`, `report.md` and `report.json` into a study's folder.

    Args:
        summary: what was found.
        store: the study's folder.
        study: the study, for its pictures.

    Returns:
        The path of the HTML file.
    """
    state = summary.state
    report = Report(
        **{name: getattr(summary, name) for name in summary.__struct_fields__},
        question=question(state),
        headline=headline(summary),
        verdicts=verdicts(summary),
        machine=machine(),
        trained_on=trained_on(state, store),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_json(store.folder / "report.json", report)
    view = _view(report, study)
    _write(store.folder / "report.md", _render("report.md.j2", view, html=False))
    album = Album()
    shown, more = strips(study.train, study.arms, album)
    strongest = by_strength(summary)
    drawn = {
        "strips": shown,
        "more_policies": more,
        "changed": changed_most(state, store, study.val, summary.changes, strongest, album),
        "legend": legend(study.train),
        "curves": _curves(summary, store, strongest),
        **_charts(summary),
    }
    path = store.folder / "report.html"
    _write(path, _render("report.html.j2", {**view, **drawn}, html=True))
    return path


def _view(report: Report, study: Study) -> dict[str, Any]:
    """What the HTML and the Markdown have in common."""
    state = report.state
    strongest = by_strength(report)
    arms = [arm for arm in state.arms if arm != state.reference]
    explored = [effect.metric for effect in report.explored]
    sizes = size_names(explored)
    others = {name: name for name in explored if name not in sizes}
    by_class = {effect.metric: effect.metric.partition("/")[2] for effect in report.classes}
    return {
        "report": report,
        "state": state,
        "at_once": _SAID,
        "table": main_table(report),
        "marks": [MARKS[arm.effect.verdict] if arm.effect else "reference" for arm in report.arms],
        "costs": cost_table(report),
        "sizes": matrix(report.explored, arms, sizes, strongest),
        "classes": matrix(report.classes, arms, by_class, strongest),
        "others": matrix(report.explored, arms, others, strongest),
        "pairs": pairs(report),
        "trends": [found for found in report.contrasts if found.rule == "grid" and found.effects],
        "sequential": _sequential(report),
        "statistics": statistics(state),
        "time": duration(report.seconds),
        "policies": {name: _as_yaml(arm.policy, arm.config) for name, arm in state.arms.items()},
        "config": yaml.safe_dump(state.config, sort_keys=False, default_flow_style=None, width=100),
        "source": study.source.name,
    }


def _sequential(summary: Summary) -> list[tuple[str, int, str, str]]:
    """Of a study that added seeds: arm, seeds, half the width of its interval, and why no more were added."""
    until = summary.state.until
    rows = []
    for arm in summary.arms:
        effect = arm.effect
        if until is None or effect is None:
            continue
        half = None if effect.low is None or effect.high is None else (effect.high - effect.low) / 2
        if effect.verdict in {"helps", "hurts"}:
            why = "the answer is clear"
        elif effect.verdict in {"identical", "no spread"}:
            why = "seeds show no chance"
        elif half is not None and half <= until:
            why = "the interval is narrow enough"
        else:
            why = "open: as many seeds as were allowed, or not finished"
        rows.append((arm.arm, len(effect.seeds), "-" if half is None else f"± {half:.1f}", why))
    return rows


def _charts(summary: Summary) -> dict[str, Any]:
    """The charts of effects."""
    state = summary.state
    effects = {arm.arm: arm.effect for arm in summary.arms if arm.effect is not None}
    wider = {e.arm: (e.low, e.high) for e in summary.joint if e.low is not None and e.high is not None}
    axis = f"difference in {state.metric} from {state.reference}"
    rows = [e for found in summary.contrasts if found.rule == "cumulative" for e in found.effects]
    both = [e for found in summary.contrasts if found.rule == "factorial" for e in found.effects]
    return {
        "forest": _safe(charts.forest(list(effects.values()), axis, wider)) if effects else "",
        "joint": bool(wider),
        "rows": _safe(charts.forest(rows, f"difference in {state.metric} from the row above", said="Rows"))
        if rows
        else "",
        "interactions": _safe(charts.forest(both, f"interaction in {state.metric}", said="Interactions"))
        if both
        else "",
        "doses": _doses(state, effects),
        "gain": _gain(summary),
        "narrowing": _narrowing(summary),
    }


def _doses(state: State, effects: Mapping[str, Effect]) -> list[tuple[str, Markup]]:
    """A chart for each grid over one thing."""
    found = []
    for series in state.designs:
        names = {name for at in series.at for name in at}
        known = [row for row, arm in enumerate(series.arms) if arm in effects]
        if series.rule == "grid" and len(names) == 1 and len(known) > 1:
            (name,) = names
            doses = [series.at[row][name] for row in known]
            shown = [effects[series.arms[row]] for row in known]
            chart = report_charts.dose(doses, shown, name, state.metric, state.reference)
            found.append((name, _safe(chart)))
    return found


def _gain(summary: Summary) -> Markup | str:
    """Effect over cost: of augmentation, where arms differ in nothing else and it was measured; else of the training."""
    state = summary.state
    augmenting = not any(arm.config for arm in state.arms.values())
    augmenting = augmenting and all(arm.augment_ms is not None for arm in summary.arms if arm.values)
    label = "CPU ms to augment one image" if augmenting else "CPU ms of training for one image"
    points = []
    for arm in summary.arms:
        cost = arm.augment_ms if augmenting else arm.train_ms
        if cost is not None and math.isfinite(cost) and (arm.effect is not None or arm.arm == state.reference):
            points.append((arm.arm, cost, arm.effect))
    return _safe(report_charts.gain(points, label, state.metric)) if len(points) > 1 else ""


def _narrowing(summary: Summary) -> list[Markup]:
    """For each arm of a sequential study, its interval after each number of seeds."""
    state = summary.state
    if state.until is None:
        return []
    values = {arm.arm: arm.values for arm in summary.arms}
    found = []
    for arm in by_strength(summary)[:_NARROWING]:
        seeds = [run.seed for run in state.runs if run.arm == arm and run.seed in values[arm]]
        pair = {arm: 1.0, state.reference: -1.0}
        looks = []
        for count in range(1, len(seeds) + 1):
            known = {name: {s: v for s, v in values[name].items() if s in seeds[:count]} for name in pair}
            looks += correct(contrast(known, {arm: pair}, state.metric, sequential=True))
        if looks:
            found.append(_safe(report_charts.narrowing(arm, looks, state.until, state.metric)))
    return found


def _curves(summary: Summary, store: Store, strongest: Sequence[str]) -> dict[str, Markup]:
    """Charts of the study's metric and others of its kind, and of losses, where complete runs logged them at several epochs.

    Of many arms those with the largest effects are drawn, beside the reference.
    """
    state = summary.state
    kept = {state.reference, *strongest[: charts.COLORS]} if len(state.arms) > charts.COLORS + 1 else set(state.arms)
    found = logged(summary, store, kept)
    return {name: _safe(charts.curves(lines, name, state.reference)) for name, lines in found.items()}


def _render(template: str, view: Mapping[str, Any], html: bool) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("augsuite.study", "."),
        autoescape=html,  # noqa: S701 - Markdown has rules of its own; see `_cell`
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"span": span, "signed": signed, "number": number, "listed": listed, "cell": _cell}
    return environment.get_template(template).render(view)


_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~&])")


def _cell(text: Any) -> str:
    """Text in which nothing is Markdown, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


def _write(path: Path, text: str) -> None:
    """Write a text, whole or not at all; a name that is no Unicode comes out spelled."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    partial.replace(path)


def _safe(svg: str) -> Markup:
    """SVG of our own making, in which every name has been escaped where it was put in."""
    return Markup(svg)  # noqa: S704 - see above; the template escapes everything else


def _as_yaml(policy: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    steps = "\n".join(f"- {_flow(step)}" for step in policy.get("steps", ())) or "no steps"
    return f"{steps}\nconfig: {_flow(dict(config))}" if config else steps


def _flow(value: Any) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"))).strip()
