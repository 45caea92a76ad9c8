"""A Ray cluster of two worker processes for the tests of one module, and what is installed on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FRAGILE = '''
"""A format whose pieces take their time, and may take their process with them. Not a word about images."""
import os, signal, time
from pathlib import Path
from augsuite import hookimpl
from augsuite.dataset.parallel import mapped
from augsuite.spec import FormatSpec, Ref

@hookimpl
def augsuite_formats():
    yield FormatSpec(name="fragile", summary="for tests", patterns=("*.piece",), keeps=frozenset({"boxes", "names", "sizes", "empty_images"}),
                     read=Ref("fragile_format:read"), write=Ref("fragile_format:write"), detect=Ref("fragile_format:detect"))

def detect(path):
    return float((path / "0.piece").exists())

def read(path, intake, **options):
    raise NotImplementedError

def write(data, folder, losses, **options):
    signs = Path(os.environ["FRAGILE"])
    for _ in mapped(one, [(number, str(folder), str(signs)) for number in range(8)]):
        pass
    return [f"images/{row}" for row in range(len(data))]

def one(piece):
    number, folder, signs = piece[0], Path(piece[1]), Path(piece[2])
    with open(signs / "begun", "a") as file:
        file.write(f"{number}\\\\n")
    if number == 3 and (signs / "deadly").exists():
        (signs / "deadly").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    while number > 4 and (signs / "slow").exists():
        time.sleep(0.05)
    (folder / f"{number}.piece").write_text(f"piece {number}")
'''


def install_fragile(site: Path) -> Path:
    """Lay the format out as an installed distribution."""
    info = site / "fragile_format-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile-format\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[augsuite]\nfragile = fragile_format\n")
    (site / "fragile_format.py").write_text(FRAGILE.replace("\\\\n", "\\n"))
    return site


@contextmanager
def cluster(*sites: Path, **variables: str) -> Iterator[str]:
    """Start one with two worker processes, and end it.

    Args:
        sites: folders of plugins that are installed on its machine.
        variables: of its environment.

    Yields:
        The address.
    """
    ray = pytest.importorskip("ray")
    from augsuite_ray.cluster import connect

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")  # what else runs on this machine must not end our workers
        patch.setenv(
            "PYTHONPATH", os.pathsep.join([*map(str, sites), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
        )
        for site in sites:
            patch.setattr(sys, "path", [str(site), *sys.path])
        for name, value in variables.items():
            patch.setenv(name, value)
        connect(2)
        try:
            yield ray.get_runtime_context().gcs_address
        finally:
            ray.shutdown()
