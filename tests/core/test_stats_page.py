"""The statistics page: one file, nothing from outside, the numbers of the dataset, names escaped; and what a browser makes of it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import augsuite
from augsuite import cli
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.dataset.anchors import Anchors
from augsuite.dataset.colors import class_color
from augsuite.dataset.statcharts import bars, heat, matrix, sizes
from augsuite.dataset.statpage import pick_anchors, write_page
from augsuite.dataset.stats import SizeCount
from augsuite.errors import ConfigError

NASTY = "<b>&\"x'"
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects text, attributes and table cells; refuses tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.rows, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data
        if "style" not in self.open:
            self.text.append(data)


@pytest.fixture
def data(tmp_path):
    """Twenty grey photos of 200 x 100 with one box of each of two categories, one of them with an evil name."""
    (tmp_path / "set").mkdir()
    names = [f"{row}.png" for row in range(20)]
    for name in names:
        PIL.Image.new("RGB", (200, 100), (128, 128, 128)).save(tmp_path / "set" / name)
    rng = np.random.default_rng(0)
    table = Annotations.of(
        np.repeat(np.arange(20), 2),
        [0, 1] * 20,
        np.tile([[20, 30, 60, 50], [100, 10, 190, 90]], (20, 1)) + rng.uniform(0, 5, (40, 4)),
    )
    return Dataset(
        Images.of(names, [[200, 100]] * 20, splits=["train"] * 15 + ["val"] * 5, files=names),
        Categories.of([NASTY, "dog", "never"]),
        table,
        root=tmp_path / "set",
    )


@pytest.fixture
def text(data, tmp_path):
    return write_page(data, tmp_path / "page.html", NASTY).read_text(encoding="utf-8")


def test_one_file_that_needs_no_network_and_no_script(text):
    for tag, name, value in Page(text).attributes:
        if name in {"href", "src", "srcset", "action", "data", "poster"}:
            assert value.startswith("data:"), (tag, name)
        assert not name.startswith("on")
    assert not re.search(r"https?://|url\(|@import|<script", text)
    assert NASTY not in text
    assert NASTY in "".join(Page(text).text)


def test_the_numbers_are_those_of_the_dataset(text):
    rows = {row[0]: row[1:] for row in Page(text).rows}
    assert rows["images"] == ["15", "5"]
    assert rows["annotations"] == ["30", "10"]
    assert rows["dog"] == ["50.0\N{NO-BREAK SPACE}%"] * 2
    said = "".join(Page(text).text)
    assert "Never used: never." in said
    assert "From 2 to 2, median 2." in said


def test_pictures_are_the_images_with_their_boxes(text, data):
    pictures = re.findall(r"<figure>(.*?)</figure>", text)
    assert len(pictures) == 12
    for picture in pictures:
        row = data.images.names.tolist().index(re.search(r"<figcaption>(.*?)</figcaption>", picture)[1])
        found = [
            [float(x) for x in found]
            for found in re.findall(r'<rect x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)"', picture)
        ]
        x0, y0, x1, y1 = data.boxes()[data.rows_of(row)].T
        np.testing.assert_allclose(found, np.stack([x0, y0, x1 - x0, y1 - y0], axis=1), atol=0.051)
        pixels = base64.b64decode(re.search(r"base64,([^\"]+)", picture)[1])
        assert PIL.Image.open(io.BytesIO(pixels)).size == (200, 100)


def test_without_files_without_boxes_without_anything(data, tmp_path):
    bare = replace(data, images=replace(data.images, files=np.array([""] * 20, object)))
    page = write_page(bare, tmp_path / "a.html", "bare").read_text(encoding="utf-8")
    assert "Some images" not in page
    assert "Anchors" in page
    labels = replace(data, annotations=Annotations.of(np.arange(20), [0, 1] * 10))
    page = write_page(labels, tmp_path / "b.html", "labels").read_text(encoding="utf-8")
    assert "Anchors" not in page
    assert "image labels" in page
    assert "dog · 1.png" in page or "dog · 3.png" in page or page.count("dog · ") > 0
    nothing = Dataset(Images.of([]), Categories.of([]), Annotations.of([], []))
    Page(write_page(nothing, tmp_path / "c.html", "nothing").read_text(encoding="utf-8"))


def test_a_broken_image_is_said(data, tmp_path):
    for name in data.images.names:
        (data.root / name).write_bytes(b"no image")
    page = write_page(data, tmp_path / "page.html", "x").read_text(encoding="utf-8")
    assert "12 of those chosen could not be read." in page


def test_bars_are_as_long_as_their_values():
    svg = ET.fromstring(bars([("a & b", 10, "x"), ("c", 5, ""), ("d", 0, "")], "t"))
    widths = [float(rect.get("width")) for rect in svg.iter("rect")]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.1)
    assert widths[2] == 0
    assert [text.text for text in svg.iter("text") if text.get("class") == "label"] == ["a & b", "c", "d"]


def test_a_map_has_its_counts_where_they_belong():
    svg = ET.fromstring(heat([[0, 4], [1, 0]], "t", "x", "y", aspect=2.0))
    field, *cells = svg.iter("rect")
    left, top, width, height = (float(field.get(key)) for key in ("x", "y", "width", "height"))
    assert width == pytest.approx(2 * height)
    found = {
        (round((float(cell.get("x")) - left) / width * 2), round((float(cell.get("y")) - top) / height * 2)): float(
            cell.get("opacity")
        )
        for cell in cells
    }
    assert found == {(1, 0): 1.0, (0, 1): 0.5}  # the square root of a quarter


def test_the_matrix_says_shares_of_its_rows():
    svg = ET.fromstring(matrix(["a", "b"], [[4, 1], [1, 2]], "t"))
    assert [text.text for text in svg.iter("text") if "in" in text.get("class", "").split()] == ["25", "50"]
    titles = [title.text for title in svg.iter("title")]
    assert "1 of the 4 images with a also have b" in titles


def test_discs_stand_at_their_sizes():
    svg = ET.fromstring(sizes([SizeCount(400, 200, 16), SizeCount(100, 200, 4)], "t"))
    (first, second) = svg.iter("circle")
    assert float(first.get("r")) == pytest.approx(2 * float(second.get("r")))
    assert first.get("cy") == second.get("cy")
    assert float(first.get("cx")) > float(second.get("cx"))


def test_which_number_of_anchors_is_shown():
    found = [Anchors(k, value, [], []) for k, value in enumerate([0.3, 0.5, 0.6, 0.605, 0.7], start=1)]
    assert pick_anchors(found).k == 3
    assert pick_anchors(found[:3]).k == 3
    assert pick_anchors([]) is None


def run(*arguments):
    return CliRunner().invoke(cli.cli, ["stats", *map(str, arguments)])


def test_the_command_writes_the_page_whole_or_not(data, tmp_path):
    augsuite.write(data, tmp_path / "coco", format="coco")
    done = run(tmp_path / "coco", "--html", tmp_path / "out.html")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'out.html'}\n"
    assert Page((tmp_path / "out.html").read_text(encoding="utf-8")).rows
    assert isinstance(run(tmp_path / "coco", "--html", tmp_path / "no" / "out.html").exception, ConfigError)
    assert {path.name for path in tmp_path.iterdir()} == {"coco", "set", "out.html"}
    found = json.loads(run(tmp_path / "coco", "--json").stdout)
    assert found["by_split"][0]["name"] == "train"
    assert found["co_occurrence"]["images"] == [[20, 20], [20, 20]]


@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it(data, tmp_path, dark):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    page = write_page(data, tmp_path / "page.html", "browser")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--window-size=900,3600",
    ]
    done = subprocess.run(
        [
            chromium,
            *flags,
            *(["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]),
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={tmp_path / 'shot.png'}",
            page.as_uri(),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with PIL.Image.open(tmp_path / "shot.png") as opened:
        shot = np.asarray(opened.convert("RGB")).astype(int)
    assert bool(shot[0, 0].mean() < 60) is dark
    # Twelve grey pictures, and around each of their boxes a line of its category's colour, two pixels wide.
    assert (np.abs(shot - 128).max(axis=2) <= 3).sum() > 12 * 100 * 50
    for label in (0, 1):
        assert (np.abs(shot - class_color(label)).max(axis=2) <= 3).sum() > 12 * 60
    # Something is drawn as far as the last table.
    assert (np.abs(shot[2000:] - shot[0, 0]).max(axis=2) > 60).any(axis=1).sum() > 300
