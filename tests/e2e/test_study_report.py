"""The report of a real study: nothing from outside, every number as the records have it, every name escaped; and in a browser."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from html.parser import HTMLParser

import PIL.Image
import pytest
import yaml
from scipy import stats
from studykit import STUDY, Bench

VOID = {"meta", "br", "link", "img", "input", "hr"}
NASTY = "<b>&\"x'|*"
INLINE = ("study", "run", "study.yaml", "--engine", "inline")


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


def section(text, name):
    """What stands under one heading."""
    return "<h2>" + text.partition(f'<h2 id="{name}">')[2].partition("<h2 ")[0].partition("</main>")[0]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Arms by name and by rule, one of which fails; and predictions made by hand, which the trainer leaves out."""
    made = Bench(tmp_path_factory.mktemp("report"))
    steps = [{"do": "hflip", "p": 0.5}, {"do": "rotate", "p": 0.6}]
    arms = [
        {"rule": "cumulative", "steps": steps},
        {"rule": "factorial", "steps": steps},
        {"rule": "grid", "step": {"do": "rotate", "p": 0.5}, "over": {"max_deg": [10, 40]}},
        {NASTY: [{"do": "hflip", "p": 0.3}], "raises": [{"do": "vflip"}, {"do": "hflip"}]},
    ]
    content = yaml.safe_load(STUDY.replace("NAP", "0.0")) | {"arms": arms, "val_dataset": "pets"}
    del content["split"]  # all eight pictures, on both sides
    made.file.write_text(yaml.safe_dump(content, sort_keys=False))
    done = made.invoke(*INLINE)
    assert done.returncode == 1, done.stderr
    content = json.loads((made.folder / "pets" / "annotations" / "instances.json").read_text())
    for run in made.state()["runs"]:
        folder = made.store / "runs" / run["digest"]
        if run["arm"] not in {"none", "hflip"}:
            continue
        # `none` finds everything, but `hflip` misses the second of each two images with the seeds 0 and 2.
        missed = {0, 2} if run["arm"] == "hflip" else set()
        found = [
            {"image_id": b["image_id"], "category_id": b["category_id"], "bbox": b["bbox"], "score": 0.9}
            for b in content["annotations"]
            if not (b["image_id"] % 2 == 0 and run["seed"] in missed)
        ]
        (folder / "predictions.json").write_text(json.dumps(found))
    assert made.invoke(*INLINE).returncode == 1  # nothing is trained, and the report is written again
    return made


