"""The error tree. Every message is one line: where, what, what next.

    AugsuiteError
    ├── DataError           a dataset, annotation file or image that cannot be used
    ├── ConfigError         a policy, study file, option or configuration that makes no sense
    ├── PluginError         a plugin that breaks its contract, or a name that two provide
    └── MissingExtraError   a part of augsuite whose packages are not installed

The command line prints the line and exits with status 2; `--debug` adds the traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AugsuiteError(Exception):
    """Base of everything that augsuite raises for a user to read."""


class DataError(AugsuiteError):
    """A dataset, annotation file or image that cannot be used."""


class ConfigError(AugsuiteError):
    """A policy, study file, option or configuration that makes no sense."""


class PluginError(AugsuiteError):
    """A plugin that breaks its contract, or a name that two plugins provide."""


class MissingExtraError(AugsuiteError):
    """A part of augsuite whose packages are not installed."""

    def __init__(self, what: str, extra: str, missing: str) -> None:
        """Say what needs which extra.

        Args:
            what: what was asked for, such as "trainer ssd".
            extra: the extra that brings it.
            missing: the module that could not be imported.
        """
        super().__init__(f"{what} needs the package {missing!r}. Install it with: pip install 'augsuite[{extra}]'")
        self._arguments = (what, extra, missing)

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        """How it travels between processes: by its own three arguments, not by the message."""
        return type(self), self._arguments


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint that ends an "unknown name" message.

    Args:
        name: what the user wrote.
        names: what exists.

    Returns:
        `Did you mean 'x'?`, or the sorted list of what exists where nothing is close.
    """
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    if not known:
        return "There are none."
    return f"Known: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}."
