"""The augmented copy on disk: boxes, names, extras, and what happens when something goes wrong."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import augsuite
from augsuite import cli
from augsuite.augment.offline import WEIGHT, augmented
from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, objects, rle
from augsuite.errors import ConfigError, DataError

FLIP = [{"do": "hflip"}]


@pytest.fixture
def data(tmp_path):
    """Two photos of noise, 100 x 50 and 60 x 40; a crowd in the second; COCO's extras."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, (width, height) in (("a.png", (100, 50)), ("sub/b.png", (60, 40))):
        PIL.Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(source / name)
    images = Images.of(
        ["a.png", "sub/b.png"],
        sizes=[[100, 50], [60, 40]],
        ids=[7, 3],
        splits=["train", "val"],
        files=["a.png", "sub/b.png"],
        extra={"coco.license": objects([4, ABSENT]), "coco.coco_url": objects(["http://x/a.png", ABSENT])},
    )
    table = Annotations.of(
        [0, 0, 1],
        [0, 1, 1],
        [[10.25, 5, 20, 10], [0, 0, 100, 50], [30, 10, 30, 30]],
        Layout.XYWH_PX,
        ids=[11, 5, 90],
        ignore=[False, False, True],
        extra={
            "coco.iscrowd": objects([0, 0, 1]),
            "coco.area": objects([200, 5000, 900]),
            "segmentation": objects([[[10, 5, 30, 5, 30, 15]], ABSENT, {"size": [40, 60], "counts": "xx"}]),
            "coco.note": objects([None, "fine", ABSENT]),
        },
    )
    return Dataset(images, Categories.of(["cat", "dog"], ids=[2, 9]), table, root=source)


def build(data, folder, policy=FLIP, **options):
    folder.mkdir(exist_ok=True)
    return augmented(data, augsuite.policy(policy), folder, encoding="png", **options)


def test_a_mirror_by_hand(data, tmp_path):
    result, losses = build(data, tmp_path / "out")
    assert result.images.names.tolist() == ["a.png", "sub/b.png", "a_aug1.png", "sub/b_aug1.png"]
    assert result.images.ids.tolist() == [7, 3, 8, 9]
    assert result.images.splits.tolist() == ["train", "val", "train", "val"]
    assert result.images.sizes[2:].tolist() == [[100, 50], [60, 40]]
    table = result.annotations
    assert table.layout is Layout.XYWH_PX
    assert np.array_equal(table.boxes[:3], data.annotations.boxes)
    # x becomes W - x - w.
    assert table.boxes[3:].tolist() == [[69.75, 5, 20, 10], [0, 0, 100, 50], [0, 10, 30, 30]]
    assert table.image_rows.tolist() == [0, 0, 1, 2, 2, 3]
    assert table.category_rows.tolist() == [0, 1, 1, 0, 1, 1]
    assert table.ids.tolist() == [11, 5, 90, 91, 92, 93]
    assert table.ignore.tolist() == [False, False, True] * 2
    for row, original in ((2, 0), (3, 1)):
        assert np.array_equal(result.sample(row).image, data.sample(original).image[:, ::-1])
    # The run lengths of the third are none, so nobody can mirror them.
    assert losses == {"coco.area": 3, "segmentation": 1, "coco.coco_url": 1}


def test_extras_stay_where_they_are_still_true(data, tmp_path):
    extra = build(data, tmp_path / "out")[0].annotations.extra
    assert extra["coco.iscrowd"].tolist() == [0, 0, 1, 0, 0, 1]
    assert extra["coco.note"].tolist() == [None, "fine", ABSENT] * 2
    assert extra["segmentation"].tolist()[3:] == [[[90, 5, 70, 5, 70, 15]], ABSENT, ABSENT]
    assert extra["coco.area"].tolist() == [200, 5000, 900, ABSENT, ABSENT, ABSENT]
    result, losses = build(data, tmp_path / "out", [{"do": "brightness"}])
    assert result.annotations.extra["coco.area"].tolist() == [200, 5000, 900] * 2
    assert result.images.extra["coco.license"].tolist() == [4, ABSENT] * 2
    assert losses == {"coco.coco_url": 1}


