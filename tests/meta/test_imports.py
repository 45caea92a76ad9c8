"""The import arrow of the layout, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import augsuite

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted((ROOT / "augsuite").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").glob("augsuite_*/**/*.py"))

HEAVY = {
    "torch",
    "torchvision",
    "cv2",
    "fiftyone",
    "albumentations",
    "pycocotools",
    "scipy",
    "ray",
    "fsspec",
    "s3fs",
    "gcsfs",
    "psutil",
}

# Lower layers never import higher ones.
LAYERS = [
    {"errors", "spec"},
    {"boxes", "config"},
    {"dataset"},
    {"engines", "protocols", "hookspecs", "registry", "builtin"},
    {"evaluation"},
    {"augment"},
    {"training"},
    {"conversion", "correction", "detection", "doctor", "generation", "prediction", "study", "testing", "writing"},
    {"commands", "cli", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

PUBLIC_MODULES = {"spec", "engines", "protocols", "dataset", "boxes", "augment", "errors", "evaluation", "training"}


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything a file imports at run time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def part(name: str) -> str | None:
    """`augsuite.dataset.tables.Dataset` -> `dataset`; None for a name that the package itself offers."""
    pieces = name.split(".")
    if pieces[0] != "augsuite" or len(pieces) < 2:
        return None
    return pieces[1] if pieces[1] in LEVEL else None


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_imports_downwards_and_nothing_heavy(path):
    own = path.relative_to(ROOT / "augsuite").parts[0].removesuffix(".py")
    if own == "__init__":
        return
    assert own in LEVEL, f"{own}: give the new part of the core a layer"
    for line, name in imports(path):
        other = part(name)
        assert not name.startswith("augsuite_"), f"{path}:{line}: the core imports the plugin {name}"
        if other is not None:
            assert LEVEL[other] <= LEVEL[own], f"{path}:{line}: {own} imports {other}, a layer above"
    # The tools of trainers are PyTorch through and through, and nothing but a trainer imports them.
    heavy = HEAVY - {"torch"} if own == "training" else HEAVY
    for line, name in imports(path, top_level_only=True):
        assert name.split(".")[0] not in heavy, f"{path}:{line}: imports {name} at module level"


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_bundled_plugin_imports_what_a_stranger_may(path):
    own = path.relative_to(ROOT / "plugins").parts[0]
    for line, name in imports(path):
        root, _, rest = name.partition(".")
        if root.startswith("augsuite_"):
            assert root == own, f"{path}:{line}: imports the sibling plugin {root}"
        if root == "augsuite":
            first = rest.split(".")[0]
            assert first in PUBLIC_MODULES or first in augsuite.__all__, f"{path}:{line}: {name} is not public"


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("*/__init__.py")), ids=lambda path: path.parent.name)
def test_declarations_import_nothing_but_the_declarations(path):
    allowed = {"augsuite", "collections", "__future__", "types", "typing", "functools", "importlib"}
    own = path.parent.name
    for line, name in imports(path):
        assert name.split(".")[0] in allowed | {own}, f"{path}:{line}: a declaration imports {name}"


@pytest.mark.parametrize("path", CORE + PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_holds_one_idea(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_the_data_folder_holds_no_python():
    assert not list((ROOT / "datasets").rglob("*.py"))
