"""A study's results to go on with: `augsuite.read_study`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.dataset import Dataset
from augsuite.dataset.digest import digest
from augsuite.errors import AugsuiteError, ConfigError, DataError
from augsuite.study.curves import Curves, logged
from augsuite.study.file import StudyFile, parts
from augsuite.study.predicted import Predicted, paired, read_predicted
from augsuite.study.report_words import Said, headline, question, verdicts
from augsuite.study.session import align_categories
from augsuite.study.store import Origin, State, Store
from augsuite.study.summary import MARKS, Arm, Summary, summarize, table


@dataclass(frozen=True)
class StudyResults:
    """What a study found, its test images, and what each run said of them.

    Attributes:
        folder: of the study.
        summary: arms with their effects, as `augsuite study show` prints them.
        val: the images measured on, with the categories trained on.
        predicted: arm -> seed -> the run's predictions, matched with the ground truth; of runs that are not complete, and of
            trainers that leave none, nothing.
    """

    folder: Path
    summary: Summary
    val: Dataset
    predicted: Mapping[str, Mapping[int, Predicted]]

    @property
    def state(self) -> State:
        """The question: arms with their policies, reference, metric, seeds."""
        return self.summary.state

    @property
    def name(self) -> str:
        """The study's."""
        return self.state.study

    @property
    def metric(self) -> str:
        """What is compared: `AP` or `top1`, for the bundled trainers."""
        return self.state.metric

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return self.state.reference

    @property
    def arms(self) -> Mapping[str, Arm]:
        """Name -> mean, effect with interval, verdict and cost, in the order of the study file."""
        return {arm.arm: arm for arm in self.summary.arms}

    @cached_property
    def curves(self) -> Curves:
        """What complete runs logged over their epochs; at most four values, the study's metric first."""
        return logged(self.summary, Store(self.folder), set(self.state.arms))

    def run_folder(self, arm: str, seed: int) -> Path:
        """The folder of one run, with `model.pt` and its predictions.

        Raises:
            KeyError: if the study has no such run.
        """
        digests = {(run.arm, run.seed): run.digest for run in self.state.runs}
        return Store(self.folder).run_folder(digests[arm, seed])

    def image_values(self, arm: str) -> NDArray[np.float64]:
        """`(I,)` an arm's value on each image, over its seeds, in percent: average precision at IoU 0.5 of the image alone, or the
        share of seeds that named its label. NaN where there is nothing to be found, or no prediction.
        """  # noqa: D205 - what the numbers are takes two lines
        runs = self.predicted.get(arm, {})
        if not runs:
            return np.full(len(self.val), np.nan)
        return np.asarray(np.mean([one.values for one in runs.values()], axis=0))

    def image_effects(self, arm: str) -> NDArray[np.float64]:
        """`(I,)` arm minus reference on each image, over the seeds that both have; NaN as in `image_values`."""
        seeds, before, after = paired(self.predicted, arm, self.reference)
        return np.asarray((after - before).mean(axis=0)) if seeds else np.full(len(self.val), np.nan)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and cells of the table that `augsuite study run` prints."""
        return table(self.summary)

    def question(self) -> str:
        """What the study asks, in a sentence."""
        return question(self.state)

    def headline(self) -> str:
        """What it found, in a sentence."""
        return headline(self.summary)

    def verdicts(self) -> list[Said]:
        """A sentence on each arm."""
        return verdicts(self.summary)

    def mark(self, arm: str) -> str:
        """How an arm's verdict is coloured: `good`, `bad`, `open`, or `reference`."""
        effect = self.arms[arm].effect
        return MARKS[effect.verdict] if effect is not None else "reference" if arm == self.reference else "open"


def read_study(folder: str | Path, dataset: str | None = None) -> StudyResults:
    """Read what a study found so far, with its test images and predictions.

    Args:
        folder: the study's, as `augsuite study run` made it.
        dataset: where the images measured on are now, if not where they were when the study ran: a path, or the name of a bundled
            dataset.

    Raises:
        ConfigError: if the folder holds no study, or the study does not say where its images are.
        DataError: if they are not there any more, or others than those that the study measured on.
    """
    store = Store(Path(folder))
    state = store.state()
    if state.origin is None:
        raise ConfigError(
            f"{folder}: this study was run before studies kept where their images are. Run its file again."
        )
    val = _val(store.folder, state, state.origin, dataset)
    return StudyResults(
        folder=store.folder,
        summary=summarize(state, store),
        val=val,
        predicted=read_predicted(state, store, val),
    )


def _val(folder: Path, state: State, origin: Origin, dataset: str | None) -> Dataset:
    """The images measured on."""
    where = origin
    if dataset is not None and origin.val_dataset is None:
        where = msgspec.structs.replace(origin, dataset=dataset)
    elif dataset is not None:  # the images trained on are read as well: predictions go by the ids of their categories
        both = origin.val_dataset == origin.dataset
        where = msgspec.structs.replace(origin, dataset=dataset if both else origin.dataset, val_dataset=dataset)
    asked = StudyFile(
        study=state.study,
        trainer=state.trainer,
        arms={},
        dataset=str(where.dataset),
        val_dataset=where.val_dataset,
        split=where.split,
    )
    try:
        train, val = parts(asked, folder / "study.json")
        val = align_categories(val, train)
        found = digest(val)
    except AugsuiteError as error:
        raise DataError(
            f"{folder}: the images of the study cannot be read: {error} Say where they are: --images."
        ) from error
    if found != state.data["val"]:
        raise DataError(
            f"{folder}: the images in {where.val_dataset or where.dataset} are not those that the study measured on "
            f"({len(val)} with the digest {found}; {state.images['val']} with {state.data['val']}). Name theirs with --images."
        )
    return val
