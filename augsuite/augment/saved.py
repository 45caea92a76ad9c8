"""Policies that a user saved under a name."""

from __future__ import annotations

import re
from pathlib import Path

from augsuite import registry
from augsuite.dataset.disk import entries
from augsuite.dataset.locate import user_folder
from augsuite.dataset.saving import save_text
from augsuite.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def saved() -> dict[str, Path]:
    """The policies that this user saved: name -> YAML file."""
    return {path.stem: path for path in entries(_folder()) if path.suffix == ".yaml" and _NAME.fullmatch(path.stem)}


def check_name(name: str, *, overwrite: bool = False) -> None:
    """Refuse what cannot be the name of a saved policy.

    Raises:
        ConfigError: if it has other signs than letters, digits, `-` and `_`, is that of a bundled policy, or is taken.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name[:80]!r} cannot be the name of a policy. Use letters, digits, - and _.")
    if name in registry.default().policies():
        raise ConfigError(f"{name}: is a bundled policy. Choose another name.")
    if name in saved() and not overwrite:
        raise ConfigError(f"{name}: is saved already. Choose another name, or replace it.")


def save(text: str, name: str, *, overwrite: bool = False) -> Path:
    """Save a policy, whole or not at all, so that `augsuite.policy(name)` and every command find it.

    Args:
        text: as `Policy.to_yaml` gives it.
        name: see `check_name`.
        overwrite: replace one that was saved under this name.

    Returns:
        The file: `policies/NAME.yaml` beside the user's datasets.

    Raises:
        ConfigError: as `check_name`; or if the file cannot be written.
    """
    check_name(name, overwrite=overwrite)
    path = _folder() / f"{name}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror or error}). Free the place.") from error
    save_text(text, path)
    return path


def _folder() -> Path:
    return user_folder().parent / "policies"
