"""A COCO file read block by block against the same file decoded whole."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import augsuite_coco.blocks
from augsuite.dataset import Intake
from augsuite.errors import DataError
from augsuite_coco.reader import load, load_at_once

WORDS = st.sampled_from(["a", "},{", '"', "\\", "]", "}", "é", "\u2028", "{", "],", "annotations"])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 99), st.floats(-9, 9), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=2)),
    max_leaves=6,
)


@st.composite
def documents(draw):
    """The text of a COCO file: keys in any order, rows with anything in them, mostly well-formed."""
    count = draw(st.integers(0, 6))
    images = [
        {"id": row, "file_name": f"{row}.jpg", **draw(st.dictionaries(WORDS, VALUES, max_size=1))}
        for row in range(count)
    ]
    annotations = [
        {
            "id": row,
            "image_id": draw(st.integers(0, max(count, 1))),
            "category_id": 1,
            "bbox": draw(st.sampled_from([[1, 2, 3, 4], [0.5, 1e-7, 2.0, 3], [1, 2, 3]])),
            **draw(
                st.dictionaries(st.sampled_from(["segmentation", "area", "iscrowd", "parts", "x"]), VALUES, max_size=2)
            ),
        }
        for row in range(draw(st.integers(0, 8)))
    ]
    document = {
        "info": draw(VALUES),
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": draw(WORDS)}],
        **draw(st.dictionaries(WORDS, VALUES, max_size=2)),
    }
    keys = draw(st.permutations(list(document)))
    indent, separators = draw(st.sampled_from([(None, None), (None, (",", ":")), (1, None)]))
    text = json.dumps(
        {key: document[key] for key in keys}, indent=indent, separators=separators, ensure_ascii=draw(st.booleans())
    )
    content = text.encode()
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(content)))
        content = (
            content[:at]
            + draw(st.sampled_from([b"", b",", b"]", b"}", b"{", b"[", b'"', b"\\", b"\xff", b" "]))
            + content[at + draw(st.integers(0, 2)) :]
        )
    return content


def _outcome(read, file, intake):
    """What came out, as plain values."""
    try:
        document = read(file, intake)
    except DataError as error:
        return str(error)
    return {
        rows.name: (
            rows.seen,
            rows.problems,
            {key: rows.columns.column(key).tolist() for key in list(rows.columns.own)},
            {key: [_plain(value) for value in values] for key, values in sorted(rows.columns.extras().items())},
        )
        for rows in (document.images, document.categories, document.annotations)
    } | {"head": {key: _plain(value) for key, value in document.head.items()}}


def _plain(value):
    return bytes(value) if hasattr(value, "copy") and not isinstance(value, list | dict) else value


@pytest.mark.parametrize("wants", [None, frozenset()])
@settings(max_examples=100, deadline=None)
@given(content=documents(), size=st.integers(16, 200))
def test_blocks_hold_what_the_whole_file_holds(wants, content, size):
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(augsuite_coco.blocks, "BLOCK", size)
        file = Path(place) / "instances.json"
        file.write_bytes(content)
        assert _outcome(load, file, Intake(wants=wants)) == _outcome(load_at_once, file, Intake(wants=wants))
