"""Augment samples of a FiftyOne dataset into new samples of it."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from augsuite import ConfigError, Policy
from augsuite.augment.plan import Mix, Plan
from augsuite.augment.render import render, row_of
from augsuite.augment.replay import digest
from augsuite.augment.words import words
from augsuite_fiftyone.app_plugin.carried import carried
from augsuite_fiftyone.app_plugin.originals import Originals, check_images
from augsuite_fiftyone.app_plugin.runs import ABOUT, METHOD, Stored, check_key, runs, save_image, undo
from augsuite_fiftyone.bulk import NewSample, insert_samples
from augsuite_fiftyone.database import home

_BLOCK = 128  # samples read at a time


@dataclass(frozen=True)
class Settings:
    """What a run does.

    Attributes:
        policy: what happens to each image.
        fields: the label fields to carry.
        seed: first part of every random key.
        copies: of each image.
        folder: takes a new folder with the image files; by default a folder in this user's data.
        run: the run's key; by default the policy's name and a number.
        tags: of the new samples, beside those of their originals.
        encoding: `jpg` or `png`.
    """

    policy: Policy
    fields: Sequence[str]
    seed: int = 0
    copies: int = 1
    folder: Path | None = None
    run: str = ""
    tags: tuple[str, ...] = ("augmented",)
    encoding: str = "jpg"


@dataclass
class Made:
    """What a run made.

    Attributes:
        run: its key.
        folder: where its files are.
        ids: of the new samples.
        lost: what could not be carried -> how many.
    """

    run: str
    folder: Path
    ids: list[str] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)


def augment(
    collection: Any,
    settings: Settings,
    ids: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Add augmented copies of samples to their dataset: all of them, or none.

    Args:
        collection: a dataset or view of FiftyOne, of images.
        settings: what to do.
        ids: which samples; all of the collection by default.
        progress: called with how many are made, and how many there will be.

    Raises:
        ConfigError: if it holds something else than images, a setting makes no sense, or the files cannot be written.
        DataError: if an image cannot be read.
    """
    *_, made = stepwise(collection, settings, ids, progress)
    if not isinstance(made, Made):
        raise ConfigError("there is nothing to augment. Choose samples.")
    return made


def stepwise(
    collection: Any,
    settings: Settings,
    ids: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, int] | Made]:
    """As `augment`, told step by step: how many are made and how many there will be, and at the end what was made."""
    check_images(collection)
    pool = Originals.of(collection, settings.fields, ids)
    if not len(pool) or settings.copies < 1:
        raise ConfigError("there is nothing to augment. Choose samples.")
    dataset = collection._dataset  # noqa: SLF001 - a view's own dataset has no public name
    run = _new_key(dataset, settings)
    folder = _new_folder(dataset, settings.folder, run)
    made = Made(run, folder)
    total = len(pool) * settings.copies
    try:
        _register(dataset, run, settings, folder)
        for block in _rendered(pool, settings, made):
            made.ids += insert_samples(dataset, block)
            if progress is not None:
                progress(len(made.ids), total)
            yield len(made.ids), total
    except BaseException:
        if run in runs(dataset):
            undo(dataset, run)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    yield made


def _rendered(pool: Originals, settings: Settings, made: Made) -> Iterator[list[NewSample]]:
    """The new samples, block by block, their files written."""

    def work(job: tuple[int, int]) -> tuple[NewSample, Counter[str]]:
        return _one(pool, settings, made, *job)

    # Decoding, warping and encoding run outside Python's lock; the keys make the order of the work irrelevant.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for start in range(0, len(pool), _BLOCK):
            rows = range(start, min(start + _BLOCK, len(pool)))
            pool.load(rows)
            try:
                done = list(threads.map(work, [(row, copy) for row in rows for copy in range(settings.copies)]))
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
            for _, lost in done:
                made.lost.update(lost)
            yield [sample for sample, _ in done]


def _one(pool: Originals, settings: Settings, made: Made, row: int, copy: int) -> tuple[NewSample, Counter[str]]:
    original, policy = pool[row], settings.policy
    key = (settings.seed, copy, row)
    plan = policy.plan(original.sample, key, pool)
    after = render(plan, original.sample, pool)
    labels = carried(pool, original, plan, after)
    stem = re.sub(r"[^\w.-]+", "_", original.path.stem)[:80]
    path = made.folder / f"{stem}_aug{copy + 1}_{row}.{settings.encoding}"
    save_image(after.image, path)
    stored = Stored(
        plan=plan,
        policy=policy.name,
        key=key,
        image=original.path.name,
        sha256=digest(after.image),
        images={str(at): pool.ids[at] for at in _rows(plan)},
    )
    about = {
        "_cls": "DynamicEmbeddedDocument",
        "source": original.id,
        "run": made.run,
        "policy": policy.name,
        "plan": msgspec.json.encode(stored).decode(),
        "drawn": words(plan),
    }
    fields = {**labels.fields, ABOUT: about}
    tags = tuple(dict.fromkeys((*original.tags, *settings.tags)))
    return NewSample(str(path), after.source.width, after.source.height, fields, tags), labels.lost


def _rows(plan: Plan) -> set[int]:
    if isinstance(plan.start, Mix):
        return {row for part in plan.start.parts for row in _rows(part)}
    return {row_of(plan)}


def _new_key(dataset: Any, settings: Settings) -> str:
    if settings.run:
        check_key(dataset, settings.run)
        return settings.run
    stem = re.sub(r"\W+", "_", settings.policy.name, flags=re.ASCII).strip("_") or "policy"
    stem = f"aug_{stem}"
    taken = set(dataset.list_runs())
    return next(name for number in range(1, len(taken) + 2) if (name := f"{stem}_{number}") not in taken)


def _new_folder(dataset: Any, parent: Path | None, run: str) -> Path:
    if parent is None:
        safe = re.sub(r"[^\w.-]+", "_", dataset.name).strip(".") or "dataset"
        parent = home() / "augmented" / f"{safe}-{dataset._doc.id}"  # noqa: SLF001 - names change, and are used again
    folder = Path(parent).expanduser().absolute() / run
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(f"{folder}: exists already. Choose another folder, or another name for the run.") from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror or error}). Choose another folder.") from error
    return folder


def _register(dataset: Any, run: str, settings: Settings, folder: Path) -> None:
    config = dataset.init_run()
    config.method = METHOD
    config.policy = settings.policy.to_yaml()
    config.seed, config.copies = settings.seed, settings.copies
    config.fields, config.folder = list(settings.fields), str(folder)
    dataset.register_run(run, config)
