"""Tar shards to tables, in parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.dataset.checks import LARGEST
from augsuite.dataset.files import as_file, read_bytes
from augsuite.dataset.images import SUFFIXES
from augsuite.dataset.packing import decode
from augsuite.dataset.parts import joined
from augsuite.dataset.progress import track
from augsuite.dataset.resuming import Entry, is_whole
from augsuite.errors import DataError
from augsuite_webdataset.layout import find_shards, parse, split_of
from augsuite_webdataset.sample import HEAD, NOTHING, Head, Object, Sample
from augsuite_webdataset.tar import members

_PART = 4096  # samples
_SAMPLE = msgspec.json.Decoder(Sample)
_LARGEST_SIDE = 2**31
_LARGEST_TEXT = 1 << 28
_NO_BOX = (np.nan,) * 4


def read(path: Path, intake: Intake, verify: str = "") -> Dataset:
    """Read a shard, or those of a folder, as a whole; see `read_parts`."""
    return joined(read_parts(path, intake, verify))


def read_parts(path: Path, intake: Intake, verify: str = "") -> Iterator[Dataset]:
    """Read tar shards in parts.

    A sample is the files of one key: an image, and `.json` as we write it (`objects` with `category` and `bbox`) or `.cls`, the number or
    name of a class. Images stay where they are, in the shards. Without `dataset.json` the categories are those that occur, sorted,
    which takes a second look at all shards. With it, a shard that is missing, or has other samples than were written, is invalid; of one
    that is damaged what lies before the damage can be read.

    Args:
        path: a shard, or a folder.
        intake: takes what is invalid.
        verify: "bytes" to read each shard that `dataset.json` lists once more, and let one whose bytes are not those that were written
            be invalid as a whole.

    Raises:
        DataError: in one line: shard, sample, what was expected, what was found.
    """
    shards = find_shards(path)
    if not shards:
        raise DataError(f"{path}: no tar file. Name one, or the folder that has them.")
    file = as_file(path)
    root = (path if file is None and path.is_dir() else (file or path).parent).resolve()
    head = _read_head(root / HEAD) if (root / HEAD).is_file() else None
    categories = _categories(head, path) if head else _find_categories(shards, intake)
    names = {name: row for row, name in enumerate(categories.names.tolist())}
    several = len({shard.parent for shard in shards}) > 1
    part = _Part(names, ours=head is not None)
    listed = {entry.name: entry for entry in head.shards} if head else {}
    if file is None and path.is_dir():
        for name in sorted(listed.keys() - {shard.name for shard in shards}):
            intake.reject(f"{root / name}", f"is not there, and {HEAD} lists it with {listed[name].samples:,} samples")
    for shard in shards:
        split = split_of(shard, several=several)
        inside = shard.resolve().relative_to(root).as_posix()
        entry = listed.get(shard.name)
        if verify and entry is not None and not is_whole(shard, entry):
            intake.reject(
                f"{shard}",
                f"its bytes are not those that were written, so none of its {entry.samples:,} samples is read",
            )
            continue
        for sample in track(_samples(shard, intake, entry), "reading"):
            part.add(sample, shard, inside, split, intake)
            if len(part.names) == _PART:
                yield part.dataset(categories, root, head)
                part = part.next()
    if part.names or not part.images_before:
        yield part.dataset(categories, root, head)


@dataclass
class _Found:
    """The files of one key."""

    key: str
    image: str = ""
    said: Sample | None = None
    bad: bool = False  # some of it was rejected, and with it the sample
    whole: bool = True  # its last file is known to be whole


def _samples(shard: Path, intake: Intake, entry: Entry | None = None) -> Iterator[_Found]:
    """The samples of a shard; what cannot be understood is rejected, and so is what a list of shards says and is not there."""
    found: _Found | None = None
    seen = 0
    try:
        for member in members(shard):
            key, suffix = parse(member.name)
            if found is None or found.key != key:
                if found is not None:
                    seen += 1
                    if not found.bad:
                        yield found
                found = _Found(key)
            found.whole = member.whole
            if suffix in SUFFIXES:
                found.image = found.image or member.name
            elif suffix in {".json", ".cls"} and member.size <= _LARGEST_TEXT:
                text = member.content.read(member.size)
                try:
                    if len(text) != member.size:
                        raise DataError(f"{shard}: ends in the middle of {member.name}. Copy or download it again.")
                    found.said = _SAMPLE.decode(text) if suffix == ".json" else _class(text)
                except (ValueError, RecursionError) as error:
                    found.bad = True
                    intake.reject(f"{shard}: {member.name}", " ".join(str(error).split()))
    except DataError as error:
        if not intake.skip_invalid:
            raise DataError(
                f"{error} Or pass --skip-invalid to leave out the sample there, and those after it."
            ) from error
        if found is not None and found.whole and found.image and found.said is not None:
            seen += 1
            yield found
        rest = (
            "the sample there and those after it"
            if entry is None
            else f"{entry.samples - seen:,} of {entry.samples:,} samples"
        )
        intake.skipped.append(f"{error} Left out: {rest}.")
        return
    if found is not None:
        seen += 1
        if not found.bad:
            yield found
    if entry is not None and seen != entry.samples:
        intake.reject(f"{shard}", f"expected {entry.samples:,} samples, as {HEAD} says, got {seen:,}")


def _class(text: bytes) -> Sample:
    said = text.decode().strip()
    if not said:
        raise ValueError("expected a class, got an empty file")
    return Sample(objects=[Object(said)])


def _read_head(file: Path) -> Head:
    try:
        return msgspec.json.decode(read_bytes(file), type=Head)
    except (ValueError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise DataError(f"{file}: {said}. Copy it again, or remove it: the shards can be read without it.") from error


def _categories(head: Head, path: Path) -> Categories:
    extra = _columns([_extra(category.extra, str(path)) for category in head.categories])
    try:
        ids = np.array([category.id for category in head.categories], np.int64)
    except OverflowError as error:
        raise DataError(f"{path}: {HEAD}: an id is too large. Make it smaller.") from error
    return Categories.of([category.name for category in head.categories], ids, extra)


def _find_categories(shards: list[Path], intake: Intake) -> Categories:
    """All that occur: names sorted, after them numbers."""
    quiet = Intake(skip_invalid=True, wants=intake.wants)
    found = {
        str(each.category)
        for shard in shards
        for sample in _samples(shard, quiet)
        for each in (sample.said.objects if sample.said else [])
    }
    return Categories.of(sorted(found, key=lambda name: (name.isdecimal(), len(name) if name.isdecimal() else 0, name)))


@dataclass
class _Part:
    """Samples that will be one part."""

    categories: dict[str, int]
    ours: bool
    images_before: int = 0
    annotations_before: int = 0
    names: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    extra: list[Mapping[str, Any]] = field(default_factory=list)
    image_rows: list[int] = field(default_factory=list)
    category_rows: list[int] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    annotation_ids: list[int] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    annotation_extra: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, found: _Found, shard: Path, inside: str, split: str, intake: Intake) -> None:
        """Take one sample."""
        said = found.said or Sample()
        if not found.image and found.said is None:
            return  # files that mean nothing to us
        row = len(self.names)
        image_id = self.images_before + row + 1 if said.image_id is None or not self.ours else said.image_id
        size = (said.width, said.height)
        if not all(0 <= side < _LARGEST_SIDE for side in size) or abs(image_id) >= 2**63:
            intake.reject(
                f"{shard}: {found.key}.json", f"expected a size in pixels and an id, got {size} and {image_id}"
            )
            return
        where = f"{shard}: {found.key}.json"
        try:
            of_image, extras = _extra(said.extra, where), [_extra(each.extra, where) for each in said.objects]
        except DataError as error:
            intake.reject(where, str(error))
            return
        self.names.append(said.file_name or found.image or found.key)
        self.files.append(f"{inside}/{found.image}" if found.image else "")
        self.splits.append(split if said.split is None else said.split)
        self.sizes.append(size)
        self.ids.append(image_id)
        self.extra.append(of_image)
        for number, each in enumerate(said.objects):
            category = self.categories.get(str(each.category), -1)
            box = each.bbox
            own = each.id if each.id is not None and self.ours else self.annotations_before + len(self.image_rows) + 1
            problem = ""
            if category < 0:
                problem = f"expected a category of {HEAD}, got {each.category!r}"
            elif box is not None and not all(abs(value) <= LARGEST for value in box):
                problem = f"bbox: expected 4 numbers, got {list(box)}"
            elif abs(own) >= 2**63:
                problem = f"id: expected a smaller number, got {own}"
            if problem:
                intake.reject(f"{shard}: {found.key}.json: objects[{number}]", problem)
                continue
            self.image_rows.append(row)
            self.category_rows.append(category)
            self.boxes.append(_NO_BOX if box is None else box)
            self.annotation_ids.append(own)
            self.ignore.append(each.ignore)
            extra = extras[number]
            if each.score is not ABSENT:
                extra = {**extra, "score": each.score}
            if each.segmentation is not ABSENT:
                extra = {**extra, "segmentation": each.segmentation}
            self.annotation_extra.append(extra)

    def dataset(self, categories: Categories, root: Path, head: Head | None) -> Dataset:
        """The tables."""
        return Dataset(
            Images.of(
                self.names,
                np.array(self.sizes, np.int64).reshape(-1, 2),
                np.array(self.ids, np.int64),
                self.splits,
                self.files,
                _columns(self.extra),
            ),
            categories,
            Annotations.of(
                self.image_rows,
                self.category_rows,
                np.array(self.boxes, np.float64).reshape(-1, 4),
                Layout.XYWH_PX,
                np.array(self.annotation_ids, np.int64),
                self.ignore,
                _columns(self.annotation_extra),
            ),
            root=root,
            extra=_extra(head.extra, str(root / HEAD)) if head else {},
        )

    def next(self) -> _Part:
        """An empty part that goes on counting."""
        images, annotations = self.images_before + len(self.names), self.annotations_before + len(self.image_rows)
        return _Part(self.categories, self.ours, images, annotations)


def _extra(raw: Raw, where: str) -> Mapping[str, Any]:
    return {} if raw is NOTHING else decode(raw, where)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.object_]]:
    """Extras of rows as columns."""
    keys = dict.fromkeys(key for row in rows if row for key in row)
    return {key: objects([row.get(key, ABSENT) for row in rows]) for key in keys}
