"""The tables: edits keep rows together, checks name what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, checked, objects
from augsuite.errors import ConfigError, DataError


def three_images() -> Dataset:
    """Images a (two boxes), b (none), c (one box, one label of the whole image)."""
    return Dataset(
        Images.of(["a.jpg", "b.jpg", "c.jpg"], [[100, 50], [10, 10], [20, 40]], splits=["train", "val", "train"]),
        Categories.of(["cat", "dog"], ids=[3, 9]),
        Annotations.of(
            [2, 0, 0, 2],
            [1, 0, 1, 0],
            [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [np.nan] * 4],
            layout=Layout.XYWH_PX,
            ids=[40, 30, 20, 10],
            extra={"coco.note": objects(["for c", "for a", ABSENT, None])},
        ),
    )


def test_take_keeps_every_column_together():
    taken = checked(three_images().take([2, 1]), "here")
    assert taken.images.names.tolist() == ["c.jpg", "b.jpg"]
    assert taken.annotations.ids.tolist() == [40, 10]
    assert taken.annotations.image_rows.tolist() == [0, 0]
    assert taken.annotations.category_rows.tolist() == [1, 0]
    assert taken.annotations.extra["coco.note"].tolist() == ["for c", None]
    assert taken.annotations.boxes[0].tolist() == [1, 2, 3, 4]


def test_take_is_once_only():
    with pytest.raises(ValueError, match="once"):
        three_images().take([0, 0])


def test_rows_of_an_image_keep_their_order():
    data = three_images()
    assert [data.rows_of(row).tolist() for row in range(3)] == [[1, 2], [], [0, 3]]


def test_where_by_category_drops_images_that_lost_their_last_annotation():
    data = replace(three_images(), annotations=three_images().annotations.take(np.array([1, 2])))
    cats = data.where(categories=["cat"])
    assert cats.categories.ids.tolist() == [3]
    assert cats.images.names.tolist() == ["a.jpg", "b.jpg", "c.jpg"]  # b and c had none to begin with
    assert cats.annotations.ids.tolist() == [30]
    only_c = three_images().where(categories=["dog"]).where(splits=["train"])
    assert only_c.annotations.ids.tolist() == [40, 20]
    lost = replace(three_images(), annotations=three_images().annotations.take(np.array([1]))).where(categories=["dog"])
    assert lost.images.names.tolist() == ["b.jpg", "c.jpg"]


def test_where_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'dog'"):
        three_images().where(categories=["dogg"])
    with pytest.raises(ConfigError, match="Did you mean 'train'"):
        three_images().where(splits=["trian"])


def test_split_is_seeded_and_complete():
    data = Dataset(Images.of([f"{row}.jpg" for row in range(10)]), Categories.of([]), Annotations.of([], []))
    first, second = data.split(0.8, seed=1)
    again, _ = data.split(0.8, seed=1)
    other, _ = data.split(0.8, seed=2)
    assert len(first) == 8
    assert len(second) == 2
    assert sorted([*first.images.names, *second.images.names]) == sorted(data.images.names)
    assert first.images.names.tolist() == again.images.names.tolist()
    assert first.images.names.tolist() != other.images.names.tolist()
    assert len(data.draw(3)) == 3
    assert len(data.draw(99)) == 10


def test_a_sample_holds_boxes_in_pixels_and_leaves_out_what_is_ignored(tmp_path):
    PIL.Image.new("RGB", (20, 40), (7, 8, 9)).save(tmp_path / "c.png")
    data = three_images()
    files = data.images.files.copy()
    files[2] = "c.png"
    data = replace(data, images=replace(data.images, files=files), root=tmp_path)
    sample = data.sample(2)
    assert sample.boxes.tolist() == [[1, 2, 4, 6]]
    assert sample.labels.tolist() == [1]
    assert sample.rows.tolist() == [0]
    assert sample.targets.tolist() == [1, 0]
    assert sample.image.shape == (40, 20, 3)
    assert sample.image[0, 0].tolist() == [7, 8, 9]
    ignored = replace(data, annotations=replace(data.annotations, ignore=np.array([True, False, False, False])))
    assert ignored.sample(2).boxes.shape == (0, 4)


def test_a_missing_file_is_said():
    with pytest.raises(DataError, match=r"b\.jpg: no image file"):
        three_images().sample(1)


def test_boxes_need_sizes_only_where_units_change():
    data = three_images()
    unknown = replace(data, images=replace(data.images, sizes=np.zeros((3, 2), np.int64)))
    assert unknown.boxes(Layout.XYXY_PX)[1].tolist() == [5, 6, 12, 14]
    with pytest.raises(DataError, match="size of the image is not known"):
        unknown.boxes(Layout.XYXY_UNIT)
    assert data.boxes(Layout.XYXY_UNIT)[0].tolist() == [1 / 20, 2 / 40, 4 / 20, 6 / 40]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: replace(d, images=replace(d.images, ids=np.array([1, 1, 2]))), r"images\.ids: 1 stands 2 times"),
        (
            lambda d: replace(d, categories=Categories.of(["cat", "cat"])),
            r"categories\.names: 'cat' stands 2 times",
        ),
        (
            lambda d: replace(d, annotations=replace(d.annotations, image_rows=np.array([2, 0, 0, 7]))),
            r"annotations\.image_rows\[3\]: 7 is not one of the 3",
        ),
        (
            lambda d: replace(d, annotations=replace(d.annotations, boxes=d.annotations.boxes[:3])),
            r"annotations\.boxes: expected shape \(4, 4\)",
        ),
        (
            lambda d: replace(
                d, annotations=replace(d.annotations, boxes=np.where([[0, 1, 0, 0]], np.inf, d.annotations.boxes))
            ),
            r"annotations\.boxes\[0\]: expected 4 finite numbers",
        ),
        (
            lambda d: replace(d, images=replace(d.images, sizes=d.images.sizes.astype(np.int32))),
            r"images\.sizes: .*int64.*int32",
        ),
        (
            lambda d: replace(d, annotations=replace(d.annotations, extra={"x.y": objects([1])})),
            r"annotations\.extra\['x\.y'\]: expected 4 objects",
        ),
    ],
)
def test_checks_name_the_column(change, said):
    with pytest.raises(DataError, match=r"file\.json: " + said):
        checked(change(three_images()), "file.json")


def test_intake_stops_or_counts():
    with pytest.raises(DataError, match=r"a\.json: annotations\[3\]\.bbox: expected 4 numbers, got 3\. .*1 of 9 rows"):
        Intake().reject("a.json: annotations[3].bbox", "expected 4 numbers, got 3", total=9)
    intake = Intake(skip_invalid=True)
    intake.reject("a.json: annotations[3].bbox", "expected 4 numbers, got 3")
    assert intake.skipped == ["a.json: annotations[3].bbox: expected 4 numbers, got 3"]
