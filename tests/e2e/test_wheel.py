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


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("train ssd shelf", "train"),
        ("view shelf", "fiftyone"),
        ("view shelf --policy ssd", "fiftyone"),
        ("convert shelf fiftyone://shelf", "fiftyone"),
        ("fiftyone list", "fiftyone"),
        ("stats s3://bucket/set", "remote"),
        ("convert shelf s3://bucket/set --to coco", "remote"),
        ("validate shelf --engine ray", "ray"),
    ],
)
def test_what_needs_an_extra_says_which(installed, tmp_path, command, extra):
    done = run([str(installed / "augsuite"), *command.split()], tmp_path)
    assert done.returncode == 2
    assert f"pip install 'augsuite[{extra}]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_doctor_works_without_extras(installed, tmp_path):
    done = run([str(installed / "augsuite"), "doctor", "--quick", "convert"], tmp_path)
    assert done.returncode == 0, done.stdout
    assert run([str(installed / "augsuite"), "doctor", "--quick", "fiftyone"], tmp_path).returncode == 1


def test_all_files_of_the_packages_are_installed(installed):
    """Templates, schemas and the file by which FiftyOne knows a plugin are no Python."""
    (packages,) = installed.parent.glob("lib/*/site-packages")
    for source in (ROOT / "augsuite", ROOT / "plugins"):
        for path in source.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                place = path.relative_to(ROOT if source.name == "augsuite" else source)
                assert (packages / place).is_file(), place


def test_the_wheel_puts_no_folder_called_datasets_on_the_path(installed, tmp_path):
    code = "import importlib.util as u; print(u.find_spec('datasets'), u.find_spec('plugins'))"
    assert run([str(installed / "python"), "-c", code], tmp_path).stdout.strip() == "None None"
