"""The benchmark of the statistics runs, and its shares are shares."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from scipy import stats

ROOT = Path(__file__).resolve().parents[2]


def test_few_studies_of_each_kind():
    command = [sys.executable, "bench/validity.py", "--studies", "30", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=300)
    assert done.returncode in (0, 1), done.stderr  # so few may miss a goal by chance
    found = json.loads(done.stdout)
    assert len({row["method"] for row in found["simulated"]}) == 5
    for row in found["simulated"]:
        claims = row["claims"]
        count = round(claims["share"] * row["studies"])
        # Five in a hundred promised: so many more would be no chance.
        assert stats.binom.sf(count - 1, row["studies"], 0.05) > 1e-4
        assert claims["low"] <= claims["share"] <= claims["high"]
        assert row["wrong_sign"] < 0.2
    assert set(found["goals"]) == {
        f"{what}.{row['method']}" for row in found["simulated"] for what in ("claims", "coverage")
    }
