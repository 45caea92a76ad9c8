"""What runs in the processes of the cluster."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import Any

from augsuite import __version__
from augsuite.engines.places import Place
from augsuite.engines.tools import attempt, travelling
from augsuite.errors import ConfigError


@dataclass(frozen=True)
class Setting:
    """What a process of the cluster must have in common with the one that asks.

    Attributes:
        version: of augsuite.
        folder: the working folder.
        path: where modules are found.
        variables: of the environment.
        threads: of torch, OpenCV and BLAS.
    """

    version: str
    folder: str
    path: tuple[str, ...]
    variables: dict[str, str]
    threads: int

    @classmethod
    def of_here(cls, threads: int) -> Setting:
        """That of this process."""
        variables = {name: value for name, value in os.environ.items() if name.startswith("AUGSUITE_")}
        return cls(__version__, os.getcwd(), tuple(sys.path), variables, threads)  # noqa: PTH109 - as text, it travels

    def settle(self) -> None:
        """Make this process like that.

        Raises:
            ConfigError: if it has another version of augsuite.
        """
        if self.version != __version__:
            raise ConfigError(
                f"a machine of the Ray cluster has augsuite {__version__}, this one {self.version}. Install the same everywhere."
            )
        sys.path += [place for place in self.path if place and place not in sys.path]  # after its own: those go first
        os.environ.update(self.variables)
        with contextlib.suppress(OSError):  # where paths are absolute or URLs, nobody needs it
            os.chdir(self.folder)
        Place(threads=self.threads).settle()


_work: tuple[bytes, Any] | None = None  # the last work of this process, and by which key


def run_one(key: bytes, where: list[Any], packed: bytes) -> bytes:
    """Do one item.

    Args:
        key: of the work; a process that has done another item of it has it already.
        where: one reference to the packed setting and work, in a list so that Ray does not fetch it unasked.
        packed: the item.

    Returns:
        The packed answer. As bytes, so that arrays arrive as what they are, and not as views of shared memory that nobody may write.
    """
    from ray import cloudpickle

    def done(given: bytes) -> Any:
        return _loaded(key, where)(cloudpickle.loads(given))

    with contextlib.redirect_stdout(sys.stderr):
        answer = attempt(done, packed)
    try:
        return bytes(cloudpickle.dumps(answer))
    except Exception as error:  # noqa: BLE001 - a stranger's class may raise anything
        return bytes(cloudpickle.dumps(travelling(error)))


def _loaded(key: bytes, where: list[Any]) -> Any:
    global _work  # noqa: PLW0603 - what all items of this process have in common
    if _work is None or _work[0] != key:
        import ray
        from ray import cloudpickle

        setting, work = cloudpickle.loads(ray.get(where[0]))
        setting.settle()
        _work = (key, cloudpickle.loads(work))
    return _work[1]
