"""`augsuite evaluate`: the numbers of pycocotools, whatever the predictions come as; its page; and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from evalkit import dataset, detections, judged, scene

from augsuite import cli
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.errors import AugsuiteError, DataError
from augsuite.evaluation import COCO_NAMES, LabelScores, read_results
from augsuite.evaluation.page import WORDS, page
from augsuite.evaluation.report import detection_report, label_report

NASTY = "<b>&\"x'"
VOID = {"meta", "br", "link", "img", "input", "hr"}


@pytest.fixture
def stored(tmp_path):
    """A scene as a COCO file and results, with images."""
    truth, found = scene(np.random.default_rng(1), 12, 3, 80, 240)
    truth["categories"][0]["name"] = NASTY
    for row in truth["images"]:
        PIL.Image.new("RGB", (400, 400), (40, 90, 60)).save(tmp_path / row["file_name"])
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps(found))
    return tmp_path, truth, found


def run(*arguments):
    return CliRunner().invoke(cli.cli, ["evaluate", *map(str, arguments)])


def refused(*arguments):
    """What the program says in its one line, which it prints before it exits with 2."""
    done = run(*arguments)
    assert isinstance(done.exception, AugsuiteError), done.output
    return str(done.exception)


def said(*arguments):
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_numbers_of_two_files_are_those_of_pycocotools(stored):
    folder, truth, found = stored
    report = said(folder / "truth.json", folder / "found.json")
    judge = judged(truth, found)
    assert report["metrics"] == {
        name: 100 * value for name, value in zip(COCO_NAMES, judge.stats, strict=True) if value >= 0
    }
    ids = sorted(row["id"] for row in truth["categories"])
    for each, row in zip(report["categories"], truth["categories"], strict=True):
        assert each["name"] == row["name"]
        curve = judge.eval["precision"][0, :, ids.index(row["id"]), 0, 2]
        assert report["curves"][row["name"]] == pytest.approx((100 * curve).tolist())
    assert report["images"] == 12
    assert sum(map(sum, report["confusion"][:-1])) == report["objects"]
    assert report["names"][-1] == "(background)"
    errors = [each["errors"] for each in report["worst"]]
    assert errors == sorted(errors, reverse=True)


def test_a_dataset_with_scores_is_predictions_too(stored):
    folder, truth, found = stored
    with (folder / "found.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "class", "xmin", "ymin", "xmax", "ymax", "score"])
        names = {row["id"]: row["file_name"] for row in truth["images"]}
        classes = {row["id"]: row["name"] for row in truth["categories"]}
        for row in found:
            x, y, w, h = row["bbox"]
            box = (x, y, x + w, y + h)
            writer.writerow([names[row["image_id"]], classes[row["category_id"]], *map(repr, box), repr(row["score"])])
    report = said(folder / "truth.json", folder / "found.csv")
    assert report["metrics"]["AP"] == pytest.approx(100 * judged(truth, found).stats[0])


def test_pascals_metric(stored):
    folder, *_ = stored
    report = said(folder / "truth.json", folder / "found.json", "--metric", "voc")
    assert list(report["metrics"]) == ["mAP", "mAP11"]
    assert report["metrics"]["mAP"] == pytest.approx(np.mean([each["ap"] for each in report["voc"]]))
    printed = run(folder / "truth.json", folder / "found.json", "--metric", "voc").stdout
    assert f"{report['metrics']['mAP']:.1f}" in printed
    assert "AP11" in printed


def test_the_table_on_the_terminal(stored):
    folder, truth, found = stored
    done = run(folder / "truth.json", folder / "found.json", "--score", "0.5")
    lines = [line.split() for line in done.stdout.splitlines()]
    judge = judged(truth, found)
    assert ["AP", f"{100 * judge.stats[0]:.1f}"] in lines
    assert ["AR100", f"{100 * judge.stats[8]:.1f}"] in lines
    assert "At score 0.5 and IoU 0.5: precision" in done.stdout
    assert done.stderr == ""


def test_images_without_predictions(stored):
    folder, truth, found = stored
    gone = truth["images"][0]["id"]
    rest = [row for row in found if row["image_id"] != gone]
    (folder / "found.json").write_text(json.dumps(rest))
    done = run(folder / "truth.json", folder / "found.json")
    assert "1 images without predictions count as images in which nothing was found" in done.stderr
    assert said(folder / "truth.json", folder / "found.json")["metrics"]["AP"] == 100 * judged(truth, rest).stats[0]
    own = {
        **truth,
        "images": truth["images"][1:],
        "annotations": [row for row in truth["annotations"] if row["image_id"] != gone],
    }
    only = said(folder / "truth.json", folder / "found.json", "--only-predicted")
    assert only["images"] == 11
    assert only["metrics"]["AP"] == 100 * judged(own, rest).stats[0]


def test_the_folder_of_a_run_holds_its_predictions(stored):
    folder, *_ = stored
    (folder / "run").mkdir()
    shutil.copy(folder / "found.json", folder / "run" / "predictions.json")
    assert said(folder / "truth.json", folder / "run") == said(folder / "truth.json", folder / "found.json")


@pytest.fixture
def classified(tmp_path):
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(4):
            PIL.Image.new("RGB", (20, 20)).save(tmp_path / "data" / name / f"{name}{number}.png")
    rows = ["image,predicted,score,a,b"]
    for name, number, a in (("a", 0, 0.9), ("a", 1, 0.8), ("a", 2, 0.3), ("b", 0, 0.2), ("b", 1, 0.6)):
        rows.append(f"{name}{number}.png,{'a' if a > 0.5 else 'b'},{max(a, 1 - a)},{a},{1 - a}")
    (tmp_path / "predictions.csv").write_text("\n".join(rows))
    return tmp_path


def test_labels(classified):
    done = run(classified / "data", classified / "predictions.csv", "--json")
    report = json.loads(done.stdout)
    assert report["metrics"]["top1"] == pytest.approx(60)
    # Confidence and rightness: 0.9 r, 0.8 r, 0.7 w, 0.8 r, 0.6 w, in bins that end at 0.6, 0.733, 0.8, 0.933.
    assert report["metrics"]["ece"] == pytest.approx(100 * (0.6 + 0.7 + 2 * 0.2 + 0.1) / 5)
    assert report["confusion"] == [[2, 1], [1, 1]]
    assert [(each["labels"], each["predicted"]) for each in report["worst"]] == [(["a"], "b"), (["b"], "a")]
    assert report["images"] == 5
    assert "3 images without predictions are left out" in done.stderr
    printed = run(classified / "data", classified / "predictions.csv").stdout
    assert "60.0" in printed
    assert "surest and wrong" in printed


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("[{]", "no COCO results of boxes"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3], "score": 1}]', "Expected `array` of length 4"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]', "missing required field `score`"),
        ('[{"image_id": 999, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', "result 0: image_id 999 is not in"),
        ('[{"image_id": IMAGE, "category_id": 777, "bbox": [1, 2, 3, 4], "score": 1}]', "category_id 777 is not in"),
    ],
)
def test_what_are_no_results_is_said(stored, content, error):
    folder, truth, _ = stored
    (folder / "bad.json").write_text(content.replace("IMAGE", str(truth["images"][0]["id"])))
    line = refused(folder / "truth.json", folder / "bad.json")
    assert error in line
    assert "bad.json" in line
    assert "\n" not in line


def test_other_things_that_cannot_be_judged(stored):
    folder, *_ = stored
    for arguments, error in (
        ((folder / "truth.json", folder / "nothing.json"), "no such file or folder"),
        ((folder / "truth.json", folder / "truth.json"), "80 of 80 annotations have no score"),
        ((folder / "truth.json", folder / "found.json", "--split", "train"), "has no such split"),
        ((folder / "truth.json", folder / "found.json", "--html", folder / "no" / "page.html"), "cannot be written"),
    ):
        assert error in refused(*arguments)


def test_an_id_that_stands_for_two_images_is_refused(tmp_path):
    data = Dataset(Images.of(["a", "b"], ids=[1, 1]), Categories.of(["x"]), Annotations.of([], [], np.zeros((0, 4))))
    (tmp_path / "found.json").write_text('[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.5}]')
    with pytest.raises(DataError, match=r"image_id 1 stands for several of the dataset. Judge one split: --split NAME"):
        read_results(tmp_path / "found.json", data)


def test_one_split_of_a_dataset(tmp_path):
    for split, number, x in (("train", 1, 0), ("val", 2, 50)):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"instances_{split}.json").write_text(
            json.dumps(
                {
                    "images": [{"id": number, "file_name": f"{split}.jpg", "width": 99, "height": 99}],
                    "categories": [{"id": 1, "name": "x"}],
                    "annotations": [
                        {
                            "id": number,
                            "image_id": number,
                            "category_id": 1,
                            "bbox": [x, 0, 9, 9],
                            "area": 81,
                            "iscrowd": 0,
                        }
                    ],
                }
            )
        )
    (tmp_path / "found.json").write_text('[{"image_id": 2, "category_id": 1, "bbox": [50, 0, 9, 9], "score": 0.5}]')
    assert said(tmp_path / "data", tmp_path / "found.json", "--split", "val")["metrics"]["AP"] == pytest.approx(100)
    # Of two objects one is found: precision 1 at the first 51 of 101 recalls.
    assert said(tmp_path / "data", tmp_path / "found.json")["metrics"]["AP"] == pytest.approx(100 * 51 / 101)


class Page(HTMLParser):
    """Collects text and attributes; refuses tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        assert tag != "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.text.append(data.strip())


