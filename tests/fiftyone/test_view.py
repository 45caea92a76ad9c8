"""`augsuite view`: what lies in FiftyOne afterwards, and what the command leaves behind."""

from __future__ import annotations

import colorsys
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import augsuite
from augsuite.augment.plan import Plan
from augsuite.augment.render import render
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, objects

CUT = {
    "policy": "cut",
    "min_visible_frac": 0.6,
    "steps": [{"do": "center_crop", "size": [100, 100]}, {"do": "hflip", "p": 0.5}],
}


@pytest.fixture
def pair(tmp_path):
    """Two images of 200 x 100; the first has two boxes, of which one is difficult in a second version, and an area."""
    for name, value in (("a.png", 60), ("b.png", 200)):
        PIL.Image.new("RGB", (200, 100), (value, 120, 120)).save(tmp_path / name)
    return Dataset(
        Images.of(["a.png", "b.png"], [(200, 100)] * 2, files=["a.png", "b.png"]),
        Categories.of(["thing", "other"]),
        Annotations.of(
            [0, 0, 1],
            [0, 1, 0],
            [[20, 20, 80, 60], [90, 30, 130, 70], [60, 10, 140, 90]],
            ids=[11, 12, 13],
            extra={"coco.area": objects([2400, 1600, ABSENT]), "voc.pose": objects(["Left", "Rear", "Left"])},
        ),
        tmp_path,
    )


def test_the_same_dataset_is_found_again_and_a_changed_one_is_not(fo, fo_name, pair):
    from augsuite_fiftyone.view_dataset import view_dataset

    first = view_dataset(pair, fo_name)
    assert (first.name, first.persistent, len(first)) == (fo_name, True, 2)
    sample = first.first()
    sample.tags.append("seen")
    sample.save()
    again = view_dataset(pair, fo_name)
    assert again.name == fo_name
    assert again.match_tags("seen").count() == 1
    changed = replace(pair, annotations=replace(pair.annotations, boxes=pair.annotations.boxes + 1))
    assert view_dataset(changed, fo_name).name == f"{fo_name}-2"
    assert len(view_dataset(pair, f"{fo_name}-one", samples=1)) == 1
    with pytest.raises(augsuite.ConfigError, match="another dataset"):
        view_dataset(changed, fo_name, exact_name=True)


def test_images_without_a_file_are_left_out(fo, fo_name, pair):
    from augsuite_fiftyone.view_dataset import view_dataset

    (pair.root / "b.png").unlink()
    partly = replace(pair, images=replace(pair.images, files=objects(["a.png", ""])))
    assert view_dataset(partly, fo_name).values("filepath") == [str(pair.root / "a.png")]
    with pytest.raises(augsuite.DataError, match="no image files"):
        view_dataset(replace(pair, images=replace(pair.images, files=objects(["", ""]))), fo_name)


