"""Work in several processes or machines: the same results in the same order, wherever it is done.

Whoever does the work maps a function over its pieces; whoever runs a command says, around it, which engine takes them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from augsuite.dataset.fence import Fence, current
from augsuite.dataset.fence import using as fenced_by

if TYPE_CHECKING:
    from augsuite.engines import Engine

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 2
"""How often a piece is tried again whose process died: it may have been the victim of another's memory."""


@dataclass(frozen=True)
class Retried:
    """A piece of work that was tried again, since its process or machine had died.

    Attributes:
        what: the function, and which of its pieces.
        error: what ended the process, in one line.
    """

    what: str
    error: str


@dataclass(frozen=True)
class Crew:
    """Who takes the work inside a block of `using`.

    Attributes:
        engine: see `augsuite.engines.Engine`.
        workers: how many at once; None for as many as there is room for.
        folders: that the work reads or writes.
        retried: takes what had to be tried again.
    """

    engine: Engine
    workers: int | None
    folders: tuple[str, ...] = ()
    retried: list[Retried] = field(default_factory=list)


_crew: ContextVar[Crew | None] = ContextVar("crew", default=None)


@contextlib.contextmanager
def using(
    workers: int | None,
    engine: Engine | None,
    *,
    folders: Sequence[str] = (),
    retried: list[Retried] | None = None,
) -> Iterator[None]:
    """Let an engine take the work inside the block.

    Args:
        workers: how many processes at once; None for as many as there is room for.
        engine: the engine; None for this process.
        folders: that the work reads or writes; see `augsuite.engines.Engine`.
        retried: takes what had to be tried again.
    """
    crew = Crew(engine, workers, tuple(folders), [] if retried is None else retried) if engine is not None else None
    token = _crew.set(crew)
    try:
        yield
    finally:
        _crew.reset(token)


def is_shared() -> bool:
    """Whether an engine takes the work, and not this process."""
    return _crew.get() is not None


def mapped(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `work(item)` for each item, in order.

    In this process, unless `using` named an engine; then `work`, items and results must be picklable, items should be large (tenths
    of a second), and only a few results wait in memory at any time. A piece whose process dies is tried again, so what it writes
    must be the same when it is written twice.

    Raises:
        WorkerDiedError: if the processes of one piece die again and again.
        Exception: whatever `work` raises, for the first item in order.
    """
    crew = _crew.get()
    if crew is None:
        yield from map(work, items)
        return

    def told(piece: tuple[int, Item], error: Exception, attempts: int) -> None:
        del attempts  # each is told of
        crew.retried.append(Retried(f"{_name(work)}, piece {piece[0] + 1}", str(error)))

    fenced = _Fenced(work, current(), crew.folders)
    answers = crew.engine(fenced, enumerate(items), crew.workers, ordered=True, retries=RETRIES, told=told)
    with contextlib.closing(answers):  # type: ignore[type-var]  # engines are generators: they cancel when they are closed
        for _, answer in answers:
            if isinstance(answer, Exception):
                raise answer
            yield answer


@dataclass(frozen=True)
class _Fenced(Generic[Item, Result]):
    """Work in another process as in this one: behind its fence."""

    work: Callable[[Item], Result]
    fence: Fence | None
    folders: tuple[str, ...]

    @property
    def imports(self) -> tuple[str, ...]:
        """Of a stranger's module nobody knows whether it may be imported before a fork."""
        module = getattr(getattr(self.work, "func", self.work), "__module__", "")
        return (__name__, module) if module.startswith("augsuite") else (__name__,)

    def __call__(self, piece: tuple[int, Item]) -> Result:
        with fenced_by(self.fence):
            return self.work(piece[1])


def _name(work: Any) -> str:
    """`augsuite_voc.writer.write_batch`."""
    inner = getattr(work, "func", work)  # of a partial
    return f"{inner.__module__}.{getattr(inner, '__qualname__', type(inner).__qualname__)}".replace("._", ".")