def test_masks_and_keypoints_move_along(data, tmp_path):
    pixels = np.zeros((50, 100), bool)
    pixels[5:15, 10:30] = True
    extra = {
        "segmentation": objects([rle.encode(pixels, 0, 0, 100, 50), ABSENT, ABSENT]),
        "coco.keypoints": objects([[12.5, 6, 2, 0, 0, 0], [99, 1, 1, 20, 20, 2], ABSENT]),
        "coco.num_keypoints": objects([1, 2, ABSENT]),
    }
    shaped = replace(data, annotations=replace(data.annotations, extra=extra))
    crop = [{"do": "hflip"}, {"do": "center_crop", "size": [90, 50]}]  # 5 pixels less on either side
    result, losses = build(shaped, tmp_path / "out", crop)
    found = result.annotations.extra
    mask = rle.window(found["segmentation"][3])
    assert (mask[:2], mask[2].shape, mask[2].all()) == ((65, 5), (20, 10)[::-1], True)
    assert found["coco.keypoints"].tolist()[3:5] == [[82.5, 6, 2, 0, 0, 0], [0, 0, 0, 75, 20, 2]]
    assert found["coco.num_keypoints"].tolist()[3:5] == [1, 1]
    assert not losses.keys() & extra.keys()


def test_a_displacement_is_a_move_although_no_matrix_says_so(data, tmp_path):
    result, losses = build(data, tmp_path / "out", [{"do": "grid_distortion"}])
    assert result.annotations.extra["coco.area"].tolist()[3:] == [ABSENT] * 3
    assert losses["coco.area"] == 3


def test_copies_are_what_a_training_sees(data, tmp_path):
    steps = ["rotate", "photometric", "albumentations.GaussNoise", "albumentations.ISONoise"]
    policy = augsuite.policy([*({"do": name} for name in steps), {"do": "hflip", "p": 0.5}])
    result, _ = build(data.take([0]), tmp_path / "out", policy, copies=3, seed=5, keep_originals=False)
    assert result.images.names.tolist() == ["a_aug1.png", "a_aug2.png", "a_aug3.png"]
    assert result.images.ids.tolist() == [8, 9, 10]
    for epoch in range(3):
        expected = policy(data.take([0]).sample(0), key=(5, epoch, 0))
        found = result.sample(epoch)
        assert np.array_equal(found.image, expected.image)
        assert found.boxes == pytest.approx(expected.boxes, abs=1e-9)
        assert found.labels.tolist() == expected.labels.tolist()


def test_only_the_rows_asked_for(data, tmp_path):
    result, _ = build(data, tmp_path / "out", image_rows=[1], keep_originals=False)
    assert result.images.names.tolist() == ["a.png", "sub/b_aug1.png"]
    assert len(result.annotations) == 3


def test_ids_that_say_nothing_go_on_saying_nothing(data, tmp_path):
    plain = replace(data, images=replace(data.images, ids=np.array([1, 2])))
    result, _ = build(plain, tmp_path / "out", image_rows=[0], keep_originals=False)
    assert result.images.names.tolist() == ["sub/b.png", "a_aug1.png"]
    assert result.images.ids.tolist() == [1, 2]


def test_names_that_are_taken_are_left_alone(data, tmp_path):
    names = data.images.names.copy()
    names[1] = "a_aug1.png"
    taken = replace(data, images=replace(data.images, names=names))
    result, _ = build(taken, tmp_path / "out")
    found = [name.rpartition(".")[0] for name in result.images.names]
    assert len(set(found)) == 4
    assert found[:2] == ["a", "a_aug1"]


def test_fractions_are_written_back_as_fractions(data, tmp_path):
    boxes = data.boxes(Layout.CXCYWH_UNIT)
    unit = replace(data, annotations=replace(data.annotations, boxes=boxes, layout=Layout.CXCYWH_UNIT))
    table = build(unit, tmp_path / "out")[0].annotations
    assert table.layout is Layout.CXCYWH_UNIT
    assert np.array_equal(table.boxes[:3], boxes)
    assert table.boxes[3:] == pytest.approx(boxes * [-1, 1, 1, 1] + [1, 0, 0, 0])


def test_mixed_boxes_carry_their_weight(data, tmp_path):
    result, losses = build(data, tmp_path / "out", [{"do": "mixup"}], keep_originals=False)
    weights = result.annotations.extra[WEIGHT]
    for image in range(2):
        own = [weight for weight, row in zip(weights, result.annotations.image_rows, strict=True) if row == image]
        assert len(own) == 3  # two boxes of one image, one of the other
        assert all(0 < weight < 1 for weight in own)
        assert sum(sorted(set(np.round(own, 5)))) == pytest.approx(1, abs=1e-4)
    assert losses["coco.area"] == 6
    report = augsuite.write(result, tmp_path / "coco", format="coco")
    assert report[WEIGHT] == 6