def test_a_group_holds_the_original_each_step_and_the_policy(fo, fo_name, pair):
    from augsuite_fiftyone.view_policy import remove, view_policy

    policy = augsuite.policy(CUT)
    dataset = view_policy(pair, policy, fo_name, seed=3)
    assert (dataset.media_type, dataset.persistent) == ("group", False)
    assert dataset.group_slices == ["original", "1 center_crop", "2 hflip", "policy"]
    assert dataset.default_group_slice == "policy"
    assert {"side by side", "boxes dropped", "boxes dropped by the policy"} == set(dataset.list_saved_views())
    assert dataset.count() == 2
    group = dataset.get_group(dataset.match({"image": "a.png"}).first().group.id)
    original, cropped, mirrored, whole = (group[name] for name in dataset.group_slices)
    assert original.filepath == str(pair.root / "a.png")

    # Cut to 50..150 of 200: half of the first box is seen, which is under 60 %; the second is 90..130, and then 40..80 of 100.
    (kept,) = cropped.ground_truth.detections
    (lost,) = cropped.dropped.detections
    ids = {label.annotation_id: label.id for label in original.ground_truth.detections}
    assert (kept.label, kept.source_id, kept.visible_frac, kept.pose) == ("other", ids[12], 1.0, "Rear")
    assert kept.bounding_box == pytest.approx([0.4, 0.3, 0.4, 0.4])
    assert not hasattr(kept, "area")  # cut away or not, it is no longer certain
    assert original.ground_truth.detections[0]["area"] == 2400
    assert (lost.label, lost.source_id, lost.visible_frac) == ("thing", ids[11], pytest.approx(0.5))
    assert lost.bounding_box == pytest.approx([-0.3, 0.2, 0.6, 0.4])
    assert lost.reason == "50.0% visible, under 60%"
    assert (cropped.boxes_dropped, cropped.policy_drops, original.policy_drops) == (1, 1, 1)
    assert (cropped["center_crop"]["at_x"], cropped["center_crop"]["width"]) == (-50.0, 100)

    # The mirror alone happens in any case; whether the policy mirrors is left to chance, and said.
    boxes = {label.source_id: label.bounding_box for label in mirrored.ground_truth.detections}
    assert boxes[ids[11]] == pytest.approx([0.6, 0.2, 0.3, 0.4])
    assert mirrored["hflip"]["mirrored_x"] is True
    happens = (whole["hflip"] or {"mirrored_x": False})["mirrored_x"]
    assert mirrored.acts is happens
    assert whole.drawn[0] == "center_crop: cut to 100 x 100 from (50, 0)"

    # What is seen is what a training with that seed sees in its first epoch.
    for image, row in (("a.png", 0), ("b.png", 1)):
        shown = dataset.match({"image": image}).first()
        expected = policy(pair.sample(row), key=(3, 0, row), pool=pair)
        assert len(shown.ground_truth.detections) == len(expected.boxes)
        pixels = np.asarray(PIL.Image.open(shown.filepath)).astype(int)
        assert np.abs(pixels - expected.image).max() <= 3  # a JPEG of plain colour
        again = render(Plan.from_json(shown.plan), pair.sample(row), pair)
        assert np.array_equal(again.image, expected.image)
    folder = Path(cropped.filepath).parent
    remove(dataset)
    assert not fo.dataset_exists(fo_name)
    assert not folder.exists()


def test_no_class_has_a_colour_like_that_of_dropped_boxes(fo, fo_name, pair):
    from augsuite_fiftyone.view_policy import remove, view_policy

    dataset = view_policy(pair, augsuite.policy(CUT), fo_name)
    scheme = dataset.app_config.color_scheme
    (red,) = (each["fieldColor"] for each in scheme.fields)
    hues = [
        colorsys.rgb_to_hls(*(int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)))[0] for text in scheme.color_pool
    ]
    own = colorsys.rgb_to_hls(*(int(red[at : at + 2], 16) / 255 for at in (1, 3, 5)))[0]
    assert min(min(abs(hue - own), 1 - abs(hue - own)) for hue in hues) > 30 / 360
    remove(dataset)


def test_a_policy_on_a_dataset_in_fiftyone(fo, fo_name, pair):
    """The images and labels are those of the App, also where they were edited there."""
    from augsuite_fiftyone.view_command import Asked, _opener
    from augsuite_fiftyone.view_dataset import view_dataset

    edited = view_dataset(pair, fo_name)
    sample = edited.first()
    sample.ground_truth.detections = sample.ground_truth.detections[:1]
    sample.save()
    asked = Asked(
        f"fiftyone://{fo_name}", "flip", 2, 0, "ground_truth", None, False, None, None, None, None, partial(augsuite.read, f"fiftyone://{fo_name}")
    )  # fmt: skip
    with _opener(asked)() as name:
        shown = fo.load_dataset(name)
        assert name == f"{fo_name}-flip"
        assert sorted(shown.select_group_slices("original").values("filepath")) == sorted(edited.values("filepath"))
        assert sorted(map(len, shown.values("ground_truth.detections"))) == [1, 1]
    assert not fo.dataset_exists(name)


