"""What tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import PIL.Image
import pytest

if os.environ.get("AUGSUITE_DATA"):
    # Some tests run commands in folders of their own, from which a relative path would lead elsewhere.
    os.environ["AUGSUITE_DATA"] = str(Path(os.environ["AUGSUITE_DATA"]).resolve())

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as a shell leaves it for what it runs in the background: processes
    signal.signal(signal.SIGINT, signal.default_int_handler)  # that tests start and interrupt would inherit that


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
