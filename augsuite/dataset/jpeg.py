"""What the markers of a JPEG file say, and the part of the file that its upper rows need.

The rows of a baseline file follow each other, each in full. A decoder that is told of fewer rows stops after them, which saves
nearly all the time that the others would have taken; what it decodes is the same to the last bit.

Source: ITU-T T.81 (JPEG), annex B; orientation: CIPA DC-008 (Exif 2.32), section 4.6.4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_BASELINE = (0xC0, 0xC1)  # one scan after the other, each row of blocks whole; not progressive, not lossless
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END, _EXIF = 0xDA, b"\xff\xd9", b"Exif\0\0"
_ORIENTATION = 0x0112
_MARGIN = 16  # decoders smooth colour over the border of a block, whose neighbour must be there


@dataclass(frozen=True, slots=True)
class Header:
    """What a JPEG file says before its pixels.

    Attributes:
        width: as stored, before EXIF turns it.
        height: as stored.
        orientation: EXIF's, 1 for upright.
        height_at: where in the file the height stands, in bytes.
        end: of the pixels, in bytes from the start; 0 where the file is not one baseline scan up to its last byte.
    """

    width: int
    height: int
    orientation: int
    height_at: int
    end: int


def read_header(data: bytes) -> Header | None:
    """Read the markers; None for what is no JPEG or needs a closer look (a broken one, one whose height comes later)."""
    if data[:3] != b"\xff\xd8\xff":
        return None
    at, orientation, frame, alone = 2, 1, None, True
    try:
        while True:
            mark, kind, length = struct.unpack_from(">BBH", data, at)
            if mark != 0xFF or length < 2:
                return None
            if kind == 0xE1 and data[at + 4 : at + 10] == _EXIF:
                orientation = _orientation(data[at + 10 : at + 2 + length])
            elif kind == 0xE2 and data[at + 4 : at + 8] == b"MPF\0":
                alone = False  # several images in one file: its end is not that of the first
            elif kind in _FRAMES:
                height, width, parts = struct.unpack_from(">HHB", data, at + 5)
                frame = (kind, at + 5, height, width, parts)
            elif kind == _SCAN:
                break
            at += 2 + length
        if frame is None or not frame[2] or not frame[3]:
            return None
        kind, height_at, height, width, parts = frame
        whole = alone and kind in _BASELINE and data[at + 4] == parts and data.endswith(_END)
    except (struct.error, IndexError):
        return None
    return Header(width, height, orientation, height_at, len(data) - 2 if whole else 0)


def upper(data: bytes, header: Header, rows: int) -> bytes:
    """The file as if it ended after `rows` rows and some; the file itself where that saves nothing or cannot be.

    Args:
        data: the file.
        header: what `read_header` says of it.
        rows: how many are needed, as stored.
    """
    rows = -(-rows // 16) * 16 + _MARGIN
    if not header.end or rows >= header.height:
        return data
    # Without its end marker: libjpeg complains on stderr about bytes between the last row and the end, not about no end.
    at = header.height_at
    return b"".join((data[:at], rows.to_bytes(2, "big"), memoryview(data)[at + 2 : header.end]))


def _orientation(tiff: bytes) -> int:
    """Orientation out of EXIF's first directory; 0 where it cannot be understood, 1 where it is not said."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 0
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == _ORIENTATION:
                return int(struct.unpack_from(f"{order}H", tiff, entry + 8)[0]) if kind == 3 else 0
    except struct.error:
        return 0
    return 1
