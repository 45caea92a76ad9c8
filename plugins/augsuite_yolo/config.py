"""What a YOLO dataset says of itself: `data.yaml`, or `obj.data`, or a list of names alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from augsuite.dataset import Intake
from augsuite.dataset.files import entries, inside, read_head, read_text
from augsuite.errors import DataError

SPLITS = ("train", "val", "valid", "validation", "test", "minival")
"""Keys of `data.yaml` that name images; another key does so where its value ends in `.txt`."""

NO_SPLIT = "images"
"""The list `images.txt` holds the images that belong to no split."""

LIKELY = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NAMES_FILES = ("obj.names", "classes.txt", "_darknet.labels", "predefined_classes.txt", "classes.names")
_HEAD = 1 << 16
_NAMES = re.compile(rb"^(?:names|nc)\s*:", re.MULTILINE)
_PLACES = re.compile(rb"^(?:train|val|valid|validation|test)\s*:", re.MULTILINE)
LARGEST_NUMBER = 1_000_000  # of classes; more is a mistake, and would take the memory of as many names


@dataclass
class Config:
    """What a dataset says of itself.

    Attributes:
        root: the dataset's folder.
        file: where it is said; None where nothing is.
        names: of the classes by number; None where nobody says.
        places: split -> folders of images or lists of them, as written.
        base: the folder that places are relative to, as `path` says it.
        rest: the keys of `data.yaml` that are none of ours.
    """

    root: Path
    file: Path | None = None
    names: list[str] | None = None
    places: dict[str, list[str]] = field(default_factory=dict)
    base: str = ""
    rest: dict[str, Any] = field(default_factory=dict)

    @property
    def keypoints(self) -> int:
        """How many numbers follow the box in each line of a pose dataset; 0 in others."""
        shape = self.rest.get("kpt_shape")
        if shape is None:
            return 0
        if isinstance(shape, list) and len(shape) == 2 and all(type(part) is int and 0 < part < 1e6 for part in shape):
            return int(shape[0] * shape[1])
        raise DataError(f"{self.file}: kpt_shape: expected [points, 2 or 3], got {shape!r}. Fix the file.")


def find(path: Path, intake: Intake) -> Config:
    """The configuration of a folder, or the one that is a file.

    Raises:
        DataError: if it cannot be read.
    """
    if path.is_file():
        return _read(path, intake)
    file = find_file(path)
    return _read(file, intake) if file else Config(path)


def find_file(folder: Path) -> Path | None:
    """The file in a folder that says most about the dataset."""
    listed = [entry for entry in entries(folder) if entry.is_file()]
    sheets = [entry for entry in listed if entry.suffix in {".yaml", ".yml"}]
    sheets.sort(key=lambda entry: entry.name not in LIKELY)
    sheets = [entry for entry in sheets if entry.name in LIKELY[:2] or is_sheet(entry)]
    data = [entry for entry in listed if entry.suffix == ".data"]
    names = [entry for name in NAMES_FILES for entry in listed if entry.name == name]
    names += [entry for entry in listed if entry.suffix == ".names"]
    return next(iter((*sheets, *data, *names)), None)


def is_sheet(file: Path) -> bool:
    """Whether a YAML file looks like one of Ultralytics' datasets."""
    try:
        head = read_head(file, _HEAD)
    except OSError:
        return False
    return bool(_NAMES.search(head) and _PLACES.search(head))


