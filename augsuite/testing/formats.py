"""The contract of a format, as checks that need no test framework.

```python
@pytest.mark.parametrize("check", FORMAT_CHECKS, ids=lambda check: check.__name__)
def test_my_format(check, tmp_path):
    check(SPEC, tmp_path)
```

Each check takes the declaration and an empty folder, and raises `ContractError` with what is wrong.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from augsuite import conversion
from augsuite.boxes import Boxes, clip
from augsuite.dataset import ABSENT, Dataset, Intake
from augsuite.dataset.archives import ArchivePath
from augsuite.dataset.files import with_sizes
from augsuite.dataset.images import read_size
from augsuite.dataset.locate import locate
from augsuite.dataset.losses import is_spelling
from augsuite.dataset.shapes import polygons
from augsuite.errors import AugsuiteError, DataError
from augsuite.protocols import Losses
from augsuite.spec import FormatSpec
from augsuite.testing.examples import example_datasets, renamed, with_notes, without_files

KEEPS = frozenset(
    {"names", "boxes", "image_labels", "ids", "splits", "sizes", "ignore", "empty_images", "unused_categories"}
    | {"image_ids", "segmentation", "score", "*"}
)
TOLERANCE = 1e-6
"""How far, in pixels, a coordinate may move without being counted as a loss."""


class ContractError(AssertionError):
    """A format breaks its contract."""


def check_declaration(spec: FormatSpec, folder: Path) -> None:
    """The references load, and `keeps` uses the words it may."""
    del folder
    for name, ref in (
        ("detect", spec.detect),
        ("read", spec.read),
        ("write", spec.write),
        ("read_parts", spec.read_parts),
        ("write_parts", spec.write_parts),
        ("store", spec.store),
    ):
        if ref is not None and not callable(ref.load()):
            raise ContractError(f"{spec.name}: {name} points at {ref.target}, which cannot be called")
    if bool(spec.scheme) != bool(spec.store):
        raise ContractError(f"{spec.name}: scheme and store belong together")
    unknown = sorted(word for word in spec.keeps - KEEPS if "." not in word)
    if unknown:
        raise ContractError(f"{spec.name}: keeps {unknown}; expected extras as 'owner.key', or some of {sorted(KEEPS)}")
    if not spec.patterns:
        raise ContractError(f"{spec.name}: patterns is empty; they tell the user what was looked for")


def check_round_trip(spec: FormatSpec, folder: Path) -> None:
    """What is written is detected, and read back: whole, but for what was counted as lost."""
    if not spec.writable:
        return
    written = 0
    for name, data in example_datasets(folder / "given").items():
        noted = with_notes(data, [word.removesuffix(".*") for word in spec.keeps if word.endswith(".*")])
        for case, source in ((name, noted), (f"{name}, no files", without_files(data))):
            target = _place(spec, folder, case)
            try:
                losses = conversion.write(source, target, spec)
            except DataError as error:
                if target.exists():
                    raise ContractError(f"{spec.name}: {case}: refused ({error}), but left {target}") from error
                continue  # a dataset of which nothing is left, or that cannot be written, may be refused
            written += 1
            score = spec.detect.load()(target)
            if not 0 < score <= 1:
                raise ContractError(
                    f"{spec.name}: {case}: what it wrote has the score {score}; expected above 0, at most 1"
                )
            back = conversion.read(target, spec)
            problems = differences(source, back, losses)
            if problems:
                raise ContractError(f"{spec.name}: {case}: lost in silence: " + "; ".join(problems[:10]))
    if not written:
        raise ContractError(f"{spec.name}: refused every dataset")


def _place(spec: FormatSpec, folder: Path, name: str) -> Path:
    """Where to write a dataset of a check: in its folder, or under a name that begins with the folder's."""
    return Path(f"{spec.scheme}://{folder.name} {name}") if spec.scheme else folder / name


def check_stays_inside(spec: FormatSpec, folder: Path) -> None:
    """Nothing is written outside the folder, whatever the names; a refusal leaves nothing behind, but for what `resumes` goes on from."""
    if not spec.writable:
        return
    data = example_datasets(folder / "given")["plain"]
    for number, name in enumerate(("../outside.jpg", "/outside.jpg", "a/../../outside.jpg", "..", "")):
        for part in ("image", "category", "split"):
            place = folder / f"{part}{number}"
            place.mkdir()
            given = renamed(data, part, name)
            try:
                conversion.write(given, _place(spec, place, "out"), spec)
            except AugsuiteError:
                found = [path.name for path in place.iterdir() if not (spec.resumes and (path / spec.resumes).exists())]
                if found:
                    raise ContractError(f"{spec.name}: refused the {part} {name!r}, but left {found}") from None
                continue
            if {path.name for path in place.iterdir()} - {"out"} or (folder / "outside.jpg").exists():
                raise ContractError(f"{spec.name}: wrote outside its folder for the {part} {name!r}")


