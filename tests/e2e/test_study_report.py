"""The report of a real study: one file, nothing from outside, every number as the records have it, every name escaped."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import PIL.Image
import pytest
from studykit import Bench

VOID = {"meta", "br", "link", "img", "input", "hr"}
NASTY = "<b>&\"x'"


class Page(HTMLParser):
    """Collects text, attributes and table cells; refuses tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.tables, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in {"td", "th"}:
            self.tables[-1][-1][-1] += data
        if "style" not in self.open:
            self.text.append(data)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp("report"))
    text = made.file.read_text().replace("p: 1.0", "p: 0.5")
    made.file.write_text(text + f"  {json.dumps(NASTY)}: [{{do: vflip}}]\n  raises: [{{do: vflip}}, {{do: hflip}}]\n")
    done = made.call("study", "run", "study.yaml", "--workers", "2")
    assert done.returncode == 1, done.stderr
    return made


@pytest.fixture(scope="module")
def text(bench):
    return (bench.out / "report.html").read_text(encoding="utf-8")


def test_one_file_that_needs_no_network(text):
    page = Page(text)
    for tag, name, value in page.attributes:
        if name in {"href", "src", "srcset", "action", "data", "poster"}:
            assert value.startswith("data:"), (tag, name)
    assert not re.search(r"https?://|url\(|@import|<script", text)


def test_the_table_holds_the_numbers_of_the_records(bench, text):
    state = json.loads((bench.out / "study.json").read_text())
    values: dict[str, dict[int, float]] = {}
    for run in state["runs"]:
        path = bench.store / "runs" / run["digest"] / "record.json"
        if path.exists():
            values.setdefault(run["arm"], {})[run["seed"]] = json.loads(path.read_text())["metrics"]["AP"]
    rows = {row[0]: row for row in Page(text).tables[0][1:]}
    assert list(rows) == ["none", "hflip", NASTY, "raises"]
    assert rows["hflip"][1] == f"{sum(values['hflip'].values()) / 3:.1f}"
    mean = sum(values["hflip"][seed] - values["none"][seed] for seed in range(3)) / 3
    assert rows["hflip"][2].split()[0] == f"{mean:+.1f}"
    assert rows["raises"][1] == "-"
    assert "3 failed" in rows["raises"][-1]
    every = Page(text).tables[-1]
    assert [row[2] for row in every[1:]] == [f"{values['hflip'][seed]:.2f}" for seed in range(3)]


def test_pictures_are_the_augmented_samples_with_their_boxes(text):
    strips = text.split('<div class="strip">')[1:]
    assert len(strips) == 4
    boxes = [[float(x) for x in re.findall(r'<rect x="([\d.]+)"', strip)] for strip in strips]
    pictures = [re.findall(r"data:image/jpeg;base64,([^\"]+)", strip) for strip in strips]
    assert [len(found) for found in pictures] == [6, 6, 6, 6]
    assert PIL.Image.open(io.BytesIO(base64.b64decode(pictures[0][0]))).size == (40, 40)
    # The boxes are 10 wide in pictures 40 wide: hflip moves a left side at x to 30 - x; `raises` flips every picture.
    assert boxes[2] == boxes[0]
    assert boxes[3] == [30 - x for x in boxes[0]]


def test_says_how_it_was_made(bench, text):
    state = json.loads((bench.out / "study.json").read_text())
    said = "".join(Page(text).text)
    for part in (
        state["data"]["train"],
        state["data"]["val"],
        state["versions"]["numpy"],
        state["code"]["quick_trainer"],
    ):
        assert part in said
    assert "study run study.yaml --workers 2" in said
    assert "RuntimeError: the loss is not finite" in said


def test_names_are_escaped_everywhere(text):
    assert "<b>&\"x'" not in text
    assert NASTY in "".join(Page(text).text)
