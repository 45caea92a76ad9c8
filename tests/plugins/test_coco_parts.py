"""COCO read in parts: judged by the whole read, which is judged by pycocotools."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augsuite.dataset import ABSENT, UNREAD, Intake
from augsuite.dataset.parts import joined
from augsuite.errors import ConfigError, DataError
from augsuite_coco import file_ids, waiting_annotations, waiting_images
from augsuite_coco.parts import read_parts
from augsuite_coco.reader import read


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Several parts, and several visits to the disk, for a handful of rows."""
    monkeypatch.setattr(waiting_images, "PART", 3)
    monkeypatch.setattr(waiting_annotations, "_RUN", 1)
    monkeypatch.setattr(file_ids, "_RUN", 4)
    monkeypatch.setattr("augsuite_coco.blocks.BLOCK", 256)


def images_of(count, first=1):
    return [
        {
            "id": first + number,
            "file_name": f"{first + number}.jpg",
            "width": 640,
            "height": 480 + number,
            "license": number % 3,
        }
        for number in range(count)
    ]


def annotations_of(count, images, first=1, **more):
    return [
        {
            "id": first + 7 * number,
            "image_id": images[number * 5 % len(images)]["id"],
            "category_id": 3 if number % 2 else 9,
            "bbox": [number, 0.5, 10.25, 20],
            "area": 205.0 + number,
            "iscrowd": int(number % 4 == 0),
            "segmentation": [[0, 0, number, 1.50, 2, 2]],
            **more,
        }
        for number in range(count)
    ]


CATEGORIES = [{"id": 9, "name": "cat", "supercategory": "animal"}, {"id": 3, "name": "dog"}]


def document(images, annotations, order=("info", "images", "annotations", "categories"), categories=CATEGORIES):
    parts = {"info": {"year": 2017}, "images": images, "annotations": annotations, "categories": categories}
    return {key: parts[key] for key in order}


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def plain(value):
    if value is ABSENT or value is UNREAD:
        return repr(value)
    return json.dumps(value, default=lambda raw: "raw " + bytes(raw).decode())


def columns_of(data):
    """All that a dataset says, its annotations image by image, and no extra that no row has."""
    order = np.argsort(data.annotations.image_rows, kind="stable")
    table, images, categories = data.annotations.take(order), data.images, data.categories
    extras = {
        (part, key): [plain(value) for value in values.tolist()]
        for part, extra in (("image", images.extra), ("category", categories.extra), ("annotation", table.extra))
        for key, values in extra.items()
        if any(value is not ABSENT for value in values.tolist())
    }
    return {
        "images": [images.names.tolist(), images.sizes.tolist(), images.ids.tolist(), images.splits.tolist(), images.files.tolist()],
        "categories": [categories.names.tolist(), categories.ids.tolist()],
        "annotations": [
            table.image_rows.tolist(), table.category_rows.tolist(), table.boxes.tolist(), table.ids.tolist(), table.ignore.tolist(), table.layout
        ],
        "extras": extras,
        "whole": {key: plain(value) for key, value in data.extra.items()},
        "root": data.root,
    }  # fmt: skip


def outcome(work, **settings_of_intake):
    """What came of it: the dataset, what was left out and what was noted, or the error."""
    intake = Intake(**settings_of_intake)
    try:
        data = work(intake)
    except DataError as error:
        return str(error)
    return columns_of(data), intake.skipped, intake.notes


def both(path, **settings_of_intake):
    whole = outcome(lambda intake: read(path, intake), **settings_of_intake)
    parts = outcome(lambda intake: joined(read_parts(path, intake)), **settings_of_intake)
    return whole, parts


