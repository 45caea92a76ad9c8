"""The pictures of a report: embedded once, bounded in size, and of a classifier the labels of both arms."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import PIL.Image
import pytest

import augsuite
from augsuite.evaluation import write_labels
from augsuite.study.arms import Arm, PlainArm
from augsuite.study.predicted import changes, read_predicted
from augsuite.study.report_pictures import Album, changed_most, strips
from augsuite.study.store import Run, State, Store

NOISE = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)


def embedded(svg):
    return [base64.b64decode(found) for found in re.findall(r"base64,([^\"]+)", svg)]


def gray(image):
    return np.asarray(image.convert("L"), int)


def test_an_image_that_comes_again_is_embedded_once():
    album = Album()
    first = album.picture(NOISE, "", "a <b>", "val 3")
    spent = album.spent
    again = album.picture(NOISE, '<rect class="truth"/>', "a", "val 3")
    assert len(embedded(first)) == 1
    assert embedded(again) == []
    assert album.spent == spent == len(embedded(first)[0])
    (name,) = re.findall(r'<image id="([^"]+)"', first)
    assert f'<use href="#{name}"/><rect' in again
    assert 'aria-label="a &lt;b&gt;"' in first


def test_many_images_become_small_and_stay_within_bounds():
    album = Album()
    sizes = [len(embedded(album.picture(NOISE, "", "noise", f"val {row}"))[0]) for row in range(200)]
    assert sizes[0] > 4 * sizes[-1]
    # As text three bytes are four: below the three million of a report.
    assert album.spent * 4 / 3 < 2_600_000


@pytest.fixture
def study(tmp_path):
    """Four images of two kinds; with both seeds `none` takes the first for a dog, and `flip` the third for a cat."""
    for kind in ("cat", "dog"):
        for name in ("0.png", "1.png"):
            path = tmp_path / "things" / kind / f"{kind}{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(NOISE[:40, :60]).save(path)
    val = augsuite.read(tmp_path / "things", format="folder")
    runs = [Run(arm=arm, seed=seed, digest=f"{arm}{seed}") for seed in (0, 1) for arm in ("none", "flip")]
    arms = dict.fromkeys(("none", "flip"), PlainArm(policy={"steps": []}))
    state = State(study="s", trainer="finetune", metric="top1", config={}, reference="none", arms=arms, seeds=[0, 1], runs=runs,
                  images={}, data={}, code={}, versions={}, command="")  # fmt: skip
    store = Store(tmp_path / "out", tmp_path / "out")
    for run in runs:
        folder = store.run_folder(run.digest)
        folder.mkdir(parents=True)
        (folder / "record.json").write_text('{"metrics":{},"images":1,"seconds":1,"cpu_seconds":1,"parameters":1}')
        scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
        wrong = 0 if run.arm == "none" else 2
        scores[wrong] = scores[wrong, ::-1]
        write_labels(folder / "predictions.csv", val, scores)
    return state, store, val


def test_labels_of_both_arms_are_told(study):
    state, store, val = study
    found = changes(read_predicted(state, store, val), "none", val)
    (shown,) = changed_most(state, store, val, found, ["flip"], Album())
    (gained,), (lost,) = shown.gains, shown.losses
    assert (shown.changes.better, shown.changes.worse, shown.changes.same) == (1, 1, 2)
    assert (gained.name, gained.truth) == ("cat/cat0.png", "cat")
    assert (gained.reference[1], gained.arm[1]) == ("dog 0.90", "cat 0.90")
    assert gained.change == "0 to 100 % (better with 2, worse with 0 seeds), seed 0"
    assert (lost.name, lost.truth, lost.reference[1], lost.arm[1]) == ("dog/dog0.png", "dog", "dog 0.70", "cat 0.70")
    assert "flip says cat 0.90" in gained.arm[0]


def test_an_image_that_is_gone_is_counted(study):
    state, store, val = study
    found = changes(read_predicted(state, store, val), "none", val)
    (val.root / "cat" / "cat0.png").unlink()
    (shown,) = changed_most(state, store, val, found, ["flip"], Album())
    assert (shown.gains, len(shown.losses), shown.unreadable) == ([], 1, 1)


def test_training_images_are_shown_as_they_are_and_once_for_arms_with_the_same_steps(study):
    _, _, data = study
    flipped, none = augsuite.policy({"policy": "f", "steps": [{"do": "hflip"}]}), augsuite.policy("none")
    album = Album()
    shown, more = strips(data, {"a": Arm(flipped), "b": Arm(flipped, {"epochs": 3})}, album)
    assert ([each.arms for each in shown], more) == ([["the images as they are"], ["a", "b"]], 0)
    assert [len(each.pictures) for each in shown] == [4, 4]
    first, second = (gray(PIL.Image.open(io.BytesIO(embedded(each.pictures[0])[0]))) for each in shown)
    truth = gray(PIL.Image.fromarray(NOISE[:40, :60]))
    assert np.abs(first - truth).mean() < 15
    assert np.abs(second - truth).mean() > 30
    assert np.abs(second - truth[:, ::-1]).mean() < 15  # a JPEG of noise
    shown, _ = strips(data, {"a": Arm(flipped), "c": Arm(none)}, album)
    assert [each.arms for each in shown] == [["c"], ["a"]]
    many = {
        f"arm {k}": Arm(augsuite.policy({"policy": "f", "steps": [{"do": "hflip", "p": k / 100}]})) for k in range(40)
    }
    shown, more = strips(data, many, album)
    assert (len(shown), more) == (33, 8)
    assert {len(each.pictures) for each in shown} == {3}
