"""Writing datasets to a real S3 server behind a proxy that breaks things; boto3 and the conversion to disk are the judges."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from remotekit import BUCKET, Rule

import augsuite
from augsuite.cli import cli
from augsuite.dataset import Dataset, publishing, remote_tree, stores
from augsuite.dataset.merging import merge
from augsuite.dataset.remote_tree import MARK
from augsuite.errors import AugsuiteError, ConfigError

boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def shelf() -> Dataset:
    return augsuite.read("shelf").take(range(7))


def objects(bucket, prefix: str) -> dict[str, bytes]:
    """What boto3 finds below a prefix."""
    return {
        each.key.removeprefix(prefix + "/"): each.get()["Body"].read() for each in bucket.objects.filter(Prefix=prefix)
    }


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def nothing_else(bucket) -> bool:
    """Whether no lock, mark, hidden folder or unfinished upload is left."""
    hidden = [each.key for each in bucket.objects.all() if any(part.startswith(".") for part in each.key.split("/"))]
    return not hidden and not list(bucket.multipart_uploads.all())


FORMATS = ["coco", "voc", "yolo", "csv", "cvat", "labelme", "openimages", "parquet", "webdataset"]


@pytest.mark.parametrize("format_name", FORMATS)
def test_each_format_is_the_same_there_and_on_disk(format_name, shelf, bucket, tmp_path):
    url = f"s3://{BUCKET}/out/{format_name}"
    augsuite.write(shelf, tmp_path / "disk", format_name)
    augsuite.write(shelf, url, format_name)
    assert objects(bucket, f"out/{format_name}") == files(tmp_path / "disk")
    augsuite.convert(tmp_path / "disk", tmp_path / "near", "coco", format_name)
    augsuite.convert(url, tmp_path / "far", "coco", format_name)
    assert files(tmp_path / "far") == files(tmp_path / "near")
    assert nothing_else(bucket)


@pytest.mark.parametrize("name", ["bccd", "raccoon"])
def test_real_data_goes_there_and_back(name, real_data, bucket, tmp_path):
    data = augsuite.read(real_data / name).take(range(0, 200, 8))
    augsuite.write(data, tmp_path / "disk", "yolo")
    augsuite.write(data, f"s3://{BUCKET}/{name}", "yolo")
    back = augsuite.read(f"s3://{BUCKET}/{name}", format="yolo")
    near = augsuite.read(tmp_path / "disk", format="yolo")
    assert back.annotations.boxes.tobytes() == near.annotations.boxes.tobytes()
    assert objects(bucket, name) == files(tmp_path / "disk")


def test_from_there_to_there_in_parts(shelf, bucket, tmp_path):
    augsuite.write(shelf, f"s3://{BUCKET}/a", "coco")
    augsuite.write(shelf, tmp_path / "a", "coco")
    augsuite.convert(f"s3://{BUCKET}/a", f"s3://{BUCKET}/b", "csv", stream=True)
    augsuite.convert(tmp_path / "a", tmp_path / "b", "csv", stream=True)
    assert objects(bucket, "b") == files(tmp_path / "b")


def test_a_sidecar_and_an_image_that_is_none(shelf, bucket, tmp_path):
    for place in (tmp_path / "yolo", f"s3://{BUCKET}/yolo"):
        augsuite.write(shelf, place, "yolo", sidecar=True)
    assert objects(bucket, "yolo") == files(tmp_path / "yolo")
    assert augsuite.read(f"s3://{BUCKET}/yolo").annotations.ids.tolist() == shelf.annotations.ids.tolist()
    for how in ("symlink", "hardlink"):
        with pytest.raises(ConfigError, match=f"cannot be placed by {how} on another machine"):
            augsuite.write(shelf, f"s3://{BUCKET}/linked", "coco", images=how)
    assert nothing_else(bucket)
    assert not objects(bucket, "linked")


def test_datasets_of_several_places_are_merged(shelf, bucket, tmp_path):
    augsuite.write(shelf.take(range(3)), tmp_path / "near", "coco")
    places = [tmp_path / "near"]
    for name, rows in (("one", range(3, 5)), ("two", range(5, 7))):
        augsuite.write(shelf.take(rows), f"s3://{BUCKET}/m/{name}", "coco")
        places.append(f"s3://{BUCKET}/m/{name}")
    for chosen, expected in ((places, range(7)), (places[1:], range(3, 7))):
        data = merge([augsuite.read(place) for place in chosen])
        assert [data.sample(row).image.tobytes() for row in range(len(data))] == [
            shelf.sample(row).image.tobytes() for row in expected
        ]


@pytest.mark.parametrize("command", ["tile", "augment", "split"])
def test_commands_write_there(command, shelf, bucket, tmp_path):
    augsuite.write(shelf.take(range(3)), tmp_path / "in", "coco")
    given = {
        "tile": ["tile", "--size", "64"],
        "augment": ["augment", "--policy", "flip", "--to", "coco"],
        "split": ["split", "--shares", "train=0.7,val=0.3"],
    }[command]
    for place in (str(tmp_path / "out"), f"s3://{BUCKET}/out"):
        done = CliRunner().invoke(cli, [given[0], str(tmp_path / "in"), place, *given[1:]], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert objects(bucket, "out") == files(tmp_path / "out")
    assert not Path("s3:").exists()


# Whole or not at all


def test_a_dataset_that_is_there_stays_unless_asked(shelf, bucket):
    url = f"s3://{BUCKET}/out"
    augsuite.write(shelf, url, "coco")
    before = objects(bucket, "out")
    with pytest.raises(ConfigError, match="exists already"):
        augsuite.write(shelf, url, "voc")
    assert objects(bucket, "out") == before
    augsuite.write(shelf.take(range(4)), url, "voc", overwrite=True)
    after = objects(bucket, "out")
    assert sum(name.endswith(".xml") for name in after) == 4
    assert not any(name.endswith(".json") for name in after)
    assert len(augsuite.read(url)) == 4
    assert nothing_else(bucket)
    bucket.put_object(Key="own/letter.txt", Body=b"dear")
    with pytest.raises(ConfigError, match="holds something that is no dataset"):
        augsuite.write(shelf, f"s3://{BUCKET}/own", "coco", overwrite=True)


@pytest.mark.parametrize("what", [503, "reset"])
def test_uploads_are_tried_again(what, shelf, bucket, front, tmp_path):
    front.rules.append(Rule("PUT", "/out/", what, times=4))
    augsuite.write(shelf, f"s3://{BUCKET}/out", "coco")
    augsuite.write(shelf, tmp_path / "disk", "coco")
    assert front.rules[0].done.is_set()
    assert objects(bucket, "out") == files(tmp_path / "disk")
    assert nothing_else(bucket)


@pytest.mark.parametrize("part", ["images", "annotations"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_cannot_be_uploaded_leaves_nothing(part, overwrite, shelf, bucket, front):
    url = f"s3://{BUCKET}/out"
    if overwrite:
        augsuite.write(shelf.take([3]), url, "coco")
    before = objects(bucket, "out")
    front.rules.append(Rule("PUT", f"/{part}/", 503, after=0 if part == "annotations" else 4))
    with pytest.raises(ConfigError, match="6 tries") as caught:
        augsuite.write(shelf, url, "coco", overwrite=overwrite)
    assert "\n" not in str(caught.value)
    assert objects(bucket, "out") == before
    assert nothing_else(bucket)


def test_a_place_that_may_not_be_written_is_one_line(shelf, bucket, front):
    front.rules.append(Rule("PUT", "", 403))
    with pytest.raises(ConfigError, match="access denied"):
        augsuite.write(shelf, f"s3://{BUCKET}/out", "coco")
    with pytest.raises(ConfigError, match="is no folder in a bucket"):
        augsuite.write(shelf, f"s3://{BUCKET}", "coco", overwrite=True)


def test_a_bucket_that_does_not_exist_is_named(shelf, front):
    with pytest.raises(ConfigError, match="s3://no-such-bucket: nothing can be written there"):
        augsuite.write(shelf, "s3://no-such-bucket/out", "coco")


def test_large_files_go_in_parts_and_broken_ones_leave_none(bucket, front, monkeypatch, tmp_path):
    monkeypatch.setattr(stores, "_CHUNK", 5 << 20)
    content = os.urandom(12 << 20)
    (tmp_path / "large").write_bytes(content)
    tree, _ = remote_tree.tree_of(remote_tree.Url("s3", BUCKET))
    tree.store.upload("x/large", str(tmp_path / "large"))
    assert objects(bucket, "x") == {"large": content}
    assert front.count("PUT", "partNumber=3") == 1
    front.rules.append(Rule("PUT", "partNumber=3", 503))
    with pytest.raises(ConfigError, match="6 tries"):
        tree.store.upload("y/large", str(tmp_path / "large"))
    assert not objects(bucket, "y")
    assert nothing_else(bucket)


def killed_at(rule: Rule, front, source: Path, url: str, *options: str) -> None:
    """Kill a conversion with SIGKILL when the proxy holds a request."""
    front.rules[:] = [rule]
    command = [sys.executable, "-m", "augsuite", "convert", str(source), url, "--to", "voc", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert rule.done.wait(60), process.communicate(timeout=1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    front.rules.clear()


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_writer_leaves_nothing_that_is_taken_for_a_dataset(shelf, bucket, front, tmp_path):
    url = f"s3://{BUCKET}/out"
    augsuite.write(shelf, tmp_path / "in", "coco")
    killed_at(Rule("PUT", ".xml", "stop", after=3), front, tmp_path / "in", url)
    left = objects(bucket, "out")
    assert MARK in left
    assert any(name.endswith(".xml") for name in left)
    for place in (url, f"{url}/Annotations", f"s3://{BUCKET}"):
        with pytest.raises(AugsuiteError, match="left unfinished"):
            augsuite.read(place)
    bucket.Object("out/stray.txt").put(Body=b"of the killed one")
    augsuite.convert(tmp_path / "in", url, "voc")
    augsuite.convert(tmp_path / "in", tmp_path / "disk", "voc")
    assert objects(bucket, "out") == files(tmp_path / "disk")
    assert nothing_else(bucket)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_writer_leaves_the_old_dataset(shelf, bucket, front, tmp_path):
    url = f"s3://{BUCKET}/out"
    augsuite.write(shelf, tmp_path / "in", "coco")
    augsuite.write(shelf.take([1]), url, "yolo")
    before = objects(bucket, "out")
    killed_at(Rule("PUT", ".xml", "stop", after=3), front, tmp_path / "in", url, "--overwrite")
    assert objects(bucket, "out") == before
    assert len(augsuite.read(url)) == 1
    # Killed once more, while the new one takes its place: what is there now is not whole, and says so.
    copies = Rule("PUT", "/bucket/out/Annotations/", "stop", after=2)
    killed_at(copies, front, tmp_path / "in", url, "--overwrite")
    with pytest.raises(AugsuiteError, match="left unfinished"):
        augsuite.read(url)
    augsuite.convert(tmp_path / "in", url, "voc")
    augsuite.convert(tmp_path / "in", tmp_path / "disk", "voc")
    assert objects(bucket, "out") == files(tmp_path / "disk")
    assert nothing_else(bucket)


# Two writers


def test_of_two_writers_the_second_is_refused(shelf, bucket):
    url = f"s3://{BUCKET}/out"
    other = {"token": "1" * 16, "machine": "another", "process": 1}
    bucket.put_object(Key=".out.augsuite-lock", Body=json.dumps(other).encode())
    with pytest.raises(ConfigError, match="is being written by another process"):
        augsuite.write(shelf, url, "coco")
    assert not objects(bucket, "out")
    own = {**other, "machine": publishing._machine()}
    bucket.put_object(Key=".out.augsuite-lock", Body=json.dumps(own).encode())
    augsuite.write(shelf, url, "coco")  # this machine's lock file is free, so whoever wrote it is dead
    assert nothing_else(bucket)


def test_a_lock_that_nobody_renewed_is_taken_over(shelf, bucket, monkeypatch):
    other = {"token": "1" * 16, "machine": "another", "process": 1}
    bucket.put_object(Key=".out.augsuite-lock", Body=json.dumps(other).encode())
    monkeypatch.setattr(publishing, "_DEAD_S", -60.0)
    augsuite.write(shelf, f"s3://{BUCKET}/out", "coco")
    assert nothing_else(bucket)


def test_whoever_lost_the_lock_does_not_finish(shelf, bucket, monkeypatch):
    def steal(*given):
        other = {"token": "1" * 16, "machine": "another", "process": 1}
        bucket.put_object(Key=".out.augsuite-lock", Body=json.dumps(other).encode())
        return finish(*given)

    finish = publishing.Upload.finish
    monkeypatch.setattr(publishing.Upload, "finish", steal)
    with pytest.raises(ConfigError, match="is being written by another process"):
        augsuite.write(shelf, f"s3://{BUCKET}/out", "coco")
    assert list(objects(bucket, ".out.augsuite-lock")) == [".out.augsuite-lock"]
    assert not objects(bucket, "out")


def test_memory_is_a_place_to_write_too(shelf, tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    there = fsspec.filesystem("memory")
    augsuite.write(shelf, tmp_path / "disk", "coco")
    for overwrite in (False, True):
        augsuite.write(shelf, "memory://w/out", "coco", overwrite=overwrite)
        found = {name.removeprefix("/w/out/"): there.cat_file(name) for name in there.find("/w")}
        assert found == files(tmp_path / "disk")
    there.rm("/w", recursive=True)
    augsuite.write(shelf, f"file://{tmp_path}/file", "coco")
    assert files(tmp_path / "file") == files(tmp_path / "disk")
