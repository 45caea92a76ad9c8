"""Shards and what goes wrong: writers killed, disks full, files cut and bytes turned."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile

import numpy as np
import PIL.Image
import pytest

import augsuite
from augsuite.dataset import Intake
from augsuite.errors import DataError

OPTIONS = ["--to", "webdataset", "--option", "shard_samples=3"]
COUNT = 14  # five shards
DIES = """
import os, signal, sys
from augsuite.dataset import resuming
left = [int(sys.argv[1])]
def dies(*_):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
resuming.advance = dies
from augsuite.cli import main
main(sys.argv[2:])
"""
"""The command, killed when it hears of the last of so many shards."""


def call(*arguments, **options):
    return subprocess.run(
        [str(part) for part in arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        **options,
    )


def convert(source, target, *more):
    done = call(sys.executable, "-m", "augsuite", "convert", source, target, *OPTIONS, *more)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Photographs of noise with a box each, as COCO."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    coco = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    for row in range(COUNT):
        pixels = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{row}.jpg", quality=90)
        coco["images"].append({"id": row + 1, "file_name": f"{row}.jpg", "width": 80, "height": 60})
        box = [row + 0.25, 2, 30.5, 30]
        coco["annotations"].append({"id": row + 1, "image_id": row + 1, "category_id": 1, "bbox": box})
    (folder / "annotations.json").write_text(json.dumps(coco))
    return folder


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """What nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    convert(source, folder)
    assert len(list(folder.glob("*.tar"))) == 5
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def partial(folder):
    """The temporary folder that a killed writer left beside `folder`."""
    assert not folder.exists(), "nobody may take it for a whole one"
    (found,) = folder.parent.glob(f".{folder.name}.*.partial")
    return found


def killed(source, target, after=2, *more):
    done = call(sys.executable, "-c", DIES, after, "convert", source, target, *OPTIONS, *more)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return partial(target)


@pytest.mark.parametrize("more", [[], ["--stream"], ["--workers", "2"]], ids=["plain", "stream", "workers"])
def test_a_killed_conversion_goes_on_and_ends_with_the_same_bytes(source, whole, tmp_path, more):
    left = killed(source, tmp_path / "out", 2, *more)
    assert not (left / "dataset.json").exists()
    before = {name: (left / name).stat() for name in ("unsplit-000000.tar", "unsplit-000001.tar")}
    convert(source, tmp_path / "out", *more)
    assert content(tmp_path / "out") == content(whole)
    for name, stat in before.items():
        after = (tmp_path / "out" / name).stat()
        assert (after.st_ino, after.st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns), "kept, not written again"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_killed_again_and_again_and_never_the_same_shard_twice(source, whole, tmp_path):
    seen = {}
    for number in range(4):
        left = killed(source, tmp_path / "out", number + 1)
        times = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in left.glob("*.tar")}
        assert len(times) == number + 1
        assert seen.items() <= times.items()
        seen = times
    convert(source, tmp_path / "out")
    assert content(tmp_path / "out") == content(whole)


def _turn_a_byte(left, _):
    shard = left / "unsplit-000000.tar"
    data = bytearray(shard.read_bytes())
    data[2000] ^= 1
    shard.write_bytes(data)


def _cut(left, _):
    os.truncate(left / "unsplit-000001.tar", 700)


def _remove(left, _):
    (left / "unsplit-000000.tar").unlink()


def _tear_the_list(left, _):
    for path in (left / "finished").iterdir():
        path.write_bytes(path.read_bytes()[:-20])


def _leave_something(left, _):
    (left / "stranger.tar").write_bytes(b"?")
    (left / "dataset.json").write_text("{")


def _change_an_image(_, source):
    PIL.Image.new("RGB", (80, 60), (1, 2, 3)).save(source / "1.jpg")


def _add_an_image(_, source):
    """Between others: it moves all that follow."""
    shutil.copy(source / "3.jpg", source / "more.jpg")
    coco = json.loads((source / "annotations.json").read_text())
    coco["images"].insert(4, {"id": 99, "file_name": "more.jpg", "width": 80, "height": 60})
    (source / "annotations.json").write_text(json.dumps(coco))


def _move_a_box(_, source):
    text = (source / "annotations.json").read_text()
    (source / "annotations.json").write_text(text.replace("0.25,", "0.75,"))


@pytest.mark.parametrize(
    "change",
    [_turn_a_byte, _cut, _remove, _tear_the_list, _leave_something, _change_an_image, _add_an_image, _move_a_box],
)
def test_what_no_longer_fits_is_written_again(source, tmp_path, change):
    own = tmp_path / "source"
    shutil.copytree(source, own)
    change(killed(own, tmp_path / "out"), own)
    convert(own, tmp_path / "out")
    convert(own, tmp_path / "judge")
    assert content(tmp_path / "out") == content(tmp_path / "judge")
    assert len(augsuite.read(tmp_path / "out")) == len(augsuite.read(own))


