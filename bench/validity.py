"""Do studies keep their promise? How often they claim an effect where there is none, and whether their intervals hold the truth.

    python bench/validity.py [--studies 2000] [--train | --real STUDIES] [--json FILE]

With `--real`, the finished studies in a folder (`studies`) are judged as well, those of `docs/studies` whose answer is known;
`--train` trains first what is missing of them, an hour or so on two cores. The simulated part:

The numbers of runs are drawn, the judgement is the one that `augsuite study` makes: paired t tests with Holm's correction at several
numbers of seeds; seeds added until the answer is clear, looked at after every batch of seeds; and intervals over seeds and images.
Differences are drawn from a normal distribution, for which the tests are made, and from others, which they are not made for. A share
comes with its 95 % interval (Clopper & Pearson 1934); a goal is met where that interval reaches the promised side.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import known_truth as real
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from augsuite.study.bootstrap import joint
from augsuite.study.effects import Effect, measure
from augsuite.study.power import LEVEL
from augsuite.study.sequential import next_seeds

Found = dict[str, Any]
Noise = Callable[[np.random.Generator, int], NDArray[np.float64]]

ARMS = ("none", "a", "b", "c")
UNTIL = 0.5
ENOUGH = 20
"""Real studies of one policy twice, at least; with as many seeds as a study file has where it does not say."""

NOISES: Mapping[str, Noise] = {
    "normal": lambda rng, count: rng.normal(0, 0.8, count),
    "heavy tails (t, 3 degrees)": lambda rng, count: 0.5 * rng.standard_t(3, count),
    "skewed (exponential)": lambda rng, count: rng.exponential(0.8, count) - 0.8,
    "rounded (steps of 0.5)": lambda rng, count: np.round(rng.normal(0, 0.8, count) * 2) / 2,
}
"""How runs differ from their partners beyond the seed that they share, in points."""


def drawn(rng: np.random.Generator, noise: Noise, seeds: int, effect: float) -> dict[str, dict[int, float]]:
    """Arm -> seed -> value: what a seed does to all arms, and what each run adds; `effect` on the arm a."""
    shared = 30 + rng.normal(0, 2.0, seeds)
    values = {arm: shared + noise(rng, seeds) for arm in ARMS}
    values["a"] = values["a"] + effect
    return {arm: dict(enumerate(each.tolist())) for arm, each in values.items()}


def fixed(rng: np.random.Generator, noise: Noise, effect: float, seeds: int) -> list[Effect]:
    """A study of so many seeds."""
    return measure({"AP": drawn(rng, noise, seeds, effect)}, "none")


def sequential(rng: np.random.Generator, noise: Noise, effect: float, most: int = 20) -> list[Effect]:
    """A study that adds seeds until ± 0.5 points."""
    pool = drawn(rng, noise, most, effect)
    values: dict[str, dict[int, float]] = {arm: {} for arm in ARMS}
    more: Mapping[str, list[int]] = {arm: [0, 1, 2] for arm in ARMS}
    effects: list[Effect] = []
    while more:
        for arm, seeds in more.items():
            values[arm] |= {seed: pool[arm][seed] for seed in seeds}
        effects = measure({"AP": values}, "none", sequential=True)
        by_arm = {each.arm: each for each in effects}
        runs = [SimpleNamespace(arm=arm, seed=seed) for arm, seeds in values.items() for seed in seeds]
        state = SimpleNamespace(arms=dict.fromkeys(ARMS), runs=runs, reference="none")
        arms = [SimpleNamespace(arm=arm, effect=by_arm.get(arm)) for arm in ARMS]
        more = next_seeds(SimpleNamespace(state=state, arms=arms), UNTIL, most)  # type: ignore[arg-type]  # all it looks at
    return effects


def over_images(rng: np.random.Generator, noise: Noise, effect: float, seeds: int, images: int = 100) -> list[Effect]:
    """A study whose test images are a draw as well: what an arm does differs from image to image."""
    base = rng.normal(0, 20, images)
    own = {arm: rng.normal(0, 8, images) for arm in ARMS}
    shared = rng.normal(0, 2.0, seeds)

    def run(values: NDArray[np.float64]) -> Callable[[NDArray[np.int64]], float]:
        return lambda times: float(values @ times / times.sum())

    runs = {
        arm: {
            seed: run(50 + base + own[arm] * (arm != "none") + shared[seed] + effect * (arm == "a") + by_run + by_both)
            for seed in range(seeds)
            for by_run, by_both in [(float(noise(rng, 1)[0]), rng.normal(0, 5, images))]
        }
        for arm in ARMS
    }
    return joint(runs, "none", "AP", images, draws=100)


def simulated(studies: int) -> list[Found]:
    """Every method on studies where no arm does anything, and on some where one does."""
    methods: dict[str, tuple[int, Callable[[np.random.Generator, Noise, float], list[Effect]]]] = {
        f"t test, {seeds} seeds": (studies, lambda rng, noise, effect, seeds=seeds: fixed(rng, noise, effect, seeds))
        for seeds in (3, 5, 10)
    }
    methods["until ± 0.5, 3 to 20 seeds"] = (studies // 2, sequential)
    methods["seeds and images, 5 seeds"] = (
        studies // 10,
        lambda rng, noise, effect: over_images(rng, noise, effect, 5),
    )
    rows = []
    for method, (count, study) in methods.items():
        for place, (name, noise) in enumerate(NOISES.items()):
            rng = np.random.default_rng([place, count])
            nothing = [study(rng, noise, 0.0) for _ in range(count)]
            claims = sum(any(effect.verdict in {"helps", "hurts"} for effect in effects) for effects in nothing)
            intervals = [e for effects in nothing for e in effects if e.low is not None and e.high is not None]
            held = sum((e.low or 0.0) <= 0 <= (e.high or 0.0) for e in intervals)
            truth = [study(rng, noise, 2.0)[0] for _ in range(max(count // 5, 20))]
            rows.append(
                {
                    "method": method,
                    "differences": name,
                    "studies": count,
                    "claims": real.share(claims, count),
                    "coverage": real.share(held, len(intervals)),
                    "shows_2_points": sum(effect.verdict == "helps" for effect in truth) / len(truth),
                    "wrong_sign": sum(effect.verdict == "hurts" for effect in truth) / len(truth),
                    "seeds": float(np.mean([len(effect.seeds) for effect in truth])),
                }
            )
    return rows


def judged(studies: Path) -> Found:
    """What the finished studies in a folder say where the answer is known."""
    finished = {name: found for name in real.STUDIES if (found := real.read(studies / name)) is not None}
    return {
        "false_claims": real.false_claims(finished),
        "signs": real.signs(finished),
        "pairing": real.pairing(finished),
        "over_training": {name: real.over_training(found) for name, found in finished.items() if name in real.MEASURED},
        "effects": {name: real.effects(found) for name, found in finished.items()},
    }


def goals(rows: list[Found], found: Found | None = None) -> dict[str, Found]:
    """What was promised, and whether it is kept.

    Of simulated studies those with normal differences count, for which the promise is made: at most 5 % of them claim an effect, 95 % of
    the intervals hold. Of real ones: the same of all studies of one policy twice together, enough of them, and every sign.
    """
    said = {}
    for row in rows:
        if row["differences"] == "normal":
            said |= _promised(row["method"], row["claims"], row["coverage"])
    for row in found["false_claims"] if found else ():
        if row["study"] == "together":
            said |= _promised(f"real, {row['seeds']} seeds", row["claims"], row["coverage"])
            if row["seeds"] == real.SEEDS[0]:
                count = {"value": row["studies"], "goal": f">= {ENOUGH}", "met": row["studies"] >= ENOUGH}
                said[f"studies.real, {row['seeds']} seeds"] = count
    for row in found["signs"] if found else ():
        value = {key: row[key] for key in ("effect", "low", "high", "verdict")}
        goal = {1: "helps", -1: "hurts", 0: "not shown"}[row["sign"]]
        said[f"sign.{row['study']}.{row['arm']}: {row['because']}"] = {
            "value": value,
            "goal": goal,
            "met": row["found"],
        }
    return said


def _promised(name: str, claims: Found, covers: Found) -> dict[str, Found]:
    return {
        f"claims.{name}": {"value": claims, "goal": "<= 0.05", "met": claims["low"] <= LEVEL},
        f"coverage.{name}": {"value": covers, "goal": ">= 0.95", "met": covers["high"] >= 1 - LEVEL},
    }


def show(rows: list[Found]) -> None:
    """The table."""
    table = Table(
        "method", "differences", "studies", "claims, nothing there", "intervals that hold 0", "shows 2 points", "seeds"
    )
    for row in rows:
        shares = [f"{s['share']:.1%} [{s['low']:.1%}, {s['high']:.1%}]" for s in (row["claims"], row["coverage"])]
        table.add_row(
            row["method"],
            row["differences"],
            str(row["studies"]),
            *shares,
            f"{row['shows_2_points']:.0%}",
            f"{row['seeds']:.1f}",
        )
    Console(file=sys.stderr, width=150).print(table)


def show_real(found: Found) -> None:
    """The tables of what real studies say."""
    claims = Table("one policy twice", "seeds", "studies", "claims", "intervals that hold 0")
    for row in found["false_claims"]:
        shares = [f"{s['share']:.1%} [{s['low']:.1%}, {s['high']:.1%}]" for s in (row["claims"], row["coverage"])]
        claims.add_row(row["study"], str(row["seeds"]), str(row["studies"]), *shares)
    signs = Table("known truth", "arm", "because", "must", "effect", "seeds", "verdict")
    for row in found["signs"]:
        must = {1: "help", -1: "hurt", 0: "show nothing"}[row["sign"]]
        signs.add_row(
            row["study"], row["arm"], row["because"], must, _interval(row), str(row["seeds"]), str(row["verdict"])
        )
    pairs = Table("pairing", "arm", "seeds", "paired ±", "unpaired ±", "times as wide", "times the noise")
    for row in found["pairing"]:
        widths = (
            f"{row['paired']:.2f}",
            f"{row['unpaired']:.2f}",
            f"{row['width_ratio']:.2f}",
            f"{row['noise_ratio']:.2f}",
        )
        pairs.add_row(row["study"], row["arm"], str(row["seeds"]), *widths)
    tables = [claims, signs, pairs]
    for name, rows in found["over_training"].items():
        epochs = list(dict.fromkeys(row["epoch"] for row in rows))
        longer = Table(f"{name}: epoch", *map(str, epochs))
        for arm in dict.fromkeys(row["arm"] for row in rows):
            longer.add_row(arm, *(_interval(row) for row in rows if row["arm"] == arm))
        tables.append(longer)
    for name, rows in found["effects"].items():
        table = Table(name, "effect", "seeds", "verdict")
        for row in rows:
            table.add_row(row["arm"], _interval(row), str(row["seeds"]), row["verdict"])
        tables.append(table)
    console = Console(file=sys.stderr, width=180)
    for table in tables:
        console.print(table)


def _interval(row: Found) -> str:
    if row["low"] is None:
        return f"{row['effect']:+.1f}"
    return f"{row['effect']:+.1f} [{row['low']:.1f}, {row['high']:.1f}]"


def main() -> None:
    """Simulate, train or read, show, and say which goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--studies", type=int, default=2000, help="of each simulated kind; fewer where they cost more; 0 for none"
    )
    parser.add_argument("--real", type=Path, help="judge the finished studies in this folder, too")
    parser.add_argument(
        "--train", action="store_true", help="train what is missing of them first, in the folder studies"
    )
    parser.add_argument("--json", type=Path, help="write the figures here; - for stdout")
    asked = parser.parse_args()
    if asked.train and asked.real:
        parser.error("--train works in the folder studies, and judges it: leave --real out.")
    rows = simulated(asked.studies) if asked.studies else []
    found: Found = {"simulated": rows}
    if rows:
        show(rows)
    if asked.train:
        real.train(real.STUDIES)
    if asked.train or asked.real:
        found["real"] = judged(asked.real or real.ROOT / "studies")
        show_real(found["real"])
    found["goals"] = goals(rows, found.get("real"))
    for name, goal in found["goals"].items():
        print(f"{'met' if goal['met'] else 'MISSED'}: {name} {goal['goal']}", file=sys.stderr)
    if asked.json is not None:
        text = json.dumps(found, indent=2)
        print(text) if str(asked.json) == "-" else asked.json.write_text(text + "\n", encoding="utf-8")
    sys.exit(0 if all(goal["met"] for goal in found["goals"].values()) else 1)


if __name__ == "__main__":
    main()
