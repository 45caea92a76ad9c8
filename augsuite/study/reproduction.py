"""A study run again from its report, and whether it comes out the same."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from augsuite.dataset.digest import digest
from augsuite.errors import ConfigError, DataError
from augsuite.study.comparison import differing
from augsuite.study.file import Study, load
from augsuite.study.runs import read_json, write_text
from augsuite.study.store import State
from augsuite.study.summary import Summary

Agreement = Literal["bitwise", "within noise", "differs", "cannot tell", "not run"]


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """One arm, as reported and as reproduced.

    Attributes:
        arm: its name.
        before: mean of the metric in the report, over the seeds that both have.
        after: mean of the metric now.
        equal: how many runs have the same number to the last bit.
        runs: how many runs both have.
        noise: half the width of the 95 % interval of the reported mean over seeds; None with fewer than two.
        agreement: `bitwise` where all runs are equal, `within noise` where the means differ by less than `noise`.
    """

    arm: str
    before: float | None
    after: float | None
    equal: int
    runs: int
    noise: float | None
    agreement: Agreement


class Reproduction(msgspec.Struct, frozen=True, kw_only=True):
    """How a study came out when it was run again.

    Attributes:
        arms: in the order of the report.
        differing: code, versions and the like in which the two differ.
    """

    arms: list[Again]
    differing: dict[str, tuple[Any, Any]]

    @property
    def holds(self) -> bool:
        """Whether every arm came out the same, within noise."""
        return all(arm.agreement in {"bitwise", "within noise"} for arm in self.arms)


@dataclass(frozen=True, slots=True)
class Reported:
    """What a report says: the question, and each arm's metric by seed."""

    state: State
    values: Mapping[str, Mapping[int, float]]


class _Arm(msgspec.Struct):
    arm: str
    values: dict[int, float]


class _Report(msgspec.Struct):
    """Of a report only what is needed, so that reports of later versions can be read."""

    state: State
    arms: list[_Arm]


def read_report(path: Path) -> Reported:
    """Read a `report.json`, or that of a study's folder.

    Raises:
        ConfigError: if there is none, or if it does not say where its images came from.
        DataError: if it is damaged.
    """
    path = path / "report.json" if path.is_dir() else path
    report = read_json(path, _Report)
    if report is None:
        raise ConfigError(f"{path}: no such report. `augsuite study run` writes report.json into the study's folder.")
    if report.state.origin is None:
        raise ConfigError(f"{path}: a report of before reports said where their images come from. Run its study file.")
    return Reported(report.state, {arm.arm: arm.values for arm in report.arms})


def write_question(report: Reported, folder: Path, dataset: str | None = None) -> Path:
    """Write the study file of a report.

    Args:
        report: the report.
        folder: where `study.yaml` goes; made where it does not exist.
        dataset: where the images are now, if not where they were.
    """
    state, origin = report.state, report.state.origin
    if origin is None:
        raise ConfigError("the report does not say where its images come from.")
    asked = {
        "study": state.study,
        "dataset": dataset or origin.dataset,
        "val_dataset": origin.val_dataset,
        "split": origin.split,
        "trainer": state.trainer,
        "config": state.config,
        "reference": state.reference,
        "seeds": [seed for seed in state.seeds if all(seed in have for have in seeds_of(state).values())],
        "arms": {name: {"policy": arm.policy, "config": arm.config} for name, arm in state.arms.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({name: value for name, value in asked.items() if value is not None}, sort_keys=False)
    write_text(folder / "study.yaml", f"# Written from a report by `augsuite study reproduce`.\n{text}")
    return folder / "study.yaml"


def load_question(report: Reported, file: Path) -> Study:
    """Read the study file of a report, and check that its images are those of the report.

    Raises:
        DataError: if they are not.
    """
    study = load(file)
    for part, data in (("train", study.train), ("val", study.val)):
        found, wanted = digest(data), report.state.data[part]
        if found != wanted:
            raise DataError(
                f"{file}: the {part} images are not those of the report ({len(data)} with the digest {found}, "
                f"{report.state.images[part]} with {wanted}). Name theirs with --dataset."
            )
    return study


def seeds_of(state: State) -> dict[str, list[int]]:
    """Arm -> the seeds it was asked for."""
    return {name: [run.seed for run in state.runs if run.arm == name] for name in state.arms}


def judge(report: Reported, summary: Summary) -> Reproduction:
    """Compare a report with what came out when it was run again."""
    found = {arm.arm: arm.values for arm in summary.arms}
    return Reproduction(
        arms=[_again(name, values, found.get(name, {})) for name, values in report.values.items()],
        differing=differing(report.state, summary.state),
    )


def _again(arm: str, before: Mapping[int, float], after: Mapping[int, float]) -> Again:
    seeds = sorted(before.keys() & after.keys())
    equal = sum(before[seed] == after[seed] for seed in seeds)
    noise = _half_width([before[seed] for seed in seeds])
    means = [statistics.fmean(values[seed] for seed in seeds) if seeds else None for values in (before, after)]
    agreement: Agreement
    if means[0] is None or means[1] is None:
        agreement = "not run"
    elif equal == len(seeds):
        agreement = "bitwise"
    elif noise is None:
        agreement = "cannot tell"
    else:
        agreement = "within noise" if abs(means[1] - means[0]) <= noise else "differs"
    return Again(
        arm=arm, before=means[0], after=means[1], equal=equal, runs=len(seeds), noise=noise, agreement=agreement
    )


def _half_width(values: list[float]) -> float | None:
    """Of the 95 % interval of a mean, by Student's t."""
    if len(values) < 2:
        return None
    from scipy import stats

    return float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
