"""Findings and repairs: each fault is made by hand and counted by hand."""

import json
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import augsuite
from augsuite import cli
from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.dataset.fixes import fix
from augsuite.dataset.inspection import inspect
from augsuite.errors import ConfigError, DataError


def scene(seed, size):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (9, 12, 3), np.uint8)
    return PIL.Image.fromarray(small).resize(size, PIL.Image.Resampling.BICUBIC)


def found(data, *arguments, **options):
    return {each.code: each for each in augsuite.validate(data, *arguments, **options).findings}


BOXES = [
    # image, category, x, y, w, h
    (0, 0, 10, 10, 20, 20),  # sound
    (0, 0, 10, 10, 20, 20),  # the same again
    (0, 1, 10, 10, 20, 20),  # another class
    (0, 0, 10, 10, 20.2, 20),  # nearly the same: IoU 400 / 404
    (0, 0, 90, 70, 30, 30),  # reaches out of 100 x 80
    (1, 0, 100, 0, 5, 5),  # touches the image only
    (1, 0, 5, 5, 0, 9),  # no width
    (1, 2, -0.005, 0, 40, 10),  # out by less than a hundredth of a pixel
    (2, 0, 0, 0, 100, 80),  # the whole image
]


@pytest.fixture
def data(tmp_path):
    for row in range(4):
        scene(row, (100, 80)).save(tmp_path / f"{row}.jpg")
    columns = list(zip(*BOXES, strict=True))
    labels = Annotations.of(
        columns[0],
        columns[1],
        np.array(columns[2:], float).T,
        Layout.XYWH_PX,
        extra={"coco.area": objects([400, 400, 400, 404, 900, 25, 0, 400, 5000])},
    )
    images = Images.of([f"{row}.jpg" for row in range(4)], [[100, 80]] * 4, files=[f"{row}.jpg" for row in range(4)])
    return Dataset(images, Categories.of(["cat", "dog", "eel", "fox"]), labels, root=tmp_path)


def test_faults_of_boxes(data):
    seen = found(data)
    assert {code: each.count for code, each in seen.items()} == {
        "empty-box": 1,
        "box-outside": 1,
        "box-reaches-out": 1,
        "repeated-annotation": 1,
        "near-repeated-box": 1,
        "unused-category": 1,
        "image-without-annotations": 1,
    }
    assert [each.severity for each in seen.values()] == ["error"] * 2 + ["warning"] * 3 + ["info"] * 2
    assert seen["box-outside"].places[0].image == "1.jpg"
    assert seen["box-outside"].places[0].annotation == 6
    assert seen["repeated-annotation"].places[0].annotation == 2  # the first one stays
    assert seen["near-repeated-box"].places[0].annotation == 4
    assert seen["unused-category"].places[0].said == "fox"
    assert augsuite.validate(data).errors == 2


@pytest.mark.parametrize("layout", list(Layout))
def test_every_layout_finds_the_same(data, layout):
    table = data.annotations
    other = replace(data, annotations=replace(table, boxes=data.boxes(layout), layout=layout))
    codes = {code: each.count for code, each in found(other).items()}
    assert codes["empty-box"] == codes["box-outside"] == codes["box-reaches-out"] == 1


def test_the_repair_of_boxes(data):
    fixed, _, done = fix(data, inspect(data))
    assert {each.code: each.count for each in done} == {
        "empty-box": 1,
        "box-outside": 1,
        "repeated-annotation": 1,
        "box-reaches-out": 1,
    }
    table = fixed.annotations
    assert table.ids.tolist() == [1, 3, 4, 5, 8, 9]
    assert table.boxes[3].tolist() == [90, 70, 10, 10]
    assert table.boxes[[0, 1, 2, 4, 5]].tolist() == [list(BOXES[row][2:]) for row in (0, 2, 3, 7, 8)]
    # An area that was the box's is to be computed anew; that of a shape stays.
    assert table.extra["coco.area"].tolist() == [400, 400, 404, ABSENT, 400, 5000]
    assert not {"empty-box", "box-outside", "box-reaches-out", "repeated-annotation"} & set(found(fixed))
    assert data.annotations.boxes[4].tolist() == [90, 70, 30, 30]  # the argument is left alone


