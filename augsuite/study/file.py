"""The study file: one question, written down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from augsuite import registry
from augsuite.config import build, read_yaml, to_plain
from augsuite.conversion import read
from augsuite.dataset import Dataset, edits
from augsuite.errors import ConfigError, nearest
from augsuite.study.arms import Arm, is_arm
from augsuite.study.design import RULES, Designed, Series, Setting, expand, is_rule
from augsuite.study.session import align_categories, check_task, settings_of

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
_TRAIN_NAMES = ("train", "training", "trainval")
_VAL_NAMES = ("val", "valid", "validation", "test")

Part = str | Annotated[int, msgspec.Meta(ge=1)] | Annotated[float, msgspec.Meta(gt=0, lt=1)]
Seed = Annotated[int, msgspec.Meta(ge=0)]


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Which images are trained on and which are measured on: names of splits, numbers of images, or shares.

    Attributes:
        train: a split's name, a number of images drawn once, or a share of them.
        val: the same; what is left, where nothing is said.
        seed: of the draw; the same for every run, so that all arms see the same images.
    """

    train: Part
    val: Part | None = None
    seed: Seed = 0


class StudyFile(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a study file.

    Attributes:
        study: its name; the results go to `studies/<name>`.
        dataset: a folder, relative to the study file, or the name of a bundled dataset.
        val_dataset: another one to measure on.
        split: see `Split`; the dataset's own splits, or 80 % and 20 %, where nothing is said.
        trainer: the trainer's name.
        config: the trainer's settings that differ from its defaults.
        arms: name -> policy: its name, a YAML file relative to the study file, a list of steps, or a whole policy; or
            `{policy: ..., config: ...}` with settings of the trainer, where an arm that names no policy has the reference's.
            Or a rule (see `augsuite.study.design`), or a list of rules and of arms by name.
        reference: the arm that the others are compared with; where nothing is said, that of the first rule, else `none`.
        seeds: how many, or which.
        workers: processes at once; `auto` is one for each core.
    """

    study: str
    dataset: str
    trainer: str
    arms: dict[str, str | list[Any] | dict[str, Any] | None] | list[dict[str, Any]]
    val_dataset: str | None = None
    split: dict[str, Any] | None = None
    config: dict[str, Any] = {}
    reference: str | None = None
    seeds: Annotated[int, msgspec.Meta(ge=1)] | list[Seed] = 3
    workers: Literal["auto"] | Annotated[int, msgspec.Meta(ge=1)] = "auto"


@dataclass(frozen=True)
class Study:
    """A study file with everything in it looked up, read and checked.

    Attributes:
        name: of the study.
        source: the study file.
        trainer: the trainer's name.
        metric: the metric compared, of which more is better.
        config: all settings of the trainer, as plain values.
        train: the images trained on.
        val: the images measured on, with the categories of `train`.
        arms: name -> arm, in the order of the file.
        designs: what rules made of them.
        reference: one of `arms`.
        seeds: different, in the order of the file.
        workers: None for one for each core.
    """

    name: str
    source: Path
    trainer: str
    metric: str
    config: Mapping[str, Any]
    train: Dataset
    val: Dataset
    arms: Mapping[str, Arm]
    designs: tuple[Series, ...]
    reference: str
    seeds: tuple[int, ...]
    workers: int | None


def load(path: Path) -> Study:
    """Read a study file and everything that it names.

    Raises:
        ConfigError: for anything in the file that makes no sense: says where, and the nearest valid name.
        DataError: if the dataset cannot be read.
    """
    raw = build(StudyFile, read_yaml(path), str(path))
    check_name(raw.study, f"{path}: study")
    seeds = tuple(range(raw.seeds)) if isinstance(raw.seeds, int) else tuple(raw.seeds)
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"{path}: seeds: expected different numbers, got {list(seeds)}.")
    try:
        trainer = registry.find("trainer", registry.default().trainers(), raw.trainer)
        settings = settings_of(raw.trainer, raw.config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        designed, reference = _arms(raw, path.parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    train, val = parts(raw, path)
    for part, data in (("train", train), ("val", val)):
        check_task(trainer, data, f"{path}: {part}")
    return Study(
        name=raw.study,
        source=path,
        trainer=raw.trainer,
        metric=trainer.metric,
        config=to_plain(settings),
        train=train,
        val=align_categories(val, train),
        arms=designed.arms,
        designs=tuple(designed.series),
        reference=reference,
        seeds=seeds,
        workers=None if raw.workers == "auto" else raw.workers,
    )


def check_name(name: str, where: str) -> None:
    """Stop at the name of a study that cannot be that of its folder.

    Raises:
        ConfigError: says where.
    """
    if not _NAME.match(name):
        raise ConfigError(f"{where}: {name!r} cannot name a folder. Use letters, digits and . _ + -")


def _arms(raw: StudyFile, folder: Path) -> tuple[Designed, str]:
    """The arms, and the name of the reference: the one that is said, else that of the first rule, else `none`."""
    setting = Setting(folder, raw.trainer, raw.config)
    blocks = raw.arms if isinstance(raw.arms, list) else [raw.arms]
    made: list[Designed] = []
    for place, block in enumerate(blocks):
        where = f"arms[{place}]" if isinstance(raw.arms, list) else "arms"
        if "rule" in block and not is_rule(block):
            raise ConfigError(f"{where}.rule: unknown rule {block['rule']!r}. {nearest(str(block['rule']), RULES)}")
        made.append(Designed())
        if is_rule(block):
            expand(block, setting, where, made[-1])
    series = [one for each in made for one in each.series]
    reference = raw.reference or (series[0].reference if series else "none")
    # An arm that says nothing of a policy has that of the reference, wherever this stands.
    first: Any = next((block[reference] for block in blocks if not is_rule(block) and reference in block), None)
    common = first.get("policy") if is_arm(first) else first
    common = next((each.arms[reference].policy for each in made if reference in each.arms), common)
    found = Designed(series=series)
    for block, each in zip(blocks, made, strict=True):
        arms = each.arms if is_rule(block) else {n: setting.arm(value, n, common) for n, value in block.items()}
        for name, arm in arms.items():
            found.add(name, arm)
    if reference not in found.arms:
        raise ConfigError(f"reference: there is no arm {reference!r}. {nearest(reference, found.arms)}")
    return found, reference


def parts(raw: StudyFile, path: Path) -> tuple[Dataset, Dataset]:
    """The images trained on and those measured on.

    Args:
        raw: the study file.
        path: its path; datasets are looked for beside it first.

    Raises:
        ConfigError: for a split that the dataset has not.
        DataError: if a dataset cannot be read.
    """
    data = read(_beside(path, raw.dataset))
    split = None if raw.split is None else build(Split, raw.split, f"{path}: split")
    try:
        if raw.val_dataset is not None:
            other = read(_beside(path, raw.val_dataset))
            chosen = split or Split(train=_own(data, _TRAIN_NAMES) or len(data), val=_own(other, _VAL_NAMES))
            val = other if chosen.val is None else _take(other, chosen.val, chosen.seed, "val")
            return _take(data, chosen.train, chosen.seed, "train"), val
        return divide(data, split or default_split(data))
    except ConfigError as error:
        raise ConfigError(f"{path}: split: {error}") from error


def default_split(data: Dataset) -> Split:
    """The dataset's own train and validation (or test) splits; 80 % and 20 %, drawn with seed 0, where it has none."""
    train, val = _own(data, _TRAIN_NAMES), _own(data, _VAL_NAMES)
    return Split(train=train, val=val) if train and val else Split(train=0.8)


def divide(data: Dataset, split: Split) -> tuple[Dataset, Dataset]:
    """Cut a dataset into the images trained on and those measured on; no image is in both.

    Raises:
        ConfigError: for an unknown split, or where the images do not suffice.
    """
    train = _take(data, split.train, split.seed, "train")
    rest = data.take(np.flatnonzero(~np.isin(data.images.ids, train.images.ids)))
    if split.val is None:
        return train, rest
    if isinstance(split.val, float):
        count = round(split.val * len(data))
        return train, _take(rest, count, split.seed, "val")
    if isinstance(split.val, str) and split.val == split.train:
        raise ConfigError(f"train and val are both {split.val!r}: measure on images that were not trained on.")
    return train, _take(rest, split.val, split.seed, "val")


def _take(data: Dataset, part: str | float, seed: int, what: str) -> Dataset:
    if isinstance(part, str):
        return edits.where(data, splits=[part])
    count = part if isinstance(part, int) else round(part * len(data))
    if not 1 <= count <= len(data):
        raise ConfigError(f"{what}: {count} images asked for, {len(data)} there are. Ask for fewer.")
    return data.draw(count, seed)


def _own(data: Dataset, names: tuple[str, ...]) -> str | None:
    known = set(data.images.splits.tolist())
    return next((name for name in names if name in known), None)


def _beside(path: Path, name: str) -> str | Path:
    """What a study file calls a dataset: a path beside the file where there is one, else a name for `read` to look up."""
    beside = path.parent / Path(name).expanduser()
    return beside if beside.exists() else name