def test_image_labels_stay_and_mixed_ones_have_shares(tmp_path, data):
    labels = Annotations.of([0, 1], [0, 1])
    classes = replace(data, annotations=labels)
    result, _ = build(classes, tmp_path / "out", keep_originals=False)
    assert result.annotations.category_rows.tolist() == [0, 1]
    assert not result.annotations.is_box.any()
    assert WEIGHT not in result.annotations.extra
    mixed, _ = build(classes, tmp_path / "out", [{"do": "mixup"}], keep_originals=False)
    assert mixed.annotations.image_rows.tolist() == [0, 0, 1, 1]
    shares = np.array(mixed.annotations.extra[WEIGHT], float).reshape(2, 2)
    assert shares.sum(axis=1) == pytest.approx([1, 1])


def run(*arguments):
    return CliRunner().invoke(cli.cli, ["augment", *map(str, arguments)])


@pytest.fixture
def source(data, tmp_path):
    augsuite.write(data, tmp_path / "set", format="coco")
    return tmp_path / "set"


def test_command_writes_what_pycocotools_reads(source, tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    done = run(source, tmp_path / "out", "--policy", "flip", "--to", "coco", "--copies", 2)
    assert done.exit_code == 0, done.output
    assert "segmentation" in done.stdout
    found = coco.COCO(tmp_path / "out" / "annotations" / "instances_train.json")
    capsys.readouterr()
    assert len(found.getImgIds()) == 3
    for image in found.loadImgs(found.getImgIds()):
        with PIL.Image.open(tmp_path / "out" / "images" / "train" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"]) == (100, 50)
    assert sorted({each["area"] for each in found.loadAnns(found.getAnnIds())}) == [200, 5000]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "set", "source"]


def test_command_augments_one_split(source, tmp_path):
    done = run(source, tmp_path / "out", "--policy", "flip", "--to", "coco", "--split", "train", "--copies", 3)
    assert done.exit_code == 0, done.output
    counts = {
        split: len(json.loads((tmp_path / "out" / "annotations" / f"instances_{split}.json").read_text())["images"])
        for split in ("train", "val")
    }
    assert counts == {"train": 4, "val": 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "flipp", "--to", "coco"], "Did you mean 'flip'"),
        (["--policy", "flip", "--to", "cocoa"], "Did you mean 'coco'"),
        (["--policy", "flip", "--to", "coco", "--split", "tain"], "Did you mean 'train'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(source, tmp_path, arguments, said):
    before = sorted(tmp_path.rglob("*"))
    done = run(source, tmp_path / "out", *arguments)
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unreadable_image_leaves_nothing_half_written(source, tmp_path):
    image = source / "images" / "val" / "sub" / "b.png"
    image.write_bytes(image.read_bytes()[:200])
    before = sorted(tmp_path.rglob("*"))
    done = run(source, tmp_path / "out", "--policy", "flip", "--to", "coco")
    assert isinstance(done.exception, DataError)
    assert "b.png" in str(done.exception)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_existing_folder_is_refused_before_anything_is_rendered(source, tmp_path, monkeypatch):
    monkeypatch.setattr("augsuite.commands.augment.augmented", lambda *_, **__: pytest.fail("rendered"))
    done = run(source, tmp_path / "source", "--policy", "flip", "--to", "coco")
    assert isinstance(done.exception, ConfigError)
    assert "--overwrite" in str(done.exception)


@pytest.fixture(scope="module")
def raccoon():
    folder = os.environ.get("AUGSUITE_DATA")
    if not folder or not (Path(folder) / "raccoon").is_dir():
        pytest.skip("needs raccoon under AUGSUITE_DATA")
    return augsuite.read(Path(folder) / "raccoon").draw(12, seed=0)


@pytest.mark.parametrize("target", ["coco", "voc"])
def test_real_photos_read_back_as_they_were_made(raccoon, tmp_path, target):
    (tmp_path / "images").mkdir()
    policy = augsuite.policy("ssd")
    result, _ = augmented(raccoon, policy, tmp_path / "images", keep_originals=False)
    augsuite.write(result, tmp_path / "out", format=target)
    back = augsuite.read(tmp_path / "out")
    rows = {Path(name).stem: row for row, name in enumerate(back.images.names)}
    assert len(rows) == len(raccoon)
    for row in range(len(raccoon)):
        expected = policy(raccoon.sample(row), key=(0, 0, row))
        found = back.sample(rows[f"{Path(raccoon.images.names[row]).stem}_aug1"])
        assert found.boxes == pytest.approx(expected.boxes, abs=1e-9)
        assert found.image.shape == expected.image.shape
        # JPEG at quality 95 with halved colour resolution is off by a few levels.
        assert np.abs(found.image.astype(int) - expected.image).mean() < 6