def test_mixed_boxes_have_weights_and_say_where_they_come_from(fo, fo_name, pair):
    from augsuite_fiftyone.view_policy import remove, view_policy

    dataset = view_policy(pair, augsuite.policy([{"do": "center_crop", "size": [100, 100]}, {"do": "mixup"}]), fo_name)
    whole = dataset.match({"image": "a.png"}).first()
    lam = whole["mixup"]["lam"]
    weights = {label.source_annotation: getattr(label, "weight", 1.0) for label in whole.ground_truth.detections}
    # Its own boxes have the share of its own image, those of the partner (row 2 of the annotations) the rest.
    own, other = [row for row in weights if row < 2], [row for row in weights if row == 2]
    assert own
    assert all(weights[row] == pytest.approx(lam) or lam > 0.999 for row in own)
    if whole["mixup"]["partners"] == "b.png":
        assert all(weights[row] == pytest.approx(1 - lam) for row in other)
    assert "mixed boxes" in dataset.list_saved_views()
    remove(dataset)


def test_images_of_datasets_that_are_gone_are_removed(fo, fo_name, pair):
    from augsuite_fiftyone.view_policy import remove, view_policy

    dataset = view_policy(pair, augsuite.policy(CUT), fo_name)
    folder = Path(dataset.first().filepath).parent
    assert folder.is_dir()
    fo.delete_dataset(fo_name)  # as somebody does who knows nothing of us
    other = view_policy(pair, augsuite.policy(CUT), f"{fo_name}-other")
    assert not folder.exists()
    assert Path(other.first().filepath).is_file()
    remove(other)


def test_a_policy_that_fails_leaves_nothing(fo, fo_name, pair):
    from augsuite_fiftyone.view_policy import view_policy

    (pair.root / "b.png").write_bytes(b"no image")
    with pytest.raises(augsuite.DataError):
        view_policy(pair, augsuite.policy(CUT), fo_name)
    assert not fo.dataset_exists(fo_name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shelf", "--seeds", "all"], "--seeds is nothing that a dataset has"),
        (["fiftyone://x", "--samples", "3"], "--samples is nothing that a dataset that is in FiftyOne already has"),
        (["fiftyone://x", "--option", "view=y"], "--option is nothing that a dataset that is in FiftyOne already has"),
        (["shelf", "--policy", "sdd"], "ssd"),
        (["shelf", "--option", "x"], "NAME=VALUE"),
    ],
)
def test_options_that_make_no_sense(arguments, message):
    pytest.importorskip("fiftyone.core")
    from augsuite_fiftyone.view_command import view

    result = CliRunner().invoke(view, [*arguments, "--no-browser"])
    assert isinstance(result.exception, augsuite.ConfigError)
    assert message in str(result.exception)


def test_a_port_that_is_taken_is_refused_and_the_usual_one_given_up():
    pytest.importorskip("psutil")
    from augsuite_fiftyone.app import App, _listening

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(augsuite.ConfigError, match="cannot be listened on"):
            App(other.getsockname()[1])
    with _listening("127.0.0.1", None) as first, _listening("127.0.0.1", None) as second:
        assert first.getsockname()[1] != second.getsockname()[1]


def test_the_command_shows_a_policy_until_it_is_interrupted(fo, fiftyone_env, pair, tmp_path):
    source = tmp_path / "coco"
    augsuite.write(pair, source, format="coco")
    steps = tmp_path / "cut.yaml"
    steps.write_text(augsuite.policy(CUT).to_yaml())
    command = [
        sys.executable,
        "-m",
        "augsuite",
        "view",
        str(source),
        "--policy",
        str(steps),
        "--no-browser",
        "--samples",
        "1",
    ]
    process = subprocess.Popen(
        command, env={**os.environ, **fiftyone_env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        ready, _, _ = select.select([process.stdout], [], [], 240)
        assert ready, "it never said where the App is"
        link = urlsplit(process.stdout.readline().strip())
        assert (link.hostname, link.path) == ("127.0.0.1", "/datasets/coco-cut")
        asked = http.client.HTTPConnection(link.hostname, link.port, timeout=60)
        asked.request("GET", "/fiftyone")
        assert "version" in json.loads(asked.getresponse().read())
        asked.close()
        assert fo.load_dataset("coco-cut").count() == 1
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "Ctrl-C" in said
    assert not fo.dataset_exists("coco-cut")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((link.hostname, link.port), 5)
