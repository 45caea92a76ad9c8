"""Work on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import EngineSpec, Ref


@hookimpl
def augsuite_engines() -> Iterator[EngineSpec]:
    """A cluster, or this machine through Ray."""
    yield EngineSpec(
        "ray",
        "the machines of a Ray cluster",
        Ref("augsuite_ray.engine:run"),
        extra="ray",
        cluster=True,
        train=Ref("augsuite_ray.together:run"),
    )
