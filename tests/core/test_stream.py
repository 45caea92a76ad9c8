"""Converting in parts: the same files as at once, in memory that does not grow with the dataset."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from augsuite import conversion
from augsuite.detection import find_format
from augsuite.errors import ConfigError, DataError

TARGETS = ["csv", "parquet", "webdataset"]


def write_coco(folder, image_file, images=25, boxes=90, splits=("train", "val"), pictures=True):
    """A COCO dataset whose annotations do not follow the order of its images."""
    rng = random.Random(7)
    (folder / "annotations").mkdir(parents=True)
    for at, split in enumerate(splits):
        first = 1000 * at
        rows = [
            {"id": first + 3 * row, "file_name": f"{row:04d}.png", "width": 8, "height": 6, "license": row % 3}
            for row in range(images)
        ]
        if pictures:
            for row in rows[: images // 2]:
                image_file(folder / "images" / split / row["file_name"], (8, 6))
        annotations = [
            {
                "id": first + row,
                "image_id": rng.choice(rows[: images - 2])["id"],
                "category_id": rng.choice([2, 5]),
                "bbox": [rng.uniform(0, 4), 1, 2.5, 3],
                "area": 7.5,
                "iscrowd": int(row % 10 == 0),
                "segmentation": [[0, 0, 4, 0, 4, 3]],
                **({"score": 0.5} if row % 4 == 0 else {}),
                **({"note": "first"} if row % 7 == 3 else {}),
            }
            for row in range(boxes)
        ]
        content = {
            "images": rows,
            "annotations": annotations,
            "categories": [{"id": 5, "name": "a"}, {"id": 2, "name": "b"}],
        }
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr("augsuite_coco.waiting_images.PART", 4)
    monkeypatch.setattr("augsuite_coco.waiting_annotations._RUN", 1000)


@pytest.mark.parametrize("to", TARGETS)
class TestSameFiles:
    @pytest.mark.usefixtures("small_parts")
    @pytest.mark.parametrize("splits", [("train", "val"), ("train",)])
    def test_from_coco(self, tmp_path, image_file, to, splits):
        source = write_coco(tmp_path / "coco", image_file, splits=splits)
        whole = conversion.convert(source, tmp_path / "whole", to)
        parts = conversion.convert(source, tmp_path / "parts", to, stream=True)
        assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")
        assert (parts.images, parts.boxes, parts.losses) == (whole.images, whole.boxes, whole.losses)
        assert sorted(parts.lost) == sorted(whole.lost)
        assert parts.images == 25 * len(splits)

    @pytest.mark.usefixtures("small_parts")
    def test_onto_an_older_one(self, tmp_path, image_file, to):
        source = write_coco(tmp_path / "coco", image_file)
        conversion.convert(source, tmp_path / "out", to)
        before = files_of(tmp_path / "out")
        conversion.convert(source, tmp_path / "out", to, stream=True, overwrite=True)
        assert files_of(tmp_path / "out") == before

    @pytest.mark.usefixtures("small_parts")
    def test_an_error_in_the_last_file_leaves_nothing(self, tmp_path, image_file, to):
        source = write_coco(tmp_path / "coco", image_file)
        last = source / "annotations" / "instances_val.json"
        content = json.loads(last.read_text())
        content["annotations"][-1]["image_id"] = 77777
        last.write_text(json.dumps(content))
        with pytest.raises(DataError, match=r"annotations\[89\]\.image_id: there is no image with id 77777"):
            conversion.convert(source, tmp_path / "out", to, stream=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["coco"]
        done = conversion.convert(source, tmp_path / "out", to, stream=True, skip_invalid=True)
        assert (len(done.skipped), done.boxes) == (1, 179)


def test_images_are_placed(tmp_path, image_file, small_parts):
    source = write_coco(tmp_path / "coco", image_file)
    conversion.convert(source, tmp_path / "out", "csv", stream=True)
    assert len(list((tmp_path / "out" / "images").rglob("*.png"))) == 2 * 12


def test_what_cannot_be_streamed_is_said(tmp_path, image_file):
    source = write_coco(tmp_path / "coco", image_file)
    with pytest.raises(ConfigError, match="cannot be written in parts"):
        conversion.convert(source, tmp_path / "out", "voc", stream=True)
    with pytest.raises(ConfigError, match="cannot be streamed"):
        conversion.convert(source, tmp_path / "out", "csv", stream=True, sidecar=True)


_CONVERT = """
import sys
from dataclasses import replace
from pathlib import Path
from augsuite import conversion
from augsuite_coco import waiting_annotations, waiting_images
waiting_images.PART, waiting_annotations._RUN = 256, 1 << 22
conversion.convert(sys.argv[1], sys.argv[2], "parquet", stream=sys.argv[3] == "stream")
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the system does not say how much memory a process took"
)
def test_memory(tmp_path, image_file):
    """Of a file of 60 MB, most of which are masks, parts hold less at a time than the whole."""
    source = write_coco(tmp_path / "coco", image_file, images=6000, boxes=0, splits=("train",), pictures=False)
    path = source / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    ring = [round(number / 7, 2) for number in range(700)]
    content["annotations"] = [
        {"id": row, "image_id": 3 * (row * 7919 % 6000), "category_id": 2, "bbox": [0, 0, 3, 3], "segmentation": [ring]}
        for row in range(12000)
    ]
    path.write_text(json.dumps(content))
    peaks = {}
    for way in ("whole", "stream"):
        command = [sys.executable, "-c", _CONVERT, str(source), str(tmp_path / way), way]
        peaks[way] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) << 10
    assert files_of(tmp_path / "stream") == files_of(tmp_path / "whole")
    assert peaks["whole"] - peaks["stream"] > path.stat().st_size / 2


@pytest.mark.usefixtures("small_parts")
def test_a_part_of_which_nothing_is_left(tmp_path, image_file):
    spec = find_format("csv")
    spec = replace(spec, keeps=spec.keeps - {"empty_images"})
    source = write_coco(tmp_path / "coco", image_file, splits=("train",))  # its last part is one image without boxes
    whole = conversion.convert(source, tmp_path / "whole", spec)
    parts = conversion.convert(source, tmp_path / "parts", spec, stream=True)
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")
    assert parts.losses["images without annotations"] == whole.losses["images without annotations"] >= 2
