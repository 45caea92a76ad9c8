"""What the doctor says of one thing."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["ok", "note", "missing", "broken"]
"""`note` works and is good to know; `missing` is not installed; `broken` is there, or needed by all, and does not work."""


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was looked at.

    Attributes:
        group: what it belongs to.
        name: what it is.
        status: how it is.
        said: what was found, one line.
        advice: what to do: a command where one helps.
        optional: nothing needs it, even where its group was asked for.
    """

    group: str
    name: str
    status: Status
    said: str
    advice: str = ""
    optional: bool = False