def test_the_page_holds_the_numbers_and_nothing_from_outside(stored):
    folder, truth, found = stored
    done = run(folder / "truth.json", folder / "found.json", "--html", folder / "page.html")
    assert done.stdout.strip() == str(folder / "page.html")
    text = (folder / "page.html").read_text()
    read = Page(text)
    for _tag, name, value in read.attributes:
        assert not name.startswith("on")
        if name in {"href", "src", "xlink:href"}:
            assert value.startswith("data:image/jpeg;base64,")
    assert "http" not in text
    judge = judged(truth, found)
    for name, value in zip(COCO_NAMES, judge.stats, strict=True):
        assert name in read.text
        assert f"{100 * value:.1f}" in read.text
    assert NASTY in read.text
    assert NASTY not in text
    report = said(folder / "truth.json", folder / "found.json")
    assert text.count("<figure>") == len(report["worst"])
    # On each picture: what was missed and the false alarms.
    drawn = [css for tag, name, css in read.attributes if (tag, name) == ("rect", "class")]
    assert drawn.count("alarm") == sum(each["alarms"] for each in report["worst"])
    assert drawn.count("missed") == sum(each["missed"] for each in report["worst"])


def test_a_page_without_images_files_or_finds():
    truth, _ = scene(np.random.default_rng(1), 3, 2, 9, 0)
    data = dataset(truth)
    none = detections(truth, [])
    text = page(data, none, detection_report(data, none), "nothing")
    assert "2 cannot be shown" in " ".join(Page(text).text)
    empty = data.take([])
    text = page(empty, none, detection_report(empty, none), "nothing")
    assert "There is nothing to be found" in text


