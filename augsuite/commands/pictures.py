"""How commands save a picture: beside its place, then renamed there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import PIL.Image

from augsuite.errors import ConfigError


def save_picture(picture: PIL.Image.Image, output: Path) -> None:
    """Write a picture whole or not at all.

    Raises:
        ConfigError: if it cannot be written there.
    """
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{output.stem}.", suffix=output.suffix, dir=output.parent)
        os.close(handle)
        try:
            picture.save(temporary)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(output)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written ({error.strerror or error}). Choose another place.") from error
