"""What trainers share: settings, and everything around a training loop. The only part of the core that imports torch."""

from __future__ import annotations

from augsuite.training.loop import Loop
from augsuite.training.settings import Settings

__all__ = ["Loop", "Settings"]
