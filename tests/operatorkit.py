"""The operators of augsuite, called as FiftyOne calls them."""

from __future__ import annotations

import os

import numpy as np
import PIL.Image
import pytest

URI = "@augsuite/app/"


@pytest.fixture(scope="session")
def operate(fo):
    """A function that runs an operator: its name, a dataset or view, its parameters and what else FiftyOne's context takes."""
    from augsuite_fiftyone.app_plugin.install import FOLDER, offered

    before = os.environ.get(FOLDER), fo.config.plugins_dir
    os.environ[FOLDER] = fo.config.plugins_dir = str(offered())
    import fiftyone.operators as foo

    def run(name, samples, params=None, **context):
        place = {"view": samples} if isinstance(samples, fo.DatasetView) else {"dataset": samples}
        return foo.execute_operator(URI + name, **place, params=params or {}, **context)

    yield run
    os.environ.pop(FOLDER) if before[0] is None else os.environ.update({FOLDER: before[0]})
    fo.config.plugins_dir = before[1]


@pytest.fixture(scope="session")
def form_of(fo, operate):
    """A function that gives the form of an operator as the App gets it."""
    from fiftyone.operators.executor import ExecutionContext
    from fiftyone.operators.registry import OperatorRegistry

    registry = OperatorRegistry()

    def resolve(name, samples, params=None, **request):
        dataset = samples._dataset if isinstance(samples, fo.DatasetView) else samples
        view = samples._serialize() if isinstance(samples, fo.DatasetView) else []
        context = ExecutionContext({"dataset_name": dataset.name, "view": view, "params": params or {}, **request})
        return registry.get_operator(URI + name).resolve_type(context, "inputs").to_json()["type"]["properties"]

    return resolve


@pytest.fixture
def dataset(fo):
    """An empty dataset of FiftyOne's own making, gone after the test."""
    made = fo.Dataset()
    yield made
    if made.name in fo.list_datasets():
        fo.delete_dataset(made.name)


def picture(path, size, colour=(30, 60, 90), spots=()):
    """An image file: plain, with `(left, top, right, bottom, colour)` rectangles."""
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[:] = colour
    for left, top, right, bottom, other in spots:
        pixels[top:bottom, left:right] = other
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)
    return str(path)


def new_samples(dataset):
    """The samples that operators added."""
    dataset.reload()
    return list(dataset.exists("augmentation.run")) if dataset.has_field("augmentation") else []
