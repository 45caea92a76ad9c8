"""The benchmark of scale runs, at a size where its figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIZES = (100, 200)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark needs Linux")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    command = [
        sys.executable, "bench/scale.py", "--sizes", ",".join(map(str, SIZES)), "--pictures", "20", "--files", "50",
        "--tasks", "10", "--no-ray", "--json", "-", "--work", tmp_path_factory.mktemp("work"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "tables": done.stderr}


def test_each_step_ends_well_at_each_size(found):
    steps = {(row["step"], row["images"], row["workers"]): row["cost"]["failure"] for row in found["grown"]}
    assert set(steps.values()) == {None}
    assert len(steps) == 9 * len(SIZES)


def test_every_step_has_its_line(found):
    assert [row["step"] for row in found["lines"]] == list(dict.fromkeys(row["step"] for row in found["grown"]))
    assert all(row["cpu_s"]["each"] >= 0 and row["peak_mb"]["constant"] >= 0 for row in found["lines"])


def test_files_and_shards_hold_the_same_bytes(found):
    """Time and throughput of a row come to as many bytes, wherever they are read from."""
    sizes = {round(row["us_per_image"] * row["mb_per_s"] * row["images"]) for row in found["images"]}
    assert len(found["images"]) == 6
    assert max(sizes) - min(sizes) <= 1


def test_the_rest_is_measured(found):
    assert found["listing"]["files"] == 50
    assert [row["engine"] for row in found["engines"]] == ["inline", "local"]
    assert found["object_store"] is None
    assert found["goals"] == {}


def test_the_tables_are_markdown(found):
    assert found["tables"].count("| --- |") == 5


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import scale_report

    yield scale_report
    del sys.modules["scale_report"]


def test_a_straight_line_is_found_again(report):
    line = report.line_through([10, 100, 1000], [2 + 0.5 * size for size in (10, 100, 1000)])
    assert line == {"constant": pytest.approx(2), "each": pytest.approx(0.5), "worst": pytest.approx(0)}


def test_a_line_that_would_begin_below_zero_begins_there(report):
    """By hand: of y = 1 at 1 and 3 at 2 through the origin, relatively: (1/1 + 2/3) / (1/1 + 4/9) = 15/13."""
    line = report.line_through([1, 2], [1.0, 3.0])
    assert (line["constant"], line["each"]) == (0, pytest.approx(15 / 13))


def test_a_line_that_would_fall_is_flat(report):
    """By hand: of 3 at 1 and 1 at 2: (1/3 + 1/1) / (1/9 + 1/1) = 6/5."""
    line = report.line_through([1, 2], [3.0, 1.0])
    assert (line["constant"], line["each"]) == (pytest.approx(6 / 5), 0)
