"""Shards on a real Ray cluster of two worker processes: a worker that dies, a disk that is full, a shard that is damaged."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import augsuite
from augsuite.dataset import Annotations, Categories, Dataset, Images, Intake
from augsuite.dataset.parallel import Retried
from augsuite.engines.choice import at_work
from augsuite.errors import DataError

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="kills processes as Linux does"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of its next version
]
COUNT = 14
FORMATS = {"webdataset": {"shard_samples": "3"}, "parquet": {"embed": "yes", "shard_samples": "3"}}


@pytest.fixture(scope="module")
def two(address):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Photographs of noise with a box each."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    names = [f"{row}.jpg" for row in range(COUNT)]
    for name in names:
        PIL.Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(folder / name, quality=90)
    boxes = Annotations.of(range(COUNT), [0] * COUNT, [[1, 2, 30, 40]] * COUNT)
    data = Dataset(Images.of(names, [[80, 60]] * COUNT, files=names), Categories.of(["cat"]), boxes, root=folder)
    augsuite.write(data, folder / "coco", "coco")
    return folder / "coco"


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """What one process wrote."""
    folder = tmp_path_factory.mktemp("whole")
    for name, options in FORMATS.items():
        augsuite.convert(source, folder / name, name, options=options)
    return folder


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def deadly(kind, sign: Path):
    """A shard whose worker is killed in the midst of writing, while there is a sign."""

    @dataclass
    class Deadly(kind):
        def write(self, path):
            if sign.exists() and "000001" in self.name.replace("-00001.", "-000001."):
                sign.unlink()
                path.write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            super().write(path)

    return Deadly


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("name", FORMATS)
def test_a_worker_that_is_killed_costs_nothing(source, whole, tmp_path, monkeypatch, name):
    from augsuite_parquet import embedded
    from augsuite_webdataset import writer

    module = {"webdataset": writer, "parquet": embedded}[name]
    (tmp_path / "sign").touch()
    monkeypatch.setattr(module, "Shard", deadly(module.Shard, tmp_path / "sign"))
    retried: list[Retried] = []
    with at_work("ray", 2, retried=retried):
        augsuite.write(augsuite.read(source), tmp_path / "out", name, **FORMATS[name])
    assert not (tmp_path / "sign").exists()
    assert content(tmp_path / "out") == content(whole / name)
    assert len(retried) == 1


@pytest.mark.usefixtures("two")
def test_a_damaged_shard_is_named_and_can_be_left_out(whole, tmp_path):
    shutil.copytree(whole / "webdataset", tmp_path / "damaged")
    shard = tmp_path / "damaged" / "unsplit-000001.tar"
    with tarfile.open(shard) as tar:
        at = tar.getmember("000000004.jpg").offset_data
    os.truncate(shard, at + 100)
    said = []
    for engine in ("local", "ray"):
        with at_work(engine, 2):
            with pytest.raises(DataError, match=r"ends in the middle of 000000004.jpg"):
                augsuite.write(augsuite.read(tmp_path / "damaged"), tmp_path / engine, **_csv())
            assert not (tmp_path / engine).exists()
            intake = Intake(skip_invalid=True)
            augsuite.write(augsuite.read(tmp_path / "damaged", intake=intake), tmp_path / engine, **_csv())
        said.append(intake.skipped)
    assert content(tmp_path / "local") == content(tmp_path / "ray")
    assert said[0] == said[1]
    assert said[0][0].endswith("Left out: 2 of 3 samples.")


def _csv():
    return {"format": "webdataset", "shard_samples": "2"}


FULL = """
set -e
mount -t tmpfs -o size=96k none "$1"
set +e
"$2" -m augsuite convert "$3" "$1/out" --to webdataset --option shard_samples=3 --engine ray --workers 2; echo "status $?"
ls -A "$1"
set -e
mount -o remount,size=64m "$1"
"$2" -m augsuite convert "$3" "$1/out" --to webdataset --option shard_samples=3 --engine ray --workers 2 >&2
cp -r "$1/out" "$4"
ls -A "$1"
"""


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_costs_what_was_not_finished(source, whole, tmp_path):
    """Two commands, each with a cluster of its own, in a place where a small file system may be mounted."""
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this system does not let a test mount a small file system")
    (tmp_path / "disk").mkdir()
    names = [str(each) for each in (tmp_path / "disk", sys.executable, source, tmp_path / "copied")]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", FULL, "sh", *names],
        capture_output=True, text=True, check=False, timeout=550, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("status 2", "out")
    (said,) = [line for line in done.stderr.splitlines() if os.strerror(errno.ENOSPC) in line]
    assert "unsplit-00000" in said
    assert "the same command goes on from there" in said
    assert content(tmp_path / "copied") == content(whole / "webdataset")
