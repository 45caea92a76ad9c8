"""Everything in turn: what costs nothing first, then what runs in processes of its own, two at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from augsuite.doctor import database, machine, packages
from augsuite.doctor.report import Check
from augsuite.doctor.requirements import CORE, GIVES, needed
from augsuite.errors import ConfigError, nearest

JOBS = packages.JOBS


def examine(
    jobs: Sequence[str] = (), *, quick: bool = False, begin: Callable[[str], None] | None = None
) -> Iterator[Check]:
    """Look at this machine.

    Args:
        jobs: what is to be done, such as `train`; nothing for all of it.
        quick: only what takes no time: import nothing, start nothing.
        begin: called with what is being tried, before it takes time.

    Yields:
        What was found, as it is found.

    Raises:
        ConfigError: if there is no such job.
    """
    for job in jobs:
        if job not in JOBS:
            raise ConfigError(f"unknown job {job!r}. {nearest(job, JOBS)}")
    extras = [extra for extra in GIVES if not jobs or any(extra in JOBS[job] for job in jobs)]
    listed = needed()
    yield from packages.ourselves()
    yield from machine.machine()
    yield from machine.folders()
    for extra in (CORE, *extras):
        yield from packages.installed(extra, listed[extra])
    if quick:
        yield from database.places() if "fiftyone" in extras else ()
        return
    tried: list[tuple[str, Callable[[], Iterable[Check]]]] = [
        (extra or "numpy, Pillow, pyarrow", packages.importing(extra, listed[extra])) for extra in (CORE, *extras)
    ]
    if "fiftyone" in extras:
        tried.append(("MongoDB and FiftyOne", lambda: [*database.places(), *database.trial()]))
        tried.append(("the browser", lambda: list(database.browser())))
    with ThreadPoolExecutor(2) as pool:
        running = [(what, pool.submit(run)) for what, run in tried]
        try:
            for what, future in running:
                if begin is not None:
                    begin(what)
                yield from future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # who interrupts waits for two processes, not for all


def failed(checks: Iterable[Check], jobs: Sequence[str] = ()) -> bool:
    """Whether something is broken; or missing, if jobs were named, which need it."""
    return any(
        not check.optional and (check.status == "broken" or (bool(jobs) and check.status == "missing"))
        for check in checks
    )
