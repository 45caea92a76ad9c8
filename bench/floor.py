"""The least that a conversion in Python can do: a typed decode of the bytes, and files of the right number and sizes.

    python bench/floor.py CONVERSION SOURCE TARGET SIZES

SIZES holds the size of each file to write, four bytes each. Nothing is checked, converted or formatted; the result is no dataset.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from array import array
from pathlib import Path

import msgspec

VOC_WORD = re.compile(rb"<(?:file)?name>([^<]*)<")
VOC_NUMBER = re.compile(rb"<(?:width|height|xmin|ymin|xmax|ymax)>([^<]*)<")
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class Image(msgspec.Struct, gc=False):
    """What is kept of an image."""

    id: int
    file_name: str
    width: int
    height: int


class Annotation(msgspec.Struct, gc=False):
    """What is kept of a box."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class Document(msgspec.Struct, gc=False):
    """A COCO file; its other keys are skipped."""

    images: list[Image]
    annotations: list[Annotation]


def decode_coco(source: Path) -> object:
    """Ids, names and sizes of images; image, class, box, id and crowd of annotations. Outlines are skipped."""
    return msgspec.json.decode(source.read_bytes(), type=Document)


def decode_voc(source: Path) -> object:
    """All values of all files by compiled expressions; numbers as numbers."""
    folder = os.open(source / "Annotations", os.O_RDONLY)
    found = []
    for name in os.listdir(folder):  # noqa: PTH208 - names alone
        file = os.open(name, os.O_RDONLY, dir_fd=folder)
        text = os.read(file, 1 << 20)
        os.close(file)
        found.append((VOC_WORD.findall(text), [*map(float, VOC_NUMBER.findall(text))]))
    return found


def decode_csv(source: Path) -> object:
    """A typed table."""
    import pyarrow as pa
    from pyarrow import csv

    numbers = dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), pa.float64())
    counts = dict.fromkeys(("width", "height", "ignore"), pa.int64())
    return csv.read_csv(
        source / "annotations.csv",
        csv.ReadOptions(use_threads=False),
        convert_options=csv.ConvertOptions(column_types={**numbers, **counts}),
    )


def write(target: Path, sizes: array[int]) -> None:
    """Files of these sizes in one new folder."""
    target.mkdir(parents=True)
    folder = os.open(target, os.O_RDONLY)
    body = memoryview(bytes(max(sizes)))
    for number, size in enumerate(sizes):
        file = os.open(f"{number:012d}.txt", FLAGS, 0o666, dir_fd=folder)
        os.write(file, body[:size])
        os.close(file)


def main(conversion: str, source: Path, target: Path, listing: Path) -> None:
    gc.disable()
    decode = {"coco": decode_coco, "voc": decode_voc, "csv": decode_csv}[conversion.partition("-")[0]]
    kept = decode(source)
    sizes = array("I", listing.read_bytes())
    write(target, sizes)
    del kept
    os._exit(0)  # taking the decoded values apart is no part of the floor


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