@pytest.fixture(scope="module")
def text(bench):
    return (bench.out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def values(bench):
    """Arm -> seed -> AP, from the records themselves."""
    found: dict[str, dict[int, float]] = {}
    for run in bench.state()["runs"]:
        path = bench.store / "runs" / run["digest"] / "record.json"
        if path.exists():
            found.setdefault(run["arm"], {})[run["seed"]] = json.loads(path.read_text())["metrics"]["AP"]
    return found


def test_one_file_that_needs_no_network_and_no_script(text):
    page = Page(text)
    ids = {value for _, name, value in page.attributes if name == "id"}
    for tag, name, value in page.attributes:
        if name in {"href", "src", "srcset", "action", "data", "poster"}:
            assert value.startswith("data:") or (value[0] == "#" and value[1:] in ids), (tag, name, value)
        assert not name.startswith("on")
    assert not re.search(r"https?://|url\(|@import|<script", text)


def test_every_picture_and_chart_has_words(text):
    page = Page(text)
    assert sum(tag == "svg" for tag, name, _ in page.attributes if name == "viewbox") > 20
    for name in ("role", "aria-label"):
        given = [value for tag, key, value in page.attributes if tag == "svg" and key == name]
        assert len(given) == text.count("<svg"), name
        assert all(given)


def difference(values, arm, other="none"):
    return [values[arm][seed] - values[other][seed] for seed in range(3)]


def signed(value):
    rounded = f"{value:+.1f}"
    return "0.0" if rounded[1:] == "0.0" else rounded.replace("-", "\N{MINUS SIGN}")


def interval(differences):
    """By SciPy's own paired t interval."""
    found = stats.ttest_1samp(differences, 0).confidence_interval()
    return f"{signed(sum(differences) / 3)} [{signed(found.low)}, {signed(found.high)}]"


def test_the_table_holds_the_numbers_of_the_records(text, values):
    head, *rows = Page(section(text, "table")).tables[0]
    assert head == ["arm", "AP", "effect on AP", "on the row above", "seeds", "verdict"]
    told = {row[0]: row for row in rows}
    assert list(told) == ["none", "+hflip", "+rotate", "hflip", "rotate", "hflip + rotate", "rotate max_deg=10",
                          "rotate max_deg=40", NASTY, "raises"]  # fmt: skip
    own = list(values["rotate"].values())
    assert told["rotate"][1] == f"{sum(own) / 3:.1f} ± {stats.tstd(own):.1f}"
    assert told["rotate"][2] == interval(difference(values, "rotate"))
    assert told["+rotate"][3] == interval(difference(values, "+rotate", "+hflip"))
    assert (told["rotate"][3], told["none"][2]) == ("", "")
    assert told["raises"][1:3] == ["-", ""]
    assert told["raises"][-1] == "nothing to compare; 3 failed"
    every = Page(text).tables[-1]
    assert [row[2] for row in every[1:]] == [f"{values['+hflip'][seed]:.2f}" for seed in range(3)]


def test_pairs_have_their_interaction_and_grids_their_trend(text, values):
    ((_, row),) = Page(section(text, "interactions")).tables
    both, one, two = (difference(values, arm) for arm in ("hflip + rotate", "hflip", "rotate"))
    total = sum(one) / 3 + sum(two) / 3
    beyond = [b - x - y for b, x, y in zip(both, one, two, strict=True)]
    assert row == ["hflip + rotate", interval(one), interval(two), signed(total), interval(both), interval(beyond)]
    weak, strong = (difference(values, f"rotate max_deg={deg}") for deg in (10, 40))
    rise = [b - a for a, b in zip(weak, strong, strict=True)]
    assert f"Trend over max_deg: {interval(rise)}" in section(text, "dose")


def test_classes_have_their_effects(text, values):
    head, cat, dog = Page(section(text, "classes")).tables[0]
    at = head.index("rotate")
    mean = sum(difference(values, "rotate")) / 3
    # The trainer says the whole AP for cats, and half of it for dogs.
    assert (cat[0], cat[at], dog[0], dog[at]) == ("cat", signed(mean), "dog", signed(mean / 2))


def test_pictures_are_the_augmented_samples_with_their_boxes(text):
    heads = re.findall(r"<h3>(.*?)</h3>", section(text, "arms"))
    assert heads[0] == "none"
    assert len(heads) == 8  # +hflip and hflip are the same policy
    assert "+hflip and hflip" in heads
    strips = text.split('<div class="strip">')[1:]
    boxes = [[float(x) for x in re.findall(r'<rect stroke="[^"]+" x="([\d.]+)"', strip)] for strip in strips]
    pictures = [re.findall(r"data:image/jpeg;base64,([^\"]+)", strip) for strip in strips]
    assert [len(found) for found in pictures] == [6] * 8
    assert PIL.Image.open(io.BytesIO(base64.b64decode(pictures[0][0]))).size == (40, 40)
    # The boxes are 10 wide in pictures 40 wide: what is mirrored moves its left side from x to 30 - x.
    assert boxes[heads.index("raises")] == [30 - x for x in boxes[0]]
    assert all(mine in {x, 30 - x} for mine, x in zip(boxes[heads.index("+hflip and hflip")], boxes[0], strict=True))


def test_images_that_changed_most_are_drawn_for_both_arms(bench, text):
    report = json.loads((bench.out / "report.json").read_text())
    # +hflip and hflip are the same runs, and are drawn once.
    assert [each["arm"] for each in report["changes"]] == ["+hflip", "hflip"]
    assert [name.partition(":")[0] for name in re.findall(r"<h3>(.*?)</h3>", section(text, "images"))] == ["+hflip"]
    changed = report["changes"][0]
    lost = changed["losses"]
    assert sorted(each["name"] for each in lost) == ["1.png", "3.png", "5.png", "7.png"]  # the file 1.png has the id 2
    assert (changed["gains"], changed["worse"], changed["better"], changed["same"]) == ([], 4, 0, 4)
    assert [each["after"] for each in lost] == pytest.approx([100 / 3] * 4)
    assert all((each["up"], each["down"], each["seed"]) == (0, 2, 0) for each in lost)
    found = re.search(rf'<figure class="pair">\n<figcaption><b>{lost[0]["name"]}</b>.*?</figure>', text, re.DOTALL)[0]
    assert "100 to 33 %" in found
    assert "worse with 2 seeds), seed 0" in found
    reference, arm = found.split("<div>")[1:]
    x = f'x="{2 + int(lost[0]["name"][0])}.0" y="5.0" width="10.0" height="20.0"'
    assert (reference.count(x), arm.count(x)) == (3, 2)  # the truth twice, over black; and what was found
    assert "1 found, 1 there" in reference
    assert "0 found, 1 there" in arm


def test_says_how_it_was_made(bench, text):
    state = bench.state()
    said = "".join(Page(section(text, "made")).text)
    report = json.loads((bench.out / "report.json").read_text())
    for part in (
        *state["data"].values(),
        state["versions"]["numpy"],
        state["code"]["quick_trainer"],
        report["machine"]["processor"],
    ):
        assert part in said
    assert "study run study.yaml --engine inline" in said
    assert "this machine" in said
    assert "RuntimeError: the loss is not finite" in "".join(Page(text).text)


def test_names_are_escaped_everywhere(text):
    assert NASTY[:6] not in text
    assert NASTY in "".join(Page(text).text)


def test_markdown_and_json_say_the_same(bench, text, values):
    report = json.loads((bench.out / "report.json").read_text())
    markdown = (bench.out / "report.md").read_text()
    page = "".join(Page(text).text)
    assert report["headline"] in page
    assert (
        report["question"]
        == "Which of 9 arms changes the AP of quick on pets, compared with none, trained for 2 epochs?"
    )
    assert report["question"] in page
    assert report["question"] in markdown
    assert len(report["verdicts"]) == 8
    for said in report["verdicts"]:
        assert said["text"] in page
    # Read as tables are: cells between bars that are not escaped.
    rows = [next(csv.reader([re.sub(r"(?<!\\)\|", "\0", line)], delimiter="\0", quoting=csv.QUOTE_NONE))[1:-1]
            for line in markdown.splitlines() if line.startswith("| ")]  # fmt: skip
    plain = [[re.sub(r"\\(.)", r"\1", cell).strip() for cell in row] for row in rows]
    first = next(row for row in plain if row[0] == NASTY)
    assert first[2] == interval(difference(values, NASTY))
    assert next(row for row in plain if row[0] == "raises")[-1] == "nothing to compare; 3 failed"
