"""How one file is saved, such as a page or a picture: beside its place, then renamed there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from augsuite.errors import ConfigError

if TYPE_CHECKING:
    import PIL.Image


def save_picture(picture: PIL.Image.Image, output: Path) -> None:
    """Write a picture whole or not at all.

    Raises:
        ConfigError: if it cannot be written there.
    """
    _save(output, picture.save)


def save_text(text: str, output: Path) -> None:
    """Write a text whole or not at all.

    Raises:
        ConfigError: if it cannot be written there.
    """
    _save(output, lambda path: path.write_text(text, encoding="utf-8", errors="backslashreplace"))


def _save(output: Path, write: Callable[[Path], object]) -> None:
    try:
        handle, name = tempfile.mkstemp(prefix=f".{output.stem}.", suffix=output.suffix, dir=output.resolve().parent)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            temporary.chmod(0o644)
            temporary.replace(output)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written ({error.strerror or error}). Choose another place.") from error
