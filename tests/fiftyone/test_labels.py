"""Documents are those that FiftyOne itself writes: what `add_samples` makes of the same labels is the judge."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from bson import ObjectId

from augsuite.dataset import ABSENT, objects
from augsuite.errors import ConfigError
from augsuite_fiftyone import labels
from augsuite_fiftyone.attributes import Seen, apply_edits, attributes, seen_of
from augsuite_fiftyone.bulk import NewSample, insert_samples, set_labels, set_values

BOXES = np.array([[20, 10, 60, 40], [0, 0, 200, 100]], float)
SIZE = (200, 100)
MASK = np.arange(12).reshape(3, 4) % 5 == 0


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.jpg"
    PIL.Image.new("RGB", SIZE).save(path)
    return str(path)


def ours():
    """All kinds of labels, as documents."""
    extra = [
        {"iscrowd": 0, "colour": "red", "share": 0.5, "parts": [1, 2]},
        {"iscrowd": 1, "colour": "blue", "share": 1.5, "parts": [3]},
    ]
    return {
        "boxes": labels.detections_document(
            BOXES, ["cat", "dog"], SIZE, [0.25, 0.75], extra, masks=[MASK, None], tags=[["x"], []]
        ),
        "kind": labels.classification_document("indoor", 0.5, {"by": "me"}),
        "kinds": labels.classifications_document(["a", "b"]),
        "lines": labels.polylines_document(
            [[[0, 0, 100, 0, 100, 50], [[20, 10], [40, 10], [40, 20]]]], ["cat"], SIZE, [0.5]
        ),
        "points": labels.keypoints_document([[[50, 25, 2], [7, 7, 0]]], ["cat"], SIZE),
        "number": 3,
        "text": "x",
        "flag": True,
        "share": 0.5,
        "list": ["a"],
    }


def theirs(fo):
    """The same, as FiftyOne's classes."""
    boxes = [
        fo.Detection(label="cat", bounding_box=[0.1, 0.1, 0.2, 0.3], confidence=0.25, mask=MASK, tags=["x"], iscrowd=0, colour="red", share=0.5, parts=[1, 2]),
        fo.Detection(label="dog", bounding_box=[0, 0, 1, 1], confidence=0.75, iscrowd=1, colour="blue", share=1.5, parts=[3]),
    ]  # fmt: skip
    rings = [[(0.0, 0.0), (0.5, 0.0), (0.5, 0.5)], [(0.1, 0.1), (0.2, 0.1), (0.2, 0.2)]]
    return {
        "boxes": fo.Detections(detections=boxes),
        "kind": fo.Classification(label="indoor", confidence=0.5, by="me"),
        "kinds": fo.Classifications(classifications=[fo.Classification(label="a"), fo.Classification(label="b")]),
        "lines": fo.Polylines(
            polylines=[fo.Polyline(label="cat", points=rings, closed=True, filled=True, confidence=0.5)]
        ),
        "points": fo.Keypoints(
            keypoints=[fo.Keypoint(label="cat", points=[(0.25, 0.25), (float("nan"), float("nan"))], visibility=[2, 0])]
        ),
        "number": 3,
        "text": "x",
        "flag": True,
        "share": 0.5,
        "list": ["a"],
    }


def comparable(value):
    """A document without what differs between any two samples; None and what is not there are one, as FiftyOne says."""
    if isinstance(value, dict):
        changing = {"_id", "_rand", "_dataset_id", "created_at", "last_modified_at"}
        return {key: comparable(each) for key, each in value.items() if key not in changing and each is not None}
    if isinstance(value, list):
        return [comparable(each) for each in value]
    return repr(value)


def schema(dataset):
    found = {}
    for path, field in dataset.get_field_schema(flat=True).items():
        inner = getattr(field, "field", None)
        found[path] = (type(field).__name__, type(inner).__name__, str(getattr(field, "document_type", None)))
    return found


def test_samples_are_those_that_add_samples_makes(fo, fo_name, picture):
    mine, reference = fo.Dataset(f"{fo_name}-1"), fo.Dataset(f"{fo_name}-2")
    told = []
    ids = insert_samples(mine, [NewSample(picture, *SIZE, ours(), ("train",))], told.append)
    metadata = fo.ImageMetadata(width=200, height=100, mime_type="image/jpeg")
    reference.add_samples([fo.Sample(picture, tags=["train"], metadata=metadata, **theirs(fo))], dynamic=True)
    (one,), (other,) = mine._sample_collection.find(), reference._sample_collection.find()
    assert comparable(one) == comparable(other)
    assert one.keys() == other.keys()
    assert {key: type(value) for key, value in one.items()} == {key: type(value) for key, value in other.items()}
    assert schema(mine) == schema(reference)
    assert mine._sample_collection.index_information().keys() == reference._sample_collection.index_information().keys()
    assert ids == [str(one["_id"])] == mine.values("id")
    assert told == [1]
    assert mine.media_type == "image"
    assert one["_dataset_id"] == mine._doc.id


