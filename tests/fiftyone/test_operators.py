"""The operators of the App, through FiftyOne's own executor. Expected numbers are sums by hand: a mirror is x -> W - x."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from operatorkit import new_samples, picture

import augsuite

HFLIP = {"how": "step", "step": "hflip", "encoding": "png"}
W, H = 100, 60


@pytest.fixture
def labelled(fo, dataset, tmp_path):
    """One image of 100 x 60 with a label of each kind, made with FiftyOne alone."""
    mask = np.zeros((20, 30), bool)
    mask[:5, :15] = True  # the upper left of the box
    sample = fo.Sample(
        picture(tmp_path / "one.png", (W, H), spots=[(10, 20, 40, 40, (255, 255, 255))]),
        tags=["mine"],
        boxes=fo.Detections(
            detections=[
                fo.Detection(
                    label="cat",
                    bounding_box=[0.1, 20 / 60, 0.3, 20 / 60],
                    confidence=0.75,
                    mask=mask,
                    mood="calm",
                    iscrowd=0,
                    area=50.0,
                    tags=["checked"],
                )
            ]
        ),
        shapes=fo.Polylines(
            polylines=[
                fo.Polyline(label="tri", points=[[(0.1, 0.5), (0.2, 0.5), (0.1, 1.0)]], closed=True, filled=True),
                fo.Polyline(label="line", points=[[(0.0, 0.5), (0.3, 0.5)]], closed=False, filled=False, lane=2),
            ]
        ),
        points=fo.Keypoints(
            keypoints=[
                fo.Keypoint(
                    label="face",
                    points=[(0.1, 0.5), (0.3, 0.5), (float("nan"), float("nan"))],
                    confidence=[0.5, 0.25, 0.0],
                )
            ]
        ),
        scene=fo.Classification(label="indoors", confidence=0.5),
        also=fo.Classifications(classifications=[fo.Classification(label="a"), fo.Classification(label="b")]),
        note="not a label",
    )
    dataset.add_sample(sample)
    dataset.skeletons = {"points": fo.KeypointSkeleton(labels=["left_eye", "right_eye", "nose"], edges=[[0, 1]])}
    return dataset


def test_a_mirror_moves_every_kind_of_label_and_keeps_what_they_say(fo, labelled, operate):
    operate("augment", labelled, HFLIP)
    old, new = labelled.first(), new_samples(labelled)[0]
    box = new.boxes.detections[0]
    assert box.bounding_box == pytest.approx([0.6, 20 / 60, 0.3, 20 / 60])
    assert (box.label, box.confidence, box.mood, box.iscrowd, box.tags) == ("cat", 0.75, "calm", 0, ["checked"])
    assert box.mask.shape == (20, 30)
    assert box.mask.sum() == 75
    assert box.mask[:5, 15:].all()
    assert (
        not box.has_field("area") or box["area"] is None
    )  # it says where something is, so it is counted, not kept wrong
    assert box["augsuite_source"] == old.boxes.detections[0].id
    assert box.id != old.boxes.detections[0].id
    triangle, line = new.shapes.polylines
    assert {tuple(np.round(point, 6)) for point in triangle.points[0]} == {(0.9, 0.5), (0.8, 0.5), (0.9, 1.0)}
    assert (triangle.closed, triangle.filled) == (True, True)
    np.testing.assert_allclose(line.points[0], [[1.0, 0.5], [0.7, 0.5]], atol=1e-9)
    assert (line.label, line.lane, line.closed) == ("line", 2, False)
    face = new.points.keypoints[0]
    # The left eye is at 0.1 and the right one at 0.3: in a mirror image they are at 0.9 and 0.7, and trade names.
    np.testing.assert_allclose(face.points, [[0.7, 0.5], [0.9, 0.5], [np.nan, np.nan]])
    assert face.confidence == [0.25, 0.5, 0.0]
    assert (new.scene.label, new.scene.confidence) == ("indoors", 0.5)
    assert [label.label for label in new.also.classifications] == ["a", "b"]
    assert new.tags == ["mine", "augmented"]
    assert (new.augmentation.source, new.augmentation.policy) == (old.id, "hflip")
    assert new.augmentation.drawn == ["hflip: mirrored left and right"]
    assert (new.metadata.width, new.metadata.height) == (W, H)
    before, after = (np.asarray(PIL.Image.open(path)) for path in (old.filepath, new.filepath))
    np.testing.assert_array_equal(after, before[:, ::-1])


def test_a_crop_cuts_lines_and_polygons_and_drops_what_is_outside(fo, labelled, operate):
    steps = "- {do: center_crop, size: [60, 60]}"  # columns 20 to 80
    operate("augment", labelled, {"how": "yaml", "yaml": steps, "encoding": "png"})
    new = new_samples(labelled)[0]
    box = new.boxes.detections[0]
    assert box.bounding_box == pytest.approx([0.0, 20 / 60, 20 / 60, 20 / 60])  # 20..40 is left of 10..40
    assert box.mask.shape == (20, 20)
    assert box.mask.sum() == 25  # of 5 rows, columns 20 to 25
    assert box.mask[:5, :5].all()
    (line,) = new.shapes.polylines  # the triangle, 10..20, is outside
    np.testing.assert_allclose(line.points[0], [[0.0, 0.5], [10 / 60, 0.5]], atol=0.6 / 60)
    face = new.points.keypoints[0]
    np.testing.assert_allclose(face.points, [[np.nan] * 2, [10 / 60, 0.5], [np.nan] * 2])


def test_what_only_changes_colours_leaves_labels_as_they_are_to_the_last_bit(labelled, operate):
    operate("augment", labelled, {"how": "step", "step": "brightness"})
    old, new = labelled.first(), new_samples(labelled)[0]
    assert new.boxes.detections[0].bounding_box == old.boxes.detections[0].bounding_box
    assert new.boxes.detections[0]["area"] == 50.0
    np.testing.assert_array_equal(new.boxes.detections[0].mask, old.boxes.detections[0].mask)
    assert new.shapes.polylines[1].points == old.shapes.polylines[1].points
    np.testing.assert_array_equal(new.points.keypoints[0].points, old.points.keypoints[0].points)


def test_chosen_fields_are_carried_and_the_selection_is_augmented(fo, labelled, operate, tmp_path):
    labelled.add_sample(fo.Sample(picture(tmp_path / "two.png", (W, H))))
    first = labelled.first().id
    operate("augment", labelled, {**HFLIP, "copies": 2, "carry": {"boxes": True, "scene": False, "shapes": False, "points": False, "also": False}}, selected=[first])  # fmt: skip
    new = new_samples(labelled)
    assert [sample.augmentation.source for sample in new] == [first, first]
    assert all(sample.shapes is None and sample.scene is None and sample.boxes is not None for sample in new)


def test_a_view_that_filters_labels_carries_those_that_it_shows(fo, labelled, operate):
    view = labelled.filter_labels("shapes", fo.ViewField("label") == "line", only_matches=False)
    operate("augment", view, HFLIP)
    assert [line.label for line in new_samples(labelled)[0].shapes.polylines] == ["line"]


def test_the_same_seed_makes_the_same_images_and_another_one_others(labelled, operate):
    params = {"how": "step", "step": "crop", "encoding": "png"}
    for seed in (3, 3, 4):
        operate("augment", labelled, {**params, "seed": seed}, selected=[labelled.first().id])
    first, again, other = (json.loads(sample.augmentation.plan)["sha256"] for sample in new_samples(labelled))
    assert first == again
    assert first != other


def test_a_mosaic_brings_the_labels_of_all_its_parts(fo, dataset, operate, tmp_path):
    for number in range(4):
        label = fo.Detection(label=f"c{number}", bounding_box=[0.25, 0.25, 0.5, 0.5], number=number)
        path = picture(tmp_path / f"{number}.png", (40, 40), (10 * number, 0, 0))
        dataset.add_sample(fo.Sample(path, boxes=fo.Detections(detections=[label])))
    steps = "- {do: mosaic, size: [80, 80]}"
    operate("augment", dataset, {"how": "yaml", "yaml": steps, "encoding": "png"}, selected=dataset.values("id")[:3])
    new = new_samples(dataset)
    assert len(new) == 3
    originals = {label.id: label for sample in dataset.limit(4) for label in sample.boxes.detections}
    seen = set()
    for sample in new:
        pixels = np.asarray(PIL.Image.open(sample.filepath))
        for label in sample.boxes.detections:
            source = originals[label["augsuite_source"]]
            assert (label.label, label.number) == (source.label, source.number)
            left, top, width, height = np.array(label.bounding_box) * 80
            # Each original has a colour of its own.
            assert pixels[int(top + height / 2), int(left + width / 2), 0] == 10 * source.number
            seen.add(source.number)
    assert seen == {0, 1, 2}  # partners are of the selection


def test_a_mixed_image_has_its_labels_in_shares(fo, dataset, operate, tmp_path):
    for number in range(2):
        path = picture(tmp_path / f"{number}.png", (40, 40), (200 * number,) * 3)
        dataset.add_sample(fo.Sample(path, scene=fo.Classification(label=f"c{number}"), many=fo.Classifications(classifications=[fo.Classification(label=f"c{number}")])))  # fmt: skip
    steps = "- {do: mixup, lam: [0.25, 0.25]}"
    operate("augment", dataset, {"how": "yaml", "yaml": steps, "encoding": "png"})
    checked = 0
    for sample in new_samples(dataset):
        shares = {label.label: label["augsuite_weight"] for label in sample.many.classifications if label.has_field("augsuite_weight") and label["augsuite_weight"]}  # fmt: skip
        bright = np.asarray(PIL.Image.open(sample.filepath)).mean() / 200
        if shares:
            assert sum(shares.values()) == pytest.approx(1)
            assert shares["c1"] == pytest.approx(bright, abs=0.01)  # the second image is the bright one
            assert sample.scene.label == max(shares, key=shares.get)
            checked += 1
    assert checked


def test_a_run_is_replayed_to_the_same_pixels_and_brings_back_lost_files(labelled, operate):
    params = {"how": "policy", "policy": "ssd", "copies": 3, "seed": 5, "encoding": "png"}
    operate("augment", labelled, params)
    new = new_samples(labelled)
    lost = Path(new[1].filepath)
    before = lost.read_bytes()
    lost.unlink()
    said = operate("replay", labelled, selected=[sample.id for sample in new]).result
    assert (said["same"], said["of"], said["written"]) == (3, 3, 1)
    assert lost.read_bytes() == before
    picture(Path(labelled.first().filepath), (W, H), (200, 0, 0))  # the original is another one now
    said = operate("replay", labelled, selected=[new[0].id]).result
    assert said["same"] == 0
    assert new[0].id in said["said"]


def test_undoing_removes_the_samples_and_files_of_one_run_and_nothing_else(fo, labelled, operate, form_of, tmp_path):
    for run in ("first", "second"):
        operate(
            "augment", labelled, {**HFLIP, "run": run, "folder": str(tmp_path / "out")}, selected=[labelled.first().id]
        )
    foreign = tmp_path / "out" / "first" / "notes.txt"
    foreign.write_text("mine")
    ids = {sample.augmentation.run: sample.id for sample in new_samples(labelled)}
    form = form_of("undo_augment", labelled, {"run": "first"})
    assert "Removes 1 samples" in form["what"]["view"]["label"]
    done = operate("undo_augment", labelled, {"run": "first"}).result
    assert (done["samples"], done["files"]) == (1, 1)
    assert set(labelled.values("id")) == {labelled.first().id, ids["second"]}
    assert [path.name for path in (tmp_path / "out" / "first").iterdir()] == ["notes.txt"]
    assert Path(labelled[ids["second"]].filepath).exists()
    assert Path(labelled.first().filepath).exists()
    assert labelled.list_runs() == ["second"]
    operate("undo_augment", labelled, {"run": "second"})
    assert not (tmp_path / "out" / "second").exists()
    assert len(labelled) == 1


def test_a_broken_image_leaves_no_sample_no_file_and_no_run(fo, labelled, operate, tmp_path):
    from fiftyone.operators.executor import ExecutionError

    broken = tmp_path / "broken.png"
    picture(broken, (W, H))
    broken.write_bytes(broken.read_bytes()[:60])
    labelled.add_sample(fo.Sample(str(broken)))
    with pytest.raises(ExecutionError, match=r"DataError: .*broken\.png: the image cannot be read"):
        operate("augment", labelled, {**HFLIP, "folder": str(tmp_path / "out")})
    assert len(labelled) == 2
    assert labelled.list_runs() == []
    assert not any((tmp_path / "out").iterdir())


def test_scheduled_operations_are_run_by_fiftyone_itself(fo, labelled, operate):
    from fiftyone.operators.delegated import DelegatedOperationService

    queued = operate("augment", labelled, HFLIP, request_delegation=True)
    assert new_samples(labelled) == []
    service = DelegatedOperationService()
    service.execute_queued_operations(dataset_name=labelled.name)
    (done,) = service.list_operations(dataset_name=labelled.name)
    assert (done.run_state, done.operator) == ("completed", "@augsuite/app/augment")
    assert queued.delegated
    assert len(new_samples(labelled)) == 1


def test_samples_are_tagged_and_untagged(labelled, operate):
    operate("tag", labelled, {"tags": "a, b"})
    assert labelled.first().tags == ["mine", "a", "b"]
    operate("tag", labelled, {"tags": "a", "remove": True})
    labelled.reload()
    assert labelled.first().tags == ["mine", "b"]


def test_a_saved_policy_is_found_by_its_name_everywhere(labelled, operate, form_of):
    step = {"how": "step", "step": "rotate", "of_rotate": {"max_deg": 3.0}, "p": 0.5}
    operate("save_policy", labelled, {**step, "name": "gentle-turn"})
    saved = augsuite.policy("gentle-turn")
    assert saved.to_plain() == {"policy": "gentle-turn", "steps": [{"do": "rotate", "max_deg": 3.0, "p": 0.5}]}
    assert "gentle-turn" in form_of("augment", labelled)["policy"]["type"]["values"]
    form = form_of("save_policy", labelled, {**step, "name": "ssd"})
    assert form["problem"]["error_message"] == "ssd: is a bundled policy. Choose another name."
    operate("augment", labelled, {"how": "policy", "policy": "gentle-turn"})
    assert new_samples(labelled)[0].augmentation.policy == "gentle-turn"


def test_what_augsuite_stored_is_augmented_and_read_back_with_its_originals(fo, operate, fo_name, tmp_path):
    from augsuite_fiftyone.store import load, store

    name = picture(tmp_path / "a.png", (W, H))
    data = augsuite.Dataset(
        augsuite.Images.of(["a.png"], [(W, H)], ids=[7], files=[name]),
        augsuite.Categories.of(["cat", "dog"], ids=[3, 9]),
        augsuite.Annotations.of(
            [0], [1], [[10.25, 20, 40, 40]], ids=[900100581904], extra={"voc.pose": np.array(["Left"], object)}
        ),
        tmp_path,
    )
    stored = store(data, fo_name)
    operate("augment", stored, HFLIP)
    back = load(stored)
    assert back.images.ids[0] == 7
    assert len(set(back.images.ids.tolist())) == 2
    assert back.annotations.ids[0] == 900100581904
    assert len(set(back.annotations.ids.tolist())) == 2
    np.testing.assert_allclose(back.boxes(), [[10.25, 20, 40, 40], [60, 20, 89.75, 40]])
    assert back.categories.names[back.annotations.category_rows].tolist() == ["dog", "dog"]
    assert back.annotations.extra["voc.pose"].tolist() == ["Left", "Left"]
