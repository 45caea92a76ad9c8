"""What every engine must satisfy. A plugin's test calls `check_engine` with each name that it declares.

```python
def test_my_engine(tmp_path):
    check_engine("mine", tmp_path)
```

It takes as long as some dozens of short items, and processes that die in their midst: an engine that does not notice a death waits
there for ever. The folder must be one that workers see.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augsuite.engines import Engine, Resources, WorkerDiedError
from augsuite.engines.choice import load
from augsuite.errors import AugsuiteError, ConfigError, DataError, MissingExtraError
from augsuite.testing.transforms import demand

_AHEAD = 16  # items for each worker that an engine may take before it yields one
_QUIET_S = 0.5


def check_engine(name: str, folder: Path) -> None:
    """Check one engine, as declared in the registry of this process.

    Args:
        name: what the user types.
        folder: an empty one.

    Raises:
        ContractError: with the first thing that is broken.
    """
    engine = load(name)
    _, there = next(iter(engine(Worker(folder), [("pid", 0)])))
    apart = there != os.getpid()
    most = 2 if apart else 1
    _check_results(name, engine, folder, most)
    _check_laziness(name, engine, folder, most)
    _check_errors(name, engine, folder)
    _check_surroundings(name, engine, folder)
    if apart:
        _check_travel(name, engine, folder)
        _check_deaths(name, engine, folder)


@dataclass(frozen=True)
class Worker:
    """Work that does what its item says, and leaves a file for each attempt."""

    folder: Path
    imports: tuple[str, ...] = (__name__,)

    def __call__(self, item: tuple[str, Any]) -> Any:
        """Do what the item says."""
        what, value = item
        with tempfile.NamedTemporaryFile(prefix=f"{what}-", suffix=".begun", dir=self.folder, delete=False):
            pass
        return getattr(self, f"_{what}")(value)

    def begun(self, what: str) -> int:
        """How many attempts there were."""
        return len(list(self.folder.glob(f"{what}-*.begun")))

    def _double(self, value: int) -> int:
        return 2 * value

    def _wait(self, value: float) -> float:
        time.sleep(value)
        return value

    def _crowd(self, value: float) -> int:
        """How many items like this one are under way while it is."""
        with tempfile.NamedTemporaryFile(prefix="crowd-", suffix=".now", dir=self.folder):
            time.sleep(value)
            return len(list(self.folder.glob("crowd-*.now")))

    def _pid(self, value: int) -> int:
        return os.getpid() + value

    def _add(self, value: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        value += 1.0
        return value

    def _foreign(self, value: str) -> None:
        raise ValueError(value + "\nsecond line")

    def _ours(self, value: str) -> None:
        raise DataError(value)

    def _extra(self, value: str) -> None:
        raise MissingExtraError("this", value, "nothing")

    def _lock(self, value: int) -> Any:
        del value
        return threading.Lock()

    def _say(self, value: str) -> None:
        print(value, flush=True)

    def _threads(self, value: str) -> str | None:
        return os.environ.get(value)

    def _die(self, value: str) -> str:
        """End the process, the first time or each time."""
        if value == "always" or not (self.folder / f"{value}.died").exists():
            (self.folder / f"{value}.died").touch()
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        return value


def _check_results(name: str, engine: Engine, folder: Path, most: int) -> None:
    work = Worker(folder)
    items = [("double", number) for number in range(20)]
    found = list(engine(work, iter(items), most))
    demand(sorted(found) == [(item, 2 * item[1]) for item in items], f"{name}: does not yield each item once")
    demand(list(engine(work, [], most)) == [], f"{name}: yields something where there are no items")
    naps = [("wait", 0.3 / (1 + number)) for number in range(6)]
    order = [item for item, _ in engine(work, naps, most, ordered=True)]
    demand(order == naps, f"{name}: with ordered=True items come in another order")
    for workers in range(1, most + 1):
        crowds: Any = [crowd for _, crowd in engine(work, [("crowd", 0.02)] * 6, workers)]
        demand(max(crowds) <= workers, f"{name}: runs {max(crowds)} items at once where workers is {workers}")
    array = np.arange(200_000, dtype=np.float64)
    answer: Any
    ((_, answer),) = engine(work, [("add", array.copy())], 1)
    demand(isinstance(answer, np.ndarray), f"{name}: work cannot change the arrays of its item: {answer}")
    demand(np.array_equal(answer, array + 1), f"{name}: an array comes back changed")
    demand(answer.flags.writeable, f"{name}: an array comes back read-only")


def _check_laziness(name: str, engine: Engine, folder: Path, most: int) -> None:
    work, taken = Worker(folder), 0

    def many() -> Iterator[tuple[str, float]]:
        nonlocal taken
        for _ in range(10 + most * _AHEAD):
            taken += 1
            yield ("wait", 0.05)

    for ordered in (False, True):
        taken = 0
        results: Any = engine(work, many(), most, ordered=ordered)
        for got in range(1, 6):
            next(results)
            demand(taken <= got + most * _AHEAD, f"{name}: takes {taken} items before it has yielded {got}")
        results.close()
        before = work.begun("wait")
        time.sleep(_QUIET_S)
        demand(work.begun("wait") == before, f"{name}: goes on with items after its iterator was closed")

    def broken() -> Iterator[tuple[str, int]]:
        yield ("double", 1)
        raise LookupError("no more")

    try:
        list(engine(work, broken(), most))
    except LookupError:
        pass
    else:
        demand(False, f"{name}: hides an error of the items' iterator")


def _check_errors(name: str, engine: Engine, folder: Path) -> None:
    work = Worker(folder)
    items = [("foreign", "unlucky"), ("ours", "a.json: is empty."), ("extra", "all"), ("double", 4)]
    found = dict(engine(work, items, 1, retries=2))
    demand(found["double", 4] == 8, f"{name}: an error costs other items")
    foreign = found["foreign", "unlucky"]
    demand(
        type(foreign) is AugsuiteError and str(foreign) == "ValueError: unlucky",
        f"{name}: a stranger's exception must arrive as an AugsuiteError of one line, not {foreign!r}",
    )
    for error in (foreign, found["ours", "a.json: is empty."]):
        notes = "".join(getattr(error, "__notes__", ()))
        demand("Traceback" in notes and "in __call__" in notes, f"{name}: {error!r} has no traceback as its note")
    ours = found["ours", "a.json: is empty."]
    demand(type(ours) is DataError and str(ours) == "a.json: is empty.", f"{name}: a DataError becomes {ours!r}")
    extra = found["extra", "all"]
    same = type(extra) is MissingExtraError and str(extra) == str(MissingExtraError("this", "all", "nothing"))
    demand(same, f"{name}: a MissingExtraError becomes {extra!r}")
    demand(work.begun("foreign") == 1, f"{name}: tries again what raised; `retries` is for processes that died")


def _check_surroundings(name: str, engine: Engine, folder: Path) -> None:
    work = Worker(folder)
    with _stdout() as printed:
        list(engine(work, [("say", "chatter")], 1))
        said = printed()
    demand("chatter" not in said, f"{name}: what work prints reaches stdout")
    before = os.environ.get("OMP_NUM_THREADS")
    threads = dict(engine(work, [("threads", "OMP_NUM_THREADS")], 1, Resources(cpus=2)))
    demand(
        threads["threads", "OMP_NUM_THREADS"] == "2",
        f"{name}: OMP_NUM_THREADS is not what the resources say: {threads}",
    )
    try:
        list(engine(work, [("double", 1)], 1, Resources(gpus=1000.0)))
    except ConfigError:
        pass
    else:
        demand(False, f"{name}: must raise ConfigError where there is no room for an item")
    demand(os.environ.get("OMP_NUM_THREADS") == before, f"{name}: leaves the environment changed")


def _check_travel(name: str, engine: Engine, folder: Path) -> None:
    found = list(engine(Worker(folder), [("lock", 0), ("double", 3)], 1, ordered=True))
    demand(isinstance(found[0][1], AugsuiteError), f"{name}: a result that cannot be pickled must be an error")
    demand(found[1][1] == 6, f"{name}: a result that cannot be pickled costs other items")
    strange = ("double", threading.Lock())
    found_strange: Any = list(engine(Worker(folder), [strange, ("double", 3)], 1, ordered=True))
    demand(isinstance(found_strange[0][1], AugsuiteError), f"{name}: an item that cannot be pickled must be an error")
    demand(found_strange[1][1] == 6, f"{name}: an item that cannot be pickled costs other items")


def _check_deaths(name: str, engine: Engine, folder: Path) -> None:
    told: list[tuple[Any, Exception, int]] = []
    work = Worker(folder)
    items = [("double", 1), ("die", "always"), ("double", 2), ("double", 3)]
    found = dict(engine(work, items, 1))
    demand(isinstance(found["die", "always"], WorkerDiedError), f"{name}: a death is {found['die', 'always']!r}")
    demand([found["double", n] for n in (1, 2, 3)] == [2, 4, 6], f"{name}: a death costs other items")
    demand(work.begun("die") == 1, f"{name}: tries again where `retries` is 0")

    def tell(item: Any, error: Exception, attempts: int) -> None:
        told.append((item, error, attempts))

    again = [("double", 1), ("die", "once"), ("double", 2)]
    ordered = list(engine(work, again, 2, ordered=True, retries=1, told=tell))
    demand(ordered == [*zip(again, (2, "once", 4), strict=True)], f"{name}: a death is not made good: {ordered}")
    demand(work.begun("die") == 3, f"{name}: an item whose process died once must be begun twice")
    demand(
        len(told) == 1
        and told[0][0] == ("die", "once")
        and isinstance(told[0][1], WorkerDiedError)
        and told[0][2] == 1,
        f"{name}: must tell of each item that is tried again: {told}",
    )
    told.clear()
    ((_, last),) = engine(work, [("die", "always")], 1, retries=2, told=tell)
    demand(isinstance(last, WorkerDiedError), f"{name}: an item whose processes die again and again is {last!r}")
    demand(work.begun("die") == 6 and [each[2] for each in told] == [1, 2], f"{name}: counts attempts wrongly: {told}")


@contextlib.contextmanager
def _stdout() -> Iterator[Any]:
    """What reaches stdout inside the block, from this process or from one that it starts."""
    held = io.StringIO()
    sys.stdout.flush()
    keep = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            with contextlib.redirect_stdout(held):
                yield lambda: held.getvalue() + os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace")
        finally:
            os.dup2(keep, 1)
            os.close(keep)
