"""The format `fiftyone`: datasets in FiftyOne's database, called `fiftyone://NAME`.

Detection asks every format about every path, so nothing heavy is imported here before a dataset of FiftyOne is meant.
"""

from __future__ import annotations

from pathlib import Path

from augsuite.dataset.checks import Intake
from augsuite.dataset.progress import advance
from augsuite.dataset.tables import Dataset
from augsuite.dataset.urls import url_of
from augsuite.errors import ConfigError, nearest
from augsuite.protocols import Losses

SCHEME = "fiftyone"


def detect(path: Path) -> float:
    """1 for a dataset that is in FiftyOne's database."""
    url = url_of(path)
    if url is None or url.scheme != SCHEME:
        return 0.0
    from augsuite_fiftyone.database import connect

    return float(connect().dataset_exists(url.rest))


def read(path: Path, intake: Intake, field: str = "", view: str = "") -> Dataset:
    """Read a dataset of FiftyOne; see `augsuite_fiftyone.loading`.

    Args:
        path: `fiftyone://NAME`.
        intake: takes what is invalid.
        field: the label field.
        view: the name of a saved view to read in place of the whole.

    Raises:
        ConfigError: if there is no such dataset, view or field.
        DataError: see `load`.
    """
    from augsuite_fiftyone.database import connect
    from augsuite_fiftyone.loading import load

    fo, name = connect(), _name(path)
    if not fo.dataset_exists(name):
        raise ConfigError(
            f"{SCHEME}://{name}: FiftyOne has no dataset of that name. {nearest(name, fo.list_datasets())}"
        )
    dataset = fo.load_dataset(name)
    if not view:
        return load(dataset, field, intake)
    if not dataset.has_saved_view(view):
        raise ConfigError(f"{SCHEME}://{name}: has no saved view {view!r}. {nearest(view, dataset.list_saved_views())}")
    return load(dataset.load_saved_view(view), field, intake)


def store(
    data: Dataset, place: Path, losses: Losses, *, overwrite: bool, field: str = "ground_truth", delete: str = ""
) -> None:
    """Put a dataset into FiftyOne; see `augsuite_fiftyone.store`.

    Args:
        data: the dataset.
        place: `fiftyone://NAME`.
        losses: stays empty: nothing is lost.
        overwrite: whether a dataset that is there may be replaced; its name must be typed again, as `delete`.
        field: the label field.
        delete: the name of the dataset that is replaced.

    Raises:
        ConfigError: if a dataset would be deleted whose name was not typed.
        DataError: see `store`.
    """
    del losses
    from augsuite_fiftyone import store as stores
    from augsuite_fiftyone.database import connect

    fo, name = connect(), _name(place)
    if overwrite and fo.dataset_exists(name) and delete != name:
        raise ConfigError(
            f"{SCHEME}://{name}: FiftyOne's dataset would be deleted. Type its name again to allow it: --overwrite --option 'delete={name}'."
        )
    stores.store(
        data, name, field=field, overwrite=overwrite, progress=lambda count: advance("storing", count, len(data))
    )


def _name(place: Path) -> str:
    url = url_of(place)
    return str(place) if url is None else url.rest
