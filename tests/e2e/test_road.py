"""The whole road on real input: the directions that a study must find, with the settings that the docs show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def study(folder: Path, file: Path, **changes) -> tuple[dict[str, dict], dict[str, dict]]:
    """Run a study of the repository with some settings changed; its arms, and the metrics of each arm's first seed, by name."""
    asked = yaml.safe_load(file.read_text(encoding="utf-8")) | changes
    (folder / "study.yaml").write_text(yaml.safe_dump(asked), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "augsuite",
        "study",
        "run",
        "study.yaml",
        "--out",
        "out",
        "--workers",
        "2",
        "--json",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "out" / "report.html").is_file()
    found = json.loads(done.stdout)
    metrics = {}
    for run in reversed(found["state"]["runs"]):
        record = folder / "out" / "runs" / run["digest"] / "record.json"
        metrics[run["arm"]] = json.loads(record.read_text(encoding="utf-8"))["metrics"]
    return {arm["arm"]: arm for arm in found["arms"]}, metrics


def some_arms(file: Path, *names: str) -> dict:
    arms = yaml.safe_load(file.read_text(encoding="utf-8"))["arms"]
    return {name: arms[name] for name in names}


@pytest.mark.slow
def test_the_bundled_study_names_the_right_augmentation(tmp_path):
    file = ROOT / "datasets" / "shelf" / "study.yaml"
    arms, metrics = study(tmp_path, file, dataset="shelf", seeds=1, arms=some_arms(file, "none", "color_jitter"))
    assert arms["color_jitter"]["mean"] > arms["none"]["mean"] + 5  # 23 points over 3 seeds: docs/shelf.md
    assert metrics["color_jitter"]["AP50"] >= 50
    assert metrics["none"]["AP50"] >= 50


@pytest.mark.slow
def test_both_flips_help_on_blood_cells(tmp_path, real_data):
    if not (real_data / "bccd" / "Annotations").is_dir():
        pytest.skip("needs bccd under AUGSUITE_DATA")
    file = ROOT / "docs" / "studies" / "bccd.yaml"
    arms, _ = study(tmp_path, file, seeds=2, arms=some_arms(file, "none", "hflip+vflip"))
    assert arms["hflip+vflip"]["mean"] > arms["none"]["mean"]
    assert arms["hflip+vflip"]["effect"]["mean"] > 0
