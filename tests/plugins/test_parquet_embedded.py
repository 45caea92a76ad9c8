"""Parquet shards that hold the images: judged by Hugging Face's `datasets`, and by pyarrow; killed, cut and damaged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner
from peers import peer_python, run_peer
from pyarrow import parquet
from trainingkit import SSD, pictures

import augsuite
from augsuite.cli import cli
from augsuite.dataset import Intake
from augsuite.dataset.digest import digest
from augsuite.errors import ConfigError, DataError

COUNT = 14
OPTIONS = {"embed": "yes", "shard_samples": "4"}
NAMES = [f"train-{number:05d}-of-00003.parquet" for number in range(3)] + ["val-00000-of-00001.parquet"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Photographs of noise with a box each, the last three for validation, one without annotations; as CSV has it, a split in each row."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    coco = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}
    for row in range(COUNT):
        PIL.Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(folder / f"{row}.jpg", quality=90)
        coco["images"].append({"id": row + 1, "file_name": f"{row}.jpg", "width": 80, "height": 60})
        box = {"id": row + 1, "image_id": row + 1, "category_id": 1 + row % 2, "bbox": [row, 2, 30.5, 30]}
        coco["annotations"] += [box] if row != 5 else []
    (folder / "annotations.json").write_text(json.dumps(coco))
    data = augsuite.read(folder)
    splits = np.array(["train"] * 11 + ["val"] * 3, dtype=object)
    return augsuite.dataset.Dataset(
        augsuite.dataset.Images.of(
            data.images.names, data.images.sizes, data.images.ids, splits, data.images.files, data.images.extra
        ),
        data.categories,
        data.annotations,
        root=data.root,
    )


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "out"
    augsuite.write(source, folder, "parquet", **OPTIONS)
    return folder


@pytest.fixture
def damaged(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "damaged")
    return tmp_path / "damaged"


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_hugging_face_reads_it(source, whole, tmp_path):
    python = peer_python("huggingface", "datasets", "webdataset", "pillow", "pandas")
    code = (
        "import sys, json, hashlib, datasets\n"
        "loaded = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])\n"
        "feature = loaded['train'].features['objects']\n"
        "category = feature['category'] if isinstance(feature, dict) else feature.feature['category']\n"
        "rows = [[row['file_name'], row['image'].size, row['objects']['bbox'], row['objects']['category']]"
        " for part in ('train', 'val') for row in loaded[part]]\n"
        "raw = loaded.cast_column('image', datasets.Image(decode=False))\n"
        "digests = [hashlib.sha256(row['image']['bytes']).hexdigest() for part in ('train', 'val') for row in raw[part]]\n"
        "print(json.dumps([rows, digests, getattr(category, 'feature', category).names]))\n"
    )
    said = run_peer(python, code, whole, tmp_path / "cache", home=tmp_path)
    rows, digests, names = json.loads(said.splitlines()[-1])
    import hashlib

    assert names == ["cat", "dog"]
    assert [row[0] for row in rows] == source.images.names.tolist()
    assert [row[1] for row in rows] == [[80, 60]] * COUNT
    assert [(row[2], row[3]) for row in rows] == [
        ([[row, 2, 30.5, 30]], [row % 2]) if row != 5 else ([], []) for row in range(COUNT)
    ]
    assert digests == [hashlib.sha256(source.path(row).read_bytes()).hexdigest() for row in range(COUNT)]


def test_pyarrow_reads_what_was_meant(source, whole):
    assert sorted(path.name for path in (whole / "data").iterdir()) == NAMES
    tables = [parquet.read_table(whole / "data" / name) for name in NAMES]
    assert [len(table) for table in tables] == [4, 4, 3, 3]
    rows = [row for table in tables for row in table.to_pylist()]
    assert [row["image"]["bytes"] for row in rows] == [source.path(row).read_bytes() for row in range(COUNT)]
    assert [row["objects"]["bbox"] for row in rows[4:6]] == [[[4, 2, 30.5, 30]], []]


def test_the_images_inside_are_as_good_as_files(source, whole, tmp_path):
    back = augsuite.read(whole)
    assert digest(back) == digest(source)
    assert [back.path(row).read_bytes() for row in (13, 0, 7)] == [source.path(row).read_bytes() for row in (13, 0, 7)]
    done = augsuite.convert(whole, tmp_path / "out", "coco")
    assert not done.notes
    assert digest(augsuite.read(tmp_path / "out"), contents=False)


def test_a_training_on_them_is_one_on_files(tmp_path):
    pictures(tmp_path / "boxes")
    augsuite.convert(tmp_path / "boxes", tmp_path / "shards", "parquet", options=OPTIONS)
    weights = []
    for name in ("boxes", "shards"):
        pairs = [part for key, value in SSD.items() for part in ("--set", f"{key}={value}")]
        words = ["train", "ssd", tmp_path / name, "--split", "6:3", "--policy", "ssd", "-o", tmp_path / f"{name}-run"]
        done = CliRunner().invoke(cli, [str(word) for word in [*words, *pairs, "--draw", 0]])
        assert done.exit_code == 0, done.output
        weights.append(torch.load(tmp_path / f"{name}-run" / "model.pt", weights_only=True)["state"])
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_the_same_bytes_however_it_is_cut_and_whoever_writes(source, whole, tmp_path):
    from augsuite.dataset import parallel
    from augsuite.engines import choice

    del parallel
    with choice.at_work("local", 2):
        augsuite.write(source, tmp_path / "workers", "parquet", **OPTIONS)
    assert content(tmp_path / "workers") == content(whole)
    augsuite.convert(whole, tmp_path / "stream", "parquet", stream=True, options=OPTIONS)
    said = [augsuite.read(folder) for folder in (tmp_path / "stream", whole)]
    assert digest(said[0]) == digest(said[1])


def test_a_shard_ends_at_its_size(source, tmp_path):
    sizes = [source.path(row).stat().st_size for row in range(COUNT)]
    assert sum(sizes) < 10**6
    augsuite.write(source, tmp_path / "out", "parquet", embed="yes", shard_mb="1")
    assert len(content(tmp_path / "out")) == 2
    with pytest.raises(ConfigError, match="shard_mb"):
        augsuite.write(source, tmp_path / "other", "parquet", embed="yes", shard_mb="0")


DIES = """
import os, signal, sys
import augsuite
from augsuite.dataset import resuming
left = [2]
def dies(*_):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
resuming.advance = dies
from augsuite.cli import main
main(sys.argv[1:])
"""


def test_a_killed_conversion_goes_on_and_ends_with_the_same_bytes(whole, tmp_path):
    words = [
        "convert",
        whole,
        tmp_path / "out",
        "--to",
        "parquet",
        "--option",
        "embed=yes",
        "--option",
        "shard_samples=4",
    ]
    words = [str(word) for word in words]
    done = subprocess.run(
        [sys.executable, "-c", DIES, *words], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "out").exists()
    (left,) = tmp_path.glob(".out.*.partial")
    kept = {path.name: path.stat().st_ino for path in (left / "data").glob("*.parquet")}
    assert sorted(kept) == ["train-00000.parquet", "train-00001.parquet"]
    done = subprocess.run(
        [sys.executable, "-m", "augsuite", *words], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert {
        path.name: len(data)
        for path, data in ((tmp_path / "out" / name, data) for name, data in content(tmp_path / "out").items())
    }.keys() == set(NAMES)
    assert {(tmp_path / "out" / "data" / name).stat().st_ino for name in NAMES[:2]} == set(kept.values())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    augsuite.convert(whole, tmp_path / "judge", "parquet", options=OPTIONS)
    assert content(tmp_path / "out") == content(tmp_path / "judge")


def test_a_cut_file(damaged, tmp_path):
    """Without its end a Parquet file says nothing of what it holds."""
    file = damaged / "data" / NAMES[1]
    os.truncate(file, file.stat().st_size - 100)
    with pytest.raises(DataError, match=rf"{NAMES[1]}: cannot be read as Parquet"):
        augsuite.convert(damaged, tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()
    done = augsuite.convert(damaged, tmp_path / "out", "coco", skip_invalid=True)
    assert done.images == COUNT - 4
    (said,) = done.skipped
    assert NAMES[1] in said
    assert said.endswith("Left out: all of it.")
    told = CliRunner().invoke(cli, ["validate", str(damaged), "--from", "parquet"])
    assert NAMES[1] in " ".join(told.output.split())
    assert told.exit_code == 1


def test_all_files_cut(damaged):
    for name in NAMES:
        os.truncate(damaged / "data" / name, 50)
    with pytest.raises(DataError, match="none of its Parquet files can be read"):
        augsuite.read(damaged, "parquet", skip_invalid=True)


def _turn(file, at):
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def test_a_turned_bit_among_the_annotations(damaged, tmp_path):
    """Of the file names of the second shard; a checksum of the page tells."""
    file = damaged / "data" / NAMES[1]
    _turn(file, file.read_bytes().index(b"6.jpg"))
    with pytest.raises(DataError, match=rf"{NAMES[1]}: rows 0 to 3: cannot be read"):
        augsuite.convert(damaged, tmp_path / "out", "csv")
    assert not (tmp_path / "out").exists()
    done = augsuite.convert(damaged, tmp_path / "out", "csv", skip_invalid=True)
    assert done.images == COUNT - 4
    assert len(done.skipped) == 1


def test_a_turned_bit_in_a_picture(damaged):
    file = damaged / "data" / NAMES[0]
    _turn(file, file.read_bytes().index(b"\xff\xd8\xff") + 2000)
    assert len(augsuite.read(damaged)) == COUNT
    with pytest.raises(DataError, match=rf"{NAMES[0]}: rows 0 to 3: cannot be read"):
        augsuite.read(damaged, verify="bytes")
    intake = Intake(skip_invalid=True)
    assert len(augsuite.read(damaged, intake=intake, verify="bytes")) == COUNT - 4


def test_files_of_others_stay_what_they_were(tmp_path):
    """Nothing says where the images inside lie."""
    table = pa.table({"image": [{"bytes": b"\x89PNG", "path": "a.png"}], "label": [0]})
    (tmp_path / "data").mkdir()
    parquet.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    intake = Intake()
    data = augsuite.read(tmp_path, "parquet", intake=intake)
    assert data.images.files.tolist() == [""]
    assert any("embedded" in note for note in intake.notes)
