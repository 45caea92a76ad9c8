"""Archives read in place; the archives come from zipfile, tarfile and hand-made headers, never from our own code."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import random
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import augsuite
from augsuite.augment.feed import Feed
from augsuite.dataset import Intake
from augsuite.dataset.archives import ArchivePath, at, descended
from augsuite.dataset.disk import entries, read_bytes, read_head, scan, walk
from augsuite.dataset.images import decode, read_size
from augsuite.dataset.locate import locate
from augsuite.dataset.placing import place_images
from augsuite.errors import AugsuiteError, ConfigError, DataError

LONG = "".join(random.Random(5).choices("abc 0123456789\n", k=3_000_000)).encode()
FILES = {
    "top/a.txt": b"hello",
    "top/sub/ü x'<.bin": b"\0" * 10,
    "top/long.json": LONG,
    "top/empty": b"",
    "top/.hidden": b"no",
}
KINDS = ("zip", "stored.zip", "tar", "tar.gz", "tgz", "tar.xz", "tar.bz2")


def pack(path: Path, files: dict[str, bytes] = FILES) -> Path:
    if path.suffix == ".zip":
        method = zipfile.ZIP_STORED if path.stem.endswith("stored") else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", method) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return path
    mode = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}[path.suffix]
    fast = {"preset": 0} if path.suffix == ".xz" else {}  # by default it takes four times as long
    with tarfile.open(path, mode, **fast) as packed:
        for name, content in files.items():
            add(packed, f"./{name}", content)
    return path


def add(packed: tarfile.TarFile, name: str, content: bytes = b"", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    packed.addfile(info, io.BytesIO(content))


@pytest.fixture(scope="module", params=KINDS)
def content(request, tmp_path_factory):
    """Kind and bytes of an archive, packed once."""
    return request.param, pack(tmp_path_factory.mktemp("packed") / f"data.{request.param}").read_bytes()


@pytest.fixture
def archive(content, tmp_path):
    kind, data = content
    path = tmp_path / f"data.{kind}"
    path.write_bytes(data)
    return at(path)


def test_each_file_is_read_whole_and_in_part(archive):
    assert isinstance(archive, ArchivePath)
    for name, content in FILES.items():
        path = archive / name
        assert path.read_bytes() == content
        assert (path.is_file(), path.is_dir(), path.exists(), path.is_symlink()) == (True, False, True, False)
        assert path.stat().st_size == len(content)
        with path.open("rb") as opened:
            opened.seek(-min(7, len(content)), os.SEEK_END)
            assert opened.read() == content[-7:]
            opened.seek(0)
            assert opened.read(3) == content[:3]
            opened.seek(1_500_000)
            assert opened.read(10) == content[1_500_000:1_500_010]
            opened.seek(1_000_000)
            assert opened.read() == content[1_000_000:]
        assert read_head(path, 4) == content[:4].replace(b"\0", b"") or content.startswith(b"\0")
    with (archive / "top/long.json").open(encoding="utf-8") as text:
        assert text.read() == LONG.decode()


def test_folders_are_listed(archive):
    top = archive / "top"
    assert top.is_dir()
    assert not top.is_file()
    assert {path.name for path in top.iterdir()} == {"a.txt", "sub", "long.json", "empty", ".hidden"}
    assert [path.name for path in entries(top)] == ["a.txt", "empty", "long.json", "sub"]
    assert list(walk(archive)) == [("", []), ("top", ["a.txt", "empty", "long.json"]), ("top/sub", ["ü x'<.bin"])]
    assert list(walk(archive, 0)) == [("", [])]
    assert list(walk(archive, 1)) == [("", []), ("top", ["a.txt", "empty", "long.json"])]
    assert {str(path.relative_to(archive)) for path in archive.rglob("*.*")} == {
        "top/a.txt", "top/long.json", "top/.hidden", "top/sub/ü x'<.bin",
    }  # fmt: skip
    assert [path.name for path in archive.glob("top/?.txt")] == ["a.txt"]
    assert list(archive.glob("*.txt")) == []
    assert not scan(top / "a.txt").files
    assert not (top / "a.txt" / "b").exists()
    assert not (top / "nothing").exists()
    with pytest.raises(FileNotFoundError):
        (top / "nothing").read_bytes()
    with pytest.raises(IsADirectoryError):
        top.read_bytes()
    with pytest.raises(NotADirectoryError):
        list((top / "a.txt").iterdir())
    with pytest.raises(OSError, match="read-only"):
        (top / "a.txt").open("w")


def test_a_plain_string_reads_from_an_archive(archive):
    assert read_bytes(f"{archive}/top/a.txt") == b"hello"
    assert scan(f"{archive}/top").folders == ["sub"]
    with pytest.raises(DataError, match=r"top/b\.txt: cannot be read \(No such file"):
        read_bytes(f"{archive}/top/b.txt")


def test_a_path_resolves_pickles_and_leaves_the_archive(archive, tmp_path, monkeypatch):
    path = archive / "top" / "sub" / ".." / "a.txt"
    assert path.resolve() == archive / "top/a.txt"
    assert pickle.loads(pickle.dumps(path.resolve())).read_text() == "hello"
    assert (archive / ".." / archive.name).resolve().is_dir()
    assert not isinstance(at(tmp_path), ArchivePath)
    assert archive.parent.is_dir()
    (tmp_path / "beside.txt").write_text("beside")
    assert (archive / ".." / "beside.txt").resolve().read_text() == "beside"
    monkeypatch.chdir(tmp_path)
    assert at(Path(archive.name)).resolve() == archive


def test_a_link_to_an_archive_is_one(archive, tmp_path):
    link = tmp_path / "other" / archive.name
    link.parent.mkdir()
    link.symlink_to(archive)
    assert (at(link) / "top/a.txt").read_text() == "hello"
    assert (at(link) / "top/a.txt").resolve() == archive / "top/a.txt"


def test_an_archive_that_changes_is_read_anew(tmp_path):
    path = at(pack(tmp_path / "data.zip", {"a": b"1"})) / "a"
    assert path.read_bytes() == b"1"
    pack(tmp_path / "new.zip", {"a": b"two"}).replace(tmp_path / "data.zip")
    assert path.read_bytes() == b"two"
    (tmp_path / "data.zip").unlink()
    assert not path.exists()


def test_a_folder_that_is_called_like_an_archive_is_a_folder(tmp_path):
    (tmp_path / "data.zip").mkdir()
    assert not isinstance(at(tmp_path / "data.zip"), ArchivePath)
    pack(tmp_path / "data.zip" / "more.tar")
    assert (at(tmp_path / "data.zip" / "more.tar") / "top/a.txt").read_text() == "hello"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a/b/x.csv": b"", "a/b/y.csv": b"", "__MACOSX/a/._x": b""}, "a/b"),
        ({"a/x": b"", "b": b""}, ""),
        ({"annotations/x": b""}, ""),
        ({"pets/train/cat/1.jpg": b""}, "pets"),
        ({"x": b""}, ""),
        ({}, ""),
    ],
)
def test_the_only_folder_of_an_archive_is_the_dataset(files, expected, tmp_path):
    found = descended(at(pack(tmp_path / "d.zip", files)))
    assert found.relative_to(tmp_path / "d.zip").as_posix() == (expected or ".")
    assert locate(tmp_path / "d.zip") == found


def test_names_without_a_mark_of_their_encoding_are_utf8_where_they_can_be(tmp_path):
    pack(tmp_path / "d.zip", {"ü.txt": b"1"})
    data = (tmp_path / "d.zip").read_bytes()
    plain = bytearray(data)
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # APPNOTE 4.3.7 and 4.3.12: the flags; bit 11 says UTF-8
        place = data.index(mark) + offset
        flags = struct.unpack_from("<H", plain, place)[0]
        assert flags & 0x800
        struct.pack_into("<H", plain, place, flags & ~0x800)
    (tmp_path / "d.zip").write_bytes(plain)
    assert (at(tmp_path / "d.zip") / "ü.txt").read_bytes() == b"1"


def test_links_inside_a_tar_file_lead_to_its_files(tmp_path):
    with tarfile.open(tmp_path / "d.tar", "w") as packed:
        add(packed, "images/soft.txt", type=tarfile.SYMTYPE, linkname="../texts/chain.txt")
        add(packed, "texts/chain.txt", type=tarfile.SYMTYPE, linkname="./a.txt")
        add(packed, "./texts/a.txt", b"hello")
        add(packed, "images/hard.txt", type=tarfile.LNKTYPE, linkname="./texts/a.txt")
        add(packed, "images/pipe", type=tarfile.FIFOTYPE)
    root = at(tmp_path / "d.tar")
    assert [(root / "images" / name).read_text() for name in ("soft.txt", "hard.txt")] == ["hello", "hello"]
    assert sorted(path.name for path in (root / "images").iterdir()) == ["hard.txt", "soft.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs links")
def test_an_archive_of_another_program_reads(tmp_path):
    """GNU tar with a long name, a hard link and a link, in its own format."""
    source = tmp_path / "set"
    source.mkdir()
    name = "n" * 180 + ".txt"
    (source / name).write_text("long")
    os.link(source / name, source / "z.txt")
    (source / "y.txt").symlink_to(name)
    subprocess.run(["tar", "-C", tmp_path, "--format=gnu", "-cf", tmp_path / "d.tar", "set"], check=True)
    root = descended(at(tmp_path / "d.tar"))
    assert root.name == "set"
    assert {path.name: path.read_text() for path in root.iterdir()} == dict.fromkeys((name, "z.txt", "y.txt"), "long")


# What is refused


def zip_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            info = zipfile.ZipInfo("placeholder")
            info.filename = name  # as given, which the constructor would clean
            packed.writestr(info, content)
    return path


def tar_of(path: Path, *members: tuple[str, dict[str, object]]) -> Path:
    with tarfile.open(path, "w") as packed:
        for name, fields in members:
            add(packed, name, b"", **fields)
    return path


def refused(path: Path, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        at(path).exists()
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:/x", "a\\b", "..\\x", "a/..", ".."])
def test_a_name_that_leads_outside_is_refused(name, tmp_path):
    refused(zip_of(tmp_path / "d.zip", ("fine", b""), (name, b"")), "not one of a file below the archive")
    refused(tar_of(tmp_path / "d.tar", ("fine", {}), (name, {})), "not one of a file below the archive")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "nothing", "self", ".", "folder"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_that_leads_outside_or_to_no_file_is_refused(target, kind, tmp_path):
    fields = {"type": kind, "linkname": target}
    path = tar_of(tmp_path / "d.tar", ("folder/a", {}), ("self", fields))
    refused(path, "link to|not one of a file below")


def test_a_link_in_a_zip_file_is_refused_where_it_leads_outside(tmp_path):
    info = zipfile.ZipInfo("a")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    refused(tmp_path / "d.zip", "'a' is a link to '/etc/passwd'")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a", "a"), ("a", "./a"), ("a/b", "a"), ("a", "a/b")])
def test_two_files_of_one_name_are_refused(names, tmp_path):
    refused(zip_of(tmp_path / "d.zip", *((name, b"") for name in names)), "twice")
    refused(tar_of(tmp_path / "d.tar", *((name, {}) for name in names)), "twice")


def test_an_encrypted_zip_file_is_refused(tmp_path):
    data = bytearray(pack(tmp_path / "d.zip", {"a": b"1"}).read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # APPNOTE 4.4.4: bit 0 says encrypted
    (tmp_path / "d.zip").write_bytes(data)
    refused(tmp_path / "d.zip", "encrypted")


def test_a_method_that_is_not_known_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_BZIP2) as packed:
        packed.writestr("a", b"hello")
    path = at(tmp_path / "d.zip") / "a"
    for read in (path.read_bytes, lambda: decode(path)):
        with pytest.raises(DataError, match="compressed by bzip2, which cannot be read in place"):
            read()


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_was_cut_is_refused_wherever(kind, tmp_path):
    whole = pack(tmp_path / f"d.{kind}", {name: FILES[name] for name in FILES if "long" not in name}).read_bytes()
    content = whole.rstrip(b"\0") if kind == "tar" else whole  # a tar file ends in zeros that say nothing
    path = tmp_path / f"cut.{kind}"
    for length in range(0, len(content), max(len(content) // 40, 1)):
        path.write_bytes(whole[:length])
        refused(path, "damaged|ends|Copy or download")


@pytest.mark.parametrize("kind", ["zip", "stored.zip", "tar"])
def test_changed_bytes_give_the_right_content_or_an_error(kind, tmp_path):
    whole = pack(tmp_path / f"d.{kind}", {"a.txt": b"hello " * 50, "b/c.txt": b"x" * 700}).read_bytes()
    rng = random.Random(3)
    path = tmp_path / f"bad.{kind}"
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 4))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(DataError):
            for folder, names in walk(at(path)):
                for name in names:
                    read_bytes(at(path) / folder / name)
                    with (at(path) / folder / name).open("rb") as opened:
                        opened.read()


def test_a_file_that_claims_to_be_huge_is_refused_without_taking_the_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as packed, packed.open("a", "w") as out:
        for _ in range(100):
            out.write(b"\0" * (1 << 20))
    path = at(tmp_path / "d.zip") / "a"
    assert (tmp_path / "d.zip").stat().st_size < 200_000
    for read in (path.read_bytes, lambda: path.open("rb").read(1)):
        with pytest.raises(DataError, match="claims 104,857,600 bytes"):
            read()


def test_a_file_that_unpacks_to_more_than_it_says_is_refused(tmp_path):
    data = bytearray(pack(tmp_path / "d.zip", {"a": b"\0" * 5_000_000}).read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 2_000_000)  # APPNOTE 4.3.12: uncompressed size
    (tmp_path / "d.zip").write_bytes(data)
    path = at(tmp_path / "d.zip") / "a"
    with pytest.raises(DataError, match="damaged in the archive"):
        path.read_bytes()
    with pytest.raises(DataError, match="damaged in the archive"):
        path.open("rb").read()


def test_no_archive_is_refused(tmp_path):
    for kind in KINDS:
        path = tmp_path / f"x.{kind}"
        path.write_text("no archive at all, but a text of some length " * 20)
        refused(path, "damaged")
        with pytest.raises(AugsuiteError):
            augsuite.read(path)


# The whole road


@pytest.fixture
def dataset(tmp_path):
    """A COCO dataset of two photographs, one turned by EXIF, made by hand."""
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    pixels = np.random.default_rng(1).integers(0, 255, (24, 32, 3), np.uint8)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(pixels).save(root / "images" / "a ü'<.jpg", exif=exif, quality=95)
    PIL.Image.fromarray(pixels).save(root / "images" / "b.png")
    (root / "annotations" / "instances.json").write_text(
        """{"images": [{"id": 1, "file_name": "a ü'<.jpg", "width": 24, "height": 32},
                       {"id": 2, "file_name": "b.png", "width": 32, "height": 24}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}],
            "categories": [{"id": 1, "name": "thing"}]}""",
        encoding="utf-8",
    )
    return root


@pytest.fixture(params=["zip", "tar", "tar.gz"])
def packed(request, dataset, tmp_path):
    files = {f"set/{path.relative_to(dataset).as_posix()}": path.read_bytes() for path in dataset.rglob("*.*")}
    return pack(tmp_path / "packed" / f"d.{request.param}" if (tmp_path / "packed").mkdir() is None else dataset, files)


def test_a_dataset_is_read_converted_and_decoded(packed, dataset, tmp_path):
    plain, data = augsuite.read(dataset), augsuite.read(packed)
    assert data.images.files.tolist() == plain.images.files.tolist()
    assert data.annotations.boxes.tolist() == [[1, 2, 3, 4]]
    for row in range(2):
        np.testing.assert_array_equal(data.sample(row).image, plain.sample(row).image)
        assert read_size(data.path(row)) == tuple(data.images.sizes[row])
    done = augsuite.convert(packed, tmp_path / "voc", "voc")
    assert (done.images, done.boxes) == (2, 1)
    copies = {path.name: path.read_bytes() for path in (tmp_path / "voc" / "JPEGImages").iterdir()}
    assert copies == {path.name: path.read_bytes() for path in (dataset / "images").iterdir()}
    assert sorted(path.name for path in packed.parent.iterdir()) == [packed.name]
    assert augsuite.read(packed / "set").images.names.tolist() == plain.images.names.tolist()
    with pytest.raises(ConfigError, match="no such file"):
        augsuite.read(packed / "nothing")


@pytest.mark.parametrize("how", ["hardlink", "symlink"])
def test_a_link_into_an_archive_is_refused(how, packed, tmp_path):
    data = augsuite.read(packed)
    with pytest.raises(DataError, match=r"lies in an archive\)\. Use --images copy"):
        place_images(data, ["a.jpg", "b.png"], tmp_path / "out", how, Intake())


def _pixels(path: Path) -> int:
    return int(decode(path).sum())


def test_other_processes_and_threads_decode(packed):
    data = augsuite.read(packed)
    paths = [data.path(row) for row in range(2)] * 20
    expected = [_pixels(path) for path in paths]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        # Of the package, not of this module: a new process finds that only if pytest was started as `python -m pytest`.
        assert [int(image.sum()) for image in pool.map(decode, paths[:2])] == expected[:2]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_pixels, paths) == expected
    found: list[list[int]] = []
    threads = [threading.Thread(target=lambda: found.append([_pixels(path) for path in paths])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_loader_workers_decode_out_of_an_archive(packed, dataset):
    pytest.importorskip("torch")
    feeds = [
        Feed(augsuite.read(place), augsuite.policy("ssd"), seed=3, workers=count)
        for place, count in ((dataset, 0), (packed, 2))
    ]
    plain, archived = ([batch.images for batch in feed.batches(0, 2, (16, 16))] for feed in feeds)
    assert len(plain) == len(archived) == 1
    np.testing.assert_array_equal(np.asarray(archived[0]), np.asarray(plain[0]))


def test_the_command_line_reads_an_archive(packed, tmp_path):
    command = [sys.executable, "-m", "augsuite", "convert", packed, tmp_path / "out", "--to", "csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("coco -> csv   2 images   1 boxes")
    packed.write_bytes(packed.read_bytes()[:100])
    done = subprocess.run([*command, "--overwrite"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Copy or download it again" in done.stderr
