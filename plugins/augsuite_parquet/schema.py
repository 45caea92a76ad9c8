"""The columns of the files we write, and what their metadata says."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from augsuite.dataset import Dataset
from augsuite.dataset.packing import encode, packed, said_of, unpacked
from augsuite.dataset.tables import Categories

KEY = b"augsuite"
_OBJECTS = {
    "id": pa.int64(),
    "bbox": pa.list_(pa.float64(), 4),
    "category": pa.int64(),
    "area": pa.float64(),
    "ignore": pa.bool_(),
    "score": pa.float64(),
    "segmentation": pa.string(),
    "extra": pa.string(),
}
OBJECTS = pa.struct([(name, pa.list_(kind)) for name, kind in _OBJECTS.items()])
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_COLUMNS = [
    ("image_id", pa.int64()),
    ("file_name", pa.string()),
    ("path", pa.string()),
    ("width", pa.int64()),
    ("height", pa.int64()),
    ("split", pa.string()),
    ("objects", OBJECTS),
    ("extra", pa.string()),
]


class Head(msgspec.Struct, frozen=True):
    """What the metadata of a file says of the whole dataset, as JSON under the key `augsuite`.

    Attributes:
        categories: one entry per category: id, name, and its extras as JSON text.
        extra: `Dataset.extra`.
    """

    categories: list[tuple[int, str, str | None]]
    extra: msgspec.Raw = msgspec.Raw(b"{}")

    @classmethod
    def of(cls, data: Dataset) -> Head:
        """The head of a dataset."""
        table = data.categories
        rows = range(len(table))
        said = packed(table.extra, pa.array(rows, pa.int64()).to_numpy())
        return cls(
            list(zip(table.ids.tolist(), table.names.tolist(), said, strict=True)),
            msgspec.Raw(encode(said_of(data.extra.items())).encode()),
        )

    def table(self, where: str) -> Categories:
        """The categories."""
        extra = unpacked([said for _, _, said in self.categories], where)
        return Categories.of(
            [name for _, name, _ in self.categories], [number for number, _, _ in self.categories], extra
        )


def schema(head: Head, *, embedded: bool = False) -> pa.Schema:
    """The columns, with the head, and with the features as `datasets` reads them, so that it knows the names of the categories.

    Args:
        head: what is said of the whole dataset.
        embedded: whether the images are in the file: a column `image` then takes the place of `path`.
    """
    columns = [("image", _IMAGE) if embedded and name == "path" else (name, kind) for name, kind in _COLUMNS]
    features = {name: _feature(kind) for name, kind in columns if name != "objects"}
    objects = {name: _feature(kind) for name, kind in _OBJECTS.items()}
    objects["category"] = {"names": [name for _, name, _ in head.categories], "_type": "ClassLabel"}
    features["objects"] = {"feature": objects, "_type": "Sequence"}
    info = {"info": {"features": {name: features[name] for name, _ in columns}}}
    return pa.schema(columns, {KEY: encode(head).encode(), b"huggingface": encode(info).encode()})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == _IMAGE:
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "Sequence"}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}
