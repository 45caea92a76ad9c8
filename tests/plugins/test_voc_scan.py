"""The fast way of reading VOC files against the XML parser, on files as programs write them and on files that only nearly are."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from augsuite.dataset import Intake
from augsuite.errors import DataError
from augsuite_voc.elements import add_file
from augsuite_voc.found import Found
from augsuite_voc.scan import Task, read_files

GAPS = st.sampled_from(["", "\n", "\n\t\t", "  ", "\r\n    "])
VALUES = st.sampled_from(
    ["cat", " dog ", "a b", "", "é", "ü&amp;x", "<b/>", "1", "0", "01", "1.0", " 7", "Left", "x>y", "\u00a0", "]]>"]
)
NUMBERS = st.sampled_from(
    [
        "1",
        "12",
        "345.5",
        " 20",
        "007",
        "+3",
        "-4",
        "1e3",
        "nan",
        "inf",
        "1_0",
        "",
        "1e16",
        ".5",
        "5.",
        "x",
        "0x10",
        "1 2",
    ]
)
HEAD_TAGS = ("folder", "filename", "path", "segmented")
OBJECT_TAGS = ("pose", "truncated", "occluded", "difficult")


@st.composite
def objects(draw):
    gap = draw(GAPS)
    tags = [tag for tag in OBJECT_TAGS if draw(st.booleans())]
    if draw(st.integers(0, 4)) == 0:
        tags = draw(st.permutations(tags))
    if draw(st.integers(0, 5)) == 0:
        tags.append(draw(st.sampled_from((*OBJECT_TAGS, "part", "occluded"))))
    common = draw(st.integers(0, 3)) > 0
    values = VALUES if not common else st.sampled_from(["cat", "dog", "0", "1", "Left"])
    order = draw(
        st.sampled_from(
            [("xmin", "ymin", "xmax", "ymax"), ("xmin", "xmax", "ymin", "ymax"), ("xmax", "xmin", "ymax", "ymin")]
        )
    )
    numbers = {"xmin": "3", "ymin": "4", "xmax": "50", "ymax": "60.25"}
    if not common:
        numbers = {tag: draw(NUMBERS) for tag in numbers}
    box = gap.join(["<bndbox>", *(f"<{tag}>{numbers[tag]}</{tag}>" for tag in order), "</bndbox>"])
    inner = [f"<name>{draw(values)}</name>", *(f"<{tag}>{draw(values)}</{tag}>" for tag in tags), box]
    if draw(st.integers(0, 9)) == 0:
        inner.reverse()
    return gap.join(["<object>", *inner, "</object>"])


@st.composite
def files(draw):
    gap = draw(GAPS)
    parts = [
        draw(
            st.sampled_from(
                ["<annotation>"] * 4 + ['<annotation verified="yes">', "<annotation a='1'>", "<annotations>"]
            )
        )
    ]
    parts += [f"<{tag}>{draw(VALUES)}</{tag}>" for tag in HEAD_TAGS[:3] if draw(st.booleans())]
    if draw(st.booleans()):
        parts.append(gap.join(["<source>", "<database>Unknown</database>", "</source>"]))
    if draw(st.integers(0, 3)):
        depth = "<depth>3</depth>" if draw(st.booleans()) else ""
        width, height = draw(
            st.sampled_from([("640", "480"), ("0", "0"), ("64.0", "48"), ("x", "1"), ("-1", "2"), (" 5 ", "6")])
        )
        parts.append(gap.join(["<size>", f"<width>{width}</width>", f"<height>{height}</height>", depth, "</size>"]))
    if draw(st.booleans()):
        parts.append("<segmented>0</segmented>")
    parts += draw(st.lists(objects(), max_size=3))
    if draw(st.integers(0, 9)) == 0:
        parts.append(draw(st.sampled_from(["<!-- a -->", "<extra/>", "text", "<![CDATA[x]]>", "\0"])))
    text = gap.join([*parts, "</annotation>"])
    start = draw(
        st.sampled_from(
            [
                "",
                '<?xml version="1.0"?>\n',
                '<?xml version="1.0" encoding="utf-8"?>',
                '<?xml version="1.0" encoding="latin-1"?>',
                "\ufeff",
                "<!DOCTYPE a>",
            ]
        )
    )
    content = (start + text).encode()
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=2)) + content[at + draw(st.integers(0, 3)) :]
    return content


def _one_by_one(folder, names, contents):
    """What the XML parser says: columns, which files were valid, what was skipped."""
    whole, valid, intake = Found(), [], Intake(skip_invalid=True)
    for name, content in zip(names, contents, strict=True):
        one = Found()
        try:
            add_file(one, folder / name, content, intake)
        except DataError as error:
            intake.skipped.append(str(error))
            valid.append(False)
            continue
        whole.extend(one)
        valid.append(True)
    return _plain(whole), valid, intake.skipped


def _plain(found):
    names = list(found.classes)
    objects, images = len(found.labels), len(found.said)
    return {
        "said": found.said,
        "sizes": found.sizes.tolist(),
        "counts": found.counts.tolist(),
        "corners": found.corners.tolist(),
        "labels": [names[number] for number in found.labels],
        "ignore": found.ignore.tolist(),
        "extra": {key: values.tolist() for key, values in sorted(found.extra.columns(objects).items())},
        "image_extra": {key: values.tolist() for key, values in sorted(found.image_extra.columns(images).items())},
    }


@settings(max_examples=200, deadline=None)
@given(contents=st.lists(files(), min_size=1, max_size=5))
def test_both_ways_find_the_same(contents):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = [f"{number}.xml" for number in range(len(contents))]
        for name, content in zip(names, contents, strict=True):
            (folder / name).write_bytes(content)
        result = read_files(Task(folder, names, Intake(skip_invalid=True)))
        expected, valid, skipped = _one_by_one(folder, names, contents)
    assert result.valid == valid
    assert result.skipped == skipped
    assert _plain(result.found) == expected
