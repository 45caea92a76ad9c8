"""The picture of originals and augmented samples."""

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import augsuite
from augsuite import cli
from augsuite.augment import pictures, preview
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.dataset.colors import class_color
from augsuite.errors import ConfigError, DataError

GREY = 90
MARGIN, GAP, CELL = 16, 8, 200


@pytest.fixture
def data(tmp_path):
    """Two flat grey images of 100 x 50, one box each; a third whose file is missing."""
    for name in ("one.png", "two.png"):
        PIL.Image.new("RGB", (100, 50), (GREY, GREY, GREY)).save(tmp_path / name)
    images = Images.of(["one.png", "two.png", "gone.png"], sizes=[[100, 50]] * 3, files=["one.png", "two.png", ""])
    boxes = Annotations.of([0, 1], [0, 1], [[60, 20, 90, 40], [10, 10, 30, 40]])
    return Dataset(images, Categories.of(["cat", "dog"]), boxes, root=tmp_path)


def cell(picture, column, row=0, rows=1):
    """The pixels of one cell, found from the bottom right corner: the head of the page has its own height."""
    right = picture.width - MARGIN - (1 - column) * (CELL + GAP)
    bottom = picture.height - MARGIN - 14 - 6 - (rows - 1 - row) * (CELL + 14 + 6 + GAP)
    return np.asarray(picture)[bottom - CELL : bottom, right - CELL : right]


def extents(pixels, color):
    """The box, in pixels of the original, that pixels of a colour span; images are drawn twice as large."""
    rows, columns = np.nonzero((pixels == color).all(axis=2))
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 2


def test_boxes_are_drawn_where_they_are_before_and_after(data):
    picture = preview.grid(data, augsuite.policy([{"do": "hflip"}]), [0], variants=1, size=CELL)
    offset = np.array([0, 25, 0, 25])  # 50 high, in the middle of 100
    for column, (left, _, right, bottom) in ((0, (60, 20, 90, 40)), (1, (10, 20, 40, 40))):
        drawn = extents(cell(picture, column), class_color(0)) - offset
        # The tag stands above the box and may reach out to the right; left, right of the frame and bottom are the box's.
        assert drawn[[0, 3]] == pytest.approx([left, bottom], abs=0.5)
        assert drawn[2] >= right - 0.5
    middle = cell(picture, 0)[100, 150]
    assert middle.tolist() == [GREY] * 3


def test_the_page_has_a_cell_for_each(data):
    picture = preview.grid(data, augsuite.policy("none"), [0, 1], variants=2, size=CELL)
    assert picture.width == 2 * MARGIN + 3 * CELL + 2 * GAP
    assert picture.height > 2 * CELL


def test_weights_are_shown_only_below_one(data, monkeypatch):
    sample = data.sample(0)
    page = pictures.Page(["cat", "dog"], CELL, 1, 1, "t", ["none"])
    tags = []
    monkeypatch.setattr(pictures, "draw_tag", lambda *args, **_: tags.append(args[3]))
    preview._cell(page, 0, 0, sample, "")
    half = type(sample)(**{**{key: getattr(sample, key) for key in sample.__slots__}, "weights": np.array([0.5], "f4")})
    preview._cell(page, 0, 0, half, "")
    assert tags == ["cat", "cat 0.50"]


def test_colours_of_the_first_classes_differ():
    colors = np.array([class_color(row) for row in range(24)], float)
    apart = np.abs(colors[:, None] - colors[None]).sum(axis=2) + 1000 * np.eye(24)
    assert apart.min() > 30


def test_only_images_with_files_are_picked(data):
    assert sorted(preview.pick(data, 10, 0)) == [0, 1]
    assert {tuple(preview.pick(data, 1, seed)) for seed in range(20)} == {(0,), (1,)}
    with pytest.raises(DataError, match="no image files"):
        preview.pick(data.take([2]), 1, 0)


def test_command(data, tmp_path):
    augsuite.write(data.take([0, 1]), tmp_path / "set", format="coco")
    output = tmp_path / "grid.png"
    arguments = ["preview", "flip", str(tmp_path / "set"), "--samples", "2", "--variants", "3", "--size", "64"]
    done = CliRunner().invoke(cli.cli, [*arguments, "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(output)
    first = output.read_bytes()
    with PIL.Image.open(output) as picture:
        assert picture.width == 2 * MARGIN + 4 * 64 + 3 * GAP
    assert CliRunner().invoke(cli.cli, [*arguments, "-o", str(output)]).exit_code == 0
    assert output.read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.png", "one.png", "set", "two.png"]


@pytest.mark.parametrize(
    ("policy", "output", "said"),
    [
        ("fliip", "grid.png", "Did you mean 'flip'"),
        ("flip", "grid.what", "Call it grid.png"),
        ("flip", "nowhere/grid.png", "cannot be written"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(data, tmp_path, policy, output, said):
    augsuite.write(data.take([0, 1]), tmp_path / "set", format="coco")
    before = sorted(tmp_path.rglob("*"))
    arguments = ["preview", policy, str(tmp_path / "set"), "--samples", "1", "--size", "64"]
    done = CliRunner().invoke(cli.cli, [*arguments, "-o", str(tmp_path / output)])
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)
    assert sorted(tmp_path.rglob("*")) == before