class TestSameAsWhole:
    @pytest.mark.parametrize(
        "order",
        [
            ("info", "images", "annotations", "categories"),
            ("annotations", "categories", "images", "info"),
            ("categories", "annotations", "info", "images"),
        ],
    )
    def test_any_order_of_lists(self, tmp_path, order):
        images = images_of(11)
        path = save(tmp_path / "a.json", document(images, annotations_of(40, images), order))
        whole, parts = both(path)
        assert parts == whole
        assert len(whole[0]["annotations"][0]) == 40

    def test_parts_hold_three_images_each(self, tmp_path):
        images = images_of(11)
        path = save(tmp_path / "a.json", document(images, annotations_of(40, images)))
        parts = list(read_parts(path, Intake()))
        assert [part.images.ids.tolist() for part in parts] == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11]]
        assert all(part.categories.names.tolist() == ["cat", "dog"] for part in parts)
        assert all(part.extra == {"coco.info": {"year": 2017}} for part in parts)

    @pytest.mark.parametrize("skip_invalid", [False, True])
    def test_invalid_rows(self, tmp_path, skip_invalid):
        images = images_of(9)
        annotations = annotations_of(30, images)
        for place, change in (
            (2, {"bbox": [1, 2, -3, 4]}),
            (5, {"bbox": [1, 2, 3]}),
            (8, {"image_id": 4444}),
            (11, {"category_id": 5}),
            (15, {"id": 1}),
            (16, {"id": annotations[2]["id"], "bbox": [1, 1, -1, 1]}),
            (20, {"id": annotations[8]["id"]}),
        ):
            annotations[place] |= change
        annotations.insert(4, 17)
        images[4] |= {"id": 2}
        images[6] |= {"file_name": "../../../outside.jpg"}
        images[7] |= {"id": 3, "file_name": "/outside.jpg"}
        path = save(tmp_path / "a.json", document(images, annotations))
        whole, parts = both(path, skip_invalid=skip_invalid)
        assert parts == whole
        if skip_invalid:
            # 3 images, the 8 annotations that name them, 2, 8, 11, 15, 16 and what is no object
            assert len(whole[1]) == 3 + 8 + 5 + 1
            assert any("is the id of an earlier annotation too" in line for line in whole[1])

    def test_numbers_what_has_no_id_and_moves_what_two_files_share(self, tmp_path):
        for split, first in (("train", 1), ("val", 4), ("test", 100)):
            images = images_of(8, first)
            annotations = annotations_of(20, images)
            for row in annotations[::3]:
                del row["id"]
            annotations[1] |= {"id": annotations[4]["id"]}
            extra = {"note": split} if split == "val" else {}
            annotations[0] |= extra
            categories = CATEGORIES if split != "val" else [*CATEGORIES, {"id": 11, "name": "bird"}]
            save(
                tmp_path / "annotations" / f"instances_{split}.json",
                document(images, annotations, categories=categories),
            )
        for row in ({}, {"wants": {"score"}}):
            whole, parts = both(tmp_path, skip_invalid=True, **row)
            assert parts == whole
        ids = whole[0]["annotations"][3]
        assert len(set(ids)) == len(ids) == 57
        assert any("was added to each" in note for note in whole[2])

    def test_extras_keep_their_order_row_by_row(self, tmp_path):
        images = images_of(6)
        annotations = annotations_of(12, images)
        annotations[0] |= {"zebra": 1}
        annotations[7] |= {"apple": 2, "zebra": 3}
        path = save(tmp_path / "a.json", document(images, annotations))
        whole = list(read(path, Intake()).annotations.extra)
        for part in read_parts(path, Intake()):
            keys = list(part.annotations.extra)
            assert keys == [key for key in whole if key in keys]

    def test_numbers_keep_their_spelling(self, tmp_path):
        images = images_of(4)
        text = (
            json.dumps(document(images, annotations_of(9, images)))
            .replace("10.25", "1025e-2")
            .replace("205.0", "2050E-1")
        )
        whole, parts = both(save(tmp_path / "a.json", text))
        assert parts == whole
        assert '"raw [0, 0.5, 1025e-2, 20]"' in whole[0]["extras"]["annotation", "coco._bbox"]

    def test_no_images_is_one_part(self, tmp_path):
        whole, parts = both(save(tmp_path / "a.json", document([], [])))
        assert parts == whole
        assert len(list(read_parts(tmp_path / "a.json", Intake()))) == 1

    @pytest.mark.parametrize(
        "content",
        [
            '{"images": [}',
            '{"images": [], "annotations": []}',
            '{"images": [], "categories": [], "annotations": [{"id": 1}}',
            '{"images": [], "categories": [], "annotations": [1, {"id": ]}',
            "[1, 2",
            "",
        ],
    )
    def test_malformed(self, tmp_path, content):
        whole, parts = both(save(tmp_path / "a.json", content))
        assert isinstance(whole, str)
        assert parts == whole

    def test_results(self, tmp_path):
        found = [{"image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]
        whole, parts = both(save(tmp_path / "a.json", found))
        assert parts == whole
        assert len(whole[0]["annotations"][0]) == 1


def test_temporary_files_that_cannot_be_made(tmp_path, monkeypatch):
    path = save(tmp_path / "a.json", document(images_of(3), []))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"nowhere: .*Set TMPDIR"):
        list(read_parts(path, Intake()))


small = st.integers(0, 6)
some_images = st.lists(
    st.fixed_dictionaries(
        {"id": small, "file_name": st.sampled_from(["a.jpg", "b.jpg", "../x.jpg", "c/d.jpg", ""])},
        optional={"width": st.sampled_from([0, 5, None, -1]), "url": st.sampled_from([None, "u", 1.0])},
    ),
    max_size=8,
)
some_annotations = st.lists(
    st.fixed_dictionaries(
        {"image_id": small, "category_id": st.sampled_from([3, 9, 5]), "bbox": st.sampled_from([[1, 2, 3, 4], [1, 2, -3, 4], [1, 2, 0, 4], [1]])},
        optional={"id": st.integers(-2, 300), "iscrowd": st.sampled_from([0, 1, True]), "score": st.sampled_from([0.5, None, "high"]), "b": small, "a": small},
    ),
    max_size=14,
)  # fmt: skip


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(st.tuples(some_images, some_annotations, st.permutations(["info", "images", "annotations", "categories"])), min_size=1, max_size=3),
    st.booleans(),
)  # fmt: skip
def test_whatever_a_file_holds(tmp_path_factory, files, skip_invalid):
    folder = tmp_path_factory.mktemp("coco")
    for number, (images, rows, order) in enumerate(files):
        save(folder / "annotations" / f"instances_{number}.json", document(images, rows, order))
    whole, parts = both(folder, skip_invalid=skip_invalid)
    if isinstance(whole, str) and len(files) > 1:
        assert isinstance(parts, str)  # of several files another may be read first
    elif isinstance(whole, str):
        assert parts == whole
    else:
        assert (parts[0], sorted(parts[1]), parts[2]) == (whole[0], sorted(whole[1]), whole[2])


def test_raw_values_stay_raw(tmp_path):
    images = images_of(4)
    path = save(tmp_path / "a.json", document(images, annotations_of(9, images)))
    for part in read_parts(path, Intake()):
        assert all(isinstance(value, msgspec.Raw) for value in part.annotations.extra["segmentation"].tolist())
