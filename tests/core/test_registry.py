"""The registry: owners kept, failures shown and survived, duplicates refused naming both."""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest

from augsuite import builtin, hookimpl
from augsuite.errors import ConfigError, MissingExtraError, PluginError
from augsuite.registry import Registry, find, load
from augsuite.spec import CommandSpec, FormatSpec, PolicySpec, Ref


def a_format(name: str) -> FormatSpec:
    nowhere = Ref("nowhere_at_all:thing")
    return FormatSpec(name, "a format", (), frozenset(), detect=nowhere, read=nowhere)


def plugin_with_formats(*names: str) -> SimpleNamespace:
    @hookimpl
    def augsuite_formats():
        return [a_format(name) for name in names]

    return SimpleNamespace(augsuite_formats=augsuite_formats)


def test_declarations_keep_their_owner():
    registry = Registry()
    registry.register(plugin_with_formats("zebra"), "first", "1.0")
    registry.register(plugin_with_formats("ant"), "second")
    assert list(registry.formats()) == ["ant", "zebra"]
    assert registry.owner("augsuite_formats", "zebra") == "first"
    assert registry.owner("augsuite_formats", "ant") == "second"
    assert registry.plugins() == {"first": "1.0", "second": ""}


def test_two_declarations_of_one_name_are_refused_naming_both_plugins():
    registry = Registry()
    registry.register(plugin_with_formats("same"), "first")
    registry.register(plugin_with_formats("same"), "second")
    with pytest.raises(PluginError, match=r"'same' is declared by both plugins 'first' and 'second'"):
        registry.formats()


def test_a_plugin_that_fails_to_declare_is_recorded_and_left_out():
    @hookimpl
    def augsuite_formats():
        yield a_format("half")
        raise RuntimeError("broken on purpose")

    registry = Registry()
    registry.register(SimpleNamespace(augsuite_formats=augsuite_formats), "broken")
    registry.register(plugin_with_formats("whole"), "sound")
    assert list(registry.formats()) == ["whole"]
    (failure,) = registry.failures
    assert (failure.plugin, failure.stage, failure.message) == (
        "broken",
        "augsuite_formats",
        "RuntimeError: broken on purpose",
    )
    assert "broken" not in registry.plugins()


def test_a_declaration_of_the_wrong_type_is_a_failure():
    @hookimpl
    def augsuite_formats():
        return [PolicySpec("p", "", ())]

    registry = Registry()
    registry.register(SimpleNamespace(augsuite_formats=augsuite_formats), "confused")
    assert not registry.formats()
    assert "must yield FormatSpec, got PolicySpec" in registry.failures[0].message


def test_a_misspelt_hook_is_a_shown_failure():
    @hookimpl
    def augsuite_format():
        return []

    registry = Registry()
    registry.register(SimpleNamespace(augsuite_format=augsuite_format), "misspelt")
    assert "misspelt" not in registry.plugins()
    assert registry.failures[0].plugin == "misspelt"
    assert "augsuite_format" in registry.failures[0].message


def test_a_hook_with_arguments_is_a_failure_not_a_crash():
    @hookimpl
    def augsuite_formats(config):
        return []

    registry = Registry()
    registry.register(SimpleNamespace(augsuite_formats=augsuite_formats), "old")
    assert not registry.formats()
    assert registry.failures[0].plugin == "old"


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (
            lambda: FormatSpec("x", "", (), frozenset(), "json:loads", "json:loads"),
            "detect must be a Ref, got 'json:loads'",
        ),
        (lambda: a_format(["x"]), "a name must be text"),
        (lambda: a_format(""), "a name must be text"),
    ],
)
def test_a_declaration_that_cannot_work_is_a_failure_before_it_is_used(made, complaint):
    @hookimpl
    def augsuite_formats():
        yield made()

    registry = Registry()
    registry.register(SimpleNamespace(augsuite_formats=augsuite_formats), "careless")
    registry.register(plugin_with_formats("whole"), "sound")
    assert list(registry.formats()) == ["whole"]
    assert complaint in registry.failures[0].message


def test_a_command_of_a_taken_name_leaves_the_program_running():
    @hookimpl
    def augsuite_commands():
        yield CommandSpec("convert", "mine", Ref("mine:convert"))
        yield CommandSpec("mine", "mine", Ref("mine:mine"))

    registry = Registry()
    registry.register(builtin, "augsuite")
    registry.register(SimpleNamespace(augsuite_commands=augsuite_commands), "greedy")
    assert registry.commands()["convert"].summary == "Convert a dataset from one format to another."
    assert "mine" in registry.commands()
    (failure,) = registry.failures
    assert "'convert' is declared by both plugins 'augsuite' and 'greedy'" in failure.message


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Installs a distribution of one module with an entry point."""

    def install(dist: str, entry: str, module: str, source: str = "") -> None:
        folder = tmp_path / dist
        info = folder / f"{dist}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[augsuite]\n{entry} = {module}\n")
        if source:
            (folder / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(folder)
        inherited = os.environ.get("PYTHONPATH", "")
        monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{inherited}" if inherited else str(folder))
        importlib.invalidate_caches()

    return install


A_FORMAT = """
from augsuite import hookimpl
from augsuite.spec import FormatSpec, Ref

