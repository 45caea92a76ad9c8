"""A dataset in FiftyOne for a person to look at: stored under a name of its own, and found again as long as it is unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from augsuite.dataset import Dataset
from augsuite.dataset.digest import digest
from augsuite.errors import ConfigError, DataError
from augsuite_fiftyone.database import connect
from augsuite_fiftyone.store import store

INFO = "augsuite_view"
"""The key of `dataset.info` under which a view says what it shows."""


def view_dataset(
    data: Dataset,
    name: str,
    *,
    field: str = "ground_truth",
    samples: int | None = None,
    seed: int = 0,
    exact_name: bool = False,
    keep: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Any:
    """Put a dataset into FiftyOne, or find it there.

    It is found again if tables, options and the sizes of image files are as they were; what was tagged or corrected in the App is then
    still there.

    Images without a file are left out: there is nothing to see.

    Args:
        data: the dataset.
        name: what to call it in FiftyOne; where another dataset has that name, it is followed by `-2`, `-3`, ...
        field: the name of the label field.
        samples: show so many images, chosen at random; all by default.
        seed: of that choice.
        exact_name: take no other name than `name`.
        keep: it stays in FiftyOne's database.
        progress: called with the number of images stored, after each batch.

    Returns:
        The `fiftyone.Dataset`.

    Raises:
        ConfigError: if `exact_name` and another dataset has the name.
        DataError: if no image has a file, or the dataset cannot be stored.
    """
    data = _with_files(data)
    about = {"kind": "dataset", "field": field, "samples": samples, "seed": seed if samples is not None else 0}
    asked = identity(data, about)
    free, found = place(name, asked, exact_name=exact_name)
    if found is not None:
        if keep:
            found.persistent = True
        return found
    shown = data if samples is None or samples >= len(data) else data.take(_choice(len(data), samples, seed))
    dataset = store(shown, free, field=field, persistent=keep, progress=progress)
    dataset.app_config.color_scheme = connect(quiet=True).ColorScheme(color_by="value")  # a colour for each class
    mark(dataset, asked, about)
    return dataset


def identity(data: Dataset, about: Mapping[str, Any]) -> str:
    """A fingerprint of what is shown: the tables, where the files lie and how large they are, and what was asked for."""
    sizes = digest(_with_files(data), contents=False)
    lies = "\0".join([str(data.root.resolve()), *data.images.names.tolist(), *data.images.files.tolist()])
    said = msgspec.json.encode([sizes, lies, dict(about)], order="sorted")
    return hashlib.blake2b(said, digest_size=16).hexdigest()


def place(name: str, asked: str, *, exact_name: bool = False) -> tuple[str, Any]:
    """Find a free name, or the dataset that shows just what is asked for.

    Args:
        name: the name wished for.
        asked: the `identity` of what is asked for.
        exact_name: take no other.

    Returns:
        A name that no dataset has, and None; or a name and its `fiftyone.Dataset`.

    Raises:
        ConfigError: if `exact_name` and another dataset has it.
    """
    fo = connect(quiet=True)
    number = 1
    while True:
        candidate = name if number == 1 else f"{name}-{number}"
        if not fo.dataset_exists(candidate):
            return candidate, None
        dataset = fo.load_dataset(candidate)
        if (dataset.info.get(INFO) or {}).get("identity") == asked:
            return candidate, dataset
        if exact_name:
            raise ConfigError(
                f"FiftyOne has another dataset called {name!r}. Choose another --name, or delete it: augsuite fiftyone delete {name}"
            )
        number += 1


def mark(dataset: Any, asked: str, about: Mapping[str, Any]) -> None:
    """Say in a dataset what it shows, so that `place` finds it."""
    dataset.info[INFO] = {"identity": asked, **about}
    dataset.save()


def _with_files(data: Dataset) -> Dataset:
    there = np.flatnonzero(data.images.files != "")
    if not len(there):
        raise DataError(f"{data.root}: no image files were found. Put the images beside the annotations.")
    return data if len(there) == len(data) else data.take(there)


def _choice(count: int, samples: int, seed: int) -> Any:
    return np.sort(np.random.default_rng(seed).permutation(count)[:samples])
