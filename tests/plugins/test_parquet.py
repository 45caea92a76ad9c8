"""The Parquet plugin, judged by pyarrow, pandas and Hugging Face's `datasets`."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pyarrow as pa
import pytest
from peers import peer_python
from pyarrow import parquet

import augsuite
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite.testing.examples import example_datasets
from augsuite_parquet.reader import read_parts
from augsuite_parquet.writer import write_parts


@pytest.fixture
def small():
    return Dataset(
        Images.of(["a.jpg", "b/c.jpg", "empty.jpg"], [[40, 30], [50, 60], [7, 8]], [12, 5, 9], ["train", "train", "val"]),
        Categories.of(["cat", "dog", "unused"], [3, 1, 90]),
        Annotations.of(
            [1, 0, 1], [1, 0, 0], [[1, 2, 11, 22.5], [0, 0, 40, 30], [np.nan] * 4], ids=[70, 8, 9], ignore=[True, False, False],
            extra={"score": objects([0.5, ABSENT, ABSENT]), "voc.pose": objects([None, ABSENT, "Left"])},
        ),
    )  # fmt: skip


def test_pyarrow_reads_what_was_meant(small, tmp_path):
    augsuite.write(small, tmp_path / "out", "parquet")
    rows = parquet.read_table(tmp_path / "out" / "data" / "train-00000-of-00001.parquet").to_pylist()
    assert [(row["image_id"], row["file_name"], row["width"], row["height"], row["split"]) for row in rows] == [
        (12, "a.jpg", 40, 30, "train"),
        (5, "b/c.jpg", 50, 60, "train"),
    ]
    found = rows[1]["objects"]
    assert (found["id"], found["bbox"], found["category"]) == ([70, 9], [[1, 2, 10, 20.5], None], [1, 0])
    assert (found["area"], found["ignore"], found["score"]) == ([205.0, None], [True, False], [0.5, None])
    assert [json.loads(text) for text in found["extra"]] == [{"voc.pose": None}, {"voc.pose": "Left"}]
    empty = parquet.read_table(tmp_path / "out" / "data" / "val-00000-of-00001.parquet").to_pylist()
    assert [row["objects"]["id"] for row in empty] == [[]]


def test_hugging_face_and_pandas_read_it(small, tmp_path):
    python = peer_python("huggingface", "datasets", "webdataset", "pillow", "pandas")
    augsuite.write(small, tmp_path / "out", "parquet")
    code = (
        "import sys, json, datasets, pandas\n"
        "loaded = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])\n"
        "feature = loaded['train'].features['objects']\n"
        "category = (feature['category'] if isinstance(feature, dict) else feature.feature['category'])\n"
        "frame = pandas.read_parquet(sys.argv[1] + '/data/train-00000-of-00001.parquet')\n"
        "print(json.dumps([{key: list(part) for key, part in loaded.items()}, getattr(category, 'feature', category).names,"
        " frame.file_name.tolist()]))\n"
    )
    given = [python, "-c", code, tmp_path / "out", tmp_path / "cache"]
    done = subprocess.run(
        given,
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
        env={"HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    loaded, names, files = json.loads(done.stdout.splitlines()[-1])
    assert (names, files) == (["cat", "dog", "unused"], ["a.jpg", "b/c.jpg"])
    assert [row["file_name"] for row in loaded["train"]] == ["a.jpg", "b/c.jpg"]
    assert loaded["train"][1]["objects"]["bbox"] == [[1, 2, 10, 20.5], None]
    assert loaded["train"][1]["objects"]["category"] == [1, 0]
    assert [row["file_name"] for row in loaded["val"]] == ["empty.jpg"]


def test_the_same_bytes_however_the_dataset_is_cut(tmp_path):
    whole = example_datasets(tmp_path / "given")["hard"]
    written = []
    for number, cuts in enumerate(([6], [1, 2, 3])):
        folder = tmp_path / str(number)
        folder.mkdir()
        stops = np.cumsum(cuts)
        parts = [whole.take(np.arange(stop - count, stop)) for stop, count in zip(stops, cuts, strict=True)]
        paths = [path for part in write_parts(parts, folder, Losses()) for path in part]
        written.append(({path.name: path.read_bytes() for path in folder.rglob("*.parquet")}, paths))
    assert written[0] == written[1]


def test_parts_are_bounded_and_make_the_whole(tmp_path):
    count = 5000
    rng = np.random.default_rng(0)
    data = Dataset(
        Images.of([f"{row}.jpg" for row in range(count)], np.full((count, 2), 100)),
        Categories.of(["x"]),
        Annotations.of(
            np.sort(rng.integers(0, count, 9000)), np.zeros(9000), rng.random((9000, 4)) + np.array([0, 0, 1, 1])
        ),
    )
    augsuite.write(data, tmp_path / "out", "parquet")
    parts = list(read_parts(tmp_path / "out", Intake()))
    assert max(map(len, parts)) <= 2048
    assert sum(map(len, parts)) == count
    back = augsuite.read(tmp_path / "out")
    assert back.annotations.ids.tolist() == data.annotations.ids.tolist()
    assert np.allclose(back.boxes(), data.boxes(), rtol=0, atol=1e-12)


def _put(folder, table, names=None):
    kind = {"names": names, "_type": "ClassLabel"}
    info = {"info": {"features": {"objects": {"feature": {"category": kind}, "_type": "Sequence"}}}}
    metadata = {"huggingface": json.dumps(info)} if names else None
    (folder / "data").mkdir(parents=True)
    parquet.write_table(table.replace_schema_metadata(metadata), folder / "data" / "train-00000-of-00001.parquet")
    return folder


def test_files_of_others_with_embedded_images(tmp_path, image_file):
    image_file(tmp_path / "i.png", (30, 20))
    content = (tmp_path / "i.png").read_bytes()
    table = pa.table(
        {
            "image": [{"bytes": content, "path": "one.png"}, {"bytes": content, "path": None}],
            "objects": [
                {"bbox": [[1.0, 2.0, 3.0, 4.0]], "category": [1], "area": [12.0], "mood": ["good"]},
                {"bbox": [], "category": [], "area": [], "mood": []},
            ],
        }
    )
    intake = Intake()
    data = augsuite.read(_put(tmp_path / "hf", table, ["cat", "dog"]), intake=intake)
    assert data.images.names.tolist() == ["one.png", "00000001.png"]
    assert data.images.sizes.tolist() == [[30, 20], [30, 20]]
    assert data.images.files.tolist() == ["", ""]
    assert data.images.splits.tolist() == ["train", "train"]
    assert data.categories.names.tolist() == ["cat", "dog"]
    assert data.boxes().tolist() == [[1, 2, 4, 6]]
    assert data.annotations.category_rows.tolist() == [1]
    assert data.annotations.extra["parquet.mood"].tolist() == ["good"]
    assert [note for note in intake.notes if "2 images are embedded" in note]


def test_lists_of_structs_names_as_text_and_other_layouts(tmp_path):
    table = pa.table(
        {
            "file_name": ["a.jpg"],
            "annotations": [[{"label": "dog", "bbox": [1, 2, 3, 4]}, {"label": "cat", "bbox": [0, 0, 1, 1]}]],
        }
    )
    data = augsuite.read(_put(tmp_path / "in", table), boxes="xyxy")
    assert data.categories.names.tolist() == ["cat", "dog"]
    assert data.annotations.category_rows.tolist() == [1, 0]
    assert data.boxes().tolist() == [[1, 2, 3, 4], [0, 0, 1, 1]]


def test_an_invalid_object_is_named_and_can_be_left_out(tmp_path):
    struct = [{"bbox": [[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, float("inf"), 4.0]], "category": [0, 0]}]
    folder = _put(tmp_path / "in", pa.table({"file_name": ["a.jpg"], "objects": struct}), ["cat"])
    with pytest.raises(DataError, match=r"row 0: objects\[1\]: bbox: expected 4 numbers, got \[1.0, 2.0, inf, 4.0\]"):
        augsuite.read(folder)
    assert len(augsuite.read(folder, skip_invalid=True).annotations) == 1


def test_embedded_images_of_two_shards_have_names_of_their_own(tmp_path, image_file):
    image_file(tmp_path / "i.png", (30, 20))
    content = (tmp_path / "i.png").read_bytes()
    (tmp_path / "hf").mkdir()
    for shard in range(2):
        table = pa.table({"img": [{"bytes": content, "path": None}] * 2, "label": [0, 1]})
        parquet.write_table(table, tmp_path / "hf" / f"train-0000{shard}-of-00002.parquet")
    names = augsuite.read(tmp_path / "hf").images.names.tolist()
    assert names == ["00000000.png", "00000001.png", "00000002.png", "00000003.png"]
