"""Every format there and back: its own files to the value, any dataset through any format to the count of its losses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from cocokit import of_folder, spelled, write_odd

import augsuite
from augsuite import conversion, registry
from augsuite.boxes import Layout
from augsuite.dataset import Intake
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite.testing.examples import example_datasets, without_files
from augsuite.testing.formats import count_differences, differences

WRITABLE = [name for name, spec in registry.default().formats().items() if spec.writable and not spec.scheme]
SAMPLES = {
    "bccd": "voc",
    "raccoon/annotations": "voc",
    "raccoon/data/raccoon_labels.csv": "csv",
    "bccd/test.csv": "csv",
    "bccd_coco": "coco",
    "cifar10_sample": "folder",
    "format_samples/coco_dataset/coco_instances": "coco",
    "format_samples/coco_dataset/coco_person_keypoints": "coco",
    "format_samples/coco_dataset/coco_roboflow": "coco",
    "format_samples/cvat_dataset/for_images/export_project": "cvat",
    "format_samples/cvat_dataset/for_images/export_task": "cvat",
    "format_samples/open_images_dataset/v6": "openimages",
    "format_samples/voc_dataset/voc_dataset1": "voc",
    "format_samples/voc_dataset/voc_dataset2": "voc",
    "format_samples/yolo_dataset/annotations": "yolo",
    "format_samples/yolo_dataset/labels": "yolo",
}


def same(given: augsuite.Dataset, back: augsuite.Dataset) -> None:
    """Order, ids, boxes to the last bit, and every extra."""
    assert back.images.names.tolist() == given.images.names.tolist()
    assert back.images.ids.tolist() == given.images.ids.tolist()
    assert back.images.splits.tolist() == given.images.splits.tolist()
    assert back.categories.names.tolist() == given.categories.names.tolist()
    assert back.categories.ids.tolist() == given.categories.ids.tolist()
    assert back.annotations.layout is given.annotations.layout
    np.testing.assert_array_equal(back.annotations.boxes, given.annotations.boxes)
    for column in ("image_rows", "category_rows", "ids", "ignore"):
        assert getattr(back.annotations, column).tolist() == getattr(given.annotations, column).tolist()
    assert differences(given, back, Losses()) == []
    assert differences(back, given, Losses()) == []  # nothing came from nowhere either


# One format


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_real_dataset_comes_back_in_its_own_format(real_data, tmp_path, sample):
    if not (real_data / sample).exists():
        pytest.skip(f"{real_data / sample} does not exist")
    name = SAMPLES[sample]
    given = augsuite.read(real_data / sample)
    assert conversion.detect(real_data / sample).name == name
    augsuite.write(given, tmp_path / "out", name, lossless=True, images="none" if name != "folder" else "symlink")
    back = augsuite.read(tmp_path / "out", allow_outside=True)
    if name != "folder":
        back = with_files_of(given, back)
    same(given, back)


def with_files_of(given: augsuite.Dataset, back: augsuite.Dataset) -> augsuite.Dataset:
    """So that the sizes that only the image files say are not missed where no file was written."""
    files = [str(given.root / file) if file else "" for file in given.images.files.tolist()]
    sizes = np.where((back.images.sizes > 0), back.images.sizes, given.images.sizes)
    return replace(back, images=replace(back.images, files=np.array(files, object), sizes=sizes))


@pytest.mark.parametrize(
    "sample",
    [name for name, kind in SAMPLES.items() if kind == "coco"],
)
def test_real_coco_files_come_back_to_the_letter(real_data, tmp_path, sample):
    conversion.convert(real_data / sample, tmp_path / "out", "coco", lossless=True, images="none")
    written = sorted((tmp_path / "out" / "annotations").glob("*.json"), key=lambda path: path.stem)
    source = sorted(
        (real_data / sample).rglob("*.json"), key=lambda path: path.stem if "instances" in path.stem else str(path)
    )
    by_images = {tuple(image["file_name"] for image in spelled(path)["images"]): spelled(path) for path in source}
    assert len(written) == len(source)
    for path in written:
        content = spelled(path)
        given = by_images[tuple(image["file_name"] for image in content["images"])]
        for row in (*given["annotations"], *content["annotations"]):
            row.setdefault("iscrowd", "number 0")
        assert content == given


def test_an_odd_coco_dataset_comes_back_to_the_letter(tmp_path):
    source = write_odd(tmp_path / "in")
    conversion.convert(source, tmp_path / "out", "coco", lossless=True)
    assert of_folder(tmp_path / "out") == of_folder(source)
    for path in sorted(source.rglob("*.jpg")):
        assert (tmp_path / "out" / path.relative_to(source)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["parquet", "webdataset"])
def test_coco_through_a_format_that_keeps_everything_needs_no_sidecar(tmp_path, name):
    source = write_odd(tmp_path / "in")
    conversion.convert(source, tmp_path / "there", name, lossless=True)
    conversion.convert(tmp_path / "there", tmp_path / "back", "coco", lossless=True)
    assert by_id(of_folder(tmp_path / "back")) == by_id(of_folder(source))


def by_id(files):
    """With the annotations in the order of their ids: a row for each image holds those of an image together."""
    for content in files.values():
        content["annotations"].sort(key=lambda row: row["id"])
    return files


@pytest.mark.parametrize("name", WRITABLE)
def test_what_a_format_gave_it_takes_again_without_a_loss(tmp_path, name):
    """After the first time through a format nothing is left that it cannot hold."""
    for case, data in example_datasets(tmp_path / "given").items():
        try:
            augsuite.write(data, tmp_path / f"{case} 1", name)
        except DataError:
            continue  # nothing that it can hold
        first = augsuite.read(tmp_path / f"{case} 1")
        losses = augsuite.write(first, tmp_path / f"{case} 2", name)
        assert not losses, case
        same(first, augsuite.read(tmp_path / f"{case} 2"))


# Two formats


def cases(folder: Path) -> dict[str, augsuite.Dataset]:
    found = example_datasets(folder / "given")
    data = {case: found[case] for case in ("hard", "shapes", "both")}
    data["odd"] = augsuite.read(write_odd(folder / "odd"))
    return data | {f"{case}, no files": without_files(each) for case, each in data.items()}


@pytest.mark.parametrize("name", WRITABLE)
def test_each_loss_is_counted_once_and_nothing_else(tmp_path, name):
    assert_counted(cases(tmp_path), name, tmp_path)


@pytest.mark.parametrize("name", WRITABLE)
def test_each_loss_of_real_coco_and_cvat_is_counted(real_data, tmp_path, name):
    home = real_data / "format_samples"
    if not home.exists():
        pytest.skip(f"{home} does not exist")
    samples = [sample for sample, kind in SAMPLES.items() if kind in {"coco", "cvat"} and sample.startswith("format")]
    assert_counted(
        {str(number): augsuite.read(real_data / sample) for number, sample in enumerate(samples)}, name, tmp_path
    )


def assert_counted(data: dict[str, augsuite.Dataset], name: str, folder: Path) -> None:
    """What differs is counted; of extras, splits and flags no more than what differs.

    A count of ids says how many rows lost theirs, some of which may get the same number again; where an image is lost with all that
    is on it, its annotations are not looked at.
    """
    tried = 0
    for case, given in data.items():
        target = folder / f"{case} {name}"
        try:
            losses = augsuite.write(given, target, name)
        except DataError as error:
            assert "can hold none of the images" in str(error)  # noqa: PT017 - others must fail
            continue
        tried += 1
        seen, problems = count_differences(given, augsuite.read(target), losses)
        assert problems == [], case
        assert {kind: count for kind, count in seen.items() if count > losses[kind]} == {}, case
        whole = len(given) if not losses["images without annotations"] else 0
        exact = {
            *given.images.extra,
            *given.annotations.extra,
            *given.categories.extra,
            *given.extra,
            "splits",
            "ignore",
        }
        exact = exact if whole else set()
        assert {kind: count for kind, count in losses.items() if kind in exact and count != seen[kind]} == {}, case
    assert tried or name == "folder"


def test_a_segmentation_that_yolo_does_not_write_is_counted_once(tmp_path, monkeypatch):
    source = write_odd(tmp_path / "in")
    result = conversion.convert(source, tmp_path / "boxes", "yolo")
    assert result.losses["segmentation"] == 5  # of 7 annotations two have none
    result = conversion.convert(source, tmp_path / "shapes", "yolo", options={"task": "segment"})
    assert result.losses["segmentation"] == 4  # the one polygon is written; two RLE, an empty list and a null are not
    again = conversion.convert(tmp_path / "shapes", tmp_path / "again", "yolo", lossless=True)
    assert not again.losses
    asked = []
    wanted = Intake.wanted
    monkeypatch.setattr(Intake, "wanted", lambda self, key: asked.append((key, wanted(self, key))) or wanted(self, key))
    conversion.convert(source, tmp_path / "plain", "yolo")
    assert ("segmentation", False) in asked
    assert ("segmentation", True) not in asked


# What is awkward


@pytest.fixture(scope="module")
def awkward(tmp_path_factory):
    """A photograph that is stored turned, a name in two splits, names that are not ASCII, an image without boxes, ids with gaps."""
    folder = tmp_path_factory.mktemp("awkward")
    places = [("one/a.jpg", (40, 30)), ("two/a.jpg", (20, 60)), ("ü 犬.jpg", (24, 36)), ("empty.jpg", (9, 9))]
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn: 30 x 40 in the file for what is 40 x 30
    for number, (place, (width, height)) in enumerate(places):
        (folder / place).parent.mkdir(exist_ok=True)
        turned = number == 0
        stored = (height, width) if turned else (width, height)
        PIL.Image.new("RGB", stored, (number * 60, 0, 99)).save(folder / place, exif=exif if turned else b"")
    return augsuite.Dataset(
        augsuite.Images.of(
            ["a.jpg", "a.jpg", "ü 犬.jpg", "empty.jpg"], [size for _, size in places], [90, 3, 1000, 4],
            ["train", "val", "train", "val"], [place for place, _ in places],
        ),
        augsuite.Categories.of(["größe l & <b>", 'x, "y"; z', "10"], [90, 2, 41]),
        augsuite.Annotations.of(
            [2, 0, 1, 0], [0, 2, 1, 1], [[1, 2, 21, 33], [0, 0, 40, 30], [3, 5, 11, 60], [30, 10, 39.5, 20.25]], Layout.XYXY_PX
        ),
        root=folder,
    )  # fmt: skip


@pytest.mark.parametrize("images", ["copy", "symlink", "none"])
@pytest.mark.parametrize("name", [name for name in WRITABLE if name != "folder"])
def test_awkward_images_and_names_survive(awkward, tmp_path, name, images):
    if (name, images) == ("imagefolder", "none"):
        pytest.skip("has no lines for images that are not there")
    losses = augsuite.write(awkward, tmp_path / "out", name, images=images)
    back = augsuite.read(tmp_path / "out", allow_outside=images == "symlink")
    names, given = found(back), found(awkward)
    if name in {"csv", "voc"}:  # all images in one folder: one of the two is called otherwise, and that is counted
        assert losses["image names"] == 1
        names["val", "a.jpg"] = names.pop(("val", "a_2.jpg"))
    assert names == given
    if images == "none":
        return
    for row in range(len(back)):
        file = back.path(row)
        shown = back.sample(row).image if len(back.rows_of(row)) else None
        assert file.exists()
        assert shown is None or shown.shape[1::-1] == tuple(back.images.sizes[row])


def found(data: augsuite.Dataset) -> dict[tuple[str, str], tuple[list[int], list[tuple[str, list[float]]]]]:
    """Split and name of each image -> its size, and classes and boxes on it, to a millionth of a pixel."""
    corners = np.round(data.boxes(Layout.XYXY_PX), 6) + 0.0
    return {
        (data.images.splits[row], data.images.names[row]): (
            data.images.sizes[row].tolist(),
            sorted(
                (data.categories.names[data.annotations.category_rows[one]], corners[one].tolist())
                for one in data.rows_of(row)
            ),
        )
        for row in range(len(data))
    }


def test_labels_survive_a_folder_per_class(awkward, tmp_path):
    labelled = augsuite.Dataset(
        awkward.images,
        awkward.categories,
        augsuite.Annotations.of([0, 1, 2, 3], [0, 1, 2, 0]),
        root=awkward.root,
    )
    augsuite.write(labelled, tmp_path / "out", "folder")
    back = augsuite.read(tmp_path / "out")
    pairs = {
        (data.images.splits[image], data.path(image).read_bytes()): data.categories.names[category]
        for data in (back,)
        for image, category in zip(data.annotations.image_rows, data.annotations.category_rows, strict=True)
    }
    for image, category in zip(labelled.annotations.image_rows, labelled.annotations.category_rows, strict=True):
        key = (labelled.images.splits[image], labelled.path(image).read_bytes())
        assert pairs[key] == labelled.categories.names[category]


def test_the_same_files_again_after_a_copy_of_the_folder(tmp_path):
    """Nothing in a written folder points at where it was written."""
    source = write_odd(tmp_path / "in")
    for name in WRITABLE:
        if name == "folder":
            continue
        conversion.convert(source, tmp_path / name, name, sidecar=True)
        shutil.move(tmp_path / name, tmp_path / "moved" / name)
        back = augsuite.read(tmp_path / "moved" / name)
        assert back.images.ids.tolist() == augsuite.read(source).images.ids.tolist()
        assert all(back.path(row).exists() for row in range(len(back)))


@pytest.mark.parametrize("name", [name for name, spec in registry.default().formats().items() if spec.write_parts])
def test_parts_change_no_byte(tmp_path, name):
    source = write_odd(tmp_path / "in")
    whole = conversion.convert(source, tmp_path / "whole", name)
    parts = conversion.convert(source, tmp_path / "parts", name, stream=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert parts.losses == whole.losses


@pytest.mark.parametrize("name", ["voc", "yolo", "labelme", "csv"])
def test_a_second_process_changes_no_byte(tmp_path, name):
    source = write_odd(tmp_path / "in")
    for workers in (1, 2):
        result = conversion.convert(source, tmp_path / f"by {workers}", name, workers=workers)
        again = conversion.convert(tmp_path / f"by {workers}", tmp_path / f"back by {workers}", "coco", workers=workers)
        assert (result.boxes, again.boxes) == (7, 7)
    assert contents(tmp_path / "by 2") == contents(tmp_path / "by 1")
    assert contents(tmp_path / "back by 2") == contents(tmp_path / "back by 1")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
