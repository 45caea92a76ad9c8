"""Remap: rename, merge, drop, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from augsuite.commands.remap import read_mapping, remap
from augsuite.dataset import Annotations, Categories, Dataset, Images, objects
from augsuite.errors import ConfigError


@pytest.fixture
def data():
    return Dataset(
        Images.of(["a", "b", "c", "empty"]),
        Categories.of(["cat", "dog", "kitten", "junk"], [7, 3, 12, 5], {"x.k": objects(["C", "D", "K", "J"])}),
        Annotations.of([0, 0, 1, 2, 2], [0, 2, 2, 3, 1], np.ones((5, 4)), ids=[10, 20, 30, 40, 50]),
    )


def table(data):
    """Category -> id, and annotation id -> category."""
    found = data.categories.names[data.annotations.category_rows]
    return (
        dict(zip(data.categories.names.tolist(), data.categories.ids.tolist(), strict=True)),
        dict(zip(data.annotations.ids.tolist(), found.tolist(), strict=True)),
    )


def test_a_new_name_keeps_place_id_and_extras(data):
    done = data.remap({"dog": "hound"})
    assert done.categories.names.tolist() == ["cat", "hound", "kitten", "junk"]
    assert done.categories.extra["x.k"].tolist() == ["C", "D", "K", "J"]
    assert table(done) == (
        {"cat": 7, "hound": 3, "kitten": 12, "junk": 5},
        {10: "cat", 20: "kitten", 30: "kitten", 40: "junk", 50: "hound"},
    )
    assert data.categories.names.tolist() == ["cat", "dog", "kitten", "junk"]  # the argument is left alone


def test_merged_into_one_that_stays(data):
    done = data.remap({"kitten": "cat"})
    assert table(done) == (
        {"cat": 7, "dog": 3, "junk": 5},
        {10: "cat", 20: "cat", 30: "cat", 40: "junk", 50: "dog"},
    )
    # also where the one that stays stands further down
    assert table(data.remap({"cat": "kitten"}))[0] == {"dog": 3, "kitten": 12, "junk": 5}


def test_merged_under_a_new_name_takes_the_first_ones_place(data):
    done = data.remap({"kitten": "pet", "dog": "pet"})
    assert table(done) == (
        {"cat": 7, "pet": 3, "junk": 5},
        {10: "cat", 20: "pet", 30: "pet", 40: "junk", 50: "pet"},
    )
    assert done.categories.extra["x.k"].tolist() == ["C", "D", "J"]


def test_names_change_all_at_once(data):
    done = data.remap({"cat": "dog", "dog": "cat"})
    assert table(done) == (
        {"dog": 7, "cat": 3, "kitten": 12, "junk": 5},
        {10: "dog", 20: "kitten", 30: "kitten", 40: "junk", 50: "cat"},
    )


def test_dropped_classes_leave_their_images_unless_asked(data):
    done = data.remap({"kitten": None}, drop=["junk"])
    assert table(done) == ({"cat": 7, "dog": 3}, {10: "cat", 50: "dog"})
    assert done.images.names.tolist() == ["a", "b", "c", "empty"]
    assert data.remap({"kitten": None}, empty="drop").images.names.tolist() == ["a", "c", "empty"]
    nothing = data.remap({}, drop=["cat", "dog", "kitten", "junk"])
    assert (len(nothing.categories), len(nothing.annotations), len(nothing)) == (0, 0, 4)


def test_a_name_can_take_the_place_of_a_dropped_one(data):
    assert table(data.remap({"kitten": "cat", "cat": None})) == (
        {"dog": 3, "cat": 12, "junk": 5},
        {20: "cat", 30: "cat", 40: "junk", 50: "dog"},
    )


@pytest.mark.parametrize(
    ("mapping", "drop", "said"),
    [
        ({"kiten": "cat"}, [], "unknown category 'kiten'. Did you mean 'kitten'?"),
        ({}, ["kiten"], "unknown category 'kiten'. Did you mean 'kitten'?"),
        ({"cat": "x"}, ["cat"], "'cat' is to become 'x' and to be dropped"),
        ({"cat": " "}, [], "'cat': expected a new name, got ' '"),
    ],
)
def test_what_makes_no_sense_is_refused(data, mapping, drop, said):
    with pytest.raises(ConfigError) as error:
        data.remap(mapping, drop=drop)
    assert said in str(error.value)


def test_a_mapping_is_read_from_yaml(tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text("kitten: cat\n'007': agent\njunk: null\n", encoding="utf-8")
    assert read_mapping(path) == {"kitten": "cat", "007": "agent", "junk": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no: cat\n", "False: expected the name of a category, got False. Put it in quotes"),
        ("cat: 3\n", "cat: expected the name of a category, got 3"),
        ("cat: [a, b]\n", "expected the name of a category"),
        ("- cat\n", "expected lines such as `old: new`, got list"),
    ],
)
def test_a_mapping_of_other_things_is_refused(tmp_path, text, said):
    path = tmp_path / "classes.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_mapping(path)
    assert said in str(error.value)


def test_the_command_merges_what_file_and_options_say(tmp_path):
    """The CSV that it writes is read by hand."""
    (tmp_path / "in.csv").write_text(
        "filename,class,xmin,ymin,xmax,ymax\na.jpg,cat,1,1,5,5\na.jpg,kitten,2,2,6,6\nb.jpg,junk,1,1,4,4\nb.jpg,dog,1,1,3,3\n"
    )
    (tmp_path / "map.yaml").write_text("kitten: cat\njunk: rubbish\n")
    done = CliRunner().invoke(
        remap,
        [str(tmp_path / "in.csv"), str(tmp_path / "out"), "--file", str(tmp_path / "map.yaml"), "--map", "junk=trash", "--drop", "dog"],
    )  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    (written,) = (tmp_path / "out").glob("*.csv")
    rows = sorted(line.split(",") for line in written.read_text().splitlines()[1:])
    assert [("a.jpg" in row, "cat" in row, "trash" in row) for row in rows] == [
        (True, True, False),
        (True, True, False),
        (False, False, True),
    ]
    with pytest.raises(ConfigError, match="write it as OLD=NEW"):
        CliRunner().invoke(
            remap, [str(tmp_path / "in.csv"), str(tmp_path / "o"), "--map", "cat"], catch_exceptions=False
        )
