"""The distribution as a stranger installs it: built, installed without extras into an empty environment, run elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The `bin` folder of an environment that holds the wheel and its base dependencies alone."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=True)
    binaries = folder / "env" / "bin"
    install = [str(binaries / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    return binaries


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_convert_works_without_extras(installed, tmp_path):
    names = run([str(installed / "python"), "-m", "pip", "list", "--format=json"], tmp_path).stdout
    assert not {"torch", "opencv-python-headless", "albumentations"} & {entry["name"] for entry in json.loads(names)}
    done = run([str(installed / "augsuite"), "convert", "shelf", "shelf-voc", "--to", "voc"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "coco -> voc" in done.stdout
    assert list((tmp_path / "shelf-voc" / "Annotations").glob("*.xml"))


def test_what_needs_an_extra_says_which(installed, tmp_path):
    done = run([str(installed / "augsuite"), "train", "ssd", "shelf"], tmp_path)
    assert done.returncode == 2
    assert "pip install 'augsuite[train]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_wheel_puts_no_folder_called_datasets_on_the_path(installed, tmp_path):
    code = "import importlib.util as u; print(u.find_spec('datasets'), u.find_spec('plugins'))"
    assert run([str(installed / "python"), "-c", code], tmp_path).stdout.strip() == "None None"
