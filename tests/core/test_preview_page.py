"""The preview page: one file, nothing from outside, boxes where the plan puts them, dropped ones with their reason; in a browser too."""

import re
import shutil
import subprocess

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import augsuite
from augsuite import cli
from augsuite.augment import Step, policy
from augsuite.augment.plan import Plan, Warp
from augsuite.augment.preview_page import page, strength
from augsuite.augment.words import dropped, words
from augsuite.dataset import Annotations, Categories, Dataset, Images, Sample
from augsuite.dataset.colors import class_color
from augsuite.errors import ConfigError

NASTY = "<b>&\"x'"


@pytest.fixture
def data(tmp_path):
    """Three grey images of 100 x 50 with two boxes each: one large, one at the right border."""
    names = [f"{row}.png" for row in range(3)]
    for name in names:
        PIL.Image.new("RGB", (100, 50), (128, 128, 128)).save(tmp_path / name)
    boxes = Annotations.of([0, 0, 1, 1, 2, 2], [0, 1] * 3, [[20, 10, 60, 40], [90, 20, 100, 30]] * 3)
    images = Images.of(names, sizes=[[100, 50]] * 3, files=names)
    return Dataset(images, Categories.of([NASTY, "dog"]), boxes, root=tmp_path)


def plan_of(*warps, start=(100, 50)):
    plan = policy("none").plan(Sample.of(np.zeros((start[1], start[0], 3), np.uint8)))
    return Plan(plan.start, tuple(warps))


@pytest.mark.parametrize(
    ("warp", "said"),
    [
        (Warp((-1, 0, 100, 0, 1, 0, 0, 0, 1), 100, 50, step="s"), "s: mirrored left and right"),
        (Warp((1, 0, 0, 0, -1, 50, 0, 0, 1), 100, 50, step="s"), "s: mirrored top and bottom"),
        (Warp((1, 0, -30, 0, 1, -5, 0, 0, 1), 40, 20, step="s"), "s: cut to 40 x 20 from (30, 5)"),
        (Warp((1, 0, 30, 0, 1, 5, 0, 0, 1), 200, 90, step="s"), "s: placed at (30, 5) on 200 x 90"),
        (Warp((2, 0, 0, 0, 4, 0, 0, 0, 1), 200, 200, step="s"), "s: scaled 2.00 x 4.00"),
        (Warp((0, -1, 50, 1, 0, 0, 0, 0, 1), 50, 100, step="s"), "s: turned by a quarter, 50 x 100"),
        (Warp((0, 1, 0, 1, 0, 0, 0, 0, 1), 50, 100, step="s"), "s: mirrored about a diagonal, 50 x 100"),
        (Warp((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1), 100, 50, step="s"), "s: turned 36.9 deg"),
        (Warp((1, 1, 0, 0, 1, 0, 0, 0, 1), 100, 50, step="s"), "s: sheared 45.0 deg"),
    ],
)
def test_words_of_a_warp(warp, said):
    assert words(plan_of(warp)) == [said]


def test_words_of_a_mix_and_of_values(data):
    mixing = policy([{"do": "hflip"}, {"do": "mixup"}, {"do": "brightness", "factor": [0.5, 0.5]}])
    lines = words(mixing.plan(data.sample(1), (0, 0, 1), data))
    assert lines[0] == "image 1: hflip: mirrored left and right"
    assert re.fullmatch(r"image [02]: hflip: mirrored left and right", lines[1])
    assert re.fullmatch(r"mixup: images 1, [02]; lam [\d.e-]+", lines[2])
    assert lines[3] == "brightness: brightness 0.5"


def test_dropped_boxes_say_why():
    boxes = [[20, 10, 60, 40], [90, 20, 100, 30], [0, 0, 40, 50], [36, 0, 37, 50]]
    sample = Sample.of(np.zeros((50, 100, 3), np.uint8), boxes, [5, 6, 7, 8])
    cut = Warp((1, 0, -36.5, 0, 1, 0, 0, 0, 1), 30, 50, step="crop")
    found = {one.label: one for one in dropped(plan_of(cut), sample)}
    assert found[6].reason == "nothing of it is seen"
    assert found[7].reason == "8.8% visible, under 10%"  # 3.5 of 40 pixels
    np.testing.assert_allclose(found[7].box, [0, 0, 3.5, 50])
    assert found[8].reason == "0.5 x 50.0 px, under 1"
    assert set(found) == {6, 7, 8}
    assert [found[label].seen_frac for label in (6, 7, 8)] == pytest.approx([0, 3.5 / 40, 0.5])
    np.testing.assert_allclose(found[6].whole, [53.5, 20, 63.5, 30])  # where it would be, beyond the canvas
    np.testing.assert_allclose(found[7].whole, [-36.5, 0, 3.5, 50])
    assert found[6].row == -1
    chosen = Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), 100, 50, step="iou_crop", keep=(0, 1, 3))
    (one,) = dropped(plan_of(chosen), sample)
    assert (one.label, one.reason, one.seen_frac) == (7, "left out by iou_crop", 1)


