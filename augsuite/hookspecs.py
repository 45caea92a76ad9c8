"""The hooks, all of them. Each takes no arguments, yields frozen declarations and does no work."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from augsuite.spec import (
    CommandSpec,
    DatasetSpec,
    EngineSpec,
    FormatSpec,
    PipelineSpec,
    PolicySpec,
    TrackerSpec,
    TrainerSpec,
    TransformSpec,
)

PROJECT = "augsuite"
hookspec = pluggy.HookspecMarker(PROJECT)


@hookspec
def augsuite_formats() -> Iterable[FormatSpec]:
    """Dataset formats that can be read or written."""
    return ()


@hookspec
def augsuite_datasets() -> Iterable[DatasetSpec]:
    """Datasets that can be made on this machine."""
    return ()


@hookspec
def augsuite_transforms() -> Iterable[TransformSpec]:
    """Operations that a policy's steps can name."""
    return ()


@hookspec
def augsuite_policies() -> Iterable[PolicySpec]:
    """Policies by name."""
    return ()


@hookspec
def augsuite_pipelines() -> Iterable[PipelineSpec]:
    """Other libraries whose pipelines become policies, or the other way round."""
    return ()


@hookspec
def augsuite_trainers() -> Iterable[TrainerSpec]:
    """Reference trainers."""
    return ()


@hookspec
def augsuite_engines() -> Iterable[EngineSpec]:
    """Where work items run."""
    return ()


@hookspec
def augsuite_trackers() -> Iterable[TrackerSpec]:
    """Where a run's curves go."""
    return ()


@hookspec
def augsuite_commands() -> Iterable[CommandSpec]:
    """Commands of the command line."""
    return ()
