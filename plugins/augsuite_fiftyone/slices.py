"""What a policy makes of some images: each step alone, then the whole, rendered into files and described in tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from augsuite.augment import Plan, Policy
from augsuite.augment.offline import Piece, assemble, piece_of, save_image
from augsuite.augment.render import arrange
from augsuite.augment.transforms import declaration
from augsuite.augment.words import Dropped, dropped
from augsuite.dataset import ABSENT, Dataset, objects
from augsuite_fiftyone.drawn import steps_of

ORIGINAL, WHOLE = "original", "policy"
"""The first and the last slice."""

VISIBLE = "augsuite.visible_frac"
"""The extra of a box that says what share of its original area is seen."""

SOURCE = "augsuite.source_annotation"
"""The extra of an annotation that says which one it comes from, as the row of the dataset shown."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One column of the view.

    Attributes:
        name: of the slice in FiftyOne.
        policy: what renders it.
        step: the id of the step that it shows alone; empty for the whole policy.
    """

    name: str
    policy: Policy
    step: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """One rendered image.

    Attributes:
        image_row: of the dataset.
        slice: which slice it belongs to.
        plan: what was drawn.
        dropped: the boxes that the plan leaves out.
        acts: whether the policy does something to this image: of a step alone, whether it happens in a training, where it is left to chance.
    """

    image_row: int
    slice: Slice
    plan: Plan
    dropped: list[Dropped]
    acts: bool


def slices_of(policy: Policy) -> list[Slice]:
    """Each step alone, with p 1, then the whole. Steps that act on batches, where a model is trained, have no slice.

    A step alone draws the same numbers as within the policy, as long as these do not depend on what the steps before left.
    """
    alone = [step for step in policy.steps if declaration(step.do).kind != "batch"]
    found = []
    for number, step in enumerate(alone, 1):
        one = msgspec.structs.replace(policy, steps=(msgspec.structs.replace(step, p=1.0),))
        # A point would lead into a document where FiftyOne keeps slices by name.
        found.append(Slice(f"{number} {step.id}".replace(".", "-").replace("$", "-"), one, step.id))
    return [*found, Slice(WHOLE, policy)]


def rendered(
    data: Dataset,
    policy: Policy,
    rows: Sequence[int],
    folder: Path,
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> tuple[Dataset, list[Shown]]:
    """Render every slice of some images into a folder: what a training with the same seed sees in its first epoch.

    Ignored annotations (crowds, difficult objects) are no training target; they stay with the original alone.

    Args:
        data: the dataset; also where a mix step takes its partners from.
        policy: what is shown.
        rows: image rows.
        folder: an existing folder.
        seed: first part of the random keys.
        progress: called with 1 for each image rendered.

    Returns:
        Tables: first the originals in the order of `rows`, then an image for each `Shown`, which are in the order of `rows`, and of
        `slices_of` within one.

    Raises:
        DataError: if an image cannot be read.
        ConfigError: if the policy makes no sense, or the folder cannot be written.
    """
    columns = slices_of(policy)
    jobs = [(place, column) for place in range(len(rows)) for column in range(len(columns))]

    def work(job: tuple[int, int]) -> tuple[Shown, Piece, list[float]]:
        place, column = job
        row, column_slice = int(rows[place]), columns[column]
        before = data.sample(row)
        key = (seed, 0, row)
        plan = column_slice.policy.plan(before, key, data)
        after = arrange(plan, before, data)
        file = folder / f"{place}-{column}.jpg"
        save_image(after.image, file, "jpg")
        done = steps_of(plan if not column_slice.step else policy.plan(before, key, data))
        shown = Shown(
            image_row=row,
            slice=column_slice,
            plan=plan,
            dropped=dropped(plan, before, data),
            acts=column_slice.step in done if column_slice.step else bool(done),
        )
        stem = f"{data.images.names[row]} ({column_slice.name})"
        piece = piece_of(data, before, after, stem, file, bent=any(warp.field for warp in plan.warps))
        return shown, piece, [] if after.seen_frac is None else after.seen_frac.tolist()

    found: list[tuple[Shown, Piece, list[float]]] = []
    # Decoding, warping and encoding run outside Python's lock, so threads are enough; the keys make their order irrelevant.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for one in pool.map(work, jobs):
                found.append(one)
                if progress is not None:
                    progress(1)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    tables, _ = assemble(data.take(rows), data, [piece for _, piece, _ in found], "jpg")
    return _with_origins(tables, data, rows, found), [shown for shown, _, _ in found]


def _with_origins(
    tables: Dataset, data: Dataset, rows: Sequence[int], found: Sequence[tuple[Shown, Piece, list[float]]]
) -> Dataset:
    """The tables with `VISIBLE` and `SOURCE`."""
    kept = np.isin(data.annotations.image_rows, np.asarray(rows, np.int64))  # as `take` keeps them, in its order
    sources: list[object] = list(np.flatnonzero(kept).tolist())
    seen: list[object] = [ABSENT] * len(sources)
    for _, piece, shares in found:
        sources += [row if row >= 0 else ABSENT for row in piece.rows.tolist()]
        seen += [*shares, *[ABSENT] * (len(piece.rows) - len(shares))]
    extra = {**tables.annotations.extra, VISIBLE: objects(seen), SOURCE: objects(sources)}
    return replace(tables, annotations=replace(tables.annotations, extra=extra))
