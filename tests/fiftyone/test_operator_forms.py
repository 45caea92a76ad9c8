"""The forms of the operators, as the App gets them."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from operatorkit import new_samples, picture

import augsuite
from augsuite_fiftyone.app_plugin.parameters import PARTS, chosen, flow, form_name, parameters, transforms


@pytest.fixture
def plain(fo, dataset, tmp_path):
    """Two images, the left half of the first of which is white."""
    path = picture(tmp_path / "a.png", (80, 60), (0, 0, 0), [(0, 0, 40, 60, (255, 255, 255))])
    box = fo.Detection(label="half", bounding_box=[0, 0, 0.5, 1])
    dataset.add_samples(
        [fo.Sample(path, boxes=fo.Detections(detections=[box])), fo.Sample(picture(tmp_path / "b.png", (80, 60)))]
    )
    return dataset


def shown(form):
    """The picture of a form, `(H, W, 3)`."""
    (uri,) = [each["default"] for name, each in form.items() if name.startswith("preview")]
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)


@pytest.mark.parametrize("name", [name for name in transforms() if "." not in name])
def test_what_a_form_holds_at_first_is_the_step_with_its_defaults(name):
    values = {}
    for each in parameters(name):
        if each.kind == "numbers":
            values[each.name] = dict(zip(PARTS, each.default, strict=False))
        else:
            values[each.name] = flow(each.default) if each.kind == "yaml" else each.default
    assert chosen({"how": "step", "step": name, form_name(name): values, "p": 1}) == chosen(
        {"how": "step", "step": name}
    )


def test_parameters_have_the_ranges_and_words_of_the_transform():
    (turn, *_) = parameters("rotate")
    assert (turn.name, turn.kind, turn.default, turn.low, turn.high) == ("max_deg", "float", 15.0, 0, 180)
    size = next(each for each in parameters("center_crop") if each.name == "size")
    assert (size.kind, size.count, size.whole, size.low) == ("numbers", 2, True, 1)
    assert size.about == "width, then height, in pixels."


def test_every_operator_has_a_form(plain, form_of):
    for name in ("augment", "save_policy", "tag", "export"):
        assert form_of(name, plain), name


def test_the_preview_is_what_will_be_made(plain, form_of, operate):
    params = {"how": "step", "step": "hflip", "encoding": "png"}
    sheet = shown(form_of("augment", plain, params))
    before, after = sheet[:, :320], sheet[:, 328:648]  # 80 x 60 at four times the size, 8 pixels between
    assert before[120, 80].min() > 200
    assert before[120, 240].max() < 50
    assert after[120, 80].max() < 50
    assert after[120, 240].min() > 200
    operate("augment", plain, params)
    made = np.asarray(PIL.Image.open(new_samples(plain)[0].filepath))
    assert made[30, 20].max() == 0
    assert made[30, 60].min() == 255


def test_the_preview_follows_the_parameters(plain, form_of):
    wide = shown(form_of("augment", plain, {"how": "yaml", "yaml": "- {do: resize, size: [160, 60]}"}))
    high = shown(form_of("augment", plain, {"how": "yaml", "yaml": "- {do: resize, size: [60, 120]}"}))
    assert wide.shape[1] > high.shape[1]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"how": "yaml", "yaml": "- {do: hflpi}"}, "unknown transform 'hflpi'. Did you mean 'hflip'?"),
        ({"how": "yaml", "yaml": " "}, "paste a policy"),
        (
            {"how": "step", "step": "crop", "of_crop": {"area_frac": {"first": 0.9, "second": 0.2}}},
            "the smaller number first",
        ),
        ({"how": "step", "step": "rot90", "of_rot90": {"turns": "[1, 9]"}}, "turns"),
        ({"how": "step", "step": "rot90", "of_rot90": {"turns": "[1, "}}, "turns: not YAML"),
        ({"how": "policy", "policy": "ssdd"}, "unknown policy 'ssdd'. Did you mean 'ssd'?"),
        ({"run": "a b"}, "cannot be a run's name"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_the_form_cannot_be_sent(params, said, plain, form_of, operate):
    problem = form_of("augment", plain, params)["problem"]
    assert said in problem["error_message"]
    assert "\n" not in problem["error_message"]
    assert problem["invalid"] is True
    with pytest.raises(Exception, match="Validation error"):
        operate("augment", plain, params)
    assert new_samples(plain) == []


def test_what_is_no_image_is_refused(fo, plain, form_of, tmp_path):
    patches = plain.limit(1).to_patches("boxes")
    assert "view of patches" in form_of("augment", patches)["problem"]["error_message"]
    grouped = fo.Dataset()
    grouped.add_group_field("group", default="left")
    group = fo.Group()
    grouped.add_sample(fo.Sample(picture(tmp_path / "g.png", (8, 8)), group=group.element("left")))
    assert "grouped dataset" in form_of("augment", grouped)["problem"]["error_message"]
    fo.delete_dataset(grouped.name)


def test_without_a_run_there_is_nothing_to_undo_or_replay(plain, form_of):
    for name in ("undo_augment", "replay"):
        assert "has made no samples" in form_of(name, plain)["problem"]["error_message"]


def test_an_export_writes_what_is_shown_and_says_what_is_lost(plain, operate, tmp_path):
    pycocotools = pytest.importorskip("pycocotools.coco")
    target = tmp_path / "coco"
    done = operate(
        "export", plain, {"format": "coco", "field": "boxes", "folder": str(target), "images": "none"}
    ).result
    (path,) = target.rglob("*.json")
    coco = pycocotools.COCO(str(path))
    assert done["images"] == len(coco.imgs) == 2
    (label,) = coco.anns.values()
    assert label["bbox"] == [0, 0, 40, 60]
    assert "Lost:" in done["said"]
    assert json.dumps(done)
    with pytest.raises(Exception, match="exists already"):
        operate("export", plain, {"format": "coco", "folder": str(target)})
    assert augsuite.read(target).categories.names.tolist() == ["half"]


def test_what_was_left_out_is_said(fo):
    from augsuite_fiftyone.app_plugin.operators import _said
    from augsuite_fiftyone.app_plugin.running import Made

    made = Made("aug_crop_1", Path(), ["a", "b"], Counter({"area": 1200, "labels": 1}))
    assert _said(made) == (
        "2 new samples: the run aug_crop_1. Labels that the policy left out: 1. Attributes that no longer hold: area of 1,200."
    )
    assert _said(Made("aug_flip_1", Path(), ["a"])) == "1 new samples: the run aug_flip_1."
