"""CVAT files to tables, element by element: a file of any size needs the memory of its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.parsers import expat

import msgspec

from augsuite.dataset import UNREAD, Dataset, Intake
from augsuite.dataset.fence import current
from augsuite.dataset.files import Finder, inside, tamed
from augsuite.dataset.images import read_size
from augsuite.dataset.progress import track
from augsuite.errors import DataError
from augsuite_cvat import geometry
from augsuite_cvat.elements import DEEPEST, Tree, element, whole
from augsuite_cvat.geometry import CORNERS
from augsuite_cvat.layout import find_files, image_folders, split_of
from augsuite_cvat.tables import LARGEST_ID, Tables

_CHUNK = 1 << 18
_NO_BOX = (float("nan"),) * 4
_CONTAINERS = ("task", "project", "job")  # of <meta>, that hold the labels
_KNOWN = {"name", "id", "width", "height", "subset"}


def read(path: Path, intake: Intake) -> Dataset:
    """Read a CVAT export for images, or a folder with one XML file for each split.

    Boxes, polygons, masks, ellipses, cuboids and skeletons become boxes, a turned one the box around it; polygons and masks are
    `segmentation` too. Lines, points and shapes without a label stay with their image, in `cvat.shapes`. What the tables have no
    column for becomes an extra `cvat.<name>`.

    Args:
        path: the export's folder, or its XML file.
        intake: takes what is invalid or surprising.

    Raises:
        DataError: in one line: file, place, what was expected, what was found.
    """
    files = find_files(path) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: no XML file. Name the folder that has annotations.xml, or the file.")
    root = path if path.is_dir() else path.parent
    tables = Tables()
    for file in files:
        _Reader(file, root, split_of(file, alone=len(files) == 1), tables, intake).read()
    if len(files) > 1:
        tables.head = {key: value for key, value in tables.head.items() if key != "meta"}
        intake.note(f"{path}: what the files say of their tasks (<meta>), beyond labels, is left out: they are several")
    undeclared = [name for name in tables.seen if name not in tables.declared]
    if undeclared:
        intake.note(
            f"{root}: {len(undeclared)} labels of shapes are not declared in <meta>: {', '.join(undeclared[:5])}"
        )
    categories = tables.categories()
    annotations = tables.annotations(categories)
    extra = {f"cvat.{key}": value for key, value in tables.head.items()}
    return Dataset(tables.images(), categories, annotations, root=root, extra=extra)


class _Reader:
    """Takes the events of one file. Depth 1 is <annotations>, 2 an image, 3 a shape, 4 an attribute of it."""

    def __init__(self, file: Path, root: Path, split: str, tables: Tables, intake: Intake) -> None:
        self.file = file
        self.split = split
        self.tables = tables
        self.intake = intake
        self.root = root
        self.finders: dict[str, Finder] = {}
        self.depth = 0
        self.tree: Tree | None = None
        self.row = -1  # of the image; -1 where it was left out
        self.in_image = False
        self.position = 0  # of the shape in its image
        self.shape: dict[str, str] = {}
        self.line = 0
        self.attribute = ""
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.children: list[tuple[str, Any]] = []
        self.loose: list[dict[str, Any]] = []
        self.rings: list[str] = []  # of the object whose further parts follow
        self.parts_left = 0
        self.own_box = False
        self.unlabelled = 0
        self.lines_and_points = 0
        self.shared: dict[str, str] = {}
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype

    def read(self) -> None:
        """Read the whole file.

        Raises:
            DataError: if it is no XML, or no CVAT for images.
        """
        first = len(self.tables.names)
        try:
            fence = current()
            if fence is not None:
                fence.check(str(self.file))
            total = self.file.stat().st_size // _CHUNK + 1
            with self.file.open("rb") as opened:
                for chunk in track(iter(lambda: opened.read(_CHUNK), b""), "reading", total):
                    self.parser.Parse(chunk)
            self.parser.Parse(b"", True)
        except OSError as error:
            raise DataError(
                f"{self.file}: cannot be read ({error.strerror}). Check the path and its permissions."
            ) from error
        except expat.ExpatError as error:
            reason = str(error).partition(":")[0]
            raise DataError(
                f"{self.file}: line {error.lineno}, column {error.offset + 1}: malformed XML ({reason}). Fix the file there."
            ) from error
        except (ValueError, LookupError) as error:  # an encoding that is unknown or takes several bytes
            raise DataError(f"{self.file}: malformed XML ({error}). Save the file as UTF-8.") from error
        missing = sum(finder.missing for finder in self.finders.values())
        if missing:
            self.intake.note(f"{self.file}: {missing:,} of {len(self.tables.names) - first:,} images have no file")
        if self.unlabelled:
            self.intake.note(
                f"{self.file}: {self.unlabelled:,} shapes have no label; they are kept in cvat.shapes, not as boxes"
            )
        if self.lines_and_points:
            self.intake.note(
                f"{self.file}: {self.lines_and_points:,} lines, points and other shapes without a box are kept in cvat.shapes"
            )

    def _refuse_doctype(self, *_: object) -> None:
        raise DataError(
            f"{self.file}: declares a document type, which could hold XML entities. Remove the declaration."
        )

    def _reject(self, problem: str) -> None:
        self.intake.reject(f"{self.file}: line {self.line}", problem)

    # Events

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise DataError(f"{self.file}: nested too deeply to be CVAT. Name another file.")
        if self.tree is not None:
            self.tree.start(tag, attributes)
        elif self.depth == 3:
            self.shape = attributes
            self.line = self.parser.CurrentLineNumber
            self.attributes, self.children = [], []
        elif self.depth == 4 and tag == "attribute" and attributes.keys() == {"name"}:
            self.attribute = attributes["name"]
            self.texts = []
            self.parser.CharacterDataHandler = self.texts.append
        elif self.depth == 2 and tag == "image":
            self.line = self.parser.CurrentLineNumber
            self.in_image = True
            self._image(attributes)
        elif self.depth == 2 and tag == "track":
            raise DataError(
                f"{self.file}: holds tracks: it is 'CVAT for video'. Export the task again as 'CVAT for images 1.1'."
            )
        elif self.depth == 1:
            if tag != "annotations":
                raise DataError(
                    f"{self.file}: expected the root element <annotations>, got <{tag}>. Name the format with --from."
                )
        elif self.depth > 4:
            raise DataError(
                f"{self.file}: line {self.parser.CurrentLineNumber}: expected text in <attribute>, got <{tag}>. Fix the file."
            )
        else:
            self.tree = Tree(tag, attributes)
            self.parser.CharacterDataHandler = self.tree.text

    def _end(self, tag: str) -> None:
        depth = self.depth
        self.depth -= 1
        if self.tree is not None:
            if not self.tree.end():
                return
            tree, self.tree = self.tree, None
            self.parser.CharacterDataHandler = None
            if depth == 2:
                self._top(tag, tree.value)
            else:
                self.children.append((tag, tree.value))
        elif depth == 4:
            self.attributes.append((self.attribute, "".join(self.texts)))
            self.parser.CharacterDataHandler = None
        elif depth == 3:
            if self.row >= 0:
                self._shape(tag, self.shape)
        elif depth == 2:
            if self.loose:
                self.tables.image_extra.add(self.row, "cvat.shapes", self.loose)
                self.loose = []
            self.in_image = False

    def _top(self, tag: str, value: Any) -> None:
        if tag == "meta" and isinstance(value, dict):
            for name in _CONTAINERS:
                holder = value.get(name)
                if isinstance(holder, dict) and "labels" in holder:
                    for twice in self.tables.declare(holder["labels"]):
                        self.intake.note(f"{self.file}: the label {twice!r} is declared twice; the first counts")
                    holder["labels"] = None  # marks the place; the categories are the labels now
            task = value.get("task")
            if isinstance(task, dict) and isinstance(task.get("subset"), str):
                self.split = task["subset"] or self.split
        self.tables.head["_version" if tag == "version" else tag] = value

    # Rows

    def _image(self, attributes: dict[str, str]) -> None:
        tables = self.tables
        self.row = -1
        self.position = self.parts_left = 0
        name = attributes.get("name", "")
        split = attributes.get("subset", self.split)
        size = []
        for key in ("width", "height"):
            text = attributes.get(key, "0")
            if not (text.isascii() and text.isdecimal() and len(text) < 10):
                self._reject(f"image {name!r}: {key}: expected a whole number of pixels, got {text!r}")
                return
            size.append(int(text))
        number = whole(attributes["id"]) if "id" in attributes else None
        if isinstance(number, str) or (number is not None and abs(number) > LARGEST_ID):
            self._reject(f"image {name!r}: id: expected a whole number, got {attributes['id']!r}")
            return
        finder = self.finders.get(split)
        if finder is None:
            finder = self.finders[split] = Finder(
                self.root, image_folders(split), allow_outside=self.intake.allow_outside
            )
        try:
            found = finder.find(name)
        except DataError as error:
            self._reject(f"image: name: {error}")
            return
        self.row = len(tables.names)
        tables.names.append(name if inside(name) else tamed(found or name))
        tables.sizes.append((size[0], size[1]))
        tables.ids.append(number)
        tables.splits.append(split)
        tables.files.append(found)
        for key, text in attributes.items():
            if key not in _KNOWN:
                tables.image_extra.add(self.row, f"cvat.{key}", whole(text))

    def _shape(self, tag: str, attributes: dict[str, str]) -> None:
        label = attributes.get("label", "")
        extra: dict[str, Any] = {}
        try:
            if tag == "polygon" and self.parts_left:
                self._add_part(attributes)
                return
            self.parts_left = 0
            box = self._box(tag, attributes, extra) if label.strip() else None
        except ValueError as error:
            self._reject(f"{tag}: {error}")
            return
        if box is None:
            self._keep_loose(tag, attributes, label)
            return
        tables = self.tables
        row = len(tables.labels)
        tables.image_rows.append(self.row)
        tables.labels.append(tables.seen.setdefault(label, len(tables.seen)))
        tables.boxes.extend(box)
        add = tables.extra.add
        for key, text in attributes.items():
            if key != "label":
                add(row, f"cvat.{key}", self._short(text))
        for key, value in extra.items():
            add(row, key, value)
        if self.attributes:
            pairs = {name: self._short(text) for name, text in self.attributes}
            value = pairs if len(pairs) == len(self.attributes) else [list(pair) for pair in self.attributes]
            add(row, "cvat.attributes", value if self.intake.wanted("cvat.attributes") else UNREAD)
        for key, child in _children(self.children).items():
            add(row, f"cvat.{key}", child)
        self.position += 1

    def _short(self, text: str) -> Any:
        """A whole number as int, other text once for all rows that say it."""
        return whole(text) if len(text) < 19 and text[-1:].isdecimal() else self.shared.setdefault(text, text)

    def _box(self, tag: str, attributes: dict[str, str], extra: dict[str, Any]) -> geometry.Box | None:
        """The box of a shape, NaN for a tag; takes from `attributes` what says where it is.

        Raises:
            ValueError: if that is invalid.
        """
        if tag == "tag":
            return _NO_BOX
        if tag == "box" and attributes.get("rotation", "0.0").strip("0.") == "":
            box = geometry.corners(attributes)
            for key in CORNERS:
                del attributes[key]
            return box
        if tag == "polygon":
            return self._polygon(attributes, extra)
        if tag == "mask":
            return self._mask(attributes, extra)
        if tag not in {"box", "ellipse", "cuboid", "skeleton"}:
            return None
        parts = _children(self.children).get("points")
        around = geometry.extent(tag, attributes, parts)
        if around is not None:
            extra["cvat.shape"] = tag
            if tag != "skeleton":
                extra["cvat.geometry"] = {
                    key: attributes.pop(key) for key in geometry.GEOMETRY[tag] if key in attributes
                }
        return around

    def _polygon(self, attributes: dict[str, str], extra: dict[str, Any]) -> geometry.Box:
        values, source = geometry.points(attributes.get("points", ""))
        if len(values) < 6:
            raise ValueError(f"points: expected 3 points or more, got {len(values) // 2}")
        del attributes["points"]
        parts = whole(attributes.pop("parts", "1"))
        self.parts_left = parts - 1 if isinstance(parts, int) else 0
        self.rings = [source]
        wanted = self.intake.wanted("segmentation")
        extra["segmentation"] = msgspec.Raw(f"[{source}]".encode()) if wanted else UNREAD
        around = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
        return self._own_box(attributes) or around

    def _add_part(self, attributes: dict[str, str]) -> None:
        """A polygon that is a further part of the object before it, as our writer marks it (`parts`)."""
        self.parts_left -= 1
        values, source = geometry.points(attributes.get("points", ""))
        self.rings.append(source)
        if not self.own_box:
            boxes = self.tables.boxes
            boxes[-4], boxes[-3] = min(boxes[-4], *values[::2]), min(boxes[-3], *values[1::2])
            boxes[-2], boxes[-1] = max(boxes[-2], *values[::2]), max(boxes[-1], *values[1::2])
        if self.intake.wanted("segmentation"):
            self.tables.extra.exchange_last("segmentation", msgspec.Raw(f"[{','.join(self.rings)}]".encode()))

    def _mask(self, attributes: dict[str, str], extra: dict[str, Any]) -> geometry.Box:
        width, height = self.tables.sizes[self.row]
        if not (width and height) and self.tables.files[self.row]:
            width, height = read_size(self.root / self.tables.files[self.row])
        around, encoded = geometry.mask(attributes, width, height)
        for key in ("rle", "left", "top", "width", "height"):
            del attributes[key]
        extra["segmentation"] = encoded
        return self._own_box(attributes) or around

    def _own_box(self, attributes: dict[str, str]) -> geometry.Box | None:
        """A box that differs from the extent of its polygon or mask: attributes that CVAT does not know, from our writer."""
        self.own_box = "xtl" in attributes
        if not self.own_box:
            return None
        box = geometry.corners(attributes)
        for key in CORNERS:
            del attributes[key]
        return box

    def _keep_loose(self, tag: str, attributes: dict[str, str], label: str) -> None:
        """A shape without a box or a label stays with its image, as it is, with its place among the others."""
        self.unlabelled += not label.strip()
        self.lines_and_points += bool(label.strip())
        children = [("attribute", element({"name": name}, text, [])) for name, text in self.attributes]
        self.loose.append({"at": self.position, tag: element(attributes, "", children + self.children)})
        self.position += 1


def _children(children: list[tuple[str, Any]]) -> dict[str, Any]:
    value = element({}, "", children) if children else {}
    return value if isinstance(value, dict) else {}