def test_fiftyone_works_on_what_was_inserted(fo, fo_name, picture, tmp_path):
    dataset = fo.Dataset(fo_name)
    ids = insert_samples(dataset, (NewSample(picture, *SIZE, {"boxes": ours()["boxes"]}) for _ in range(3)))
    found = labels.detections_document(BOXES + 1, ["cat", "dog"], SIZE, [0.9, 0.8])
    set_labels(dataset, "found", {ids[0]: found, ids[1]: labels.detections_document([], [], SIZE), ids[2]: None})
    set_values(dataset, "effect", fo.FloatField, {ids[0]: 0.5, ids[1]: -0.25})
    assert dataset.count("found.detections") == 2
    assert dataset.values("effect") == [0.5, -0.25, None]
    assert dataset.sort_by("effect", reverse=True).first().id == ids[0]
    assert dataset.filter_labels("boxes", fo.ViewField("iscrowd") == 1).count("boxes.detections") == 3
    assert dataset.match(fo.ViewField("boxes.detections").length() == 2).count() == 3
    result = dataset.select(ids[0]).evaluate_detections("found", gt_field="boxes", eval_key="seen", iscrowd="none")
    assert result.metrics()["precision"] == 1
    sample = dataset[ids[0]]
    sample.boxes.detections[0].label = "fox"
    sample.save()
    assert dataset.distinct("boxes.detections.label") == ["cat", "dog", "fox"]
    dataset.export(
        str(tmp_path / "out"), dataset_type=fo.types.COCODetectionDataset, label_field="boxes", progress=False
    )
    assert (tmp_path / "out" / "labels.json").exists()
    dataset.delete_labels(ids=sample.boxes.detections[0].id)
    assert dataset.count("boxes.detections") == 5
    assert len(dataset.clone(f"{fo_name}-clone").to_dict()["samples"]) == 3


def test_groups_are_those_of_fiftyone(fo, fo_name, picture):
    dataset = fo.Dataset(fo_name)
    dataset.add_group_field("group", default="original")
    groups = [str(ObjectId()) for _ in range(2)]
    insert_samples(
        dataset,
        [NewSample(picture, *SIZE, group=(group, name)) for group in groups for name in ("original", "flipped")],
    )
    assert dataset.media_type == "group"
    assert sorted(dataset.group_slices) == ["flipped", "original"]
    assert len(dataset) == 2
    assert len(dataset.select_group_slices("flipped")) == 2
    assert set(dataset.get_group(groups[0])) == {"original", "flipped"}
    plain = fo.Dataset(f"{fo_name}-plain")
    with pytest.raises(ConfigError, match="no group"):
        insert_samples(plain, [NewSample(picture, *SIZE, group=(groups[0], "original"))])


def test_a_field_of_another_type_is_refused(fo, fo_name, picture):
    dataset = fo.Dataset(fo_name)
    ids = insert_samples(dataset, [NewSample(picture, *SIZE, {"kind": labels.classification_document("a")})])
    with pytest.raises(ConfigError, match="'kind' exists as"):
        set_values(dataset, "kind", fo.FloatField, {ids[0]: 1.0})
    with pytest.raises(ConfigError, match="'kind' exists as"):
        set_labels(dataset, "kind", {ids[0]: None}, "Detections")


def test_masks_and_points_come_back(fo, fo_name, picture):
    assert np.array_equal(labels.mask_of(labels.mask_bytes(MASK)), MASK)
    # Pixels 3..5 x 2..3 of the image, in a box from 2.5 to 7 and from 1 to 4: it touches columns 2..6 and rows 1..3.
    inside = labels.mask_in_box((3, 2, np.ones((2, 3), bool)), [2.5, 1, 7, 4])
    assert inside.astype(int).tolist() == [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0]]
    assert not labels.mask_in_box((50, 50, np.ones((2, 3), bool)), [2.5, 1, 7, 4]).any()
    assert labels.in_pixels([[0.25, 0.5]], SIZE).tolist() == [[50, 50]]
    assert labels.labels_of(None) == []
    assert labels.relative(BOXES, (0, 0)) == [[0.0] * 4] * 2


def test_which_attributes_are_seen_and_what_an_edit_means():
    extras = {
        "voc.pose": objects(["Left", ABSENT]),
        "cvat.pose": objects([3, 4]),
        "cvat.attributes": objects([{"a b": True, "deep": {"x": 1}}, None]),
        "coco._bbox": objects(["1", "2"]),
        "stranger.label": objects([2**70, "x"]),
        "score": objects([1, ABSENT]),
    }
    seen = seen_of(extras, labels.RESERVED)
    assert seen == [
        Seen("pose", "voc.pose"), Seen("cvat_pose", "cvat.pose"), Seen("a_b", "cvat.attributes", "a b"),
        Seen("stranger_label", "stranger.label"), Seen("confidence", "score"),
    ]  # fmt: skip
    row = {key: values[0] for key, values in extras.items()}
    assert attributes(seen, row) == {"pose": "Left", "cvat_pose": 3, "a_b": True, "confidence": 1}
    same = dict(row)
    assert not apply_edits(seen, same, {"pose": "Left", "cvat_pose": 3.0, "a_b": True, "confidence": 1.0})
    assert same == row
    assert apply_edits(seen, same, {"pose": None, "cvat_pose": 4, "a_b": False, "confidence": 1})
    assert "voc.pose" not in same
    assert (same["cvat.pose"], same["cvat.attributes"]) == (4, {"a b": False, "deep": {"x": 1}})
