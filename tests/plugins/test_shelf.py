"""The shelf generator: deterministic, with boxes that fit and shifts that change only what they say."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from augsuite.errors import ConfigError
from augsuite_shelf.make import make_image, make_shelf, split_of
from augsuite_shelf.products import DETAIL, KINDS, Product, draw
from augsuite_shelf.render import LEAST_VISIBLE, expose, render
from augsuite_shelf.scene import HEIGHT, SMALLER, WIDTH, draw_scene

SHIFTS = ("none", "light", "mirror", "scale")
PAIRS = (("mug_left", "mug_right"), ("jug_left", "jug_right"))


def build(folder: Path, images: int = 8, seed: int = 3, **options: str):
    folder.mkdir()
    counted: list[int] = []
    data = make_shelf(folder, images, seed, counted.append, **options)
    assert sum(counted) == images
    return data


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_process_makes_the_same_bytes(tmp_path):
    build(tmp_path / "here", shift="light")
    code = (
        "import sys; from pathlib import Path; from augsuite_shelf.make import make_shelf; folder = Path(sys.argv[1]); "
        "folder.mkdir(); make_shelf(folder, 8, 3, lambda count: None, shift='light')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True)
    assert content(tmp_path / "here") == content(tmp_path / "there")


def test_another_seed_makes_other_images():
    assert make_image(3, 0, "none")[0] != make_image(4, 0, "none")[0]


def test_a_larger_dataset_begins_with_the_smaller(tmp_path):
    small = build(tmp_path / "small", images=5)
    large = build(tmp_path / "large", images=9)
    few, many = content(tmp_path / "small"), content(tmp_path / "large")
    images = [name for name in few if name.endswith(".jpg")]
    assert len(images) == 5
    assert all(few[name] == many[name] for name in images)
    count = len(small.annotations)
    assert np.array_equal(small.annotations.boxes, large.annotations.boxes[:count])
    for split in ("train", "val"):
        part, whole = (json.loads(every[f"annotations/instances_{split}.json"])["annotations"] for every in (few, many))
        assert whole[: len(part)] == part


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_the_split_keeps_its_share_at_every_length(share):
    splits = [split_of(index, share) for index in range(400)]
    for length in range(1, 401):
        assert abs(splits[:length].count("val") - share * length) < 1 + 1e-9


@pytest.mark.parametrize("shift", SHIFTS[1:])
def test_a_shift_changes_the_validation_split_alone(tmp_path, shift):
    build(tmp_path / "none")
    build(tmp_path / "shifted", shift=shift)
    plain, shifted = content(tmp_path / "none"), content(tmp_path / "shifted")
    assert plain.keys() == shifted.keys()
    assert all(plain[name] == shifted[name] for name in plain if "/train/" in name)
    changed = [plain[name] != shifted[name] for name in plain if "/val/" in name]
    assert any(changed) if shift == "mirror" else all(changed)  # an image may hold nothing that faces
    first, second = (json.loads(every["annotations/instances_train.json"]) for every in (plain, shifted))
    assert (first.pop("info")["shift"], second.pop("info")["shift"]) == ("none", shift)
    assert first == second


def test_light_moves_nothing():
    for index in range(6):
        plain, lit = draw_scene(5, index, "none"), draw_scene(5, index, "light")
        assert replace(lit, light=plain.light) == plain
        assert lit.light.gains[0] / plain.light.gains[0] != pytest.approx(1, abs=0.05)
        assert render(plain)[1] == render(lit)[1]


def test_mirror_turns_what_faces_and_nothing_else():
    turned = 0
    for index in range(20):
        for before, after in zip(draw_scene(5, index).products, draw_scene(5, index, "mirror").products, strict=True):
            if KINDS[before.kind].faces:
                assert after == replace(before, turned=not before.turned)
                turned += 1
            else:
                assert after == before
    assert turned > 10


def test_scale_makes_every_product_smaller_where_it_stands():
    for index in range(6):
        for before, after in zip(draw_scene(5, index).products, draw_scene(5, index, "scale").products, strict=True):
            assert after == replace(before, height=before.height * SMALLER)


def test_products_face_mostly_right():
    facing = [item.turned for index in range(300) for item in draw_scene(1, index).products if KINDS[item.kind].faces]
    share = 1 - np.mean(facing)
    assert 0.85 < share < 0.95  # 0.9 by design; six standard errors of about 380 draws


@pytest.mark.parametrize("shift", SHIFTS)
def test_handed_products_are_never_turned(shift):
    handed = {name for pair in PAIRS for name in pair}
    products = [item for index in range(40) for item in draw_scene(2, index, shift).products]
    assert not any(item.turned for item in products if item.kind in handed)


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_the_hands_of_a_pair_are_mirror_images(left, right):
    for look in range(5):
        product = Product(left, 42.0, 1.1, 50.0, 70.0, turned=False, look=(9, look))
        mirrored = np.asarray(draw(product))[:, ::-1]
        assert np.array_equal(np.asarray(draw(replace(product, kind=right))), mirrored)
        assert not np.array_equal(np.asarray(draw(product)), mirrored)


@pytest.mark.parametrize("shift", SHIFTS)
def test_boxes_lie_within_the_image_and_hold_something(shift):
    for index in range(15):
        placed = render(draw_scene(7, index, shift))[1]
        assert 1 <= len(placed) <= 9
        for item in placed:
            x, y, width, height = item.box
            assert x >= 0
            assert y >= 0
            assert x + width <= WIDTH
            assert y + height <= HEIGHT
            assert min(width, height) > 2
            assert LEAST_VISIBLE <= item.visible <= 1


def test_a_box_is_the_extent_of_what_the_product_changes():
    """Draw each product alone, in the same surroundings as the empty scene, and look where the picture changes."""
    checked = 0
    for index in range(12):
        scene = draw_scene(11, index)
        quiet = replace(scene, light=replace(scene.light, noise=0.0, glares=(), slope=(0.0, 0.0), brightness=1.0))
        empty = render(replace(quiet, products=()))[0].astype(int)
        for product in scene.products:
            pixels, placed = render(replace(quiet, products=(product,)))
            if not placed:  # most of it lies outside the image
                continue
            change = np.abs(pixels.astype(int) - empty).max(axis=2)
            x, y, width, height = placed[0].box
            inside = np.zeros_like(change, bool)
            inside[int(y) : int(np.ceil(y + height)), int(x) : int(np.ceil(x + width))] = True
            # beyond the box there is its soft shadow alone, which only darkens, and by less than half
            outside = ~inside & (change > 0)
            assert (pixels[outside] <= empty[outside]).all()
            assert (pixels[outside] >= 0.4 * empty[outside] - 2).all()
            rows, columns = (np.flatnonzero((change * inside > 12).any(axis=axis)) for axis in (1, 0))
            # a quarter of a pixel of an edge, in a colour like the wall's, may change too little to be seen
            assert abs(rows[0] - y) < 2.5
            assert abs(rows[-1] + 1 - (y + height)) < 2.5
            assert abs(columns[0] - x) < 2.5
            assert abs(columns[-1] + 1 - (x + width)) < 2.5
            checked += 1
    assert checked > 30


def test_visible_share_counts_what_nearer_products_and_the_border_hide():
    scene = draw_scene(0, 0)
    can = Product("can", 50.0, 0.65, 60.0, 150.0, turned=False, look=(1,))
    area = int((np.asarray(draw(can).getchannel("A")) > 0).sum())
    alone = render(replace(scene, products=(can,)))[1]
    assert [item.visible for item in alone] == [1.0]
    behind = replace(can, look=(1,), base=149.0)
    hidden = render(replace(scene, products=(behind, can)))[1]  # the nearer one covers all but a quarter pixel's rows
    assert [item.product for item in hidden] == [can]
    cut = replace(can, middle=0.0)  # its left half lies outside
    (half,) = render(replace(scene, products=(cut,)))[1]
    silhouette = np.asarray(draw(can).getchannel("A")) > 0
    left = round(-silhouette.shape[1] / 2)
    assert half.visible == pytest.approx(silhouette[:, -left:].sum() / area)
    assert half.box[0] == 0.0
    assert half.box[2] == (silhouette.shape[1] + left) / DETAIL


def test_exposure_of_a_grey_card_by_hand():
    light = replace(
        draw_scene(0, 0).light, gains=(1.2, 1.0, 0.5), slope=(0, 0), brightness=0.5, veil=0.0, glares=(), noise=0.0
    )
    card = np.full((2, 3, 3), 100, np.float32)
    assert expose(card, light, np.random.default_rng(0))[0, 0].tolist() == [60, 50, 25]
    veiled = expose(card, replace(light, veil=0.4), np.random.default_rng(0))[0, 0].tolist()
    # 0.6 of [60, 50, 25] and 0.4 of stray light of 235 in the light's colour, [282, 235, 117.5]: [148.8, 124, 62]
    assert veiled == [149, 124, 62]


def test_pycocotools_reads_what_is_written(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    data = build(tmp_path / "shelf", images=12)
    total = 0
    for split in ("train", "val"):
        with contextlib.redirect_stdout(io.StringIO()):
            read = coco.COCO(str(tmp_path / f"shelf/annotations/instances_{split}.json"))
        assert [category["name"] for category in read.loadCats(read.getCatIds())] == list(KINDS)
        for image in read.loadImgs(read.getImgIds()):
            with PIL.Image.open(tmp_path / "shelf/images" / split / image["file_name"]) as opened:
                assert opened.size == (image["width"], image["height"])
        boxes = [item["bbox"] for item in read.loadAnns(read.getAnnIds())]
        rows = np.isin(data.annotations.image_rows, np.flatnonzero(data.images.splits == split))
        assert np.array_equal(np.array(boxes), data.annotations.boxes[rows])
        total += len(boxes)
    assert total == len(data.annotations)


@pytest.mark.parametrize(
    ("options", "hint"),
    [({"val": "1.5"}, "1.5"), ({"val": "many"}, "many"), ({"shift": "lihgt"}, "Did you mean 'light'")],
)
def test_values_that_make_no_sense_are_refused(tmp_path, options, hint):
    with pytest.raises(ConfigError, match=hint):
        make_shelf(tmp_path, 2, 0, lambda count: None, **options)
    assert list(tmp_path.iterdir()) == []
