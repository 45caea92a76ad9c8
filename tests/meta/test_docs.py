"""The docs say what is there, and what they show works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from augsuite import protocols, registry, spec

ROOT = Path(__file__).resolve().parents[2]
HOOKS_PAGE = ROOT / "docs" / "hooks.md"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("hook", registry.HOOKS)
def test_every_hook_is_documented_and_used(hook):
    assert f"`{hook}`" in HOOKS_PAGE.read_text(encoding="utf-8")
    found = registry.default()
    assert getattr(found, hook.removeprefix("augsuite_"))(), f"nobody implements {hook}"


@pytest.mark.parametrize(
    "kind", [*get_args(spec.Spec), spec.OptionSpec, protocols.RunRecord], ids=lambda kind: kind.__name__
)
def test_what_plugins_declare_and_trainers_leave_is_documented(kind):
    page = HOOKS_PAGE.read_text(encoding="utf-8")
    assert f"`{kind.__name__}`" in page
    assert {field for field in kind.__annotations__ if f"`{field}`" not in page} == set()
    assert "`protocols.TakesPulse`" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_pages_lead_to_a_heading(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            linked = (page.parent / target if target else page).read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.*)$", linked, re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


def test_every_command_is_told_of():
    """`augsuite NAME` stands on some page."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {name for name in registry.default().commands() if f"augsuite {name}" not in text} == set()


def test_the_hooks_are_all_listed():
    from augsuite import hookspecs

    declared = {name for name in vars(hookspecs) if name.startswith("augsuite_")}
    assert declared == set(registry.HOOKS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page}: {target} does not exist"


def test_every_transform_is_on_its_page():
    """A row for each, as it is declared."""
    page = (ROOT / "docs" / "transforms.md").read_text(encoding="utf-8")
    rows = {row for row in page.splitlines() if row.startswith("| `")}
    own = {name: spec for name, spec in registry.default().transforms().items() if "." not in name}
    declared = {f"| `{name}` | {spec.summary} | {spec.source or '-'} |" for name, spec in own.items()}
    assert declared - rows == set(), "rows that are missing in docs/transforms.md"
    assert rows - declared == set(), "rows of docs/transforms.md that are declared otherwise, or not at all"


def test_the_torch_dataset_of_the_page_works():
    """The class that docs/augment.md shows, in a loader of two workers: the same as without."""
    torch = pytest.importorskip("torch")
    np = pytest.importorskip("numpy")
    pytest.importorskip("cv2")
    import augsuite

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "augment.md").read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if "torch.utils.data.Dataset" in block)
    space = {"torch": torch}
    exec(block, space)
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    inner = [(np.roll(picture, row, axis=1), np.array([[1.0, 2, 30, 20]]), np.array([row])) for row in range(6)]
    shown = space["Augmented"](inner, augsuite.policy([{"do": "rotate"}, {"do": "hflip", "p": 0.5}]))
    epochs = []
    for shown.epoch in (0, 1):
        loaded = [list(torch.utils.data.DataLoader(shown, batch_size=None, num_workers=workers)) for workers in (0, 2)]
        for first, second in zip(*loaded, strict=True):
            for left, right in zip(first, second, strict=True):
                assert np.array_equal(np.asarray(left), np.asarray(right))
        epochs.append(np.stack([np.asarray(image) for image, _, _ in loaded[0]]))
    assert not np.array_equal(*epochs)


@pytest.fixture
def negative_plugin(tmp_path):
    """The plugin of docs/hooks.md, written as the page shows it, with the metadata that an installer would leave."""
    blocks = re.findall(r"```python\n(.*?)```", HOOKS_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    package = tmp_path / "augsuite_negative"
    package.mkdir()
    (package / "__init__.py").write_text(blocks[0], encoding="utf-8")
    (package / "work.py").write_text(blocks[1], encoding="utf-8")
    info = tmp_path / "augsuite_negative-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: augsuite-negative\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[augsuite]\nnegative = augsuite_negative\n")
    return tmp_path


def run(path: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": str(path)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_plugin_of_the_hooks_page_works(negative_plugin):
    listed = json.loads(run(negative_plugin, "-m", "augsuite", "transforms", "--json"))
    (own,) = [spec for spec in listed if spec["name"] == "negative"]
    assert own["plugin"] == "negative"
    script = """
import numpy as np
import augsuite
image = np.full((4, 6, 3), 100, np.uint8)
policy = augsuite.policy([{"do": "negative", "p": 1.0}])
out = policy(augsuite.Sample.of(image), key=(0, 0, 0)).image
amount = policy.plan(augsuite.Sample.of(image), key=(0, 0, 0)).ops[0].drawn["amount"]
print(out.shape, abs(int(out[0, 0, 0]) - (100 * (1 - amount) + 155 * amount)) <= 0.5)
"""
    assert run(negative_plugin, "-c", script).strip() == "(4, 6, 3) True"


def test_a_plugin_that_fails_to_import_is_shown_and_survived(negative_plugin):
    (negative_plugin / "augsuite_negative" / "__init__.py").write_text("import no_such_package_anywhere\n")
    assert "convert" in run(negative_plugin, "-m", "augsuite", "--help")
    shown = json.loads(run(negative_plugin, "-m", "augsuite", "plugins", "--json"))
    (failure,) = shown["failures"]
    assert failure["plugin"] == "negative"
    assert "no_such_package_anywhere" in failure["message"]
