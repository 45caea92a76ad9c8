"""What a zip or tar file, or a Parquet file of images, holds: a tree of names, and the bytes of each file on request."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import posixpath
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import PureWindowsPath
from typing import BinaryIO, NamedTuple, TypeAlias

import msgspec

from augsuite.dataset.streams import CHUNK, Inflated, LocalFile, Medium, Slice
from augsuite.errors import AugsuiteError, DataError

_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_LOCAL_HEADER = 30  # bytes; then name and extra field, whose lengths stand in its last four
_ENCRYPTED = 0x1
_UTF8 = 0x800
_LARGE = 1 << 26  # bytes; what is smaller harms nobody
_RATIO = 200  # annotations shrink 5 to 30 times
_BLOCK = 512
PLACES = "augsuite.images"
"""A key of a Parquet file's metadata: a JSON object that says where the bytes of each image lie, `{name: [start, size]}`."""
_LINKS = 40  # from one link to the next, as in Linux
_JUNK = frozenset({"__MACOSX"})


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        start: the byte of the archive where its data begins, in a zip file its header.
        size: bytes.
        packed: bytes in the archive.
        method: how a zip file compressed it.
        crc: of its bytes; None in a tar file, which has none.
    """

    start: int
    size: int
    packed: int
    method: int = _STORED
    crc: int | None = None


Folder: TypeAlias = "dict[str, Folder | Member]"


class Archive:
    """An archive that is open for reading, by any number of threads, and by processes forked from this one."""

    def __init__(self, path: str, medium: Medium | None = None, kind: str = "") -> None:
        """Read the list of what an archive holds.

        Args:
            path: a zip, tar or Parquet file; a compressed tar file is first unpacked into a nameless temporary file.
            medium: its bytes; those of the file of this path by default.
            kind: a name that ends in its suffix; the path by default.

        Raises:
            OSError: if it cannot be read.
            DataError: if it is damaged, encrypted, or holds a name or link that leads outside.
        """
        self.path = path
        self.tree: Folder = {}
        self.count = 0  # files
        self._links: dict[str, str] = {}
        self._broken = ""  # why the rest of a tar file cannot be read
        self._medium = LocalFile(path) if medium is None else medium
        try:
            self.modified = self._medium.modified
            if (kind or path).lower().endswith(".zip"):
                self._index_zip()
            elif (kind or path).lower().endswith(".parquet"):
                self._index_parquet()
            else:
                self._unpack((kind or path).lower().rpartition(".")[2])
                self._index_tar()
            self._resolve_links()
        except AugsuiteError:
            raise
        except (MemoryError, Exception) as error:  # zipfile and tarfile raise whatever damaged bytes make them raise
            if isinstance(error, OSError) and error.errno is not None:
                raise
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"{path}: damaged ({said}). Copy or download it again.") from error

    def find(self, name: str) -> Folder | Member | None:
        """The file or folder of a name with forward slashes; "" is the whole.

        Raises:
            DataError: for anything but a whole file, if the archive ends too early or is damaged: nobody knows what else it held.
        """
        node: Folder | Member | None = self.tree
        for part in name.split("/"):
            if not isinstance(node, dict):
                node = None
                break
            if part:
                node = node.get(part)
        if self._broken and not isinstance(node, Member):
            raise DataError(self._broken)
        return node

    def read(self, member: Member, name: str) -> bytes:
        """The bytes of a file.

        Args:
            member: the file.
            name: what to call it in an error.

        Raises:
            DataError: if they are damaged.
        """
        start = self._start(member, name)
        data = self.bytes_at(start, member.packed)
        if member.method == _DEFLATED:
            self._check_size(member, name)
            unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data = unpacker.decompress(data, member.size + 1)
            except zlib.error as error:
                raise self.damaged(name) from error
        if len(data) != member.size or (member.crc is not None and zlib.crc32(data) != member.crc):
            raise self.damaged(name)
        return data

    def open(self, member: Member, name: str) -> BinaryIO:
        """As `read`, but as a file, which takes little memory."""
        start = self._start(member, name)
        if member.method == _STORED:
            return io.BufferedReader(Slice(self, start, member.size))
        self._check_size(member, name)
        return io.BufferedReader(Inflated(self, start, member, name), CHUNK)

    def _start(self, member: Member, name: str) -> int:
        """Where a file's data begins."""
        if member.crc is None:
            return member.start
        header = self.bytes_at(member.start, _LOCAL_HEADER)
        if len(header) != _LOCAL_HEADER or header[:4] != b"PK\3\4":
            raise self.damaged(name)
        if member.method not in {_STORED, _DEFLATED}:
            method = zipfile.compressor_names.get(member.method, str(member.method))  # type: ignore[attr-defined]
            raise DataError(
                f"{name}: compressed by {method}, which cannot be read in place. Unpack {self.path}, or pack it with deflate."
            )
        return (
            member.start
            + _LOCAL_HEADER
            + int.from_bytes(header[26:28], "little")
            + int.from_bytes(header[28:], "little")
        )

    def bytes_at(self, start: int, length: int) -> bytes:
        """Bytes of the archive, fewer where it ends before."""
        return self._medium.bytes_at(start, length)

    def _check_size(self, member: Member, name: str) -> None:
        if member.size > max(_LARGE, member.packed * _RATIO):
            raise DataError(
                f"{name}: claims {member.size:,} bytes, packed into {member.packed:,}, as an attack would. Unpack {self.path} "
                "yourself if you trust it."
            )

    def damaged(self, name: str) -> DataError:
        """The error for a file whose bytes are not those that were packed."""
        return DataError(f"{name}: damaged in the archive. Copy or download {self.path} again.")

    # The list

    def _index_zip(self) -> None:
        links = []
        with self._medium.file() as file, zipfile.ZipFile(file) as opened:
            for info in opened.infolist():
                name = info.orig_filename
                if not (info.flag_bits & _UTF8 or name.isascii()):
                    with contextlib.suppress(UnicodeError):  # macOS packs UTF-8 and does not say so
                        name = name.encode("cp437").decode()
                member = Member(info.header_offset, info.file_size, info.compress_size, info.compress_type, info.CRC)
                if info.is_dir():
                    self._folder(self._parts(name))
                    continue
                if info.flag_bits & _ENCRYPTED:
                    raise DataError(f"{self.path}: {name!r} is encrypted. Unpack it with its password first.")
                if stat.S_ISLNK(info.external_attr >> 16):
                    links.append((name, member))
                else:
                    self._add(name, member)
        for name, member in links:
            target = self.read(member._replace(size=min(member.size, CHUNK)), f"{self.path}/{name}")
            self._link(name, os.fsdecode(target))

    def _index_parquet(self) -> None:
        """The images inside, where the file says their places."""
        from pyarrow import parquet

        with self._medium.file() as file:
            said = (parquet.read_metadata(file).metadata or {}).get(PLACES.encode(), b"{}")
        for name, (start, size) in msgspec.json.decode(said, type=dict[str, tuple[int, int]]).items():
            self._add(name, Member(start, size, size))

    def _unpack(self, suffix: str) -> None:
        """Put a temporary file in place of a compressed tar file."""
        if suffix == "tar":
            return
        opener: Callable[[BinaryIO], BinaryIO] = {"z2": bz2.open, "xz": lzma.open}.get(suffix[-2:], gzip.open)  # type: ignore[assignment]
        with self._medium.file() as file, tempfile.TemporaryFile() as unpacked:
            length = 0
            with opener(file) as stream:
                while chunk := stream.read(CHUNK):
                    length += len(chunk)
                    self._check_size(Member(0, length, self._medium.size), self.path)
                    unpacked.write(chunk)
            unpacked.flush()
            self._medium = LocalFile(unpacked.fileno())

    def _index_tar(self) -> None:
        with self._medium.file() as file:
            file.seek(0)
            end = 0
            with tarfile.open(fileobj=file, mode="r:") as opened:
                try:
                    while (info := opened.next()) is not None:
                        opened.members = []  # type: ignore[attr-defined]  # or it would keep all of them
                        end = info.offset_data + (info.size if info.isreg() else 0)
                        if end > self._medium.size:
                            self._broken = (
                                f"{self.path}: ends in the middle of {info.name!r}. Copy or download it again."
                            )
                            return
                        self._add_tar(info)
                except tarfile.ReadError as error:
                    self._broken = f"{self.path}: damaged ({error}). Copy or download it again."
                    return
        if self.bytes_at(-(-end // _BLOCK) * _BLOCK, _BLOCK) != bytes(_BLOCK):
            self._broken = f"{self.path}: ends without the mark of its end. Copy or download it again."

    def _add_tar(self, info: tarfile.TarInfo) -> None:
        if info.issparse():
            raise DataError(f"{self.path}: {info.name!r} is stored as a sparse file. Pack it without --sparse.")
        if info.isdir():
            self._folder(self._parts(info.name))
        elif info.isreg():
            self._add(info.name, Member(info.offset_data, info.size, info.size))
        elif info.islnk():
            self._link(info.name, self._relative(info.name, info.linkname))
        elif info.issym():
            self._link(info.name, info.linkname)

    def _relative(self, name: str, target: str) -> str:
        """What a hard link names from the top, as seen from the link's folder."""
        return posixpath.relpath("/" + "/".join(self._parts(target)), "/" + "/".join(self._parts(name)[:-1]))

    def _parts(self, name: str) -> list[str]:
        """The parts of a name.

        Raises:
            DataError: if it leads outside.
        """
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or PureWindowsPath(name).drive:
            raise DataError(
                f"{self.path}: holds the name {name!r}, which is not one of a file below the archive. Pack the dataset's folder again."
            )
        return parts

    def _folder(self, parts: list[str]) -> Folder:
        node = self.tree
        for depth, part in enumerate(parts):
            below = node.setdefault(part, {})
            if not isinstance(below, dict):
                raise self._twice("/".join(parts[: depth + 1]))
            node = below
        return node

    def _add(self, name: str, member: Member) -> None:
        parts = self._parts(name)
        if not parts or parts[0] in _JUNK:
            return
        folder = self._folder(parts[:-1])
        if folder.setdefault(parts[-1], member) is not member:
            raise self._twice(name)
        self.count += 1

    def _twice(self, name: str) -> DataError:
        return DataError(f"{self.path}: holds {name!r} twice. Pack the dataset's folder again.")

    def _link(self, name: str, target: str) -> None:
        parts = self._parts(name)
        if parts and parts[0] not in _JUNK:
            self._links["/".join(parts)] = target

    def _resolve_links(self) -> None:
        """Let links to files stand for these."""
        for name, said in self._links.items():
            target = self._target(name)
            found = None if target is None else self.find(target)
            if not isinstance(found, Member):
                raise DataError(
                    f"{self.path}: {name!r} is a link to {said!r}, which is no file in the archive. Pack the file itself, such as with "
                    "tar --dereference."
                )
            self._add(name, Member(*found))
        self._links.clear()

    def _target(self, name: str) -> str | None:
        """Where a chain of links ends; None where that is outside, or never."""
        for _ in range(_LINKS):
            if name not in self._links:
                return name
            name = posixpath.normpath(posixpath.join(posixpath.dirname(name), self._links[name]))
            if name == ".." or name.startswith(("/", "../")):
                return None
        return None
