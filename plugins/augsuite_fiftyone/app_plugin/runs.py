"""Runs that were made: which there are, taking one back, and rendering its plans again."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from bson import ObjectId

from augsuite import ConfigError, DataError
from augsuite.augment.replay import Record, digest, replay
from augsuite.augment.resample import opencv
from augsuite.dataset import Sample
from augsuite.dataset.images import Image
from augsuite_fiftyone.app_plugin.originals import Originals
from augsuite_fiftyone.labels import Document

ABOUT = "augmentation"
"""The field of augmented samples that says where they come from: `source`, `run`, `policy`, `plan` and `drawn`."""

METHOD = "augsuite"
"""By which runs of ours are known among FiftyOne's custom runs."""

_QUALITY = 95
_OURS = re.compile(r".+_aug\d+_\d+\.(jpg|png)")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Stored(Record, frozen=True, kw_only=True):
    """A plan as a sample holds it.

    Attributes:
        images: the rows that the plan names, as text -> the ids of their samples.
    """

    images: dict[str, str] = msgspec.field(default_factory=dict)


def save_image(image: Image, path: Path) -> None:
    """Encode once, as RGB, and write."""
    cv2 = opencv()
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY] if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    try:
        path.write_bytes(data.data)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror or error}). Choose another folder.") from error


def check_key(dataset: Any, run: str) -> None:
    """Refuse what cannot be the key of a new run.

    Raises:
        ConfigError: if it is no identifier, or taken.
    """
    if not _KEY.fullmatch(run):
        raise ConfigError(f"{run[:80]!r} cannot be a run's name. Use letters, digits and _, and begin with a letter.")
    if run in dataset.list_runs():
        raise ConfigError(f"there is a run {run!r} already. Choose another name.")


def runs(dataset: Any) -> list[str]:
    """The keys of the runs of ours in a dataset, the last one first."""
    return list(reversed(dataset.list_runs(method=METHOD)))


@dataclass(frozen=True)
class Undone:
    """What was taken back.

    Attributes:
        samples: how many samples were removed.
        files: how many files.
        left: what else lies in the run's folder, and so stays with it.
    """

    samples: int
    files: int
    left: int


def samples_of(dataset: Any, run: str) -> list[str]:
    """The ids of the samples that a run made."""
    if ABOUT not in dataset.get_field_schema():
        return []
    found = dataset._sample_collection.find({f"{ABOUT}.run": run}, {"_id": True})  # noqa: SLF001 - exactly ours, in any view
    return [str(document["_id"]) for document in found]


def undo(dataset: Any, run: str) -> Undone:
    """Remove the samples of a run and its files, and nothing else.

    Raises:
        ConfigError: if there is no such run of ours.
    """
    folder = Path(dataset.get_run_info(run).config.folder) if run in runs(dataset) else None
    ids = samples_of(dataset, run)
    if folder is None and not ids:
        raise ConfigError(f"there is no run {run!r} of augsuite in this dataset.")
    if ids:
        dataset.delete_samples(ids)
    files = left = 0
    if folder is not None and folder.name == run and folder.is_dir():
        for path in folder.iterdir():
            if _OURS.fullmatch(path.name) and path.is_file():
                path.unlink()
                files += 1
            else:
                left += 1
        if not left:
            shutil.rmtree(folder)
    if folder is not None:
        dataset.delete_run(run)
    return Undone(len(ids), files, left)


@dataclass(frozen=True)
class Replayed:
    """What rendering a stored plan again gave.

    Attributes:
        image: `(H, W, 3)` uint8.
        same: whether the pixels are those of then.
        written: whether the file was missing, and was written again.
    """

    image: Image
    same: bool
    written: bool


def replayed(dataset: Any, sample_id: str) -> Replayed:
    """Render the plan of an augmented sample again; its file is written where it is gone.

    Raises:
        ConfigError: if the sample has no plan of ours, or an original is gone.
        DataError: if the plan does not fit the images as they are now.
    """
    documents = dataset._sample_collection.find({"_id": ObjectId(sample_id)}, {ABOUT: True, "filepath": True})  # noqa: SLF001
    document: Document = next(iter(documents), {})
    about = document.get(ABOUT) or {}
    try:
        stored = msgspec.json.decode(about.get("plan") or "", type=Stored)
    except msgspec.DecodeError:
        raise ConfigError(f"the sample {sample_id} has no plan of augsuite. Choose samples that a run made.") from None
    run = about.get("run")
    fields = dataset.get_run_info(run).config.fields if run in runs(dataset) else []
    pool = _Rows(Originals.of(dataset, fields, list(stored.images.values())), list(stored.images))
    result: Sample = replay(stored, pool.sample(stored.key[2]), pool)
    path = Path(document["filepath"])
    missing = not path.exists()
    if missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(result.image, path)
    return Replayed(result.image, digest(result.image) == stored.sha256, missing)


@dataclass(frozen=True)
class _Rows:
    """A pool of a few samples that answers by the rows that they had when the plan was drawn."""

    pool: Originals
    rows: list[str]

    def __len__(self) -> int:
        return max(map(int, self.rows)) + 1

    def sample(self, row: int) -> Sample:
        if str(row) not in self.rows:
            raise DataError(f"the plan names the image {row}, which is not stored with it. Draw it again.")
        return self.pool.sample(self.rows.index(str(row)))
