"""`augsuite fiftyone`: the plugin where FiftyOne looks, and the datasets of the database."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from augsuite.cli import main
from augsuite_fiftyone.app_plugin import install as plugin


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A home folder of one's own, with no settings of FiftyOne."""
    for name in ("FIFTYONE_PLUGINS_DIR", "FIFTYONE_CONFIG_PATH", "FIFTYONE_DEFAULT_DATASET_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def run(*words):
    """The command: what it prints, and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["fiftyone", *words])
        except SystemExit as ended:
            code = ended.code or 0
    return SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue(), exit_code=code)


def test_the_plugin_goes_where_fiftyone_looks_and_a_second_time_changes_nothing(home):
    target = home / "fiftyone" / "__plugins__" / "augsuite"
    assert run("install").stdout == f"installed: {target}\n"
    assert sorted(path.name for path in target.iterdir()) == ["__init__.py", "fiftyone.yml"]
    before = {path.name: path.stat().st_mtime_ns for path in target.iterdir()}
    assert run("install").stdout == f"installed already: {target}\n"
    assert before == {path.name: path.stat().st_mtime_ns for path in target.iterdir()}
    (target / "__init__.py").write_text("old")
    assert run("install").stdout == f"updated: {target}\n"
    assert "register" in (target / "__init__.py").read_text()
    assert run("install", "--remove").stdout == f"removed: {target}\n"
    assert not target.exists()
    assert run("install", "--remove").stdout == f"not installed: {target}\n"


def test_removing_leaves_what_others_put_there(home):
    target = home / "fiftyone" / "__plugins__" / "augsuite"
    run("install")
    (target / "notes.txt").write_text("mine")
    run("install", "--remove")
    assert [path.name for path in target.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("content", [None, "name: '@somebody/else'\n", "- no: mapping\n", "{"])
def test_a_foreign_folder_is_never_touched(home, content):
    target = home / "plugins" / "augsuite"
    target.mkdir(parents=True)
    (target / "mine.txt").write_text("mine")
    if content is not None:
        (target / "fiftyone.yml").write_text(content)
    before = sorted(target.iterdir())
    for words in (["install"], ["install", "--remove"]):
        done = run(*words, "--plugins-dir", str(home / "plugins"))
        assert done.exit_code == 2
        assert "is not augsuite's plugin" in done.stderr
    assert sorted(target.iterdir()) == before


def test_settings_of_fiftyone_say_where(home, monkeypatch):
    assert plugin.plugins_folder() == home / "fiftyone" / "__plugins__"
    (home / ".fiftyone").mkdir()
    (home / ".fiftyone" / "config.json").write_text(json.dumps({"default_dataset_dir": str(home / "sets")}))
    assert plugin.plugins_folder() == home / "sets" / "__plugins__"
    (home / ".fiftyone" / "config.json").write_text(json.dumps({"plugins_dir": str(home / "own")}))
    assert plugin.plugins_folder() == home / "own"
    monkeypatch.setenv("FIFTYONE_PLUGINS_DIR", str(home / "told"))
    assert plugin.plugins_folder() == home / "told"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_an_app_of_ours_offers_our_plugin_and_theirs_and_changes_nothing_of_theirs(home, monkeypatch):
    theirs = home / "fiftyone" / "__plugins__"
    (theirs / "other").mkdir(parents=True)
    (theirs / "other" / "fiftyone.yml").write_text("name: '@somebody/else'\n")
    offered = plugin.offered()
    assert sorted(path.parent.name for path in offered.glob("*/fiftyone.yml")) == ["augsuite"]
    assert (offered / "others" / "other" / "fiftyone.yml").exists()
    assert sorted(path.name for path in theirs.iterdir()) == ["other"]
    monkeypatch.setenv("FIFTYONE_PLUGINS_DIR", str(offered))
    assert plugin.offered() == offered  # a process that such an App starts
    monkeypatch.delenv("FIFTYONE_PLUGINS_DIR")
    plugin.install(theirs)
    assert plugin.offered() == theirs


def test_fiftyone_itself_lists_the_plugin_and_its_operators(fo, fiftyone_env, tmp_path):
    run("install", "--plugins-dir", str(tmp_path))
    env = {
        **os.environ,
        **fiftyone_env,
        "FIFTYONE_PLUGINS_DIR": str(tmp_path),
        "FIFTYONE_DATABASE_URI": fo.config.database_uri,
    }
    commands = [["plugins", "list", "--names-only"], ["operators", "list", "--names-only"]]
    script = f"""
import sys
from fiftyone.core.cli import main
for words in {commands!r}:
    sys.argv = ["fiftyone", *words]
    main()
    print("--")
"""
    said = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    plugins, operators, *_ = said.stdout.split("--\n")
    assert "@augsuite/app" in plugins.split(), said.stderr
    ours = operators.partition("@augsuite/app")[2].split()
    assert ours[:6] == ["augment", "undo_augment", "replay", "save_policy", "tag", "export"]


def test_datasets_are_listed_and_deleted_only_with_their_name_said_twice(fo, dataset, tmp_path):
    dataset.add_sample(fo.Sample(str(tmp_path / "a.png")))
    (row,) = [row for row in json.loads(run("list", "--json").stdout) if row["name"] == dataset.name]
    assert (row["samples"], row["media_type"], row["persistent"]) == (1, "image", False)
    refused = run("delete", dataset.name)
    assert (refused.exit_code, "--name-again" in refused.stderr) == (2, True)
    wrong = run("delete", dataset.name, "--name-again", "other")
    assert (wrong.exit_code, "Nothing was deleted" in wrong.stderr) == (2, True)
    assert "Did you mean" in run("delete", dataset.name[:-1]).stderr
    assert dataset.name in fo.list_datasets()
    done = run("delete", dataset.name, "--name-again", dataset.name)
    assert done.stdout == f"deleted: {dataset.name}, 1 samples\n"
    assert dataset.name not in fo.list_datasets()