@hookimpl
def augsuite_formats():
    yield FormatSpec({name!r}, "", (), frozenset(), Ref("nowhere:x"), Ref("nowhere:x"))
"""


def command_line(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "augsuite", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "statement", ["import nowhere_at_all", "raise SystemExit(3)", "raise RuntimeError('x')", "x ="]
)
def test_a_plugin_that_ends_its_import_does_not_end_the_program(distribution, statement):
    distribution("stranger", "stranger", "stranger_of_the_test", statement)
    done = command_line("plugins")
    assert done.returncode == 0
    assert "failed: stranger (import): " in done.stdout
    assert "coco" in done.stdout


A_COMMAND = """
from augsuite import hookimpl
from augsuite.spec import CommandSpec, Ref

@hookimpl
def augsuite_commands():
    yield CommandSpec("juggle", "no command at all", Ref("json:loads"))
"""


def test_a_command_that_is_none_is_one_line(distribution):
    distribution("juggler", "juggler", "juggler_of_the_test", A_COMMAND)
    assert "juggle" in command_line("--help").stdout
    done = command_line("juggle")
    assert done.returncode == 2
    assert done.stderr == "augsuite: augsuite juggle: json:loads is no click.Command.\n"


def test_two_distributions_with_a_plugin_of_one_name_are_both_named(distribution):
    distribution("one", "twin", "twin_one", A_FORMAT.format(name="from_one"))
    distribution("two", "twin", "twin_two", A_FORMAT.format(name="from_two"))
    registry = Registry()
    registry.load_entry_points()
    (failure,) = registry.failures
    assert failure.plugin == "twin"
    assert {"one", "two"} <= set(failure.message.split())
    assert len({"from_one", "from_two"} & set(registry.formats())) == 1


def test_a_plugin_called_as_the_core_does_not_replace_it(distribution):
    distribution("impostor", "augsuite", "impostor_of_the_test", A_FORMAT.format(name="fake"))
    done = command_line("plugins")
    assert done.returncode == 0
    assert "failed: augsuite (register): augsuite itself and impostor both have a plugin 'augsuite'" in done.stdout


def test_a_name_that_disables_nothing_is_shown():
    done = command_line("plugins", AUGSUITE_DISABLE_PLUGINS="vocc,coco")
    assert "disabled: coco" in done.stdout
    assert "'vocc', and no plugin is called so. Did you mean 'voc'?" in done.stdout


def test_the_program_itself_cannot_be_disabled():
    done = command_line("plugins", AUGSUITE_DISABLE_PLUGINS="augsuite")
    assert done.returncode == 2
    assert done.stderr.strip().startswith("augsuite: AUGSUITE_DISABLE_PLUGINS: 'augsuite' is the program itself")


def test_disabled_plugins_are_blocked_by_name():
    registry = Registry(disabled=frozenset({"unwanted"}))
    registry.register(plugin_with_formats("x"), "unwanted")
    assert not registry.formats()
    assert registry.blocked == ["unwanted"]


def test_a_name_is_registered_once():
    registry = Registry()
    registry.register(plugin_with_formats("x"), "one")
    with pytest.raises(PluginError, match="two plugins are called 'one'"):
        registry.register(plugin_with_formats("y"), "one")


def test_an_unknown_name_says_the_nearest():
    registry = Registry()
    registry.register(plugin_with_formats("coco", "voc"), "p")
    with pytest.raises(ConfigError, match=r"unknown format 'cocoo'\. Did you mean 'coco'\?"):
        find("format", registry.formats(), "cocoo")


def test_a_reference_loads_what_it_names():
    assert load(Ref("os.path:join"), "x", "all")("a", "b") == "a/b"


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "needs_missing.py").write_text("import heavy_package_that_is_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    expected = r"trainer x needs the package 'heavy_package_that_is_not_installed'.*augsuite\[train\]"
    with pytest.raises(MissingExtraError, match=expected):
        load(Ref("needs_missing:thing"), "trainer x", "train")


def test_a_reference_to_nothing_is_the_plugins_fault():
    with pytest.raises(PluginError, match="does not exist"):
        load(Ref("os.path:no_such_attribute"), "format x", "all")
    with pytest.raises(PluginError, match="cannot be imported"):
        load(Ref("no_such_plugin_module.io:read"), "format x", "all")


def test_an_import_that_breaks_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "breaks_on_import.py").write_text("raise OSError('libGL.so.1: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"format x: breaks_on_import:read cannot be imported: OSError: libGL"):
        load(Ref("breaks_on_import:read"), "format x", "all")


def test_a_reference_is_written_with_a_colon():
    with pytest.raises(ValueError, match=r"package\.module:attribute"):
        Ref("os.path.join")


def test_errors_travel_between_processes():
    error = MissingExtraError("trainer x", "train", "torch")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (MissingExtraError, str(error))