def read_names(file: Path) -> list[str]:
    """The names of a file with one on each line."""
    lines = [line.strip() for line in read_text(file).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return _checked(lines, file)


def _read(file: Path, intake: Intake) -> Config:
    if file.suffix in {".yaml", ".yml"}:
        return _read_sheet(file, intake)
    if file.suffix == ".data":
        return _read_data(file)
    if file.name in NAMES_FILES or file.suffix == ".names":
        return Config(file.parent, file, read_names(file))
    raise DataError(f"{file}: expected data.yaml, obj.data or a list of names. Name the dataset's folder.")


def _read_sheet(file: Path, intake: Intake) -> Config:
    text = read_text(file)
    values, typed = (_parse(text, loader, file) for loader in (yaml.BaseLoader, yaml.SafeLoader))
    if not isinstance(values, dict) or not isinstance(typed, dict):
        raise DataError(f"{file}: expected keys such as `names` and `train`, got {type(typed).__name__}. Fix the file.")
    config = Config(file.parent, file, _sheet_names(file, values), _sheet_places(file, values))
    config.base = values["path"] if isinstance(values.get("path"), str) else ""
    for key, value in typed.items():
        if key == "download":
            intake.note(f"{file}: `download` is left out: a program would run it")
        elif str(key) not in {"path", "names", "nc", *config.places, *SPLITS}:
            config.rest[key] = value
    return config


def _parse(text: str, loader: Any, file: Path) -> Any:
    try:
        return yaml.load(text, loader)  # noqa: S506 - both loaders make plain values only
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise DataError(f"{file}: {place}not valid YAML ({said}). Fix the file there.") from error
    except (ValueError, RecursionError, TypeError) as error:  # such as a date with 40 days, a very deep list
        raise DataError(f"{file}: not valid YAML ({str(error).splitlines()[0]}). Fix the file.") from error


def _sheet_names(file: Path, values: Mapping[str, Any]) -> list[str] | None:
    """Names as texts: YAML would make `no` a boolean and `007` a number."""
    names, count = values.get("names"), values.get("nc")
    if isinstance(names, str) and names:
        place = inside(names.removeprefix("./"))
        if place is None:
            raise DataError(f"{file}: names: {names!r} leads outside the dataset's folder. Put the list inside.")
        return read_names(file.parent / place)
    if names in (None, ""):
        if count is None:
            return None
        return [str(number) for number in range(_count(file, count))]
    if isinstance(names, dict):
        numbers = {_count(file, key): name for key, name in names.items()}
        names = [numbers.get(number, str(number)) for number in range(max(numbers, default=-1) + 1)]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{file}: names: expected a list of names, or numbers with names. Fix the file.")
    return _checked(names, file)


def _count(file: Path, said: Any) -> int:
    if (
        isinstance(said, str)
        and said.isascii()
        and said.isdecimal()
        and int(said[:9]) < LARGEST_NUMBER
        and len(said) < 9
    ):
        return int(said)
    raise DataError(f"{file}: names: expected the number of a class or of classes, got {said!r}. Fix the file.")


def _checked(names: list[str], file: Path) -> list[str]:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            raise DataError(f"{file}: names: {name!r} stands twice, the second time as class {number}. Rename one.")
        seen.add(name)
    return names


def _sheet_places(file: Path, values: Mapping[str, Any]) -> dict[str, list[str]]:
    places = {}
    for key, value in values.items():
        listed = [value] if isinstance(value, str) else value
        if key in SPLITS:
            if not isinstance(listed, list) or not all(isinstance(place, str) for place in listed):
                raise DataError(f"{file}: {key}: expected a folder, a list of images or several of them. Fix the file.")
            listed = [place for place in listed if place]
        elif not (isinstance(value, str) and value.endswith(".txt") and key not in {"path", "names", "download"}):
            continue
        if listed:
            places[key] = listed
    return places


def _read_data(file: Path) -> Config:
    """Darknet's file of `key = value`. Source: AlexeyAB's darknet, `src/option_list.c`."""
    config = Config(file.parent, file)
    values = {}
    for line in read_text(file).split("\n"):
        key, mark, value = (part.strip() for part in line.partition("="))
        if mark and not key.startswith(("#", ";")):
            values[key] = value
    for key, value in values.items():
        if key == "names":
            config.names = read_names(_near(file, value))
        elif value.endswith(".txt") and key not in {"backup", "results", "eval"}:
            config.places["val" if key == "valid" else key] = [value]
    if config.names is None and "classes" in values:
        config.names = [str(number) for number in range(_count(file, values["classes"]))]
    return config


def _near(file: Path, said: str) -> Path:
    """A file that `obj.data` names: where it says, or the part of that path that exists beside it (`data/obj.names`)."""
    for part in tails(said):
        place = inside(part)
        if place and (file.parent / place).is_file():
            return file.parent / place
    raise DataError(f"{file}: names: there is no file {said!r} in {file.parent}. Put the list of names there.")


def tails(path: str) -> Iterable[str]:
    """A path, and what remains as its first parts go one by one: `a/b/c`, `b/c`, `c`."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in {"", ".", ".."}]
    return ("/".join(parts[at:]) for at in range(len(parts)))
