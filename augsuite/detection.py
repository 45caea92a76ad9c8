"""Which format a path holds, and what the user may say of a format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from augsuite import registry
from augsuite.config import check_options as check_named
from augsuite.dataset.disk import folders, remembering
from augsuite.dataset.locate import locate
from augsuite.dataset.remote_errors import PlaceError
from augsuite.dataset.urls import url_of
from augsuite.errors import ConfigError
from augsuite.spec import FormatSpec

_BELOW = 8  # folders
_SURE = 0.5


def formats() -> Mapping[str, FormatSpec]:
    """The dataset formats by name."""
    return registry.default().formats()


def by_scheme(place: str | os.PathLike[str]) -> FormatSpec | None:
    """The format whose datasets are called as `place` is, such as `fiftyone://name`; None for a path."""
    url = url_of(place)
    return next((spec for spec in formats().values() if spec.scheme and url and spec.scheme == url.scheme), None)


def find_place(name: str | os.PathLike[str], source_format: str | FormatSpec | None = None) -> Path:
    """Find a dataset, on disk (`locate`) or where a format without files keeps it.

    Args:
        name: a path, a name, or `<scheme>://<name>`.
        source_format: where it is a format with a scheme, a name alone is enough.

    Raises:
        ConfigError: if there is none on disk.
        DataError: if it is an archive that is damaged.
    """
    spec = by_scheme(name) or (find_format(source_format) if source_format else None)
    return locate(name) if spec is None or not spec.scheme else place_in(spec, name)


def place_in(spec: FormatSpec, name: str | os.PathLike[str]) -> Path:
    """Where a format with a scheme keeps the dataset of a name.

    Raises:
        ConfigError: if the name is empty, or belongs to another scheme.
    """
    url = url_of(name)
    rest = os.fspath(name) if url is None else url.rest
    if url is not None and url.scheme != spec.scheme:
        raise ConfigError(f"{url}: is no place for the format {spec.name}. Write {spec.scheme}://NAME.")
    if not rest.strip():
        raise ConfigError(f"{os.fspath(name)}: names no dataset. Write {spec.scheme}://NAME.")
    return Path(f"{spec.scheme}://{rest}")


@remembering()
def detect(path: Path) -> FormatSpec:
    """Find the format of a file or folder.

    Raises:
        ConfigError: if no format fits, or two fit equally well.
    """
    known, named = formats(), by_scheme(path)
    if named is not None:
        return named
    best, found, broken = _best(path)
    if best <= 0:
        for folder in folders(path)[:_BELOW]:
            if _best(folder)[0] >= _SURE:
                raise ConfigError(
                    f"{path}: no dataset format was recognised, but its folder {folder.name} is {' or '.join(_best(folder)[1])}. "
                    f"Name {folder} instead."
                )
        looked = "; ".join(f"{name}: {', '.join(spec.patterns)}" for name, spec in known.items())
        raise ConfigError(
            f"{path}: no dataset format was recognised. Looked for {looked}.{''.join(broken)} Name the format with --from."
        )
    if len(found) > 1:
        raise ConfigError(f"{path}: could be {' or '.join(found)}. Say which with --from {found[0]}.")
    return known[found[0]]


def _best(path: Path) -> tuple[float, list[str], list[str]]:
    """The best score of all formats, the formats that have it, and what to say of those that could not look."""
    scores, broken = {}, []
    for name, spec in registry.default().formats().items():
        try:
            scores[name] = registry.load(spec.detect, f"format {name}", "all")(path)
        except PlaceError:
            raise  # no format could look there
        except Exception as error:  # noqa: BLE001 - a stranger's detector costs its own format, not all the others
            broken.append(f" The format {name} could not look ({registry.one_line(error)}).")
    best = max(scores.values(), default=0.0)
    return best, [name for name, score in scores.items() if score == best], broken


def find_format(name: str | FormatSpec) -> FormatSpec:
    """A format by its name.

    Raises:
        ConfigError: if there is none; says the nearest.
    """
    if isinstance(name, FormatSpec):
        return name
    return registry.find("format", registry.default().formats(), name)


def options_of(spec: FormatSpec, use: str) -> frozenset[str]:
    """The names of a format's options for `read` or `write`."""
    return frozenset(option.name for option in spec.options if option.on in {use, "both"})


def check_options(spec: FormatSpec, use: str, options: Mapping[str, str]) -> None:
    """Refuse an option that a format does not have, or a value that it does not take.

    Raises:
        ConfigError: if there is one; says the nearest.
    """
    check_named(f"{use} {spec.name}", [option for option in spec.options if option.on in {use, "both"}], options)
