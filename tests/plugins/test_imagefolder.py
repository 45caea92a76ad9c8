"""The imagefolder plugin: metadata made by hand, and Hugging Face's `datasets` on what we write."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from peers import peer_python

import augsuite
from augsuite.errors import DataError
from augsuite.testing.examples import example_datasets


def test_the_example_of_the_documentation(tmp_path, image_file):
    """huggingface.co/docs/datasets/image_dataset, "Object detection"."""
    image_file(tmp_path / "train" / "0001.png", (900, 700))
    image_file(tmp_path / "train" / "0002.png", (900, 700))
    (tmp_path / "train" / "metadata.jsonl").write_text(
        '{"file_name": "0001.png", "objects": {"bbox": [[302.0, 109.0, 73.0, 52.0]], "categories": [0]}}\n'
        '{"file_name": "0002.png", "objects": {"bbox": [[810.0, 100.0, 57.0, 28.0]], "categories": [1]}}\n'
    )
    data = augsuite.read(tmp_path)
    assert data.images.names.tolist() == ["0001.png", "0002.png"]
    assert data.images.splits.tolist() == ["train", "train"]
    assert data.categories.names.tolist() == ["0", "1"]
    assert data.categories.ids.tolist() == [0, 1]
    assert data.boxes().tolist() == [[302, 109, 375, 161], [810, 100, 867, 128]]


def test_csv_and_labels(tmp_path, image_file):
    image_file(tmp_path / "a.png", (30, 20))
    (tmp_path / "metadata.csv").write_text("file_name,label,weather\na.png,cat,sun\n")
    data = augsuite.read(tmp_path)
    assert data.categories.names.tolist() == ["cat"]
    assert not data.annotations.is_box.any()
    assert data.images.extra["imagefolder.weather"].tolist() == ["sun"]
    (tmp_path / "metadata.csv").write_text(
        'file_name,objects\na.png,"{""bbox"": [[1, 2, 3, 4]], ""category"": [""dog""]}"\n'
    )
    data = augsuite.read(tmp_path)
    assert data.boxes().tolist() == [[1, 2, 4, 6]]
    assert data.categories.names.tolist() == ["dog"]


def test_hugging_face_reads_it(tmp_path):
    python = peer_python("huggingface", "datasets", "webdataset", "pillow", "pandas")
    given = example_datasets(tmp_path / "given")
    code = (
        "import sys, json, datasets\n"
        "loaded = datasets.load_dataset('imagefolder', data_dir=sys.argv[1], cache_dir=sys.argv[2])\n"
        "rows = [[each['image'].size, each.get('objects') or each.get('label')] for each in loaded['train']]\n"
        "print(json.dumps(rows))\n"
    )
    found = {}
    for name in ("plain", "labels"):
        data = given[name]
        augsuite.write(data, tmp_path / name, "imagefolder")
        command = [python, "-c", code, tmp_path / name, tmp_path / f"cache {name}"]
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=200,
            env={"HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found[name] = json.loads(done.stdout.splitlines()[-1])
    assert [size for size, _ in found["plain"]] == [[40, 30], [41, 30], [42, 30]]
    assert found["plain"][0][1]["bbox"] == [[1, 2, 10, 20], [3, 4, 27, 26]]
    assert found["plain"][0][1]["categories"] == ["cat", "dog"]
    assert found["labels"] == [[[40, 30], "cat"]]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"objects": {}}', "line 1: expected a file_name, got None"),
        ('{"file_name": "a.png", "objects": {"bbox": [[1, 2, 3]], "categories": [0]}}', r"objects\[0\]: bbox: expected 4 numbers"),
        ('{"file_name": "a.png", "objects": {"bbox": [], "categories": [0]}}', "differ in length"),
        ('{"file_name": "../../a.png", "label": 1}', "leads outside"),
        ("[1]", "line 1: expected a JSON object"),
    ],
)  # fmt: skip
def test_an_invalid_line_is_named_and_can_be_left_out(tmp_path, line, problem):
    (tmp_path / "metadata.jsonl").write_text(f'{line}\n{{"file_name": "good.png", "label": "cat"}}\n')
    with pytest.raises(DataError, match=problem):
        augsuite.read(tmp_path, format="imagefolder")
    assert "good.png" in augsuite.read(tmp_path, format="imagefolder", skip_invalid=True).images.names.tolist()
    assert np.isnan(augsuite.read(tmp_path, format="imagefolder", skip_invalid=True).annotations.boxes).all()
