"""What a study found, in sentences; the same ones in the HTML, the Markdown and the JSON of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import msgspec

from augsuite.study.effects import Effect, describe
from augsuite.study.store import State
from augsuite.study.summary import MARKS, Arm, Summary

_MINUS = "\N{MINUS SIGN}"
_MINUTE, _HOUR = 60, 3600


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one arm as a sentence: arm, verdict and text, one after the other.

    Attributes:
        arm: its name.
        mark: `good`, `bad` or `open`, for its colour.
        verdict: one or two words; empty where they would say nothing.
        text: the rest.
    """

    arm: str
    mark: str
    verdict: str
    text: str


def question(state: State) -> str:
    """What the study asks."""
    arms = [name for name in state.arms if name != state.reference]
    what = f"Do{'es' if len(arms) == 1 else ''} {listed(arms)}" if len(arms) <= 4 else f"Which of {len(arms)} arms"
    verb = "change" if len(arms) <= 4 else "changes"
    data = f" on {PurePath(state.origin.dataset).name}" if state.origin is not None else ""
    epochs = state.config.get("epochs")
    length = f", trained for {epochs} epochs" if isinstance(epochs, int) else ""
    return f"{what} {verb} the {state.metric} of {state.trainer}{data}, compared with {state.reference}{length}?"


def headline(summary: Summary) -> str:
    """The finding in one line."""
    effects = [arm.effect for arm in summary.arms if arm.effect]
    metric, reference = summary.state.metric, summary.state.reference
    helping = sorted((e for e in effects if e.verdict == "helps"), key=lambda e: -e.mean)
    hurting = sorted((e for e in effects if e.verdict == "hurts"), key=lambda e: e.mean)
    hurts = f"{listed([e.arm for e in hurting], 3)} {'hurts' if len(hurting) == 1 else 'hurt'}." if hurting else ""
    if helping:
        best = helping[0]
        most = " most" if len(helping) > 1 else ""
        return f"{best.arm} helps{most}: {signed(best.mean)} {metric} over {reference}. {hurts}".strip()
    if hurting:
        return f"Nothing was shown to help. {hurts}"
    if not effects:
        return "Nothing to compare yet."
    if all(effect.verdict == "too few seeds" for effect in effects):
        return "One seed cannot tell an effect from chance: add seeds."
    return f"No arm was shown to differ from {reference}."


def verdicts(summary: Summary) -> list[Said]:
    """A sentence on each arm: what was shown first, the largest effect first; then the others, in their order."""
    beyond = {effect.arm: effect for effect in summary.joint}
    said = [arm for arm in summary.arms if arm.effect is not None]
    shown = [arm for arm in said if arm.effect is not None and arm.effect.verdict in {"helps", "hurts"}]
    shown.sort(key=lambda arm: -arm.effect.mean if arm.effect is not None else 0.0)
    rest = [arm for arm in said if arm not in shown]
    return [sentence(arm, summary.state, beyond.get(arm.arm)) for arm in [*shown, *rest]]


def sentence(arm: Arm, state: State, joint: Effect | None = None) -> Said:
    """The verdict on one arm that has an effect, in words.

    Args:
        arm: the arm.
        state: the question.
        joint: the same effect, with the test images counted as a draw, too.
    """
    effect = arm.effect
    if effect is None:
        return Said(arm=arm.arm, mark="open", verdict="", text=arm.verdict)
    seeds = f"{len(effect.seeds)} seed{'' if len(effect.seeds) == 1 else 's'}"
    moved = f"{state.metric} {signed(effect.mean)}"
    verdict: str = effect.verdict
    if effect.low is None or effect.high is None:
        verdict, _, why = describe(effect).rstrip(")").partition(" (")
        text = f": {moved} ({seeds}){f'; {why}' if why else ''}."
    elif verdict in {"helps", "hurts"}:
        ends = f"somewhere between {signed(effect.low)} and {signed(effect.high)}"
        text = f": {moved}, {ends} ({seeds}, corrected p {chance(effect.p_corrected)})."
        if joint is not None and joint.low is not None and joint.high is not None:
            text += f" With other test images of the kind: {signed(joint.low)} to {signed(joint.high)}."
    else:
        ends = f"but anything between {signed(effect.low)} and {signed(effect.high)} fits"
        text = f": {moved}, {ends} ({seeds}, corrected p {chance(effect.p_corrected)})."
        if effect.uncertain:
            text += " Alone it would count; among so many arms it does not."
        elif effect.detectable is not None:
            text += f" A true effect under {effect.detectable:.1f} would probably be missed"
            half = effect.seeds_for_half
            text += "." if half is None else f"; {half} seeds would show half of that."
    asked = sum(run.arm == arm.arm for run in state.runs)
    if arm.failed:
        text += f" {arm.failed} of {asked} runs failed."
    if arm.missing:
        text += f" {arm.missing} of {asked} runs are not trained yet."
    return Said(arm=arm.arm, mark=MARKS[effect.verdict], verdict=verdict, text=text)


def statistics(state: State) -> str:
    """How intervals and verdicts were made."""
    if state.until is not None:
        return (
            "seeds were added while the answer was open: evidence and 95 % intervals that hold at every number of seeds (a likelihood "
            "ratio of the t statistic; Wang & Ramdas 2023), paired by seed, Holm's correction over the arms"
        )
    return (
        "paired t test by seed, two-sided, 5 %, Holm's correction over the arms; intervals 95 % without correction; smallest effect: "
        "the one that would have been shown with a chance of 80 %"
    )


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign, the minus as long as the plus; what rounds to 0 has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", _MINUS)


def span(effect: Effect | None, digits: int = 1) -> str:
    """`+2.5 [+1.6, +3.5]` with signs that align, or a dash where there is nothing."""
    if effect is None:
        return "\N{EN DASH}"
    if effect.low is None or effect.high is None:
        return signed(effect.mean, digits)
    return f"{signed(effect.mean, digits)} [{signed(effect.low, digits)}, {signed(effect.high, digits)}]"


def chance(value: float | None) -> str:
    """A p value."""
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever a person would say."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 3 * _HOUR else f"{seconds / _HOUR:.1f} h"


def listed(names: Sequence[str], most: int = 99) -> str:
    """`a, b and c`, or `a, b and 5 more`."""
    if len(names) > most + 1:
        names = [*names[:most], f"{len(names) - most} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"
