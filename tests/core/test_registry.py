"""The registry: owners kept, failures shown and survived, duplicates refused naming both."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest

from augsuite import hookimpl
from augsuite.errors import ConfigError, MissingExtraError, PluginError
from augsuite.registry import Registry, find, load
from augsuite.spec import FormatSpec, PolicySpec, Ref


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


def test_a_reference_is_written_with_a_colon():
    with pytest.raises(ValueError, match=r"package\.module:attribute"):
        Ref("os.path.join")


def test_errors_travel_between_processes():
    error = MissingExtraError("trainer x", "train", "torch")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (MissingExtraError, str(error))