def test_another_format_takes_nothing_over(source, tmp_path):
    killed(source, tmp_path / "out")
    augsuite.convert(source, tmp_path / "out", "csv")
    assert not list((tmp_path / "out").rglob("*.tar"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_old_output_stays_until_the_new_one_is_whole(source, whole, tmp_path):
    augsuite.convert(source, tmp_path / "out", "csv")
    old = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    done = call(sys.executable, "-c", DIES, 2, "convert", source, tmp_path / "out", *OPTIONS, "--overwrite")
    assert done.returncode == -signal.SIGKILL
    assert old == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    convert(source, tmp_path / "out", "--overwrite")
    assert content(tmp_path / "out") == content(whole)


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from augsuite.cli import main
main(sys.argv[2:])
"""
"""The command, where no file may grow beyond a size. Python ignores the signal, and gets EFBIG."""


@pytest.mark.parametrize("more", [[], ["--workers", "2"]], ids=["plain", "workers"])
def test_a_file_that_may_not_grow_is_one_line_and_costs_what_was_not_finished(source, tmp_path, more):
    """The third shard is larger than the limit; so it is the two before it that are kept."""
    own = tmp_path / "source"
    shutil.copytree(source, own)
    (own / "7.jpg").write_bytes((own / "7.jpg").read_bytes() + bytes(100_000))
    convert(own, tmp_path / "judge")
    limit = 60_000
    sizes = {name: len(data) for name, data in content(tmp_path / "judge").items()}
    assert [name for name, size in sizes.items() if size > limit] == ["unsplit-000002.tar"]
    augsuite.convert(source, tmp_path / "out", "csv")
    old = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    command = ["convert", own, tmp_path / "out", *OPTIONS, "--overwrite", *more]
    done = call(sys.executable, "-c", LIMITED, limit, *command)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "unsplit-000002.tar" in line
    assert os.strerror(errno.EFBIG) in line
    assert "the same command goes on from there" in line
    assert old == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    (left,) = tmp_path.glob(".out.*.partial")
    assert str(left) in line
    kept = {path.name for path in left.iterdir()} - {"finished"}
    assert {"unsplit-000000.tar", "unsplit-000001.tar"} <= kept <= sizes.keys() - {"unsplit-000002.tar"}
    assert kept == {path.name.removesuffix(".json") for path in (left / "finished").iterdir()}
    done = call(sys.executable, "-m", "augsuite", *command)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "out") == content(tmp_path / "judge")
    assert not list(tmp_path.glob(".out*"))


FULL = """
set -e
mount -t tmpfs -o size=96k none "$1"
set +e
"$2" -m augsuite convert "$3" "$1/out" --to webdataset --option shard_samples=3; echo "status $?"
ls -A "$1"
set -e
mount -o remount,size=64m "$1"
"$2" -m augsuite convert "$3" "$1/out" --to webdataset --option shard_samples=3 >&2
cp -r "$1/out" "$4"
ls -A "$1"
"""


def test_a_full_disk_is_one_line_and_costs_what_was_not_finished(source, whole, tmp_path):
    """A file system of 96 kB, enlarged afterwards."""
    if not shutil.which("unshare") or call("unshare", "-rm", "mount", "-t", "tmpfs", "none", tmp_path).returncode:
        pytest.skip("this system does not let a test mount a small file system")
    (tmp_path / "disk").mkdir()
    names = (tmp_path / "disk", sys.executable, source, tmp_path / "copied")
    done = call("unshare", "-rm", "sh", "-c", FULL, "sh", *names)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    assert first == "status 2"
    assert done.stdout.splitlines()[1].endswith(".partial")
    assert second == "out"
    line = done.stderr.splitlines()[0]
    assert f"{tmp_path / 'disk'}/.out" in line
    assert os.strerror(errno.ENOSPC) in line
    assert content(tmp_path / "copied") == content(whole)


# Shards that are damaged


@pytest.fixture
def damaged(whole, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    return folder


def place_of(shard, name):
    with tarfile.open(shard) as tar:
        return tar.getmember(name).offset, tar.getmember(name).offset_data


def rows_of(folder, intake=None):
    return augsuite.read(folder, intake=intake).images.names.tolist()


def test_a_cut_shard(damaged, tmp_path):
    """In the second picture of the second shard, so that four of fourteen pictures are left of the first two shards."""
    shard = damaged / "unsplit-000001.tar"
    os.truncate(shard, place_of(shard, "000000004.jpg")[1] + 100)
    with pytest.raises(DataError, match=r"unsplit-000001.tar: ends in the middle of 000000004.jpg"):
        augsuite.convert(damaged, tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()
    done = augsuite.convert(damaged, tmp_path / "out", "coco", skip_invalid=True)
    assert done.images == COUNT - 2
    (said,) = done.skipped
    assert "unsplit-000001.tar: ends in the middle of 000000004.jpg" in said
    assert said.endswith("Left out: 2 of 3 samples.")
    back = augsuite.read(tmp_path / "out")
    assert back.images.names.tolist() == [f"{row}.jpg" for row in range(COUNT) if row not in {4, 5}]
    assert back.sample(3).image.shape == (60, 80, 3), "whole pictures of a cut shard can be had"


def test_validate_names_the_shard_and_the_member(damaged):
    shard = damaged / "unsplit-000001.tar"
    os.truncate(shard, place_of(shard, "000000004.jpg")[1] + 100)
    other = damaged / "unsplit-000003.tar"
    data = other.read_bytes()
    at = place_of(other, "000000010.json")[1]
    other.write_bytes(data[:at] + b"?" + data[at + 1 :])
    done = call(sys.executable, "-m", "augsuite", "validate", damaged)
    assert done.returncode == 1, done.stderr
    said = " ".join(done.stdout.split())
    assert "unsplit-000001.tar: ends in the middle of 000000004.jpg" in said
    assert "unsplit-000003.tar: 000000010.json" in said


def test_damaged_json_costs_its_sample(damaged, tmp_path):
    shard = damaged / "unsplit-000002.tar"
    data = shard.read_bytes()
    at = place_of(shard, "000000007.json")[1]
    shard.write_bytes(data[:at] + b"?" + data[at + 1 :])
    with pytest.raises(DataError, match=r"unsplit-000002.tar: 000000007.json"):
        augsuite.convert(damaged, tmp_path / "out", "csv")
    assert not (tmp_path / "out").exists()
    done = augsuite.convert(damaged, tmp_path / "out", "csv", skip_invalid=True)
    assert done.images == COUNT - 1
    assert len(done.skipped) == 1
    assert "7.jpg" not in rows_of(tmp_path / "out")


def test_a_damaged_head_costs_what_follows_it_in_its_shard(damaged):
    shard = damaged / "unsplit-000000.tar"
    data = bytearray(shard.read_bytes())
    data[place_of(shard, "000000001.jpg")[0] + 3] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match=r"unsplit-000000.tar: byte"):
        rows_of(damaged)
    intake = Intake(skip_invalid=True)
    assert rows_of(damaged, intake) == [f"{row}.jpg" for row in range(COUNT) if row not in {1, 2}]
    assert "Left out: 2 of 3 samples." in intake.skipped[0]


def test_a_lost_shard_is_missed(damaged):
    (damaged / "unsplit-000003.tar").unlink()
    with pytest.raises(DataError, match=r"unsplit-000003.tar: is not there, and dataset.json lists it with 3 samples"):
        rows_of(damaged)
    intake = Intake(skip_invalid=True)
    assert len(rows_of(damaged, intake)) == COUNT - 3
    assert len(intake.skipped) == 1


def test_a_shard_with_fewer_samples_than_were_written(damaged, whole):
    shutil.copy(whole / "unsplit-000004.tar", damaged / "unsplit-000001.tar")
    with pytest.raises(DataError, match=r"unsplit-000001.tar: expected 3 samples, as dataset.json says, got 2"):
        rows_of(damaged)


def test_a_turned_bit_in_a_picture_is_seen_when_bytes_are_looked_at(damaged):
    shard = damaged / "unsplit-000001.tar"
    data = bytearray(shard.read_bytes())
    data[place_of(shard, "000000004.jpg")[1] + 900] ^= 1
    shard.write_bytes(data)
    assert len(rows_of(damaged)) == COUNT
    with pytest.raises(DataError, match=r"unsplit-000001.tar: its bytes are not those that were written"):
        augsuite.read(damaged, verify="bytes")
    intake = Intake(skip_invalid=True)
    assert len(augsuite.read(damaged, intake=intake, verify="bytes")) == COUNT - 3
    assert len(intake.skipped) == 1


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_cut_shards_of_others(tmp_path, ending):
    """Random bytes, which gzip cannot shorten; without a list of shards nobody knows how many samples are lost."""
    rng = np.random.default_rng(1)
    place = tmp_path / "in"
    place.mkdir()
    shard = place / f"a-000.{ending}"
    with tarfile.open(shard, "w:gz" if ending == "tar.gz" else "w") as tar:
        for name in ("a", "b", "c"):
            for suffix, said in ((".cls", b"7"), (".jpg", rng.bytes(20_000))):
                info = tarfile.TarInfo(name + suffix)
                info.size = len(said)
                tar.addfile(info, io.BytesIO(said))
    assert rows_of(place) == ["a.jpg", "b.jpg", "c.jpg"]
    os.truncate(shard, 31_000 if ending == "tar" else 30_000)
    with pytest.raises(DataError, match=f"a-000.{ending}"):
        rows_of(place)
    intake = Intake(skip_invalid=True)
    assert rows_of(place, intake) == ["a.jpg"]
    assert "and those after it" in intake.skipped[-1]


def test_damage_before_the_picture_costs_the_sample_too(tmp_path, image_file):
    """Others may put the JSON first; then the picture must not become one without annotations."""
    image_file(tmp_path / "i.png", (30, 20))
    place = tmp_path / "in"
    place.mkdir()
    with tarfile.open(place / "a-0.tar", "w") as tar:
        for name, said in {"a.json": b"{?", "a.png": (tmp_path / "i.png").read_bytes(), "b.cls": b"1"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(said)
            tar.addfile(info, io.BytesIO(said))
    intake = Intake(skip_invalid=True)
    assert rows_of(place, intake) == ["b"]
    assert len(intake.skipped) == 1
