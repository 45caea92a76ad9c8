"""The folders of a YOLO dataset, and what is found in them: one row for each image."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from augsuite.dataset.files import check_links, natural, scan
from augsuite.dataset.images import SUFFIXES
from augsuite_yolo.config import NAMES_FILES
from augsuite_yolo.paths import label_base, label_folder

LABEL_WORDS = ("labels", "Labels", "Annotations", "annotations")
IMAGE_WORDS = ("images", "jpegimages")
_NO_LABELS = re.compile(r"readme.*|(train|val|valid|test|images)\.txt|notes?\.txt|license.*", re.IGNORECASE).fullmatch


class Tree:
    """Folders below a root, each looked at once; hidden entries are left out."""

    def __init__(self, root: Path) -> None:
        """Look at nothing yet."""
        self.root = root
        self._seen: dict[str, tuple[frozenset[str], list[str]]] = {}

    def files(self, folder: str) -> frozenset[str]:
        """The names of the files in a folder; none where there is no such folder.

        Raises:
            DataError: at an image to which a link leads out of the dataset's folder.
        """
        return self._look(folder)[0]

    def walk(self, folder: str, depth: int | None = None) -> Iterator[str]:
        """A folder and all below it, in natural order; links to folders are not followed."""
        waiting = [folder]
        first = folder.count("/") + bool(folder)
        while waiting:
            place = waiting.pop()
            yield place
            if depth is None or place.count("/") + bool(place) - first < depth:
                below = sorted(self._look(place)[1], key=natural, reverse=True)
                paths = [slashed(place) + name for name in below]
                waiting.extend(path for path in paths if not (self.root / path).is_symlink())

    def exists(self, folder: str) -> bool:
        """Whether there is such a folder."""
        try:
            return (self.root / folder).is_dir()
        except (OSError, ValueError):  # no folder can have that name
            return False

    def _look(self, folder: str) -> tuple[frozenset[str], list[str]]:
        if folder not in self._seen:
            path = self.root / folder
            found = scan(path)
            files = frozenset(found.files)
            check_links(path, files, [name for name in found.links if name.lower().endswith(SUFFIXES)])
            self._seen[folder] = files, found.folders
        return self._seen[folder]


_Folder = tuple[frozenset[str], str, frozenset[str], str]
"""The files of a folder, its path with a slash, and the same for its labels."""


@dataclass
class Listing:
    """One row for each image.

    Attributes:
        tree: of the dataset's folder.
        names: what the images are called.
        files: their files, or "".
        labels: their label files, or "".
        splits: to which they belong, or "".
        sizes: width and height; zeros where no list says them.
    """

    tree: Tree
    names: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _label_folders: dict[str, str] = field(default_factory=dict)
    _folders: dict[str, _Folder] = field(default_factory=dict)

    def add(self, folder: str, base: str, prefix: str, split: str, size: tuple[int, int] = (0, 0)) -> bool:
        """Add the image `base` of a folder; False where it is listed already."""
        files, start, labels, label_start = self._folders.get(folder) or self._open(folder)
        path = start + base
        if path in self._taken:
            return False
        self._taken.add(path)
        self.names.append(prefix + base)
        self.files.append(path if base in files else "")
        self.splits.append(split)
        self.sizes.append(size)
        label = label_base(base)
        self.labels.append(label_start + label if label in labels else "")
        return True

    def _open(self, folder: str) -> _Folder:
        place = self.label_folder(folder)
        found = self.tree.files(folder), slashed(folder), self.tree.files(place), slashed(place)
        self._folders[folder] = found
        return found

    def add_label(self, folder: str, base: str, prefix: str, split: str) -> None:
        """Add a label file that has no image."""
        self.names.append(prefix + base.removesuffix(".txt"))
        self.files.append("")
        self.labels.append(posixpath.join(folder, base))
        self.splits.append(split)
        self.sizes.append((0, 0))

    def has(self, folder: str, base: str) -> bool:
        """Whether a folder holds an image, or the folder of its labels a label for it."""
        return base in self.tree.files(folder) or label_base(base) in self.tree.files(self.label_folder(folder))

    def label_folder(self, folder: str) -> str:
        """Where the labels of a folder's images are: in `labels` for `images`, beside them, or in `labels` below."""
        if folder not in self._label_folders:
            spelled = "/".join("images" if part.lower() in IMAGE_WORDS else part for part in folder.split("/"))
            places = [label_folder(spelled, word) for word in LABEL_WORDS]
            below = [slashed(folder) + word for word in LABEL_WORDS]  # as Ultralytics leaves its predictions
            found = [place for place in (*places, folder, *below) if any(map(is_label, self.tree.files(place)))]
            self._label_folders[folder] = found[0] if found else places[0]
        return self._label_folders[folder]


def slashed(folder: str) -> str:
    """A folder with a slash at its end; the root without."""
    return f"{folder}/" if folder else ""


def is_label(name: str) -> bool:
    """Whether a file's name may be that of a label file."""
    return name.endswith(".txt") and name not in NAMES_FILES and not _NO_LABELS(name)
