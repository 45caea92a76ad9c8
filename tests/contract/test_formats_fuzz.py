"""Whatever a file holds, a reader gives a dataset or a DataError of one line."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augsuite import conversion, registry
from augsuite.testing.examples import example_datasets
from augsuite.testing.formats import read_or_refuse

FORMATS = registry.default().formats()
FILES = {
    "coco": "annotations/instances.json",
    "voc": "Annotations/0.xml",
    "csv": "annotations.csv",
    "cvat": "annotations.xml",
    "labelme": "0.json",
    "openimages": "annotations/annotations-bbox.csv",
    "imagefolder": "metadata.jsonl",
    "parquet": "data/unsplit-00000-of-00001.parquet",
    "webdataset": "unsplit-000000.tar",
}
TOKENS = [
    b"NaN", b"Infinity", b"-1", b"0", b"1e999", b"-0.0", b"99999999999999999999999", b"9223372036854775808", b"1.5", b"1,2",
    b'"', b'""', b'"x"', b"null", b"true", b"[]", b"{}", b"[[", b"{", b"}", b"]", b",", b":", b";", b"\t", b"\n", b"\r", b"\0",
    b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", "é".encode(), "\u2028".encode(), b"../../x", b"/etc/passwd", b"C:\\x", b"a/b", b"..",
    b"<", b">", b"</object>", b"<object>", b"<name/>", b"&amp;", b"&x;", b'<!DOCTYPE a [<!ENTITY x "y">]>', b"<![CDATA[", b"<!--",
    b'<?xml version="1.0" encoding="utf-16"?>', b'<?xml version="1.0" encoding="nonsense"?>', b"\xed\xa0\x80", b"\\ud800", b"\\u0000",
    b"<image>", b'<box label="x">', b"</box>", b'points="1,2"', b'rle="1"', b"<track>", b'"polygon"', b'"mask"', b'"points":[[1,2]],',
    b'"images":', b'"id":0,', b'"id":"0",', b'"bbox":[1,2,3],', b'"iscrowd":2,', b"x" * 300,
]  # fmt: skip
FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@st.composite
def edits(draw):
    """Up to four replacements of a slice by a token or by bytes: (share of the file, length, new)."""
    new = st.one_of(st.sampled_from(TOKENS), st.binary(max_size=4))
    return draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), new), min_size=1, max_size=4))


@pytest.fixture(scope="module")
def written():
    """Folder by format: a small dataset written in it."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        data = example_datasets(root / "given")["plain"]
        for name in FILES:
            conversion.write(data, root / name, name)
        yield root


@pytest.mark.parametrize("name", FILES)
@FUZZ
@given(changes=edits(), skip=st.booleans())
def test_an_edited_file_is_read_or_refused(name, written, changes, skip):
    file = written / name / FILES[name]
    whole = file.read_bytes()
    broken = whole
    for share, length, new in changes:
        at = round(share * len(broken))
        broken = broken[:at] + new + broken[at + length :]
    try:
        file.write_bytes(broken)
        assert 0 <= FORMATS[name].detect.load()(written / name) <= 1
        read_or_refuse(FORMATS[name], written / name, skip_invalid=skip)
        read_or_refuse(FORMATS[name], file, skip_invalid=skip)
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize("name", FILES)
@FUZZ
@given(content=st.binary(max_size=200), skip=st.booleans())
def test_any_bytes_are_read_or_refused(name, written, content, skip):
    file = written / f"any{Path(FILES[name]).suffix}"
    file.write_bytes(content)
    assert 0 <= FORMATS[name].detect.load()(file) <= 1
    read_or_refuse(FORMATS[name], file, skip_invalid=skip)


@FUZZ
@given(
    head=st.sampled_from(["filename,class,xmin,ymin,xmax,ymax", "image;label;x;y;width;height", "file\tlabel"]),
    lines=st.lists(st.text(alphabet=st.sampled_from("ab.0123456789-e,;\t\"'/\\\r nan"), max_size=30), max_size=6),
)
def test_any_rows_below_a_header_are_read_or_refused(written, head, lines):
    file = written / "rows.csv"
    file.write_text("\n".join([head, *lines]), encoding="utf-8", newline="")
    read_or_refuse(FORMATS["csv"], file)
    read_or_refuse(FORMATS["csv"], file, skip_invalid=True)
