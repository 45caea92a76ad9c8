"""Reports in a real browser: nothing is fetched or complained of, nothing overflows, all text can be read, it prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml

from augsuite.study.file import load
from augsuite.study.identity import ask
from augsuite.study.report import write_report
from augsuite.study.store import Store
from augsuite.study.summary import summarize

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
CLASSES = 80
LIMIT = 3_000_000

# Every text that is shown: its contrast with what lies behind it (WCAG 2.2, relative luminance), where it is below 4.5.
CONTRAST = """() => {
  const pen = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
  const known = new Map();
  const rgba = color => {
    if (!known.has(color)) {
      pen.clearRect(0, 0, 1, 1); pen.fillStyle = color; pen.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
      known.set(color, [r, g, b, a / 255]);
    }
    return known.get(color);
  };
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
  const ground = element => {
    const behind = element.parentElement ? ground(element.parentElement) : [255, 255, 255, 1];
    return over(rgba(getComputedStyle(element).backgroundColor), behind);
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const low = []; let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest('title') || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const back = ground(element);
    const front = over(rgba(element instanceof SVGElement ? style.fill : style.color), back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    seen += 1;
    if (ratio < 4.5) low.push([walker.currentNode.data.trim().slice(0, 40), ratio.toFixed(2), element.className.toString()]);
  }
  return {seen, low};
}"""


def pictures(folder):
    """Twelve pictures of several sizes with ten boxes each, as COCO: 80 classes, of which three are seen, so that judging takes little."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    rng = np.random.default_rng(3)
    images, boxes = [], []
    for row in range(12):
        width, height = 320 + 40 * row, 300
        rough = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        PIL.Image.fromarray(rough).resize((width, height), PIL.Image.Resampling.BICUBIC).save(
            folder / "images" / f"{row}.jpg"
        )
        images.append({"id": row + 1, "file_name": f"{row}.jpg", "width": width, "height": height})
        for kind in range(row, 120, 12):
            x, y, w, h = rng.integers(0, 200), rng.integers(0, 200), rng.integers(10, 100), rng.integers(10, 90)
            boxes.append({"id": len(boxes) + 1, "image_id": row + 1, "category_id": 1 + kind % 3,
                          "bbox": [int(x), int(y), int(w), int(h)], "area": int(w * h), "iscrowd": 0})  # fmt: skip
    kinds = [{"id": row + 1, "name": f"class number {row}"} for row in range(CLASSES)]
    content = {"images": images, "annotations": boxes, "categories": kinds}
    (folder / "annotations" / "instances.json").write_text(json.dumps(content))
    return content


STEPS = ["hflip", "vflip", "rotate", "hue", "saturation", "brightness", "contrast", "blur"]
RULES = [
    {"rule": "cumulative", "steps": [{"do": name, "p": 0.5} for name in STEPS]},
    {"rule": "factorial", "steps": [{"do": name, "p": 0.4} for name in STEPS[:5]]},
    {"rule": "grid", "step": {"do": "rotate", "p": 0.5}, "over": {"max_deg": [5, 10, 20, 40, 60, 90]}},
]


def written(folder, arms, seeds, until=None, broken=()):
    """A report whose runs were never trained: their records, curves and predictions are drawn at random."""
    content = pictures(folder / "things")
    asked = {
        "study": "many",
        "dataset": "things",
        "val_dataset": "things",
        "trainer": "ssd",
        "seeds": seeds,
        "arms": arms,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(asked | {"config": {"epochs": 6}}, sort_keys=False))
    study = load(folder / "study.yaml")
    state, _ = ask(study, "augsuite study run study.yaml " + "--and-a-long-command " * 9, ".", until)
    store = Store(folder / "out")
    store.write_state(state)
    rng = np.random.default_rng(0)
    for run in state.runs:
        home = store.run_folder(run.digest)
        if (home / "record.json").exists():
            continue
        home.mkdir(parents=True)
        if run.arm in broken:
            (home / "error.txt").write_text(f"RuntimeError: {'a long message without an end ' * 12}")
            continue
        values = dict.fromkeys(
            ["AP", "AP50", "APs", "APm", "APl", *(f"AP/class number {k}" for k in range(CLASSES))], 0.0
        )
        gain = list(state.arms).index(run.arm) % 7 - 2
        values = {name: 30 + gain + float(rng.normal(0, 0.7)) for name in values}
        record = {"metrics": values, "images": 480, "seconds": 30.0, "cpu_seconds": 20 + float(rng.random()),
                  "parameters": 9, "augment_seconds": 0.5 + float(rng.random()), "peak_bytes": 10**8}  # fmt: skip
        (home / "record.json").write_text(json.dumps(record))
        lines = [{"step": k, "loss": 5 / k + float(rng.random()), "AP": 5.0 * k + gain} for k in range(1, 7)]
        (home / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        if run.arm in {state.reference, "rotate"}:
            found = [{**{k: b[k] for k in ("image_id", "category_id", "bbox")}, "score": float(rng.random())}
                     for b in content["annotations"] if rng.random() < 0.6]  # fmt: skip
            (home / "predictions.json").write_text(json.dumps(found))
    path = write_report(summarize(state, store, study.val), store, study)
    assert len(path.read_bytes()) < LIMIT
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """More than 30 arms of three designs, 80 classes, one arm that failed."""
    return written(tmp_path_factory.mktemp("many"), RULES, 3, broken={"+blur"})


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    """Two arms, seeds added one by one, the second named as long as may be."""
    arms = {"none": "none", "hflip": [{"do": "hflip"}], "a-name-that-does-not-end" * 4: [{"do": "vflip"}]}
    return written(tmp_path_factory.mktemp("sequential"), arms, 5, until=0.5)


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}")
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(params=["many", "sequential"])
def report(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_in_a_browser(browser, report, scheme):
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    complaints, asked = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri(), wait_until="load")
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        size = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert size == [width, width]
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    # Every picture is there, those that refer to another included.
    broken = page.evaluate(
        "[...document.querySelectorAll('svg image, svg use')].filter(e => !e.getBBox().width).length"
    )
    assert broken == 0
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) > 600) == (scheme == "light")
    found = page.evaluate(CONTRAST)
    assert found["seen"] > 300
    assert found["low"] == []
    assert complaints == []
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    page.close()