def test_a_repetition_that_says_something_else_stays(data):
    extra = {"coco.segmentation": objects([[1], [2], ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT])}
    other = replace(data, annotations=replace(data.annotations, extra=extra))
    assert found(other)["repeated-annotation"].count == 1
    fixed, _, done = fix(other)
    assert "repeated-annotation" not in {each.code for each in done}
    assert fixed.annotations.ids.tolist() == [1, 2, 3, 4, 5, 8, 9]


def test_a_crowd_over_one_object_is_no_repetition(data):
    ignore = np.zeros(9, bool)
    ignore[[1, 3]] = True
    other = replace(data, annotations=replace(data.annotations, ignore=ignore))
    assert "repeated-annotation" not in found(other)


def test_repeated_image_labels(tmp_path):
    scene(1, (30, 30)).save(tmp_path / "a.png")
    data = Dataset(
        Images.of(["a.png"], files=["a.png"]),
        Categories.of(["x", "y"]),
        Annotations.of([0, 0, 0], [0, 1, 0]),
        root=tmp_path,
    )
    seen = found(data)
    assert seen["repeated-annotation"].count == 1
    assert not {"empty-box", "box-outside", "box-reaches-out"} & set(seen)
    assert fix(data)[0].annotations.ids.tolist() == [1, 2]


@pytest.fixture
def broken(data, tmp_path):
    """One image each: sound, damaged, no image, missing; wrong size, EXIF-turned."""
    damaged = bytearray((tmp_path / "1.jpg").read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 300] = bytes(300)
    (tmp_path / "1.jpg").write_bytes(damaged)
    (tmp_path / "2.jpg").write_text("no image")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    scene(8, (100, 80)).save(tmp_path / "turned.jpg", exif=exif)
    scene(9, (200, 160)).save(tmp_path / "double.jpg")
    scene(7, (120, 80)).save(tmp_path / "wider.jpg")
    files = ["0.jpg", "1.jpg", "2.jpg", "", "turned.jpg", "double.jpg", "wider.jpg"]
    images = Images.of([f"i{row}" for row in range(7)], [[100, 80]] * 5 + [[300, 240], [100, 80]], files=files)
    table = Annotations.of(
        [0, 1, 1, 2, 3, 4, 5, 6],
        [0] * 8,
        [
            [1, 1, 9, 9],
            [1, 1, 9, 9],
            [40, 40, 49, 49],
            [1, 1, 9, 9],
            [1, 1, 9, 9],
            [1, 1, 95, 9],
            [1, 1, 290, 9],
            [1, 1, 100, 9],
        ],
    )
    return Dataset(images, Categories.of(["cat"]), table, root=tmp_path)


def test_faults_of_files(broken):
    pytest.importorskip("cv2")
    seen = found(broken)
    expected = {"image-missing": ["i3"], "image-unreadable": ["i2"], "image-damaged": ["i1"], "size-turned": ["i4"], "size-mismatch": ["i5", "i6"]}  # fmt: skip
    assert {code: [place.image for place in seen[code].places] for code in expected} == expected
    assert all(seen[code].severity == "error" for code in expected)
    assert "300 x 240, the file 200 x 160" in seen["size-mismatch"].places[0].said


def test_no_file_is_opened_where_nobody_wants_it(broken):
    report = augsuite.validate(broken, files=False)
    assert not report.files_opened
    assert not any(each.code.startswith("image-missing") for each in report.findings)