def test_the_page_of_labels(classified):
    done = run(classified / "data", classified / "predictions.csv", "--html", classified / "page.html")
    assert done.exit_code == 0, done.output
    read = Page((classified / "page.html").read_text())
    assert {"60.0", "Calibration", "a, taken for b (0.70)"} <= set(read.text)
    circles = [value for tag, name, value in read.attributes if (tag, name) == ("circle", "class")]
    assert circles == ["wish"] * 4, "a dot for each bin that is not empty"


def test_many_categories_are_listed_instead_of_drawn():
    names = [f"n{row}" for row in range(60)]
    data = Dataset(Images.of(["x.png", "y.png"]), Categories.of(names), Annotations.of([0, 1], [3, 4]))
    scores = np.eye(60)[[5, 4]]
    found = LabelScores(np.arange(2), scores, complete=True)
    read = Page(page(data, found, label_report(data, found), "many"))
    at = read.text.index("taken for")
    assert read.text[at + 2 : at + 5] == ["n3", "n5", "1"]
    assert ("svg", "aria-label", "confusion matrix") not in read.attributes


def test_every_number_is_explained():
    assert set(COCO_NAMES) | {"mAP", "mAP11", "top1", "top5", "ece"} == set(WORDS)


@pytest.mark.slow
def test_a_browser_shows_the_page_in_the_dark(stored):
    folder, *_ = stored
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    run(folder / "truth.json", folder / "found.json", "--html", folder / "page.html")
    subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=900,2600",
            "--blink-settings=preferredColorScheme=0",
            f"--user-data-dir={folder / 'profile'}",
            f"--screenshot={folder / 'shot.png'}",
            (folder / "page.html").as_uri(),
        ],
        capture_output=True,
        check=True,
        timeout=120,
    )
    with PIL.Image.open(folder / "shot.png") as shot:
        pixels = np.asarray(shot.convert("RGB"))
    assert (pixels[5, 5] < 60).all()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
