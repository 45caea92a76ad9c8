"""What tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Before anything imports torch or OpenCV, which read them then. Several processes of pytest share the cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ.setdefault(_name, "1")

import PIL.Image  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

pytest_plugins = ("fiftyonekit", "browserkit", "operatorkit", "remotekit")

# How long an example takes is the machine's affair.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

if os.environ.get("AUGSUITE_DATA"):
    # Some tests run commands in folders of their own, from which a relative path would lead elsewhere.
    os.environ["AUGSUITE_DATA"] = str(Path(os.environ["AUGSUITE_DATA"]).resolve())

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as a shell leaves it for what it runs in the background: processes
    signal.signal(signal.SIGINT, signal.default_int_handler)  # that tests start and interrupt would inherit that


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """The longest first: of what several processes share, none is left alone with one of minutes at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def image_file():
    """A function that writes a plain image: path, (width, height)."""

    def write(path, size, colour=(90, 120, 30)):
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", size, colour).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def real_data():
    """The folder of real datasets."""
    folder = os.environ.get("AUGSUITE_DATA")
    if not folder:
        pytest.skip("real data is found through AUGSUITE_DATA, which is not set")
    return Path(folder)
