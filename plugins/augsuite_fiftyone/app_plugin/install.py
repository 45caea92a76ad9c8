"""Where FiftyOne looks for plugins, and ours in it. Nothing here imports FiftyOne."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from augsuite.dataset.disk import entries
from augsuite.errors import ConfigError
from augsuite_fiftyone.database import home

NAME = "@augsuite/app"
"""The plugin, as `fiftyone.yml` and FiftyOne's listings have it."""

FOLDER = "FIFTYONE_PLUGINS_DIR"

_FILES = ("fiftyone.yml", "__init__.py")
_HERE = Path(__file__).parent
_OTHERS = "others"


@dataclass(frozen=True)
class Installed:
    """What was done.

    Attributes:
        path: the plugin's folder.
        did: `installed`, `updated`, `removed`, or nothing where all was as it should be.
    """

    path: Path
    did: str


def plugins_folder() -> Path:
    """Where FiftyOne looks for plugins: as the environment or its configuration file says, by default in the home folder.

    Source: `fiftyone.core.config.FiftyOneConfig` of FiftyOne 1.22.
    """
    settings = _configuration()
    given = os.environ.get(FOLDER) or settings.get("plugins_dir")
    if given:
        return Path(os.path.expanduser(given))  # noqa: PTH111 - leaves a `~` that nobody can resolve, instead of raising
    above = os.environ.get("FIFTYONE_DEFAULT_DATASET_DIR") or settings.get("default_dataset_dir") or "~/fiftyone"
    return Path(os.path.expanduser(above)) / "__plugins__"  # noqa: PTH111


def _configuration() -> dict[str, str]:
    path = os.environ.get("FIFTYONE_CONFIG_PATH") or os.path.expanduser("~/.fiftyone/config.json")  # noqa: PTH111
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def install(folder: Path) -> Installed:
    """Put the plugin into a folder of plugins, whole or not at all; again, it changes nothing.

    Two small files are copied, which import this package: what they do never goes out of date, and works without links.

    Raises:
        ConfigError: if something else lies where it belongs, or the folder cannot be written.
    """
    target = _target(folder)
    wanted = {name: (_HERE / name).read_bytes() for name in _FILES}
    if target.is_dir() and all(_read(target / name) == content for name, content in wanted.items()):
        return Installed(target, "")
    new = not target.exists()
    staging = folder / f".{target.name}.{os.getpid()}.partial"  # FiftyOne passes over hidden folders
    try:
        staging.mkdir(parents=True)
        try:
            for name, content in wanted.items():
                (staging / name).write_bytes(content)
            if new:
                staging.rename(target)
            else:
                for name in _FILES:
                    (staging / name).replace(target / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return Installed(target, "installed" if new else "updated")


def remove(folder: Path) -> Installed:
    """Take the plugin out of a folder of plugins: our files, and the folder if nothing else is in it.

    Raises:
        ConfigError: if something else lies where it belongs, or the folder cannot be written.
    """
    target = _target(folder)
    if not target.is_dir():
        return Installed(target, "")
    try:
        shutil.rmtree(target / "__pycache__", ignore_errors=True)
        for name in _FILES:
            (target / name).unlink(missing_ok=True)
        if not any(target.iterdir()):
            target.rmdir()
    except OSError as error:
        raise _unwritable(folder, error) from error
    return Installed(target, "removed")


def offered() -> Path:
    """A folder of plugins that has ours and the user's, and nothing in the user's own changed: for an App that augsuite starts.

    It is the user's folder where ours is installed there, else one beside augsuite's database, in which a link leads to the user's.

    Raises:
        ConfigError: if it cannot be written.
    """
    theirs = plugins_folder()
    own = home() / "plugins"
    if theirs != own and _is_ours(theirs / "augsuite"):
        return theirs
    install(own)
    if theirs == own:
        return own
    link = own / _OTHERS
    try:
        if link.is_symlink() and (not theirs.is_dir() or link.readlink() != theirs.absolute()):
            link.unlink()
        if theirs.is_dir() and any(entries(theirs)) and not link.is_symlink():
            link.symlink_to(theirs.absolute(), target_is_directory=True)
    except OSError as error:
        raise _unwritable(own, error) from error
    return own


def _target(folder: Path) -> Path:
    """Where the plugin belongs.

    Raises:
        ConfigError: if something else is there.
    """
    target = folder / "augsuite"
    if (target.exists() or target.is_symlink()) and not _is_ours(target):
        raise ConfigError(
            f"{target}: exists and is not augsuite's plugin. Move it away, or choose another --plugins-dir."
        )
    return target


def _is_ours(target: Path) -> bool:
    content = _read(target / _FILES[0])
    try:
        about = yaml.safe_load(content or b"")
    except yaml.YAMLError:
        return False
    return isinstance(about, dict) and about.get("name") == NAME and not target.is_symlink()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{folder}: cannot be written ({error.strerror or error}). Choose another --plugins-dir.")
