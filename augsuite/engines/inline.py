"""The engine `inline`: in this process, one item after the other."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator

from augsuite.engines import ONE_CORE, Item, Resources, Result, Told
from augsuite.engines.places import THREADS, Place, environment, places
from augsuite.engines.tools import attempt
from augsuite.errors import ConfigError


def run(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    resources: Resources = ONE_CORE,
    *,
    ordered: bool = False,
    retries: int = 0,
    told: Told | None = None,
) -> Iterator[tuple[Item, Result | Exception]]:
    """Run `work` on each item in this process; see `augsuite.engines.Engine`.

    For a debugger, and for one worker where nothing is to be started. An item that ends the process ends everything.

    Raises:
        ConfigError: if more than one worker is asked for.
    """
    del ordered, retries, told  # there is no other order, and nothing to tell after a death
    if workers not in (None, 1):
        raise ConfigError(f"the engine inline is this process: it has one worker, not {workers}. Use --engine local.")
    with environment(dict.fromkeys(THREADS, str(resources.cpus))):
        place = places(1, resources)[0]
        Place(gpus=place.gpus, threads=place.threads).settle()
        for item in items:
            with contextlib.redirect_stdout(sys.stderr):
                answer = attempt(work, item)
            yield item, answer