def test_prints(browser, report):
    page = browser.new_page(color_scheme="dark")
    page.goto(report.as_uri())
    pages = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
    assert 2 <= pages <= 60
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 900})
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(CONTRAST)["low"] == []
    page.close()


def test_many_arms_and_classes_are_cut_by_stated_rules(many):
    text = many.read_text(encoding="utf-8")
    report = json.loads((many.parent / "report.json").read_text())
    arms = len(report["state"]["arms"])
    assert arms > 28
    assert f"Of {arms - 1} arms the 12 with the largest effects are shown. Of 80 lines the 20" in text
    classes = text.partition('<h2 id="classes">')[2].partition("<h2 ")[0]
    shown, others = classes.split("<details>")
    head = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', shown)
    # The arms of the columns are those with the largest effects of the study, in the order of the study.
    means = {arm["arm"]: abs(arm["effect"]["mean"]) for arm in report["arms"] if arm["effect"]}
    assert head == [arm for arm in means if arm in sorted(means, key=lambda name: -means[name])[:12]]
    assert (shown.count("<tr>"), others.count("<tr>")) == (21, 61)
    largest = {}
    for effect in report["classes"]:
        if effect["arm"] in head:
            name = effect["metric"].partition("/")[2]
            largest[name] = max(largest.get(name, 0.0), abs(effect["mean"]))
    names = re.findall(r'<th scope="row">(.*?)</th>', shown)
    assert set(names) == set(sorted(largest, key=lambda name: -largest[name])[:20])
    assert "<b>3 of 90 runs failed.</b>" in text
    assert len(re.findall(r'<polygon class="band', text.partition('<h2 id="curves">')[2].partition("<h2 ")[0])) == 2 * 8


def test_seeds_that_were_added_are_told(sequential):
    text = sequential.read_text(encoding="utf-8").partition('<h2 id="seeds">')[2].partition("<h2 ")[0]
    assert "wider than ± 0.5" in text
    rows = re.findall(
        r'<tr><th scope="row">(.*?)</th><td class="num">(\d+)</td><td class="num">± ([\d.]+)</td><td>(.*?)</td>', text
    )
    assert [(name, count) for name, count, _, _ in rows] == [("hflip", "5"), ("a-name-that-does-not-end" * 4, "5")]
    assert [len(re.findall("<circle", chart)) for chart in text.split("<svg")[1:]] == [5, 5]
    # With one and with two seeds nothing can be said, from three on there is an interval.
    assert [len(re.findall('class="interval', chart)) for chart in text.split("<svg")[1:]] == [3, 3]