def check_bad_input(spec: FormatSpec, folder: Path) -> None:
    """Files cut short, emptied or overwritten give a dataset or a DataError, and `detect` never raises."""
    spec.detect.load()(folder / "nothing here")
    if not spec.writable or spec.scheme:
        return
    given = example_datasets(folder / "given")
    for name in ("plain", "labels"):
        whole = folder / f"whole {name}"
        try:
            conversion.write(given[name], whole, spec, images="copy")
        except DataError:
            continue
        files = [path for path in sorted(whole.rglob("*")) if path.is_file() and path.suffix not in {".jpg", ".png"}]
        for number, path in enumerate(files):
            content = path.read_bytes()
            for way, bad in enumerate(
                (b"", content[: len(content) // 2], content[:-3], b"\xff\xfe" + content, content[::-1], b"\0" * 64)
            ):
                broken = folder / f"broken {name} {number} {way}"
                shutil.copytree(whole, broken)
                (broken / path.relative_to(whole)).write_bytes(bad)
                spec.detect.load()(broken)
                for skip_invalid in (False, True):
                    read_or_refuse(spec, broken, skip_invalid=skip_invalid)


def check_archives(spec: FormatSpec, folder: Path) -> None:
    """What it wrote is read from a zip and a tar file as from a folder, with no file beside them."""
    if not spec.writable or spec.scheme:
        return
    for name, data in example_datasets(folder / "given").items():
        plain = folder / f"{spec.name} {name}"
        try:
            conversion.write(data, plain, spec)
        except DataError:
            continue
        expected = with_sizes(conversion.read(plain, spec))
        if any(
            isinstance(expected.path(row), ArchivePath) for row in range(len(expected)) if expected.images.files[row]
        ):
            return  # a format that lies in archives of its own is not packed once more
        for suffix in ("zip", "tar"):
            place = folder / f"{suffix} {name}"
            place.mkdir()
            shutil.make_archive(str(place / "packed"), suffix, folder, plain.name)
            archive = place / f"packed.{suffix}"
            score = spec.detect.load()(locate(archive))
            if not 0 < score <= 1:
                raise ContractError(
                    f"{spec.name}: {name}: in a {suffix} file it has the score {score}; expected above 0"
                )
            back = conversion.read(archive, spec)
            if problems := differences(expected, back, Losses()):
                raise ContractError(
                    f"{spec.name}: {name}: read otherwise from a {suffix} file: " + "; ".join(problems[:10])
                )
            if expected.images.files.all() and len(expected):
                same = np.array_equal(expected.sample(0).image, back.sample(0).image)
                if not same:
                    raise ContractError(f"{spec.name}: {name}: an image in a {suffix} file has other pixels")
            if [path.name for path in place.iterdir()] != [archive.name]:
                raise ContractError(f"{spec.name}: reading a {suffix} file left something beside it")


FORMAT_CHECKS: tuple[Callable[[FormatSpec, Path], None], ...] = (
    check_declaration,
    check_round_trip,
    check_stays_inside,
    check_bad_input,
    check_archives,
)


def read_or_refuse(spec: FormatSpec, path: Path, *, skip_invalid: bool = False) -> Dataset | None:
    """Read what may be broken.

    Returns:
        The dataset, or None where the reader refused with a DataError of one line.

    Raises:
        ContractError: if it raised anything else.
    """
    try:
        return conversion.read(path, spec, intake=Intake(skip_invalid))
    except DataError as error:
        if "\n" in str(error):
            raise ContractError(f"{spec.name}: the message has several lines: {error}") from error
        return None
    except Exception as error:
        raise ContractError(
            f"{spec.name}: {path}: expected a DataError, got {type(error).__name__}: {error}"
        ) from error


def differences(given: Dataset, back: Dataset, losses: Losses) -> list[str]:
    """What differs between a dataset and what was read back, beyond what was counted as lost.

    See `count_differences`.
    """
    seen, problems = count_differences(given, back, losses)
    return problems + [
        f"{kind}: {count} differ, {losses[kind]} counted" for kind, count in seen.items() if count > losses[kind]
    ]


def count_differences(given: Dataset, back: Dataset, losses: Losses) -> tuple[Counter[str], list[str]]:
    """What differs between a dataset and what was read back: by kind, and what no count of losses can excuse.

    Images are matched by their files' content, or by name and split where there is no file; annotations of an image by category and
    box. A value that was absent may come back as anything.
    """
    seen: Counter[str] = Counter()
    problems: list[str] = []
    if given.extra:
        seen.update(
            {
                key: 1
                for key, value in given.extra.items()
                if not is_spelling(key) and not _same(value, back.extra.get(key, ABSENT))
            }
        )
    matched: set[int] = set()
    for row, other in _matched(given, back):
        if other < 0:
            empty = not len(given.rows_of(row))
            absent = not given.images.files[row]
            seen[
                "images without a file"
                if absent and losses["images without a file"]
                else "images without annotations"
                if empty or losses["boxes"] or losses["image labels"]
                else "images"
            ] += 1
            continue
        matched.add(other)
        seen["image names"] += given.images.names[row] != back.images.names[other]
        seen["splits"] += given.images.splits[row] != back.images.splits[other]
        seen["image ids"] += _says(given.images.ids) and given.images.ids[row] != back.images.ids[other]
        known = bool((given.images.sizes[row] > 0).all())
        seen["image sizes"] += known and given.images.sizes[row].tolist() != _size(back, other)
        _compare_extras(seen, given.images.extra, row, back.images.extra, other)
        _compare_annotations(seen, given, row, back, other, losses)
    if len(matched) != len(back):
        problems.append(f"{len(back) - len(matched)} images came from nowhere")
    for row, name in enumerate(given.categories.names.tolist()):
        found = np.flatnonzero(back.categories.names == name)
        if not len(found):
            seen["unused categories"] += not (given.annotations.category_rows == row).any()
            _compare_extras(seen, given.categories.extra, row, {}, 0)
            continue
        seen["category ids"] += (
            _says(given.categories.ids) and given.categories.ids[row] != back.categories.ids[found[0]]
        )
        _compare_extras(seen, given.categories.extra, row, back.categories.extra, int(found[0]))
    return +seen, problems


def _matched(given: Dataset, back: Dataset) -> list[tuple[int, int]]:
    """Each image's row, and that of what it became, or -1; of several alike first those that kept their names."""
    free: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row in range(len(back)):
        free[_identity(back, row)].append(row)
    pairs = dict.fromkeys(range(len(given)), -1)
    for named in (True, False):
        for row, found in pairs.items():
            alike = [
                other for other in free[_identity(given, row)] if not named or _name(given, row) == _name(back, other)
            ]
            if found < 0 and alike:
                pairs[row] = alike[0]
                free[_identity(given, row)].remove(alike[0])
    return list(pairs.items())


def _identity(data: Dataset, row: int) -> tuple[str, ...]:
    if data.images.files[row]:
        return ("file", hashlib.sha256(data.path(row).read_bytes()).hexdigest())
    return ("name", *_name(data, row))


def _name(data: Dataset, row: int) -> tuple[str, str]:
    return data.images.names[row], data.images.splits[row]


def _size(data: Dataset, row: int) -> list[int]:
    """As the tables say, or as the file says where they do not."""
    known = [int(value) for value in data.images.sizes[row]]
    return known if all(known) or not data.images.files[row] else list(read_size(data.path(row)))


def _says(ids: np.ndarray) -> bool:
    """Whether ids are more than a count of rows."""
    return bool((ids != np.arange(1, len(ids) + 1)).any())


def _compare_extras(
    seen: Counter[str], extra: Mapping[str, Any], row: int, others: Mapping[str, Any], other: int
) -> None:
    for key, values in extra.items():
        if is_spelling(key):
            continue
        theirs = others[key][other] if key in others else ABSENT
        same = _same_shape if key == "segmentation" else _same
        seen[key] += values[row] is not ABSENT and not same(values[row], theirs)


def _same_shape(first: Any, second: Any) -> bool:
    """Polygons may move by the tolerance; RLE may not."""
    rings, others = polygons(first), polygons(second)
    if rings is None or others is None:
        return _same(first, second)
    return len(rings) == len(others) and all(
        len(ring) == len(other) and np.allclose(ring, other, rtol=0, atol=TOLERANCE)
        for ring, other in zip(rings, others, strict=True)
    )


def _same(first: Any, second: Any) -> bool:
    if first is ABSENT or second is ABSENT:
        return first is second
    return bool(msgspec.json.decode(msgspec.json.encode(first)) == msgspec.json.decode(msgspec.json.encode(second)))


def _compare_annotations(
    seen: Counter[str], given: Dataset, row: int, back: Dataset, other: int, losses: Losses
) -> None:
    """Match the annotations of one image, first come first served, and compare what belongs to each."""
    free = list(back.rows_of(other))
    corners, others = given.boxes(), back.boxes() if back.annotations.is_box.any() else back.annotations.boxes
    for mine in given.rows_of(row):
        name = given.categories.names[given.annotations.category_rows[mine]]
        alike = [theirs for theirs in free if back.categories.names[back.annotations.category_rows[theirs]] == name]
        match = _near(corners[mine], others, alike)
        if match is None and losses["boxes cut to the image"]:
            match = _near(clip(corners[mine][None], *given.images.sizes[row])[0], others, alike)
            seen["boxes cut to the image"] += match is not None
        if match is None:
            kind = "boxes" if given.annotations.is_box[mine] else "image labels"
            if kind == "image labels" and losses["further image labels"]:
                kind = "further image labels"
            seen[kind] += 1
            continue
        free.remove(match)
        seen["ignore"] += given.annotations.ignore[mine] != back.annotations.ignore[match]
        seen["annotation ids"] += (
            _says(given.annotations.ids) and given.annotations.ids[mine] != back.annotations.ids[match]
        )
        _compare_extras(seen, given.annotations.extra, int(mine), back.annotations.extra, int(match))
    seen["annotations that came from nowhere"] += len(free)


def _near(box: Boxes, others: Boxes, rows: list[int]) -> int | None:
    """The first of some rows whose box is the same."""
    return next(
        (row for row in rows if np.allclose(box, others[row], rtol=0, atol=TOLERANCE, equal_nan=True)),
        None,
    )
