"""The benchmark beside FiftyOne's own calls runs, at a size where its figures mean nothing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PEER = """
import fiftyone as fo
import PIL.Image

def transform_sample(sample, transforms, label_fields, new_filepath):
    with PIL.Image.open(sample.filepath) as opened:
        opened.convert("RGB").transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(new_filepath)
    new = fo.Sample(filepath=new_filepath, tags=["augmented"])
    sample._dataset.add_sample(new)
    return new.id
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    if sys.platform != "linux":
        pytest.skip("the benchmark needs Linux")
    if importlib.util.find_spec("fiftyone") is None or not list(
        Path(importlib.util.find_spec("fiftyone").origin).parent.glob("db/bin/mongod")
    ):
        pytest.skip("FiftyOne or its MongoDB is not installed")
    folder = tmp_path_factory.mktemp("peer")
    (folder / "__init__.py").write_text(PEER)
    command = [
        sys.executable, "bench/fiftyone.py", "--samples", "60", "--boxes", "3", "--images", "6", "--rounds", "1", "--data",
        "shelf", "--only", "loading", "--only", "augmenting", "--peer", f"other={folder}", "--json", "-",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_contender_loads_the_same(found):
    """The bench itself asks FiftyOne how many boxes there are, and ends if it says another number."""
    assert [(row["task"], row["how"], row["samples"], row["boxes"]) for row in found["loading"]] == [
        ("samples", how, 60, 3) for how in ("add_samples", "insert_samples", "store")
    ] + [("predictions", how, 60, 3) for how in ("set_values", "set_labels")]
    assert all(row["cpu_s"] > 0 for row in found["loading"])


def test_a_peer_is_run_beside_ours(found):
    assert {(row["task"], row["who"], row["images"], row["failure"]) for row in found["augmenting"]} == {
        (task, who, 6, None) for task in ("flip", "rotate and flip") for who in ("augsuite", "other")
    }


def test_every_goal_is_judged(found):
    assert set(found["goals"]) == {
        "loading.insert_samples_over_add_samples",
        "loading.store_over_add_samples",
        "loading.set_labels_over_set_values",
        "augmenting.flip",
        "augmenting.rotate_and_flip",
    }
    assert all(goal["value"] is not None for goal in found["goals"].values())


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    spec = importlib.util.spec_from_file_location("fiftyone_augmenting", ROOT / "bench" / "fiftyone_augmenting.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_boxes_are_judged_by_what_is_painted(module):
    """One label each: right, 5 pixels off, without an attribute, gone though all of it is there, gone with what was cut off."""
    whole = {"number": 900_100_581_904, "flag": True, "text": "half hidden"}
    seen = [10.0, 10, 50, 40]

    def judged(boxes, *, attributes=whole, share=1.0, cut=False):
        looked_at = {"seen": seen, "boxes": boxes, "attributes": attributes, "share": share, "cut": cut}
        return module.judged(
            {"labels": [{"seen": seen, "boxes": [seen], "attributes": whole, "share": 1, "cut": False}, looked_at]}
        )

    assert judged([[10.4, 10, 50, 40]])["right"]
    off = judged([[10, 10, 55, 40]])
    assert (off["right"], off["worst_px"]) == (False, 5)
    assert judged([seen], attributes={"number": 3})["without_attributes"] == 1
    assert judged([])["lost"] == 1
    assert judged([], share=0.2, cut=True)["right"]
    assert module.judged({"failure": "TypeError: no"}) == {"failure": "TypeError: no", "right": False}