def test_the_repair_of_sizes_makes_no_guess(broken):
    fixed, _, done = fix(broken, inspect(broken))
    assert {each.code: each.count for each in done} == {"size-mismatch": 1}
    # i5's box would reach out of its file, which was scaled; i4's frame is unknown; i6's box fits both.
    assert fixed.images.sizes.tolist() == [[100, 80]] * 5 + [[300, 240], [120, 80]]
    assert (fixed.annotations.boxes == broken.annotations.boxes).all()
    assert len(fixed) == 7


def test_images_are_dropped_only_if_asked_for(broken):
    pytest.importorskip("cv2")
    fixed, inspection, done = fix(broken, inspect(broken), drop_images=True)
    assert fixed.images.names.tolist() == ["i0", "i4", "i5", "i6"]
    assert done[0].count == 3
    assert "with 4 annotations" in done[0].what
    assert inspection is not None
    assert len(inspection.sizes) == 4


def test_sizes_of_fractions_are_corrected_without_doubt(broken):
    table = broken.annotations
    sound = broken.take([0, 5])
    table = replace(sound.annotations, boxes=np.array([[0, 0, 1, 1], [0.5, 0.5, 1, 1]]), layout=Layout.XYXY_UNIT)
    fixed, _, _ = fix(replace(sound, annotations=table), inspect(sound))
    assert fixed.images.sizes.tolist() == [[100, 80], [200, 160]]
    assert fixed.annotations.boxes.tolist() == table.boxes.tolist()


def test_unknown_sizes_are_taken_from_files_or_said(data):
    unknown = replace(data, images=replace(data.images, sizes=np.zeros((4, 2), np.int64)))
    assert found(unknown)["box-outside"].count == 1
    without = found(unknown, files=False)
    assert "box-outside" not in without
    assert without["size-unknown"].count == 3  # the fourth has no annotations


def test_leakage_and_names(tmp_path):
    for name, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2), ("d.png", 3), ("e.png", 4)):
        scene(seed, (100, 80)).save(tmp_path / name)
    scene(2, (100, 80)).save(tmp_path / "c.jpg", quality=70)
    names = ["same", "b", "c", "c2", "same", "e", "a again"]
    files = ["a.png", "b.png", "c.png", "c.jpg", "d.png", "e.png", "a.png"]
    splits = ["train", "val", "train", "test", "val", "train", "train"]
    table = Annotations.of([0, 2, 5, 1, 4], [0, 0, 0, 0, 1])
    seen = found(Dataset(Images.of(names, splits=splits, files=files), Categories.of(["x", "y"]), table, root=tmp_path))
    assert [place.image for place in seen["leak"].places] == ["b"]
    assert seen["leak"].severity == "error"
    assert "same in train" in seen["leak"].places[0].said
    assert seen["near-leak"].count == 1
    assert {seen["near-leak"].places[0].image, *seen["near-leak"].places[0].said.split()} >= {"c", "c2"}
    assert [place.image for place in seen["repeated-image"].places] == ["a again"]
    assert seen["name-in-two-splits"].count == 1
    assert {place.image for place in seen["name-in-two-splits"].places} == {"same"}
    assert seen["category-not-in-train"].places[0].said == "y: 1"


def test_imbalance():
    table = Annotations.of([0] * 111, [0] * 100 + [1] * 10 + [2])
    data = Dataset(Images.of(["a"]), Categories.of(["x", "y", "z"]), table)
    said = [place.said for place in found(data, files=False)["class-imbalance"].places]
    assert said == ["z: 1", "y: 10"]


@pytest.fixture
def coco(tmp_path):
    """A COCO file with an annotation of no category, an unreadable row, a box that reaches out and one without area."""
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images = [{"id": row + 1, "file_name": f"{row}.png", "width": 100, "height": 80} for row in range(3)]
    for row in range(3):
        scene(row + 20, (100, 80)).save(folder / "images" / f"{row}.png")
    rows = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]},
        {"id": 2, "image_id": 1, "category_id": 9, "bbox": [1, 2, 30, 40]},
        {"id": 3, "image_id": 2, "category_id": 1, "bbox": [1, 2, 30]},
        {"id": 4, "image_id": 2, "category_id": 1, "bbox": [90, 2, 30, 40], "area": 1200},
        {"id": 5, "image_id": 3, "category_id": 1, "bbox": [9, 2, 0, 40]},
    ]
    (folder / "annotations" / "instances.json").write_text(
        json.dumps({"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": rows})
    )
    return folder


