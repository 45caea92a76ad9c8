"""Whole datasets into FiftyOne and back, and what a user edits in between. FiftyOne's own API is the judge of what it was given."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import PIL.Image
import pytest

import augsuite
from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects, rle
from augsuite.errors import ConfigError, DataError
from augsuite.testing.examples import example_datasets, without_files
from augsuite_fiftyone.database import home
from augsuite_fiftyone.store import load, store


def decoded(value):
    """As JSON has it; the text of a number that is spelled in its own way is no value."""
    return msgspec.json.decode(bytes(value) or b"null") if isinstance(value, msgspec.Raw) else value


def assert_same(given, back):
    """Every column, every value, every type."""
    for part, names in (
        ("images", ("names", "sizes", "ids", "splits")),
        ("categories", ("names", "ids")),
        ("annotations", ("image_rows", "category_rows", "boxes", "ids", "ignore")),
    ):
        mine, theirs = getattr(given, part), getattr(back, part)
        for name in names:
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), err_msg=f"{part}.{name}")
        assert list(mine.extra) == list(theirs.extra)
        for key, values in mine.extra.items():
            for row, (one, other) in enumerate(zip(values, theirs.extra[key], strict=True)):
                assert (one is ABSENT) == (other is ABSENT), (part, key, row)
                assert type(decoded(one)) is type(decoded(other)), (part, key, row, one, other)
                assert repr(decoded(one)) == repr(decoded(other)), (part, key, row)
    assert given.annotations.layout is back.annotations.layout
    assert repr(dict(given.extra)) == repr(dict(back.extra))
    for row in np.flatnonzero(given.images.files != ""):
        assert back.path(int(row)).samefile(given.path(int(row)))


@pytest.mark.parametrize("name", ["plain", "hard", "labels", "fractions", "tiny", "both", "shapes"])
def test_the_tables_come_back_exactly(fo, fo_name, tmp_path, name):
    data = example_datasets(tmp_path)[name]
    for given in (data, without_files(data)):
        assert_same(given, load(store(given, fo_name, overwrite=True)))


@pytest.mark.parametrize(
    "name", ["bccd", "raccoon", "bccd_coco", "coco_person_keypoints", "coco_instances", "export_project", "v6"]
)
def test_real_datasets_come_back_exactly(fo, fo_name, real_data, name):
    paths = [real_data / name, *real_data.glob(f"format_samples/**/{name}")]
    given = augsuite.read(next(path for path in paths if path.is_dir()))
    if len(given) > 60:
        given = given.draw(60, seed=1)
    assert_same(given, load(store(given, fo_name)))


@pytest.fixture
def scene(tmp_path):
    """Two images of 200 x 100: boxes with all kinds of extras, a polygon, a mask, keypoints, a crowd, labels of the whole image."""
    for name in ("a.jpg", "b.jpg"):
        PIL.Image.new("RGB", (200, 100), (90, 120, 30)).save(tmp_path / name)
    mask = np.zeros((30, 40), bool)
    mask[5:20, 10:30] = True
    return Dataset(
        Images.of(
            ["a.jpg", "b.jpg"], [[200, 100]] * 2, [5, 9], ["train", "val"], ["a.jpg", "b.jpg"],
            {"coco.license": objects([3, ABSENT]), "voc.source": objects([{"database": "mine"}, ABSENT])},
        ),
        Categories.of(["dog", "cat", "never"], [4, 2, 90], {"coco.supercategory": objects(["pet", "pet", "none"])}),
        Annotations.of(
            [0, 0, 0, 1, 1], [0, 1, 0, 1, 1],
            np.array([[20, 10, 40, 30], [50.25, 20.5, 100.125, 30], [100, 50, 40, 30], [0, 0, 200, 100], [np.nan] * 4]),
            Layout.XYWH_PX, [11, 12, 13, 14, 15], [False, False, False, True, False],
            {
                "coco.area": objects([1200, ABSENT, 300.5, 20000, ABSENT]),
                "voc.pose": objects(["Left", ABSENT, None, "", ABSENT]),
                "voc.truncated": objects([1, 0, ABSENT, ABSENT, ABSENT]),
                "cvat.occluded": objects([True, False, ABSENT, ABSENT, ABSENT]),
                "cvat.attributes": objects([{"colour": "red", "age": 3}, {"colour": "blue"}, ABSENT, ABSENT, ABSENT]),
                "score": objects([0.5, ABSENT, 1, ABSENT, 0.25]),
                "segmentation": objects([
                    msgspec.Raw(b"[[20, 10, 60.5, 10, 60, 40, 20, 40]]"), ABSENT, rle.encode(mask, 100, 50, 200, 100), ABSENT, ABSENT,
                ]),
                "coco.keypoints": objects([[25, 15, 2, 0, 0, 0, 50, 35, 1], ABSENT, ABSENT, ABSENT, ABSENT]),
                "coco.num_keypoints": objects([2, ABSENT, ABSENT, ABSENT, ABSENT]),
            },
        ),
        tmp_path,
        {"coco.info": {"year": 2026}},
    )  # fmt: skip


def test_names_that_fiftyone_uses_itself_hide_nothing_of_it(fo, fo_name, scene):
    images, table = dict(scene.images.extra), dict(scene.annotations.extra)
    images |= {f"csv.{name}": objects(["x", ABSENT]) for name in ("filename", "copy", "from_dict", "save")}
    table |= {"cvat.attributes": objects([{"copy": "c", "has_field": 1, "to_dict": True}, *[ABSENT] * 4])}
    given = replace(
        scene, images=replace(scene.images, extra=images), annotations=replace(scene.annotations, extra=table)
    )
    dataset = store(given, fo_name)
    sample = dataset.first()
    assert (sample.filename, sample.csv_copy) == ("a.jpg", "x")
    assert sample.ground_truth.detections[0].copy().cvat_copy == "c"
    sample.tags.append("seen")
    sample.save()
    assert_same(given, load(dataset))


def test_numbers_that_json_does_not_have_come_back(fo, fo_name, scene):
    odd = [float("nan"), [1.5, float("nan")], {"a": [float("inf"), None]}, float("-inf"), -0.0]
    extra = {**scene.annotations.extra, "mine.odd": objects(odd), "mine.list": objects([odd[1], *[ABSENT] * 4])}
    given = replace(scene, annotations=replace(scene.annotations, extra=extra))
    dataset = store(given, fo_name)
    dataset.first().save()
    assert_same(given, load(dataset))


def test_fiftyone_shows_everything_with_its_type(fo, fo_name, scene):
    dataset = store(scene, fo_name)
    first, second = dataset.first(), dataset.last()
    assert (first.filepath, first.tags, first.split) == (str(scene.path(0)), ["train"], "train")
    assert (first.metadata.width, first.metadata.height, first.metadata.mime_type) == (200, 100, "image/jpeg")
    assert (first.image_id, first.license, first.database, second.license) == (5, 3, "mine", None)
    one, two, three = first.ground_truth.detections
    assert (one.label, one.bounding_box) == ("dog", [0.1, 0.1, 0.2, 0.3])
    assert (one.annotation_id, one.category_id, one.iscrowd, one.difficult) == (11, 4, 0, 0)
    assert (one.area, one.pose, one.truncated, one.occluded, one.colour, one.age) == (1200, "Left", 1, True, "red", 3)
    assert (one.confidence, two.confidence, two.colour) == (0.5, None, "blue")
    assert not two.has_field("age") or two.age is None
    assert three.mask.shape == (30, 40)
    assert np.argwhere(three.mask).min(axis=0).tolist() == [5, 10]
    assert np.argwhere(three.mask).max(axis=0).tolist() == [19, 29]
    assert second.ground_truth.detections[0].iscrowd == 1
    (label,) = second.ground_truth_labels.classifications
    assert (label.label, label.confidence, label.annotation_id) == ("cat", 0.25, 15)
    (polyline,) = first.ground_truth_polygons.polylines
    assert polyline.id == one.id
    assert polyline.closed
    assert polyline.filled
    np.testing.assert_array_equal(polyline.points, [[[0.1, 0.1], [0.3025, 0.1], [0.3, 0.4], [0.1, 0.4]]])
    (keypoint,) = first.ground_truth_keypoints.keypoints
    np.testing.assert_allclose(np.array(keypoint.points, float), [[0.125, 0.15], [np.nan, np.nan], [0.25, 0.35]])
    assert keypoint.visibility == [2, 0, 1]
    assert dataset.default_classes == ["dog", "cat", "never"]
    kinds = {name: type(field) for name, field in dataset.get_field_schema(flat=True).items()}
    place = "ground_truth.detections."
    assert kinds[f"{place}iscrowd"] is fo.IntField
    assert kinds[f"{place}area"] is fo.FloatField
    assert kinds[f"{place}occluded"] is fo.BooleanField
    assert kinds[f"{place}pose"] is fo.StringField
    assert kinds["license"] is fo.IntField


def test_what_was_not_edited_comes_back_after_fiftyone_wrote_it(fo, fo_name, scene):
    dataset = store(scene, fo_name)
    for sample in dataset:
        sample["reviewed"] = True
        sample.ground_truth.detections[0].tags.append("seen")
        sample.save()
    back = load(dataset)
    assert back.annotations.extra["fiftyone.tags"].tolist() == [["seen"], ABSENT, ABSENT, ["seen"], ABSENT]
    extra = {key: values for key, values in back.annotations.extra.items() if key != "fiftyone.tags"}
    assert_same(scene, replace(back, annotations=replace(back.annotations, extra=extra)))


def test_edits_come_back_and_nothing_else_changes(fo, fo_name, scene):
    dataset = store(scene, fo_name)
    first = dataset.first()
    one, two, _ = first.ground_truth.detections
    two.bounding_box = [0.5, 0.5, 0.25, 0.25]
    two.label = "never"
    two["colour"] = "green"
    one["truncated"] = 0
    one["iscrowd"] = 1
    one["shiny"] = True
    first.ground_truth.detections.append(fo.Detection(label="fox", bounding_box=[0, 0, 0.5, 0.5], confidence=0.75))
    first.tags = ["val"]
    first.save()
    second = dataset.last()
    second.ground_truth.detections = []
    second.save()

    back = load(dataset)
    table = back.annotations
    assert table.ids.tolist() == [11, 12, 13, 15, 16]
    assert back.categories.names.tolist() == ["dog", "cat", "never", "fox"]
    assert back.categories.ids.tolist() == [4, 2, 90, 91]
    assert table.category_rows.tolist() == [0, 2, 0, 1, 3]
    assert table.boxes[:3].tolist() == [[20, 10, 40, 30], [100, 50, 50, 25], [100, 50, 40, 30]]
    assert table.boxes[4].tolist() == [0, 0, 100, 50]
    assert table.ignore.tolist() == [True, False, False, False, False]
    assert table.extra["voc.truncated"].tolist() == [0, 0, ABSENT, ABSENT, ABSENT]
    assert table.extra["cvat.attributes"][:2].tolist() == [{"colour": "red", "age": 3}, {"colour": "green"}]
    assert table.extra["score"].tolist() == [0.5, ABSENT, 1, 0.25, 0.75]
    assert table.extra["fiftyone.shiny"].tolist() == [True, ABSENT, ABSENT, ABSENT, ABSENT]
    assert back.images.splits.tolist() == ["val", "val"]
    kept = [0, 2]
    for key in ("coco.area", "voc.pose", "segmentation", "coco.keypoints"):
        before, after = scene.annotations.extra[key][kept], table.extra[key][kept]
        assert [decoded(value) for value in before] == [decoded(value) for value in after]


def test_redrawn_shapes_come_back(fo, fo_name, scene):
    dataset = store(scene, fo_name)
    first = dataset.first()
    first.ground_truth_polygons.polylines[0].points = [[(0.1, 0.1), (0.3, 0.1), (0.3, 0.5)]]
    first.ground_truth_keypoints.keypoints[0].points[0] = (0.5, 0.5)
    third = first.ground_truth.detections[2]
    third.bounding_box = [0, 0, 0.2, 0.3]  # the mask moves with the box
    first.ground_truth_polygons.polylines.append(
        fo.Polyline(label="cat", points=[[(0.5, 0.5), (0.75, 0.5), (0.75, 1.0)]], closed=True, filled=True)
    )
    first.save()
    back = load(dataset)
    extra = back.annotations.extra
    assert extra["segmentation"][0] == [[20, 10, 60, 10, 60, 50]]
    assert extra["coco.area"][0] == 40 * 40 / 2
    assert extra["coco.keypoints"][0] == [100, 50, 2, 0, 0, 0, 50, 35, 1]
    left, top, pixels = rle.window(extra["segmentation"][2])
    assert (left, top, pixels.shape, int(pixels.sum())) == (10, 5, (15, 20), 300)
    assert extra["coco.area"][2] == 300
    assert back.annotations.boxes[5].tolist() == [100, 50, 50, 50]
    assert extra["segmentation"][5] == [[100, 50, 150, 50, 150, 100]]

    first.ground_truth_polygons.polylines = []
    first.ground_truth_keypoints = None
    first.save()
    extra = load(dataset).annotations.extra
    assert extra["segmentation"][0] is ABSENT
    assert extra["coco.keypoints"][0] is ABSENT


def test_a_moved_box_without_a_shape_gets_its_area(fo, fo_name, scene):
    table = scene.annotations
    bare = replace(scene, annotations=replace(table, extra={"coco.area": table.extra["coco.area"]}))
    dataset = store(bare, fo_name)
    first = dataset.first()
    first.ground_truth.detections[0].bounding_box = [0, 0, 0.5, 0.5]
    first.save()
    assert load(dataset).annotations.extra["coco.area"].tolist() == [100 * 50, ABSENT, 300.5, 20000, ABSENT]


def test_views_give_what_they_show(fo, fo_name, scene):
    dataset = store(scene, fo_name)
    view = dataset.match_tags("train").filter_labels("ground_truth", fo.ViewField("label") == "dog")
    back = load(view)
    assert back.images.ids.tolist() == [5]
    assert back.annotations.ids.tolist() == [11, 13]
    assert decoded(back.annotations.extra["segmentation"][0]) == [[20, 10, 60.5, 10, 60, 40, 20, 40]]
    assert_same(scene, load(dataset.clone(f"{fo_name}-clone")))


def test_a_new_sample_is_a_new_image(fo, fo_name, scene, tmp_path):
    dataset = store(scene, fo_name)
    PIL.Image.new("RGB", (64, 32)).save(tmp_path / "new.png")
    label = fo.Detection(label="cat", bounding_box=[0.5, 0.5, 0.25, 0.25])
    dataset.add_sample(fo.Sample(tmp_path / "new.png", ground_truth=fo.Detections(detections=[label]), tags=["val"]))
    back = load(dataset)
    assert back.images.names.tolist() == ["a.jpg", "b.jpg", "new.png"]
    assert back.images.ids.tolist() == [5, 9, 10]
    assert back.images.sizes[2].tolist() == [64, 32]
    assert back.images.splits.tolist() == ["train", "val", "val"]
    assert back.annotations.boxes[-1].tolist() == [32, 16, 16, 8]


def test_datasets_of_others_are_read(fo, fo_name, tmp_path):
    PIL.Image.new("RGB", (64, 32)).save(tmp_path / "x.png")
    dataset = fo.Dataset(fo_name)
    detection = fo.Detection(
        label="cat", bounding_box=[0.5, 0.5, 0.25, 0.25], confidence=0.5, iscrowd=1, area=128.0, colour="red"
    )
    masked = fo.Detection(label="dog", bounding_box=[0, 0, 0.125, 0.25], mask=np.ones((8, 8), bool))
    dataset.add_sample(
        fo.Sample(
            tmp_path / "x.png", tags=["train"], weather="sun", found=fo.Detections(detections=[detection, masked]),
            kind=fo.Classification(label="indoor", confidence=0.25),
        ),
        dynamic=True,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="found, kind"):
        load(dataset)
    back = load(dataset, "found")
    assert back.annotations.layout is Layout.XYWH_UNIT
    assert back.annotations.boxes.tolist() == [[0.5, 0.5, 0.25, 0.25], [0, 0, 0.125, 0.25]]
    assert back.annotations.ignore.tolist() == [True, False]
    extra = back.annotations.extra
    assert (extra["score"][0], extra["coco.area"][0], extra["fiftyone.colour"][0]) == (0.5, 128.0, "red")
    left, top, pixels = rle.window(extra["segmentation"][1])
    assert (left, top, pixels.shape) == (0, 0, (8, 8))
    assert back.images.splits.tolist() == ["train"]
    assert back.images.extra["fiftyone.weather"].tolist() == ["sun"]
    assert back.categories.names.tolist() == ["cat", "dog"]
    labels = load(dataset, "kind")
    assert not labels.annotations.is_box.any()
    assert labels.annotations.extra["score"].tolist() == [0.25]


def test_a_field_that_was_renamed_is_no_empty_dataset(fo, fo_name, scene):
    dataset = store(scene, fo_name)
    with pytest.raises(ConfigError, match="'ground_truth', as it was stored, is not there"):
        load(dataset.exclude_fields("ground_truth"))
    dataset.rename_sample_field("ground_truth", "corrected")
    with pytest.raises(ConfigError, match="'ground_truth', as it was stored, is not there"):
        load(dataset)
    assert len(load(dataset, "corrected").annotations) == 4


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize(
    ("label", "box", "said"),
    [
        (None, [0.1, 0.1, 0.2, 0.2], "without one"),
        ("dog", [0.1, 0.1, 0.2, float("nan")], "finite numbers"),
        ("dog", [0.1, 0.1, 0.2], "4 numbers"),
        ("dog", [0.5, 0.1, -0.2, 0.2], "0 or more"),
    ],
)
def test_a_label_that_is_none_is_told_and_can_be_skipped(fo, fo_name, scene, label, box, said, stored):
    dataset = store(scene, fo_name) if stored else fo.Dataset(fo_name)
    if not stored:
        dataset.add_sample(fo.Sample(filepath=str(scene.path(0)), ground_truth=fo.Detections()))
    before = len(load(dataset).annotations)
    sample = dataset.first()
    sample.ground_truth.detections.append(fo.Detection(label=label, bounding_box=box))
    sample.save()
    with pytest.raises(DataError, match=f"a.jpg: ground_truth: .*{said}"):
        load(dataset)
    intake = Intake(skip_invalid=True)
    assert len(load(dataset, intake=intake).annotations) == before
    assert len(intake.skipped) == 1


def test_of_groups_one_slice_is_read_and_the_others_are_told(fo, fo_name, scene):
    dataset = fo.Dataset(fo_name)
    dataset.add_group_field("group", default="left")
    group = fo.Group()
    dataset.add_samples(
        fo.Sample(filepath=str(scene.path(row)), group=group.element(name), ground_truth=fo.Detections())
        for row, name in enumerate(("left", "right"))
    )
    intake = Intake()
    assert load(dataset, intake=intake).images.names.tolist() == ["a.jpg"]
    (note,) = intake.notes
    assert "only the slice 'left' was read, not right" in note
    dataset.save_view("right", dataset.select_group_slices("right"))
    assert load(dataset.load_saved_view("right")).images.names.tolist() == ["b.jpg"]


def test_videos_are_refused(fo, fo_name, tmp_path):
    dataset = fo.Dataset(fo_name)
    dataset.add_sample(fo.Sample(filepath=str(tmp_path / "a.mp4"), ground_truth=fo.Classification(label="x")))
    with pytest.raises(ConfigError, match=r"'video'\. Only images"):
        load(dataset)


def test_a_name_that_is_taken_is_refused_and_a_failure_leaves_the_old(fo, fo_name, scene, monkeypatch):
    store(scene, fo_name)
    with pytest.raises(ConfigError, match="dataset of that name"):
        store(scene, fo_name)
    from augsuite_fiftyone import store as module

    def fail(*arguments):
        raise DataError("full")

    with monkeypatch.context() as patch:
        patch.setattr(module, "insert_samples", fail)
        with pytest.raises(DataError, match="full"):
            store(scene.take([0]), fo_name, overwrite=True)
    assert [name for name in fo.list_datasets() if name.startswith(fo_name)] == [fo_name]
    assert len(fo.load_dataset(fo_name)) == 2
    store(scene.take([0]), fo_name, overwrite=True)
    assert len(fo.load_dataset(fo_name)) == 1


def test_a_dataset_that_another_process_made_meanwhile_is_not_replaced(fo, fo_name, scene):
    def meanwhile(count):
        del count
        fo.Dataset(fo_name).add_sample(fo.Sample(filepath=str(scene.path(0)), tags=["theirs"]))

    with pytest.raises(ConfigError, match="has a dataset of that name"):
        store(scene, fo_name, progress=meanwhile)
    assert fo.load_dataset(fo_name).count_sample_tags() == {"theirs": 1}
    assert [name for name in fo.list_datasets() if name.startswith(fo_name)] == [fo_name]


def test_what_a_killed_writer_left_is_swept_and_what_it_was_replacing_comes_back(fo, fo_name, scene):
    from augsuite_fiftyone.store import sweep

    old = store(scene, fo_name)
    old.name = f"{fo_name} augsuite partial 00 replaced"
    half = fo.Dataset(f"{fo_name} augsuite partial 01")
    half.info = {"augsuite_writer": 2**22 + 1}  # above the largest process id
    half.save()
    sweep(fo, fo_name)
    assert [name for name in fo.list_datasets() if name.startswith(fo_name)] == [fo_name]
    assert len(fo.load_dataset(fo_name)) == 2


def test_a_damaged_record_is_an_error_that_names_the_sample(fo, fo_name, scene):
    dataset = store(scene, fo_name)
    dataset.set_values("augsuite_record", ["[1,2", None])
    with pytest.raises(DataError, match=r"a\.jpg: the field 'augsuite_record' is damaged"):
        load(dataset)


def test_images_in_archives_are_copied_once_for_each_content(fo, fo_name, scene, tmp_path):
    augsuite.write(scene, tmp_path / "out", "coco")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "out")
    data = augsuite.read(tmp_path / "packed.zip")
    files = store(data, fo_name).values("filepath")
    assert len(set(files)) == 1  # both images have the same bytes
    assert Path(files[0]).read_bytes() == (tmp_path / "a.jpg").read_bytes()
    assert Path(files[0]).is_relative_to(home())
    written = Path(files[0]).stat().st_mtime_ns
    assert store(data, fo_name, overwrite=True).values("filepath") == files
    assert Path(files[0]).stat().st_mtime_ns == written
    back = load(fo.load_dataset(fo_name))
    assert back.images.names.tolist() == data.images.names.tolist()
    assert back.path(0).read_bytes() == (tmp_path / "a.jpg").read_bytes()
