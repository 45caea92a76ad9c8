"""Finds plugins, asks what they declare, keeps who declared it, and survives the ones that fail.

The only module that touches pluggy's manager.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar, cast

import pluggy

from augsuite import hookspecs
from augsuite.errors import AugsuiteError, ConfigError, MissingExtraError, PluginError, nearest
from augsuite.spec import (
    CommandSpec,
    DatasetSpec,
    EngineSpec,
    Failure,
    FormatSpec,
    Owned,
    PipelineSpec,
    PolicySpec,
    Ref,
    Spec,
    TrackerSpec,
    TrainerSpec,
    TransformSpec,
)

S = TypeVar("S", bound=Spec)
T = TypeVar("T")

GROUP = "augsuite"
BUILTIN = "augsuite"
HOOKS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "augsuite_formats": FormatSpec,
        "augsuite_datasets": DatasetSpec,
        "augsuite_transforms": TransformSpec,
        "augsuite_policies": PolicySpec,
        "augsuite_pipelines": PipelineSpec,
        "augsuite_trainers": TrainerSpec,
        "augsuite_engines": EngineSpec,
        "augsuite_trackers": TrackerSpec,
        "augsuite_commands": CommandSpec,
    }
)


class Registry:
    """The plugins of one process and what they declare.

    Attributes:
        failures: what went wrong, in the order it was met.
        blocked: names of plugins that were disabled.
        disabled: names that were to be disabled; those that are not in `blocked` belong to no plugin.
    """

    def __init__(self, disabled: frozenset[str] = frozenset()) -> None:
        """Start empty.

        Args:
            disabled: plugin names that are refused at registration.
        """
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._declared: dict[str, Mapping[str, Owned[Any]]] = {}
        self.disabled = disabled
        self._versions: dict[str, str] = {}
        self.failures: list[Failure] = []
        self.blocked: list[str] = []

    def register(self, plugin: object, name: str, version: str = "") -> None:
        """Add one plugin: a module or any object with hook implementations.

        A misspelt hook, or one with arguments, is recorded as a failure and the plugin is left out.

        Raises:
            PluginError: if `name` is taken already.
        """
        if name in self.disabled:
            self.blocked.append(name)
            return
        if self._manager.has_plugin(name):
            raise PluginError(f"two plugins are called {name!r}. Uninstall one, or rename its entry point.")
        self._versions[name] = version
        self._declared.clear()
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            self._reject(name, "check", " ".join(str(error).split()), error)

    def load_entry_points(self) -> None:
        """Import every plugin of the entry point group `augsuite`; a failing one is recorded and left out."""
        taken = dict.fromkeys(self.plugins(), "augsuite itself")
        for entry_point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
            name = entry_point.name
            if name in self.disabled:
                self.blocked.append(name)
                continue
            version = entry_point.dist.version if entry_point.dist else ""
            origin = entry_point.dist.name if entry_point.dist else entry_point.value
            if name in taken:
                error = PluginError(
                    f"{taken[name]} and {origin} both have a plugin {name!r}; that of {origin} is left out. Uninstall one."
                )
                self._record(name, "register", str(error), error)
                continue
            taken[name] = origin
            try:
                self.register(entry_point.load(), name, version)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's import may raise anything
                self._reject(name, "import", one_line(error), error)

    def plugins(self) -> Mapping[str, str]:
        """The registered plugins: name to version."""
        return {
            name: self._versions.get(name, "")
            for name, plugin in self._manager.list_name_plugin()
            if plugin is not None
        }

    def formats(self) -> Mapping[str, FormatSpec]:
        """Dataset formats by name."""
        return self._specs("augsuite_formats", FormatSpec)

    def datasets(self) -> Mapping[str, DatasetSpec]:
        """Dataset generators by name."""
        return self._specs("augsuite_datasets", DatasetSpec)

    def transforms(self) -> Mapping[str, TransformSpec]:
        """Transforms by name."""
        return self._specs("augsuite_transforms", TransformSpec)

    def policies(self) -> Mapping[str, PolicySpec]:
        """Bundled policies by name."""
        return self._specs("augsuite_policies", PolicySpec)

    def pipelines(self) -> Mapping[str, PipelineSpec]:
        """Libraries with pipelines, by name."""
        return self._specs("augsuite_pipelines", PipelineSpec)

    def trainers(self) -> Mapping[str, TrainerSpec]:
        """Trainers by name."""
        return self._specs("augsuite_trainers", TrainerSpec)

    def engines(self) -> Mapping[str, EngineSpec]:
        """Engines by name."""
        return self._specs("augsuite_engines", EngineSpec)

    def trackers(self) -> Mapping[str, TrackerSpec]:
        """Trackers by name."""
        return self._specs("augsuite_trackers", TrackerSpec)

    def commands(self) -> Mapping[str, CommandSpec]:
        """Commands by name."""
        return self._specs("augsuite_commands", CommandSpec)

    def owner(self, hook: str, name: str) -> str:
        """The plugin that declared `name` through `hook`."""
        return self._owned(hook)[name].plugin

    def _specs(self, hook: str, kind: type[S]) -> Mapping[str, S]:
        del kind  # for the type checker; `_owned` has checked each declaration
        return {name: cast("S", owned.spec) for name, owned in self._owned(hook).items()}

    def _owned(self, hook: str) -> Mapping[str, Owned[Any]]:
        """Ask every plugin that implements `hook`, once.

        Raises:
            PluginError: if two declarations share a name. Of two commands the first stays instead, so that the program starts
                and `augsuite plugins` can tell.
        """
        if hook in self._declared:
            return self._declared[hook]
        found: dict[str, Owned[Any]] = {}
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            plugin = implementation.plugin_name
            try:
                specs = list(implementation.function())
                for spec in specs:
                    _check(spec, hook)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's declaration may raise anything
                self._reject(plugin, hook, one_line(error), error)
                continue
            for spec in specs:
                if spec.name in found:
                    first = found[spec.name].plugin
                    clash = PluginError(
                        f"{hook}: {spec.name!r} is declared by both plugins {first!r} and {plugin!r}. "
                        f"Disable one with AUGSUITE_DISABLE_PLUGINS={plugin}."
                    )
                    if hook != "augsuite_commands":
                        raise clash
                    self._record(plugin, hook, str(clash), clash)
                    continue
                found[spec.name] = Owned(spec, plugin)
        result = MappingProxyType(found if hook == "augsuite_commands" else dict(sorted(found.items())))
        self._declared[hook] = result
        return result

    def _record(self, plugin: str, stage: str, message: str, error: BaseException) -> None:
        failure = Failure(plugin, stage, message, error)
        if failure not in self.failures:  # plugins are asked again after one was left out
            self.failures.append(failure)

    def _reject(self, plugin: str, stage: str, message: str, error: BaseException) -> None:
        self._record(plugin, stage, message, error)
        if self._manager.has_plugin(plugin):
            self._manager.unregister(name=plugin)
        self._declared.clear()


def _check(spec: object, hook: str) -> None:
    """Refuse a declaration that would fail later, where it is used.

    Raises:
        TypeError: if it is of another kind, has no name, or holds something else where a reference belongs.
    """
    kind = HOOKS[hook]
    if not isinstance(spec, kind):
        raise TypeError(f"{hook} must yield {kind.__name__}, got {type(spec).__name__}")
    for field in dataclasses.fields(kind):
        value = getattr(spec, field.name)
        if field.name == "name" and not (isinstance(value, str) and value):
            raise TypeError(f"{hook}: a name must be text, got {value!r}")
        if str(field.type).startswith("Ref[") and value is not field.default and not isinstance(value, Ref):
            raise TypeError(f"{hook}: {field.name} must be a Ref, got {value!r}")


def one_line(error: BaseException) -> str:
    """An exception as one line: its type, unless it is ours, and the first line of its message."""
    text = str(error).strip().splitlines()
    first = text[0] if text else ""
    if isinstance(error, AugsuiteError):
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def disabled_plugins() -> frozenset[str]:
    """The names in the environment variable AUGSUITE_DISABLE_PLUGINS, separated by commas."""
    listed = os.environ.get("AUGSUITE_DISABLE_PLUGINS", "")
    return frozenset(name.strip() for name in listed.split(",") if name.strip())


@functools.cache
def default() -> Registry:
    """The registry of this process: the built-in declarations and all installed plugins.

    Raises:
        ConfigError: if the program itself was to be disabled.
    """
    from augsuite import __version__, builtin

    disabled = disabled_plugins()
    if BUILTIN in disabled:
        raise ConfigError(f"AUGSUITE_DISABLE_PLUGINS: {BUILTIN!r} is the program itself and cannot be left out.")
    registry = Registry(disabled)
    registry.register(builtin, BUILTIN, __version__)
    registry.load_entry_points()
    return registry


def find(kind: str, specs: Mapping[str, S], name: str) -> S:
    """Look a name up.

    Args:
        kind: what it is, for the message: "format", "transform", ...
        specs: a mapping of the registry.
        name: what the user wrote.

    Raises:
        ConfigError: if there is none of that name; says the nearest.
    """
    try:
        return specs[name]
    except KeyError:
        raise ConfigError(f"unknown {kind} {name!r}. {nearest(name, specs)}") from None


def load(ref: Ref[T], what: str, extra: str) -> T:
    """Import what a declaration points at.

    Args:
        ref: the reference.
        what: what the user asked for, such as "trainer ssd".
        extra: the extra that brings what it needs.

    Raises:
        MissingExtraError: if a package outside the plugin is not installed.
        PluginError: if the reference points at nothing, or at something that fails when it is imported.
    """
    try:
        return ref.load()
    except AugsuiteError:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or str(error)
        if missing.partition(".")[0] == ref.target.partition(":")[0].partition(".")[0]:
            raise PluginError(f"{what}: {ref.target} cannot be imported: {one_line(error)}") from error
        raise MissingExtraError(what, extra, missing) from error
    except AttributeError as error:
        raise PluginError(f"{what}: {ref.target} does not exist: {one_line(error)}") from error
    except Exception as error:
        raise PluginError(f"{what}: {ref.target} cannot be imported: {one_line(error)}") from error
