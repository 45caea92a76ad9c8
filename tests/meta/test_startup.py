"""What a command costs before it does anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SERVICES = {"fiftyone", "mongoengine", "pymongo", "ray", "fsspec", "s3fs", "gcsfs", "aiohttp", "botocore"}
LIBRARIES = {"numpy", "torch", "torchvision", "cv2", "PIL", "albumentations", "scipy", "pycocotools", "pyarrow"}

SCRIPT = """
import json, sys
from augsuite.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print(json.dumps({"code": code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""


def loaded_by(*arguments: str, **environment: str) -> tuple[str, set[str]]:
    """Run the command line in a new interpreter; its output and the modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | environment,
    )
    report = json.loads(done.stderr.splitlines()[-1])
    assert report["code"] in (0, None), done.stderr
    return done.stdout, set(report["modules"])


def test_help_imports_nothing_heavy():
    output, modules = loaded_by("--help")
    assert "convert" in output
    assert not modules & (LIBRARIES | SERVICES | {"msgspec"})


@pytest.mark.parametrize("listing", ["formats", "transforms", "policies", "trainers", "plugins"])
def test_a_listing_imports_no_heavy_package(listing):
    _, modules = loaded_by(listing)
    assert not modules & (LIBRARIES | SERVICES)


@pytest.mark.parametrize("command", ["view", "fiftyone", "doctor", "convert", "train", "study run"])
def test_the_help_of_a_command_imports_no_service(command):
    """FiftyOne looks for a database as it is imported, and takes seconds; so does Ray."""
    output, modules = loaded_by(*command.split(), "--help")
    assert output.startswith("Usage: ")
    assert not modules & (SERVICES | {"torch", "torchvision", "albumentations", "scipy"})


def test_a_local_dataset_is_read_without_services():
    output, modules = loaded_by("stats", "shelf", "--json")
    assert json.loads(output)
    assert not modules & (SERVICES | {"torch", "torchvision", "albumentations", "scipy"})


def test_importing_the_package_is_light():
    code = "import sys, augsuite; print(sorted(set(sys.modules) & {'numpy', 'torch', 'cv2', 'PIL', 'click', 'rich'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_plugins_are_disabled_by_name():
    output, _ = loaded_by("formats", "--json", AUGSUITE_DISABLE_PLUGINS="voc, csv")
    names = {spec["name"] for spec in json.loads(output)}
    assert "coco" in names
    assert not names & {"voc", "csv"}
    output, _ = loaded_by("plugins", "--json", AUGSUITE_DISABLE_PLUGINS="voc,csv")
    assert json.loads(output)["disabled"] == ["csv", "voc"]
