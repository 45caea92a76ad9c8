"""How commands say where their work is done: the same options, and the same lines about what was tried again."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from augsuite.errors import ConfigError

if TYPE_CHECKING:
    from augsuite.dataset.parallel import Retried

R = TypeVar("R")

_ADDRESS = "RAY_ADDRESS"
_LISTED = 20  # retried pieces


@dataclass(frozen=True)
class Chosen:
    """What was said on the command line about where work is done.

    Attributes:
        engine: the engine's name.
        workers: how many at once; None where nothing was said.
        address: of the Ray cluster; None for that of the environment, or one on this machine.
        retried: what had to be tried again.
    """

    engine: str = "local"
    workers: int | None = None
    address: str | None = None
    retried: list[Retried] = field(default_factory=list)

    @contextlib.contextmanager
    def at_work(self, *places: str | os.PathLike[str]) -> Iterator[None]:
        """Let the pieces of work inside the block run there.

        Args:
            places: datasets, files and folders that the work reads or writes.

        Raises:
            ConfigError: for an unknown engine, or an address that none reads.
        """
        from augsuite.engines.choice import at_work

        with self.connected(), at_work(self.engine, self.workers, places=places, retried=self.retried):
            yield

    def check(self) -> None:
        """Make sure that the engine reads the address.

        Raises:
            ConfigError: if there is one, and it does not.
        """
        if self.address is not None and self.engine != "ray":
            raise ConfigError("--ray-address goes with --engine ray.")

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Let the engine find its cluster inside the block.

        Raises:
            ConfigError: see `check`.
        """
        self.check()
        if self.address is None:
            yield
            return
        before = os.environ.get(_ADDRESS)
        os.environ[_ADDRESS] = self.address
        try:
            yield
        finally:
            os.environ.pop(_ADDRESS)
            if before is not None:
                os.environ[_ADDRESS] = before

    def tell(self) -> None:
        """Say on stderr what had to be tried again."""
        tell_retried(self.retried)


def tell_retried(retried: list[Retried]) -> None:
    """Say on stderr what had to be tried again."""
    for each in retried[:_LISTED]:
        click.echo(f"tried again: {each.what}: {each.error}", err=True)
    if len(retried) > _LISTED:
        click.echo(f"tried again: {len(retried) - _LISTED:,} more", err=True)


address_option = click.option(
    "--ray-address",
    metavar="HOST:PORT",
    help="The Ray cluster, with --engine ray; RAY_ADDRESS by default, else a cluster on this machine.",
)


def engine_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--engine`, `--ray-address` and `--workers`; it gets them as one argument `chosen`."""

    @click.option(
        "--engine", default="local", show_default=True, help="Where work is done: `local`, `ray`, a plugin's engine."
    )
    @address_option
    @click.option(
        "--workers",
        type=click.IntRange(1),
        help="Processes at once; by default one, or as many as a cluster has room for.",
    )
    @functools.wraps(command)
    def wrapped(*arguments: Any, engine: str, ray_address: str | None, workers: int | None, **others: Any) -> R:
        return command(*arguments, chosen=Chosen(engine, workers, ray_address), **others)

    return wrapped