def run(*arguments):
    return CliRunner().invoke(cli.cli, [str(argument) for argument in arguments])


def test_the_command_says_and_counts(coco):
    done = run("validate", coco, "--json")
    assert done.exit_code == 1, done.output
    report = json.loads(done.stdout)
    counts = {each["code"]: each["count"] for each in report["findings"]}
    assert counts["unknown-category"] == 1
    assert counts["invalid-row"] == 1
    assert counts["empty-box"] == 1
    assert counts["box-reaches-out"] == 1
    assert report["errors"] == 3
    done = run("validate", coco)
    assert done.exit_code == 1
    assert "there is no category with id 9" in done.stdout
    assert "3 errors" in done.stdout


def test_the_command_repairs_into_another_folder(coco, tmp_path):
    before = (coco / "annotations" / "instances.json").read_bytes()
    target = tmp_path / "fixed"
    done = run("validate", coco, "--fix", "--out", target)
    assert done.exit_code == 0, done.output
    assert "clipped boxes to their image" in done.stdout
    assert "0 errors" in done.stdout.splitlines()[-1]
    assert (coco / "annotations" / "instances.json").read_bytes() == before
    peer = pytest.importorskip("pycocotools.coco").COCO(str(target / "annotations" / "instances.json"))
    assert {each["id"]: each["bbox"] for each in peer.loadAnns(peer.getAnnIds())} == {
        1: [1, 2, 30, 40],
        4: [90, 2, 10, 40],
    }
    assert peer.anns[4]["area"] == 400
    assert run("validate", target).exit_code == 0
    with pytest.raises(ConfigError, match="--overwrite"):
        cli.cli.main(["validate", str(coco), "--fix", "--out", str(target)], standalone_mode=False)
    with pytest.raises(ConfigError, match="part of the dataset"):
        cli.cli.main(["validate", str(coco), "--fix", "--out", str(coco), "--overwrite"], standalone_mode=False)


def test_errors_that_remain_are_said(coco, tmp_path):
    (coco / "images" / "0.png").write_text("no image")
    done = run("validate", coco, "--fix", "--out", tmp_path / "fixed", "--json")
    assert done.exit_code == 1, done.output
    said = json.loads(done.stdout)
    assert [each["code"] for each in said["after"]["findings"] if each["severity"] == "error"] == ["image-unreadable"]
    assert (tmp_path / "fixed" / "images" / "0.png").read_text() == "no image"
    done = run("validate", coco, "--fix", "--out", tmp_path / "fixed2", "--drop-images", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == 2


@pytest.mark.parametrize("arguments", [["--fix"], ["--out", "x"], ["--drop-images"]])
def test_options_that_make_no_sense_alone(coco, arguments):
    assert isinstance(run("validate", coco, *arguments).exception, ConfigError)


@pytest.mark.timeout(60)
def test_what_cannot_be_read_at_all_stops(tmp_path):
    (tmp_path / "a.json").write_text('{"images": [], "annotations": [')
    assert isinstance(run("validate", tmp_path / "a.json").exception, DataError)


def test_notes_are_findings(data):
    intake = Intake(skip_invalid=True)
    intake.note("odd")
    intake.note("odd")
    assert found(data, intake)["note"].count == 2


def test_a_sound_dataset_of_photographs(real_data):
    for name in ("bccd", "raccoon"):
        if (real_data / name).is_dir():
            assert augsuite.validate(augsuite.read(real_data / name)).errors == 0