def test_strength_orders_draws():
    sample = Sample.of(np.full((50, 100, 3), 90, np.uint8))
    still = plan_of(Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), 100, 50))
    assert strength(still, sample, None) == pytest.approx(0)
    shifts = [plan_of(Warp((1, 0, x, 0, 1, 0, 0, 0, 1), 100, 50)) for x in (5, 20)]
    assert [strength(plan, sample, None) for plan in shifts] == pytest.approx([0.05, 0.2])
    bright = [policy([Step("brightness", {"factor": [f, f]})]).plan(sample) for f in (0.9, 0.5)]
    assert [strength(plan, sample, None) for plan in bright] == pytest.approx([9, 45])


def test_the_page_shows_boxes_where_they_are(data):
    steps = [{"do": "hflip", "p": 0.5}, {"do": "crop", "area_frac": [0.2, 0.4]}, {"do": "normalize"}]
    text = page(data, policy(steps), [0, 1], variants=2, seed=1, size=120, title=NASTY)
    assert not re.search(r"https?://|url\(|@import|<script", text)
    assert NASTY not in text
    assert "&lt;b&gt;&amp;" in text
    alone = text.split("<h3>")[1]
    first, second = re.findall(r"<svg.*?</svg>", alone)
    assert [float(x) for x in re.findall(r'<rect x="([\d.]+)"', first)] == [20, 90]
    assert [float(x) for x in re.findall(r'<rect x="([\d.]+)"', second)] == [40, 0]
    assert "mirrored left and right" in alone
    crop = text.split("<h3>")[2]
    assert crop.count("<figure>") == 4
    assert all(f"<b>{name} " in crop for name in ("original", "weak", "middle", "strong"))
    assert 'class="out">dropped' in crop
    assert "whole batches" in text.split("<h3>")[3]
    whole = text.split("The whole policy</h2>")[1]
    assert whole.count("<figure>") == 2 * 3


def test_what_is_dropped_is_dashed_and_weights_are_written(data):
    steps = [{"do": "mixup"}, {"do": "crop", "area_frac": [0.3, 0.5]}]
    rules = policy({"policy": "p", "min_visible_frac": 0.6, "steps": steps})
    text = page(data, rules, [0], variants=6, seed=1, size=120).split("The whole policy</h2>")[1]
    drawn = text.count('class="dropped"')
    assert drawn
    assert re.search(r"<title>[^<]*: [\d.]+% visible, under 60%</title>", text)
    weights = {float(value) for value in re.findall(r'font-size="[\d.]+">([\d.]+)</text>', text)}
    assert weights
    assert all(0 < value < 1 for value in weights)


def test_command(data, tmp_path):
    augsuite.write(data, tmp_path / "set", format="coco")
    output = tmp_path / "page.html"
    arguments = ["preview", "flip", str(tmp_path / "set"), "--samples", "2", "--variants", "1", "-o", str(output)]
    done = CliRunner().invoke(cli.cli, [*arguments, "--save-plans", str(tmp_path / "plans")])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{output}\n"
    assert output.read_text(encoding="utf-8").count("<figure>") == 2 + 4
    saved = sorted((tmp_path / "plans").iterdir())
    assert len(saved) == 2
    again = CliRunner().invoke(cli.cli, ["replay", str(saved[0])])
    assert "as recorded" in again.output
    first = output.read_bytes()
    assert CliRunner().invoke(cli.cli, arguments).exit_code == 0
    assert output.read_bytes() == first
    missing = CliRunner().invoke(cli.cli, [*arguments[:-1], str(tmp_path / "no" / "page.html")])
    assert isinstance(missing.exception, ConfigError)


@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it(data, tmp_path, dark):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    shown = tmp_path / "page.html"
    shown.write_text(page(data, policy("flip"), [0, 1], variants=2, title="browser"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    done = subprocess.run(
        [
            chromium,
            *flags,
            *quiet,
            "--window-size=900,1500",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={tmp_path / 'shot.png'}",
            shown.as_uri(),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with PIL.Image.open(tmp_path / "shot.png") as opened:
        shot = np.asarray(opened.convert("RGB")).astype(int)
    assert bool(shot[0, 0].mean() < 60) is dark
    # Eight grey pictures of at least 190 x 95, and around each of their boxes a line of its category's colour.
    assert (np.abs(shot - 128).max(axis=2) <= 3).sum() > 8 * 190 * 95 * 0.7
    for label in (0, 1):
        assert (np.abs(shot - class_color(label)).max(axis=2) <= 3).sum() > 8 * 40
