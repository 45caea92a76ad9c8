"""The benchmark of conversions runs, at a size where its figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONVERSIONS = {"coco-voc", "coco-csv", "coco-yolo", "voc-coco", "csv-coco"}
IMAGES = 200

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark needs Linux")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    command = [
        sys.executable, "bench/convert.py", "--images", str(IMAGES), "--repeats", "1", "--peers", "none", "--json", "-",
        "--work", tmp_path_factory.mktemp("work"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_conversion_keeps_each_box(found):
    ours = [row for row in found["results"] if row["tool"] == "augsuite"]
    boxes = round(IMAGES * 860_001 / 118_287)
    assert {row["conversion"]: (row["failure"], row["boxes"]) for row in ours} == dict.fromkeys(
        CONVERSIONS, (None, boxes)
    )


def test_the_floor_writes_as_much_as_we_do(found):
    wrote = {(row["conversion"], row["tool"]): (row["files"], row["megabytes"]) for row in found["results"]}
    for conversion in CONVERSIONS:
        assert wrote[conversion, "floor"] == wrote[conversion, "augsuite"] != (0, 0.0)


def test_two_processes_write_the_same_bytes(found):
    assert {row["conversion"]: row["same_bytes"] for row in found["workers"]} == dict.fromkeys(CONVERSIONS, True)


def test_streams_end_well(found):
    assert [row["failure"] for row in found["stream"]] == [None] * 6


def test_every_goal_is_judged(found):
    names = {conversion.replace("-", "_") for conversion in CONVERSIONS}
    assert set(found["goals"]) == (
        {f"floor_ratio.{name}" for name in names}
        | {f"workers_same_bytes.{name}" for name in names}
        | {f"stream_peak_mb.coco_{to}.{times}x" for to in ("csv", "parquet", "webdataset") for times in (1, 2)}
    )
    assert all(goal["value"] is not None for goal in found["goals"].values())


def _measure(*command, limit_s="60", memory="0"):
    around = [sys.executable, str(ROOT / "bench" / "measure.py"), limit_s, memory, *command]
    return json.loads(subprocess.run(around, capture_output=True, text=True, check=True, timeout=120).stdout)


SPIN = "import time\nwhile time.process_time() < 0.5: pass\n"


def test_the_time_of_a_process_left_behind_is_counted():
    cost = _measure("sh", "-c", f"setsid {sys.executable} -c '{SPIN}' & sleep 0.5")
    assert cost["status"] == 0
    assert cost["cpu_s"] >= 0.5


def test_a_process_left_behind_for_ever_is_ended():
    assert _measure("sh", "-c", "setsid sleep 100 & sleep 100", limit_s="0.3")["late"]


def test_an_interrupted_measurement_leaves_nothing_running(tmp_path):
    said = tmp_path / "pid"
    code = f"import os, time, pathlib; pathlib.Path({str(said)!r}).write_text(str(os.getpid()) + '.'); time.sleep(100)"
    around = [sys.executable, str(ROOT / "bench" / "measure.py"), "100", "0", sys.executable, "-c", code]
    with subprocess.Popen(around) as process:
        _wait(lambda: said.exists() and said.read_text().endswith("."))
        process.kill()
    pid = int(said.read_text()[:-1])
    _wait(lambda: not Path(f"/proc/{pid}").exists() or " (zombie)" in Path(f"/proc/{pid}/status").read_text())


def _wait(true):
    for _ in range(600):
        if true():
            return
        time.sleep(0.1)
    pytest.fail("waited for a minute")


def test_peak_memory_is_that_of_the_largest_process():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'bytes(range(256)) * 1_000_000'])"
    assert _measure(sys.executable, "-c", code)["peak_mb"] >= 256


def test_what_takes_too_long_is_ended():
    cost = _measure("sleep", "60", limit_s="0.3")
    assert cost["late"]


def test_what_takes_too_much_memory_fails():
    assert _measure(sys.executable, "-c", "bytearray(10**9)", memory=str(500_000_000))["status"] == 1


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import train2017

    yield train2017
    del sys.modules["train2017"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # within pycocotools
def test_pycocotools_reads_the_file_with_all_its_masks(module, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    module.write(tmp_path / "a.json", 300)
    data = coco.COCO(str(tmp_path / "a.json"))
    crowds = [one for one in data.dataset["annotations"] if one["iscrowd"]]
    assert 3 <= len(crowds) <= 60  # 1 % of 2,181
    for one in data.dataset["annotations"]:
        image = data.imgs[one["image_id"]]
        assert data.annToMask(one).shape == (image["height"], image["width"])
        if one["iscrowd"]:
            assert sum(one["segmentation"]["counts"]) == image["height"] * image["width"]
            assert min(one["segmentation"]["counts"]) > 0
