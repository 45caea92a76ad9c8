"""The WebDataset plugin, judged by tarfile and by the library `webdataset`."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile

import numpy as np
import pytest
from peers import peer_python

import augsuite
from augsuite.dataset import Annotations, Categories, Dataset, Images, Intake
from augsuite.errors import ConfigError, DataError
from augsuite.protocols import Losses
from augsuite.testing.examples import example_datasets
from augsuite_webdataset import writer
from augsuite_webdataset.reader import read_parts


def test_tarfile_reads_what_was_meant(tmp_path):
    data = example_datasets(tmp_path / "given")["plain"]
    augsuite.write(data, tmp_path / "out", "webdataset")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset.json", "unsplit-000000.tar"]
    with tarfile.open(tmp_path / "out" / "unsplit-000000.tar") as tar:
        assert tar.getnames() == [f"{row:09d}{suffix}" for row in range(3) for suffix in (".png", ".json")]
        assert tar.extractfile("000000001.png").read() == (tmp_path / "given" / "1.png").read_bytes()
        said = json.load(tar.extractfile("000000000.json"))
    assert (said["file_name"], said["width"], said["height"]) == ("0.png", 40, 30)
    assert [(each["category"], each["bbox"]) for each in said["objects"]] == [
        ("cat", [1, 2, 10, 20]),
        ("dog", [3, 4, 27, 26]),
    ]


def test_the_library_webdataset_reads_it(tmp_path):
    python = peer_python("huggingface", "datasets", "webdataset", "pillow", "pandas")
    augsuite.write(example_datasets(tmp_path / "given")["plain"], tmp_path / "out", "webdataset")
    code = (
        "import sys, json, webdataset\n"
        "samples = webdataset.WebDataset(sys.argv[1], shardshuffle=False).decode('pil')\n"
        "print(json.dumps([[each['__key__'], each['png'].size, len(each['json']['objects'])] for each in samples]))\n"
    )
    given = [python, "-W", "ignore", "-c", code, tmp_path / "out" / "unsplit-000000.tar"]
    done = subprocess.run(given, check=False, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [
        ["000000000", [40, 30], 2],
        ["000000001", [41, 30], 1],
        ["000000002", [42, 30], 1],
    ]


def test_shards_are_bounded_and_the_same_however_the_dataset_is_cut(tmp_path):
    whole = example_datasets(tmp_path / "given")["hard"]
    written = []
    for number, cuts in enumerate(([6], [1, 2, 3])):
        folder = tmp_path / str(number)
        folder.mkdir()
        stops = np.cumsum(cuts)
        parts = [whole.take(np.arange(stop - count, stop)) for stop, count in zip(stops, cuts, strict=True)]
        assert [len(paths) for paths in writer.write_parts(parts, folder, Losses(), shard_samples="2")] == cuts
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert written[0] == written[1]
    shards = sorted(name for name in written[0] if name.endswith(".tar"))
    listed = json.loads(written[0]["dataset.json"])["shards"]
    assert [(each["name"], each["bytes"], each["blake2b"]) for each in listed] == [
        (name, len(written[0][name]), hashlib.blake2b(written[0][name], digest_size=16).hexdigest()) for name in shards
    ]
    assert max(each["samples"] for each in listed) == 2
    assert sum(each["samples"] for each in listed) == 6
    back = augsuite.read(tmp_path / "0")
    assert len(back) == 6
    assert back.sample(0).image.shape == (30, back.images.sizes[0, 0], 3)


def test_a_bound_in_bytes_counts_all_of_a_file(tmp_path):
    """Of small samples most of a tar file is headers and padding."""
    count = 1200
    names = [f"{row}.png" for row in range(count)]
    data = Dataset(Images.of(names, [[8, 8]] * count), Categories.of(["a"]), Annotations.of([], []), root=tmp_path)
    augsuite.write(data, tmp_path / "out", "webdataset", shard_mb="1")
    sizes = [path.stat().st_size for path in sorted((tmp_path / "out").glob("*.tar"))]
    assert len(sizes) == 2
    assert 10**6 - 1024 - 512 < sizes[0] <= 10**6


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_shards_of_others(tmp_path, image_file, form, ending):
    image_file(tmp_path / "i.png", (30, 20))
    folder = "x" * 60
    files = {f"{folder}/{folder}/a.png": (tmp_path / "i.png").read_bytes(), f"{folder}/{folder}/a.cls": b"7"}
    files |= {"b.jpeg": b"?", "b.cls": b"10", "c.txt": b"nothing"}
    place = tmp_path / "in"
    place.mkdir()
    with tarfile.open(place / f"train-000.{ending}", "w:gz" if ending == "tar.gz" else "w", format=form) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    data = next(iter(read_parts(place, Intake())))
    assert data.images.names.tolist() == [f"{folder}/{folder}/a.png", "b.jpeg"]
    assert data.categories.names.tolist() == ["7", "10"]
    assert data.annotations.category_rows.tolist() == [0, 1]
    assert data.images.splits.tolist() == ["train", "train"]


def test_a_shard_ends_at_its_size(tmp_path, image_file):
    sizes = []
    rows = [image_file(tmp_path / f"{row}.png", (400, 300)) and f"{row}.png" for row in range(3)]
    for row, path in enumerate(tmp_path / name for name in rows):
        path.write_bytes(path.read_bytes() + bytes(600_000 * (row + 1)))  # what follows a picture belongs to nothing
        sizes.append(path.stat().st_size)
    data = Dataset(
        Images.of(rows, [[400, 300]] * 3, files=rows), Categories.of(["x"]), Annotations.of([], []), root=tmp_path
    )
    augsuite.write(data, tmp_path / "out", "webdataset", shard_mb="2")
    held = [tar_names(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    assert sum(sizes[:2]) < 2_000_000 < sum(sizes)
    assert held == [
        ["000000000.png", "000000000.json", "000000001.png", "000000001.json"],
        ["000000002.png", "000000002.json"],
    ]


def tar_names(path):
    with tarfile.open(path) as tar:
        return tar.getnames()


@pytest.mark.parametrize("text", ["0", "-1", "x", ""])
def test_a_limit_that_is_none(tmp_path, text):
    with pytest.raises(ConfigError, match="shard_mb"):
        augsuite.write(example_datasets(tmp_path / "given")["plain"], tmp_path / "out", "webdataset", shard_mb=text)


def test_a_shard_that_ends_too_early_is_named(tmp_path):
    augsuite.write(example_datasets(tmp_path / "given")["plain"], tmp_path / "out", "webdataset")
    shard = tmp_path / "out" / "unsplit-000000.tar"
    shard.write_bytes(shard.read_bytes()[:1600])
    with pytest.raises(DataError, match="unsplit-000000"):
        augsuite.read(tmp_path / "out")
