"""The tables of a report, cut by stated rules where a study has many arms or classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from augsuite.study.effects import Effect
from augsuite.study.report_words import signed, span
from augsuite.study.summary import MARKS, Contrast, Summary, number

SIZES = {
    "APs": "AP, small",
    "APm": "AP, medium",
    "APl": "AP, large",
    "ARs": "recall, small",
    "ARm": "recall, medium",
    "ARl": "recall, large",
}
"""COCO's metrics by the size of objects, and what they are called here."""
ARMS, LINES = 12, 20
"""So many columns and lines of a matrix are shown at once."""
_STRONGEST = 0.4  # of a cell's colour: beyond it, text is hard to read


@dataclass(frozen=True, slots=True)
class Cell:
    """One effect of a matrix.

    Attributes:
        text: what stands there.
        title: the whole effect in words.
        mark: `good` or `bad` where it is shown, else `open`.
        hue: `good` or `bad` by its sign, for the background; empty where there is nothing.
        share: opacity of the background, from 0.
    """

    text: str
    title: str = ""
    mark: str = "open"
    hue: str = ""
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Matrix:
    """Effects by line and arm.

    Attributes:
        arms: the columns.
        lines: name and cells, those that are shown at once.
        more: the other lines, in their order.
        note: by which rule lines and columns were left out; empty where none was.
    """

    arms: list[str]
    lines: list[tuple[str, list[Cell]]]
    more: list[tuple[str, list[Cell]]]
    note: str


def matrix(
    effects: Sequence[Effect], arms: Sequence[str], names: Mapping[str, str], strongest: Sequence[str]
) -> Matrix:
    """Put effects on several metrics into lines and columns.

    Args:
        effects: any number for each metric.
        arms: the columns, in order.
        names: metric -> what its line is called, in order.
        strongest: arms, those first that are to be kept where there are too many.
    """
    found = {(effect.metric, effect.arm): effect for effect in effects}
    known = {effect.metric for effect in effects}
    metrics = [name for name in names if name in known]
    kept = set(strongest[:ARMS])
    columns = [arm for arm in arms if arm in kept] if len(arms) > ARMS else list(arms)
    sizes = {
        name: max((abs(found[name, arm].mean) for arm in columns if (name, arm) in found), default=0.0)
        for name in metrics
    }
    most = max(sizes.values(), default=0.0) or 1.0
    shown = set(sorted(metrics, key=lambda name: -sizes[name])[:LINES])
    lines = {name: [_cell(found.get((name, arm)), most, len(columns) <= 4) for arm in columns] for name in metrics}
    notes = []
    if len(columns) < len(arms):
        notes.append(f"Of {len(arms)} arms the {ARMS} with the largest effects are shown.")
    if len(shown) < len(metrics):
        notes.append(f"Of {len(metrics)} lines the {LINES} with the largest effect come first.")
    return Matrix(
        columns,
        [(names[name], lines[name]) for name in metrics if name in shown],
        [(names[name], lines[name]) for name in metrics if name not in shown],
        " ".join(notes),
    )


def _cell(effect: Effect | None, most: float, room: bool) -> Cell:
    if effect is None:
        return Cell("\N{EN DASH}")
    return Cell(
        text=span(effect) if room else signed(effect.mean),
        title=f"{span(effect)}, {effect.verdict}",
        mark=MARKS[effect.verdict],
        hue="good" if effect.mean > 0 else "bad" if effect.mean < 0 else "",
        share=round(_STRONGEST * min(abs(effect.mean) / most, 1.0), 3),
    )


def by_strength(summary: Summary) -> list[str]:
    """The arms with an effect, the largest first, whatever its sign."""
    effects = [arm.effect for arm in summary.arms if arm.effect is not None]
    return [effect.arm for effect in sorted(effects, key=lambda effect: -abs(effect.mean))]


def size_names(metrics: Sequence[str]) -> dict[str, str]:
    """Of metrics those that are about the size of objects, and what they are called."""
    return {name: said for name, said in SIZES.items() if name in metrics}


def main_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Headings and cells: each arm with its mean, its effect, what it adds to the row above it, and the verdict."""
    state = summary.state
    steps = {effect.arm: effect for found in _cumulative(summary) for effect in found.effects}
    headings = ["arm", state.metric, f"effect on {state.metric}", "on the row above", "seeds", "verdict"]
    rows = []
    for arm in summary.arms:
        mean = number(arm.mean) + (f" ± {arm.sd:.1f}" if arm.sd is not None else "")
        verdict = (
            "reference" if arm.arm == state.reference else arm.effect.verdict if arm.effect else "nothing to compare"
        )
        rows.append(
            [
                arm.arm,
                mean,
                "" if arm.effect is None else span(arm.effect),
                span(steps[arm.arm]) if arm.arm in steps else "",
                str(len(arm.effect.seeds) if arm.effect else len(arm.values)),
                f"{verdict}; {arm.failed} failed" if arm.failed else verdict,
            ]
        )
    keep = range(len(headings)) if steps else (0, 1, 2, 4, 5)
    return [headings[at] for at in keep], [[row[at] for at in keep] for row in rows]


def cost_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Headings and cells: what each arm cost."""
    headings = ["arm", "augmenting, ms/image", "training, ms/image", "against the reference", "images/s", "memory, MiB"]
    rows = []
    for arm in summary.arms:
        extra = "" if arm.extra_frac is None else f"{signed(100 * arm.extra_frac, 0)} %"
        rows.append(
            [
                arm.arm,
                number(arm.augment_ms, 2),
                number(arm.train_ms),
                "" if arm.arm == summary.state.reference else extra or "-",
                number(arm.images_s, 0),
                "-" if arm.peak_bytes is None else f"{arm.peak_bytes / 2**20:.0f}",
            ]
        )
    return headings, rows


@dataclass(frozen=True, slots=True)
class Pair:
    """Two arms of a factorial design, alone and together.

    Attributes:
        name: of the arm with both.
        first: effect of one alone.
        second: of the other alone.
        total: their sum, which both together have where they do not interact.
        both: the effect of both together.
        interaction: what they do beyond the sum.
    """

    name: str
    first: Effect | None
    second: Effect | None
    total: float | None
    both: Effect | None
    interaction: Effect


def pairs(summary: Summary) -> list[Pair]:
    """The pairs of all factorial designs, the strongest interaction first."""
    effects = {arm.arm: arm.effect for arm in summary.arms}
    # In the order of the designs; a rule without any comparison has no contrast.
    members = {both: (one, two) for series in summary.state.designs for one, two, both in series.pairs}
    found = []
    for contrast in summary.contrasts:
        for effect in contrast.effects if contrast.rule == "factorial" else ():
            one, two = (effects.get(name) for name in members[effect.arm])
            total = one.mean + two.mean if one and two else None
            found.append(Pair(effect.arm, one, two, total, effects.get(effect.arm), effect))
    return sorted(found, key=lambda pair: -abs(pair.interaction.mean))


def _cumulative(summary: Summary) -> list[Contrast]:
    return [found for found in summary.contrasts if found.rule == "cumulative"]
