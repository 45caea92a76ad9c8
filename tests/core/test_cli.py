"""The command line: errors are one line and exit 2; listings are data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from augsuite import registry

FULL = Path("/dev/full")


def augsuite(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "augsuite", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_an_unknown_command_names_the_nearest():
    done = augsuite("convrt")
    assert done.returncode == 2
    assert "Did you mean 'convert'?" in done.stderr


def test_an_error_is_one_line_and_exit_2(tmp_path):
    done = augsuite("convert", str(tmp_path / "nothing"), str(tmp_path / "out"), "--to", "voc")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("augsuite: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", [["formats"], ["formats", "--json"]])
def test_a_full_disk_is_one_line(command):
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "augsuite", *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == (
        "augsuite: the output: No space left on device. Check the place, its space and permissions.\n"
    )


def test_debug_shows_the_traceback(tmp_path):
    done = augsuite("--debug", "convert", str(tmp_path / "nothing"), str(tmp_path / "out"), "--to", "voc")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("kind", ["formats", "transforms", "policies", "trainers"])
def test_listings_list_what_the_registry_holds(kind):
    listed = json.loads(augsuite(kind, "--json").stdout)
    specs = getattr(registry.default(), kind)()
    assert [entry["name"] for entry in listed] == list(specs)
    for entry in listed:
        assert entry["plugin"] == registry.default().owner(f"augsuite_{kind}", entry["name"])
    table = augsuite(kind).stdout
    for name in specs:
        assert "." in name or name in table


@pytest.mark.parametrize("listing", ["plugins", "formats", "policies", "trainers"])
def test_a_table_for_another_program_has_one_line_for_each_row(listing):
    table = augsuite(listing).stdout.partition("\n\n")[0].splitlines()
    listed = json.loads(augsuite(listing, "--json").stdout)
    listed = listed["plugins"] if listing == "plugins" else listed
    assert [line.split()[0] for line in table[1:]] == [entry["name"] for entry in listed]
    assert not any(line != line.rstrip() for line in table)


def test_the_version_is_the_distributions():
    from importlib.metadata import version

    assert version("augsuite") in augsuite("--version").stdout
