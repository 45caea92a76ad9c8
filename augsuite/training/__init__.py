"""What trainers share: settings, and everything around a training loop. The only part of the core that imports torch.

Both names are resolved when they are used: whoever asks which of several processes this is needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augsuite.training.loop import Loop
    from augsuite.training.settings import Settings

__all__ = ["Loop", "Settings"]


def __getattr__(name: str) -> Any:
    if name == "Loop":
        from augsuite.training.loop import Loop

        return Loop
    if name == "Settings":
        from augsuite.training.settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
