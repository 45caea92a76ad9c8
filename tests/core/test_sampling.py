"""Draw: how many of what, counted by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

from augsuite.commands.sample import sample
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.errors import ConfigError


@pytest.fixture
def data():
    """100 images: 80 with a, 10 with b, 4 with c and b, 6 without; splits train 70, val 25, test 5."""
    rows = [*range(94), *range(90, 94)]
    classes = [0] * 80 + [1] * 10 + [2] * 4 + [1] * 4
    return Dataset(
        Images.of([f"{row}.jpg" for row in range(100)], splits=["train"] * 70 + ["val"] * 25 + ["test"] * 5),
        Categories.of(["a", "b", "c"]),
        Annotations.of(rows, classes, np.ones((98, 4))),
    )


def classes_of(data):
    pairs = {
        (int(row), int(each))
        for row, each in zip(data.annotations.image_rows, data.annotations.category_rows, strict=True)
    }
    counts = Counter(each for _, each in pairs)
    return [*(counts[each] for each in range(3)), len(data) - len({row for row, _ in pairs})]


def test_a_number_and_a_share(data):
    assert len(data.draw(13)) == 13
    assert len(data.draw(0.13)) == 13
    assert len(data.draw(1.0)) == 100
    assert len(data.draw(1)) == 1
    assert len(data.draw(1000)) == 100
    assert len(data.draw(0)) == 0


def test_the_same_seed_the_same_images_in_their_order(data):
    first, again, other = data.draw(40, seed=1), data.draw(40, seed=1), data.draw(40, seed=2)
    names = first.images.names.tolist()
    assert names == again.images.names.tolist() != other.images.names.tolist()
    assert names == sorted(names, key=lambda name: int(name.split(".")[0]))


def test_a_plain_draw_favours_nobody(data):
    """4 of 100 images have c: over 400 draws of 25, 400 are expected, with a standard deviation below 20."""
    total = sum(classes_of(data.draw(25, seed=seed))[2] for seed in range(400))
    assert abs(total - 400) < 100


def test_balanced_by_class(data):
    # Four classes, one of them "without annotations": 3 of each. An image with c has b too and fills both.
    assert classes_of(data.draw(9, balance="class")) == [3, 3, 3, 3]
    # c ends at its 4 images and the bare ones at 6; a and b share what is left: 4 + 6 + (30 - 4 - 6) with 4 of b there already
    assert classes_of(data.draw(30, balance="class")) == [12, 12, 4, 6]
    assert len(data.draw(100, balance="class")) == 100


def test_balanced_by_split(data):
    assert Counter(data.draw(9, balance="split").images.splits) == {"train": 3, "val": 3, "test": 3}
    # test ends at its 5
    assert Counter(data.draw(35, balance="split").images.splits) == {"train": 15, "val": 15, "test": 5}


def test_a_balanced_draw_is_random_within_its_class(data):
    drawn = {name for seed in range(60) for name in data.draw(8, seed=seed, balance="class").images.names[:2]}
    assert len(drawn) > 40  # of the 80 with a


@pytest.mark.parametrize("count", [-1, 1.5, -0.1, float("nan")])
def test_what_is_no_number_of_images_is_refused(data, count):
    with pytest.raises(ConfigError, match="number of images is an integer, or a share"):
        data.draw(count)
    with pytest.raises(ConfigError, match="expected 'class' or 'split'"):
        data.draw(3, balance="colour")


def test_nothing_to_draw_from():
    empty = Dataset(Images.of([]), Categories.of(["a"]), Annotations.of([], []))
    for balance in (None, "class", "split"):
        assert len(empty.draw(5, balance=balance)) == 0


def test_the_command(tmp_path):
    (tmp_path / "in.csv").write_text(
        "filename,class,xmin,ymin,xmax,ymax\n" + "".join(f"{row}.jpg,c{row % 2},1,1,5,5\n" for row in range(20))
    )
    arguments = [str(tmp_path / "in.csv"), str(tmp_path / "out"), "--share", "0.3", "--balance", "class"]
    done = CliRunner().invoke(sample, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    (written,) = (tmp_path / "out").glob("*.csv")
    text = written.read_text()
    assert (text.count(",c0,"), text.count(",c1,")) == (3, 3)
    for wrong in ([], ["--count", "3", "--share", "0.5"]):
        with pytest.raises(ConfigError, match="either --count 500 or --share"):
            CliRunner().invoke(sample, [*arguments[:2], *wrong], catch_exceptions=False)
