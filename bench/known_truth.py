"""What real studies say where the answer is known: false claims, signs found, what pairing gains, effects over the training.

`docs/studies/*.yaml` ask the questions; `train` runs what nobody has run yet, the other functions read what `augsuite study run` left.
Nothing here computes an interval of its own: all come from the functions that judge every study.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from augsuite.study.effects import Effect, measure, unpaired
from augsuite.study.store import Store

Found = dict[str, Any]
Values = dict[str, dict[int, float]]

ROOT = Path(__file__).resolve().parents[1]
HANDED = ("AP/mug_left", "AP/mug_right", "AP/jug_left", "AP/jug_right")
"""The classes of the shelf that only their hand tells apart."""


@dataclass(frozen=True)
class Truth:
    """What a study must find.

    Attributes:
        study: its name, and that of its file.
        arm: compared with the reference.
        sign: of the effect; 0 where nothing must be shown.
        because: how it is known.
        metrics: their mean is judged; the study's own metric where there are none.
    """

    study: str
    arm: str
    sign: int
    because: str
    metrics: tuple[str, ...] = ()


TRUTHS = (
    Truth("shelf-light", "color_jitter", 1, "validation light that training never saw"),
    Truth("shelf-mirror", "hflip", 1, "fronts turned around in validation"),
    Truth("shelf-mirror", "hflip", 1, "the same, on the two classes with a front", ("AP/box", "AP/spray")),
    Truth("shelf-scale", "expand", 1, "validation products of 0.6 of their size"),
    Truth("shelf-none", "hflip", -1, "classes told apart by their hand"),
    Truth("shelf-none", "hflip", -1, "the same, on those four classes", HANDED),
    Truth("shelf-none", "noise", 0, "noise that nobody can see"),
)
SAME = ("aa-detection", "aa-labels")
"""Studies of one policy twice."""
SEEDS = (3, 5)
"""How many seeds a study is cut into: the default of a study file, and what the studies on photographs have."""
MEASURED = ("bccd-rules", "cifar10")
"""Studies that are measured as they train."""
STUDIES = (*SAME, *dict.fromkeys(truth.study for truth in TRUTHS), "bccd", *MEASURED)
"""All that `--train` trains, by the names of their files."""


# What studies left


@dataclass(frozen=True)
class Finished:
    """The complete runs of a study.

    Attributes:
        metric: the study's.
        reference: the arm compared with.
        metrics: metric -> arm -> seed -> value.
        curves: arm -> seed -> epoch -> the study's metric.
    """

    metric: str
    reference: str
    metrics: dict[str, Values]
    curves: dict[str, dict[int, dict[int, float]]]

    @property
    def values(self) -> Values:
        """Of the study's metric."""
        return self.metrics[self.metric]


def read(folder: Path) -> Finished | None:
    """What stands in a study's folder; None where there is no study."""
    if not (folder / "study.json").exists():
        return None
    store = Store(folder)
    state = store.state()
    metrics: dict[str, Values] = {}
    curves: dict[str, dict[int, dict[int, float]]] = {}
    for run in state.runs:
        record = store.record(run.digest)
        if record is None:
            continue
        for name, value in record.metrics.items():
            metrics.setdefault(name, {}).setdefault(run.arm, {})[run.seed] = value
        points = {int(line["step"]): line[state.metric] for line in store.curves(run.digest) if state.metric in line}
        curves.setdefault(run.arm, {})[run.seed] = points
    return Finished(state.metric, state.reference, metrics, curves) if state.metric in metrics else None


def train(names: Sequence[str]) -> None:
    """Run studies of docs/studies into the folder `studies`; what its store has is not trained again."""
    data = ROOT / "studies" / "data"
    for shift in ("none", "light", "mirror", "scale"):
        target = data / f"shelf-{shift}"
        if not target.exists():
            _call("datasets", "make", "shelf", "--images", "220", "--seed", "1", "--shift", shift, "-o", str(target))
    handless = data / "shelf-mirror-handless"
    if not handless.exists():
        maps = [f"{thing}_{side}={thing}" for thing in ("mug", "jug") for side in ("left", "right")]
        _call("remap", str(data / "shelf-mirror"), str(handless), *(part for pair in maps for part in ("--map", pair)))
    for name in names:
        _call("study", "run", f"docs/studies/{name}.yaml")


def _call(*arguments: str) -> None:
    program = Path(sys.executable).with_name("augsuite")
    subprocess.run([program, *arguments], check=True, stdout=sys.stderr, cwd=ROOT)


# What they say


def share(count: int, of: int) -> Found:
    """A share with its 95 % interval (Clopper & Pearson 1934)."""
    interval = stats.binomtest(count, of).proportion_ci(0.95, "exact")
    return {"share": count / of, "low": float(interval.low), "high": float(interval.high)}


