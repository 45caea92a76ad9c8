"""What becomes of a study: tables for other programs, two studies side by side, and the same study again."""

from __future__ import annotations

import csv
import json
import math
import shutil
import statistics

import numpy as np
import PIL.Image
import pyarrow.parquet
import pytest
from msgspec.structs import replace
from scipy import stats
from studykit import Bench

import augsuite
from augsuite.errors import DataError
from augsuite.study.comparison import differing
from augsuite.study.export import escaped, latex
from augsuite.study.store import Store

INLINE = ("--engine", "inline")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A study with two arms and three seeds, half of the pictures mirrored, which ones depends on the seed."""
    made = Bench(tmp_path_factory.mktemp("results"))
    text = made.file.read_text().replace("hflip: [{do: hflip, p: 1.0}]", "a_b & c: [{do: hflip, p: 0.5}]")
    made.file.write_text(text)
    assert made.invoke("study", "run", "study.yaml", *INLINE).returncode == 0
    return made


def metrics(bench):
    """Arm -> seed -> AP, from the records themselves."""
    found = {}
    for run in bench.state()["runs"]:
        record = json.loads((bench.store / "runs" / run["digest"] / "record.json").read_text())
        found.setdefault(run["arm"], {})[run["seed"]] = record["metrics"]["AP"]
    return found


def test_a_row_for_each_run_in_csv_and_parquet(bench):
    for suffix in ("csv", "parquet"):
        done = bench.invoke("study", "export", "studies/quick", "-o", f"runs.{suffix}", "--runs")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    with (bench.folder / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = {}
    for row in rows:
        told.setdefault(row["arm"], {})[int(row["seed"])] = float(row["AP"])
    assert told == metrics(bench)
    assert {row["status"] for row in rows} == {"done"}
    table = pyarrow.parquet.read_table(bench.folder / "runs.parquet")
    assert table.column("AP").to_pylist() == [float(row["AP"]) for row in rows]
    assert table.column("AP/cat").to_pylist() == [float(row["AP/cat"]) for row in rows]


def test_a_row_for_each_arm(bench):
    assert bench.invoke("study", "export", "studies/quick", "-o", "arms.csv").returncode == 0
    with (bench.folder / "arms.csv").open() as file:
        reference, arm = csv.DictReader(file)
    values = metrics(bench)
    differences = [values["a_b & c"][seed] - values["none"][seed] for seed in range(3)]
    assert float(arm["effect"]) == pytest.approx(statistics.fmean(differences))
    half = stats.t.ppf(0.975, 2) * statistics.stdev(differences) / math.sqrt(3)
    assert float(arm["high"]) - float(arm["effect"]) == pytest.approx(half)
    assert (reference["verdict"], reference["effect"]) == ("reference", "")


def test_latex_for_booktabs(bench):
    assert bench.invoke("study", "export", "studies/quick", "-o", "arms.tex").returncode == 0
    lines = (bench.folder / "arms.tex").read_text().splitlines()
    assert lines[:2] == [r"% Needs \usepackage{booktabs}", r"\begin{tabular}{lrrrrr}"]
    assert lines[-1] == r"\end{tabular}"
    assert r"a\_b \& c & " in "\n".join(lines)
    assert {line.count("&") - line.count(r"\&") for line in lines if line.endswith(r"\\")} == {5}
    row = {"arm": "x", "metric": "AP", "seeds": 5, "mean": 32.25, "effect": -2.5, "low": -3.5, "high": -1.5}
    text = latex([row | {"p_corrected": 0.0004, "verdict": "hurts"}])
    assert r"x & 32.2 & \textbf{$-2.5$} & [$-3.5$, $-1.5$] & $<$0.001 & 5 \\" in text.splitlines()
    assert escaped("50%_#{~^\\") == r"50\%\_\#\{\textasciitilde{}\textasciicircum{}\textbackslash{}"
    # After the end of a row, "[a]" would be the option of that command, and the star its other form.
    assert escaped("[a]*<b>|") == r"{[}a{]}{*}\textless{}b\textgreater{}\textbar{}"


def test_damaged_predictions_cost_no_results(bench):
    digest = next(run["digest"] for run in bench.state()["runs"] if run["arm"] == "none")
    path = bench.store / "runs" / digest / "predictions.json"
    path.write_text('[{"image_id": 1')
    with pytest.warns(RuntimeWarning, match=f"predictions are left out: .*{digest}"):
        done = bench.invoke("study", "run", "study.yaml", *INLINE)
    path.unlink()
    assert done.returncode == 0, done.stderr
    assert "a_b & c" in done.stdout
    assert "report: " in done.stdout


def test_another_ending_is_a_clear_line(bench):
    done = bench.invoke("study", "export", "studies/quick", "-o", "arms.xlsx")
    assert done.returncode == 2
    assert "ends in .csv, .parquet or .tex" in done.stderr


def test_two_studies_side_by_side(bench):
    other = bench.folder / "other.yaml"
    text = bench.file.read_text().replace("study: quick", "study: other").replace("nap_s: 0.0", "bonus: 10.0")
    other.write_text(text.replace("seeds: 3", "seeds: 4") + "  vflip: [{do: vflip}]\n")
    assert bench.invoke("study", "run", "other.yaml", *INLINE).returncode == 0
    done = bench.invoke("study", "compare", "studies/quick", "studies/other")
    assert done.returncode == 0, done.stderr
    assert "only in other: vflip" in done.stdout
    assert "differs: config.bonus: 0.0 / 10.0" in done.stdout
    assert "differs: data" not in done.stdout

    found = json.loads(bench.invoke("study", "compare", "studies/quick", "studies/other", "--json").stdout)
    reference, arm = found["arms"]
    assert reference["means"][1] - reference["means"][0] == pytest.approx(10.5)  # the bonus, and the mean seed
    assert (arm["same"], arm["runs"]) == (True, [])
    judged = stats.ttest_ind(arm["second"]["differences"], arm["first"]["differences"], equal_var=False)
    interval = judged.confidence_interval(0.95)
    assert (arm["low"], arm["high"]) == pytest.approx((interval.low, interval.high))

    same = json.loads(bench.invoke("study", "compare", "studies/quick", "studies/quick", "--json").stdout)
    assert [arm["runs"] for arm in same["arms"]] == [[0, 1, 2]] * 2
    assert same["differing"] == {}


def test_settings_of_several_numbers_are_equal_before_and_after_json(bench):
    state = Store(bench.out).state()
    asked, read, other = (replace(state, config={"sizes": value}) for value in ((8, 16), [8, 16], [8, 32]))
    assert differing(asked, read) == {}
    assert differing(asked, other) == {"config.sizes": ([8, 16], [8, 32])}


def test_the_same_again_from_its_report(bench, tmp_path):
    before = len(bench.trained())
    done = bench.invoke("study", "reproduce", "studies/quick/report.json", *INLINE)
    assert done.returncode == 0, done.stderr
    assert len(bench.trained()) == before + 6  # nothing of before is used
    lines = [line for line in done.stdout.splitlines() if line.endswith("bitwise")]
    assert [line.split()[-4:] for line in lines] == [
        ["of", "3", lines[0].split()[-2], "bitwise"],
        lines[1].split()[-4:],
    ]
    assert all("3 of 3" in line for line in lines)

    report = json.loads((bench.out / "report.json").read_text())
    for seed, value in report["arms"][1]["values"].items():  # a report by another machine, with another arm's luck
        report["arms"][1]["values"][seed] = value + 50
    (tmp_path / "report.json").write_text(json.dumps(report))
    other = bench.invoke("study", "reproduce", str(tmp_path / "report.json"), "--out", "studies/quick-again", *INLINE)
    assert other.returncode == 1
    assert other.stdout.splitlines()[-1].endswith("differs")
    assert other.stderr.count("found") == 6  # in the same folder it goes on

    picture = next((bench.folder / "pets" / "images").iterdir())
    content = picture.read_bytes()
    try:
        picture.write_bytes(next(iter(sorted((bench.folder / "pets" / "images").iterdir(), reverse=True))).read_bytes())
        wrong = bench.invoke("study", "reproduce", "studies/quick/report.json", *INLINE)
    finally:
        picture.write_bytes(content)
    assert wrong.returncode == 2
    assert "images are not those of the report" in wrong.stderr


def test_where_it_is_reproduced_is_checked_first(bench):
    again = ("study", "reproduce", "studies/quick/report.json", "--out", "studies/nowhere")
    done = bench.invoke(*again, "--engine", "inlin")
    assert done.returncode == 2
    assert "Did you mean 'inline'" in done.stderr
    done = bench.invoke(*again, *INLINE, "--ray-address", "127.0.0.1:1")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("--ray-address goes with --engine ray.")
    assert not (bench.folder / "studies" / "nowhere").exists()


def test_no_report_is_a_clear_line(bench):
    for path in ("nowhere/report.json", "pets"):
        done = bench.invoke("study", "reproduce", path)
        assert done.returncode == 2
        assert "no such report" in done.stderr


def test_what_a_study_found_to_go_on_with(bench):
    found = augsuite.read_study(bench.out)
    told = metrics(bench)
    assert (found.name, found.metric, found.reference) == ("quick", "AP", "none")
    assert {name: arm.values for name, arm in found.arms.items()} == told
    assert len(found.val) == 2
    assert np.isnan(found.image_values("none")).all()  # this trainer leaves no predictions
    assert np.isnan(found.image_effects("a_b & c")).all()
    assert {name: [len(seed) for seed in lines["none"]] for name, lines in found.curves.items()} == {
        "AP": [2] * 3,
        "loss": [2] * 3,
    }
    digest = next(run["digest"] for run in bench.state()["runs"] if (run["arm"], run["seed"]) == ("a_b & c", 2))
    assert found.run_folder("a_b & c", 2).resolve() == (bench.store / "runs" / digest).resolve()
    assert found.mark("none") == "reference"


def test_a_study_is_read_with_its_own_images_only(bench, tmp_path):
    shutil.copytree(bench.folder / "pets", tmp_path / "pets")
    assert len(augsuite.read_study(bench.out, str(tmp_path / "pets")).val) == 2
    for picture in (tmp_path / "pets" / "images").iterdir():
        PIL.Image.new("RGB", (40, 40)).save(picture)
    with pytest.raises(DataError, match="not those that the study measured on"):
        augsuite.read_study(bench.out, str(tmp_path / "pets"))
