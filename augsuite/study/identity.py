"""What a run's result depends on, and the name that follows from it."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from augsuite import __version__, registry
from augsuite.augment import Policy
from augsuite.augment.steps import transforms_of
from augsuite.config import build, read_yaml
from augsuite.dataset.digest import digest
from augsuite.study.file import Study, StudyFile
from augsuite.study.store import Origin, Run, State

_DIGITS = 20  # hexadecimal, 80 bits: enough for any number of runs, short enough to read

_CORE = (
    "augsuite.augment",
    "augsuite.boxes",
    "augsuite.dataset",
    "augsuite.evaluation",
    "augsuite.study.session",
    "augsuite.training",
)
"""What of the core a run's numbers come from; the version alone would not see a change between two releases."""


Identity = dict[str, Any]


def ask(study: Study, command: str, store: str = ".", until: float | None = None) -> tuple[State, dict[str, Identity]]:
    """Give every run of a study its digest.

    Runs of one seed come together, so that a study that is stopped early has all its arms for the seeds it got to.

    Args:
        study: the study.
        command: what was typed.
        store: the folder of the runs, as seen from the study's.
        until: see `State`.

    Returns:
        The state to store, and for each digest what was digested.
    """
    state = State(
        study=study.name,
        trainer=study.trainer,
        metric=study.metric,
        config=dict(study.config),
        reference=study.reference,
        arms={name: arm.to_plain() for name, arm in study.arms.items()},
        seeds=[],
        runs=[],
        images={"train": len(study.train), "val": len(study.val)},
        data={"train": digest(study.train), "val": digest(study.val)},
        code=code_of(study.trainer, (arm.policy for arm in study.arms.values())),
        versions=versions(),
        command=command,
        store=store,
        origin=origin(study),
        until=until,
        designs=list(study.designs),
    )
    return ask_more(state, study, dict.fromkeys(study.arms, study.seeds))


def ask_more(state: State, study: Study, seeds: Mapping[str, Sequence[int]]) -> tuple[State, dict[str, Identity]]:
    """Add runs to a question that was asked.

    Args:
        state: the question.
        study: the study.
        seeds: arm -> seeds that it was not asked for yet.

    Returns:
        The state with the runs of before and those, and for each digest of those what was digested.
    """
    runs, identities = [], {}
    for seed in dict.fromkeys(seed for asked in seeds.values() for seed in asked):
        for name, arm in study.arms.items():
            if seed not in seeds.get(name, ()):
                continue
            identity = {
                "data": state.data,
                "policy": _nameless(state.arms[name].policy),
                "trainer": study.trainer,
                "config": {**study.config, **arm.config},
                "seed": seed,
                "code": _part_of(state.code, study.trainer, arm.policy),
            }
            run = _digest_of(identity)
            identities[run] = identity
            runs.append(Run(arm=name, seed=seed, digest=run))
    every = list(dict.fromkeys([*state.seeds, *(run.seed for run in runs)]))
    return msgspec.structs.replace(state, seeds=every, runs=[*state.runs, *runs]), identities


def code_of(trainer: str, policies: Iterable[Policy]) -> dict[str, str]:
    """The version of augsuite and a digest of the source of each part at work: the core's, the trainer's, the transforms'."""
    packages = {*_CORE, _trainer_package(trainer)} | {package for policy in policies for package in _packages(policy)}
    return {"augsuite": __version__, **{package: source_digest(package) for package in sorted(packages)}}


def _part_of(code: Mapping[str, str], trainer: str, policy: Policy) -> dict[str, str]:
    """What of the code one run depends on: a change of one transform leaves the runs without it alone."""
    return {name: code[name] for name in sorted({"augsuite", *_CORE, _trainer_package(trainer), *_packages(policy)})}


def _trainer_package(trainer: str) -> str:
    spec = registry.find("trainer", registry.default().trainers(), trainer)
    return spec.train.target.partition(":")[0].partition(".")[0]


def _packages(policy: Policy) -> set[str]:
    transforms = registry.default().transforms()
    names = transforms_of(policy.steps)
    return {transforms[name].params.target.partition(":")[0].partition(".")[0] for name in names}


@functools.cache
def source_digest(package: str) -> str:
    """A digest of the Python files of a package or module: their relative paths and content, not where they lie."""
    spec = importlib.util.find_spec(package)
    total = hashlib.blake2b(digest_size=_DIGITS // 2)
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(root).rglob("*.py")):
            total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    if spec and not spec.submodule_search_locations and spec.origin:
        total.update(Path(spec.origin).read_bytes())
    return total.hexdigest()


def versions() -> dict[str, str]:
    """Python and the packages that a number may depend on, where they are installed."""
    import importlib.metadata
    import platform

    found = {"python": platform.python_version()}
    for name in ("numpy", "torch", "torchvision", "opencv-python-headless", "albumentations", "pycocotools", "scipy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _nameless(policy: Mapping[str, Any]) -> dict[str, Any]:
    """A policy without its name, which nothing depends on."""
    return {key: value for key, value in policy.items() if key != "policy"}


def _digest_of(identity: Mapping[str, Any]) -> str:
    # json, not msgspec: floats and key order are canonical in both, but `sort_keys` reaches every level of plain values
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=_DIGITS // 2).hexdigest()


def origin(study: Study) -> Origin:
    """Where the images of a study come from, as its file says; paths are made absolute."""
    raw = build(StudyFile, read_yaml(study.source), str(study.source))

    def place(name: str) -> str:
        beside = study.source.parent / Path(name).expanduser()
        return str(beside.resolve()) if beside.exists() else name

    return Origin(
        dataset=place(raw.dataset),
        val_dataset=None if raw.val_dataset is None else place(raw.val_dataset),
        split=raw.split,
    )