def claimed(effect: Effect) -> bool:
    """Whether a study says that there is an effect."""
    return effect.verdict in {"helps", "hurts"}


def cut(values: Values, each: int) -> list[Values]:
    """The studies of so many seeds that a long one is made of, none of which share a run; a rest is left out."""
    seeds = sorted(set.intersection(*(set(runs) for runs in values.values())))
    groups = [seeds[at : at + each] for at in range(0, len(seeds) - each + 1, each)]
    return [{arm: {seed: runs[seed] for seed in group} for arm, runs in values.items()} for group in groups]


def false_claims(finished: Mapping[str, Finished]) -> list[Found]:
    """How often studies of one policy twice claim an effect, and how often their intervals hold 0."""
    rows = []
    for each in SEEDS:
        total = claims = held = 0
        for name in SAME:
            if name not in finished:
                continue
            found = finished[name]
            studies = [measure({found.metric: part}, found.reference)[0] for part in cut(found.values, each)]
            if not studies:
                continue
            mine = [sum(map(claimed, studies)), sum((e.low or 0.0) <= 0 <= (e.high or 0.0) for e in studies)]
            rows.append(_claims(name, each, len(studies), *mine))
            total, claims, held = total + len(studies), claims + mine[0], held + mine[1]
        if total:
            rows.append(_claims("together", each, total, claims, held))
    return rows


def _claims(name: str, seeds: int, studies: int, claims: int, held: int) -> Found:
    return {
        "study": name,
        "seeds": seeds,
        "studies": studies,
        "claimed": claims,
        "claims": share(claims, studies),
        "coverage": share(held, studies),
    }


def signs(finished: Mapping[str, Finished]) -> list[Found]:
    """Each known truth beside what the study says."""
    rows = []
    for truth in TRUTHS:
        found = finished.get(truth.study)
        if found is None or not {found.reference, truth.arm} <= found.values.keys():
            continue
        names = truth.metrics or (found.metric,)
        means = {
            arm: {
                seed: statistics.fmean(found.metrics[name][arm][seed] for name in names) for seed in found.values[arm]
            }
            for arm in (found.reference, truth.arm)
        }
        # The study's own metric is judged as the study does it, corrected for all of its arms.
        families = measure({found.metric: means if truth.metrics else found.values}, found.reference)
        effect = next(effect for effect in families if effect.arm == truth.arm)
        right = effect.verdict == {1: "helps", -1: "hurts", 0: "not shown"}[truth.sign]
        rows.append(
            {"study": truth.study, "because": truth.because, "sign": truth.sign, "found": right, **_plain(effect)}
        )
    return rows


def pairing(finished: Mapping[str, Finished]) -> list[Found]:
    """How wide intervals are with and without pairs, arm by arm.

    `width_ratio` is what one gets: unpaired over paired interval of the same runs. `noise_ratio` leaves out what Student's t adds where
    degrees of freedom are few: the standard deviation of a difference of strangers over that of partners, so its square is how many
    times as many seeds a study without pairs needs in the long run.
    """
    rows = []
    for name, found in finished.items():
        for effect in measure({found.metric: found.values}, found.reference):
            mine, theirs = found.values[effect.arm], found.values[found.reference]
            strangers = unpaired(mine, theirs)
            if effect.low is None or effect.high is None or strangers is None or not effect.sd:
                continue
            apart = math.hypot(*(statistics.stdev(side[seed] for seed in effect.seeds) for side in (mine, theirs)))
            rows.append(
                {
                    "study": name,
                    "arm": effect.arm,
                    "seeds": len(effect.seeds),
                    "paired": (effect.high - effect.low) / 2,
                    "unpaired": (strangers[1] - strangers[0]) / 2,
                    "width_ratio": (strangers[1] - strangers[0]) / (effect.high - effect.low),
                    "noise_ratio": apart / effect.sd,
                }
            )
    return rows


def over_training(found: Finished) -> list[Found]:
    """The effects at every epoch that all runs were measured at; each epoch corrected for its arms, none for there being many epochs."""
    at = [set(points) for seeds in found.curves.values() for points in seeds.values()]
    rows = []
    for epoch in sorted(set.intersection(*at)) if at else []:
        values = {arm: {seed: points[epoch] for seed, points in seeds.items()} for arm, seeds in found.curves.items()}
        rows += [{"epoch": epoch, **_plain(effect)} for effect in measure({found.metric: values}, found.reference)]
    return rows


def effects(found: Finished) -> list[Found]:
    """A study's own table."""
    return [_plain(effect) for effect in measure({found.metric: found.values}, found.reference)]


def _plain(effect: Effect) -> Found:
    return {
        "arm": effect.arm,
        "seeds": len(effect.seeds),
        "effect": effect.mean,
        "low": effect.low,
        "high": effect.high,
        "verdict": effect.verdict,
    }
