"""Every command that is given a dataset reads it with the same options, and says what was surprising."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from augsuite.cli import cli
from augsuite.errors import DataError

COMMANDS = {
    "stats": ["stats", "labels.csv"],
    "preview": ["preview", "flip", "labels.csv", "-o", "grid.png", "--samples", "1", "--variants", "1"],
    "augment": ["augment", "labels.csv", "out", "--policy", "flip", "--to", "coco"],
    "train": ["train", "ssd", "labels.csv", "--split", "1:1", "--set", "epochs=1", "--set", "size=64", "-o", "run"],
}


@pytest.fixture
def here(tmp_path, monkeypatch, image_file):
    for name in ("a", "b", "c"):
        image_file(tmp_path / f"{name}.jpg", (80, 40))
    rows = ["filename,class,xmin,ymin,xmax,ymax", *(f"{name}.jpg,cat,0.1,0.2,0.5,1" for name in ("a", "b", "c"))]
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "a.jpg,cat,0.5,0.2,0.1,1"]) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_what_an_error_advises_works(here, name):
    arguments = COMMANDS[name]
    if name in {"preview", "augment"}:
        pytest.importorskip("cv2")
    if name == "train":
        pytest.importorskip("torch")
    first = CliRunner().invoke(cli, arguments)
    assert isinstance(first.exception, DataError)
    assert "--skip-invalid" in str(first.exception)
    second = CliRunner().invoke(cli, [*arguments, "--skip-invalid"])
    assert isinstance(second.exception, DataError)
    assert "--option units=unit" in str(second.exception)
    wrong = CliRunner().invoke(cli, [*arguments, "--option", "skip_invalid=yes"])
    assert "unknown option 'skip_invalid'" in str(wrong.exception)
    last = CliRunner().invoke(cli, [*arguments, "--skip-invalid", "--option", "units=unit", "--from", "csv"])
    assert last.exit_code == 0, last.output
    assert "skipped: labels.csv: line 5: box" in last.stderr
