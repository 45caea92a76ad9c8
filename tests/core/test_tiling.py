"""Tiles: boxes painted into the pixels, areas that add up, masks by pycocotools, and all pairs of boxes and tiles tried."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import msgspec
import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from augsuite import cli
from augsuite.boxes import Layout, intersect
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, objects
from augsuite.dataset.clipping import clip_polygons
from augsuite.dataset.grid import Grid
from augsuite.dataset.parallel import using
from augsuite.dataset.tiling import tiled
from augsuite.engines.local import run as run_local
from augsuite.errors import ConfigError, DataError

COLORS = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (250, 250, 10), (250, 10, 250)]
BOXES = [[5, 5, 30, 20], [25, 10, 75, 40], [60, 45, 61, 46], [80, 0, 97, 63], [0, 50, 50, 63]]


@pytest.fixture
def data(tmp_path):
    """97 x 63 pixels of grey noise with five painted boxes that do not overlap, and 30 x 20 pixels that fit one tile."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(0, 9, (63, 97, 1), dtype=np.uint8), 3, axis=2)
    for (x0, y0, x1, y1), color in reversed(list(zip(BOXES, COLORS, strict=True))):
        pixels[y0:y1, x0:x1] = color
    pixels[10:20, 25:30] = COLORS[1]  # where the first two do overlap, the second is on top
    PIL.Image.fromarray(pixels).save(source / "a.png")
    PIL.Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(source / "sub" / "b.jpg")
    images = Images.of(
        ["a.png", "sub/b.jpg"],
        [[97, 63], [30, 20]],
        ids=[70, 30],
        splits=["train", "val"],
        files=["a.png", "sub/b.jpg"],
        extra={"coco.license": objects([4, ABSENT]), "coco.coco_url": objects(["http://x/a.png", ABSENT])},
    )
    table = Annotations.of(
        [0] * 5 + [1, 1],
        [0, 1, 0, 1, 0, 1, 1],
        [*BOXES, [2, 2, 12, 12], [np.nan] * 4],
        ids=[9, 8, 7, 6, 5, 4, 3],
        ignore=[False] * 4 + [True] + [False] * 2,
        extra={
            "coco.area": objects([375, 1500, 1, 1071, 650, 100, ABSENT]),
            "coco.keypoints": objects([[6, 6, 2], *[ABSENT] * 4, [3, 3, 1], ABSENT]),
            "coco.note": objects(["x", None, *[ABSENT] * 5]),
        },
    )
    return Dataset(images, Categories.of(["cat", "dog"], ids=[2, 9]), table, root=source)


def build(data, folder, **options):
    folder.mkdir(exist_ok=True)
    return tiled(data, folder, **{"size": (40, 40), "overlap": 10, **options})


def starts(length, tile, overlap):
    return Grid.of(np.array([[length, 1]]), (tile, 1), (overlap, 0)).places[:, 0].tolist()


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "expected"),
    [
        (100, 40, 10, [0, 30, 60]),
        (101, 40, 10, [0, 30, 60, 61]),
        (100, 50, 0, [0, 50]),
        (99, 50, 0, [0, 49]),
        (40, 40, 10, [0]),
        (7, 40, 10, [0]),
        (41, 40, 39, [0, 1]),
    ],
)
def test_where_tiles_begin(length, tile, overlap, expected):
    assert starts(length, tile, overlap) == expected


def test_pixels_are_those_of_the_original(data, tmp_path):
    result, _ = build(data, tmp_path / "out")
    original = {name: data.sample(row).image for row, name in enumerate(data.images.names)}
    covered = {name: np.zeros(pixels.shape[:2], bool) for name, pixels in original.items()}
    for row in range(len(result)):
        name, x, y = (result.images.extra[f"tile.{key}"][row] for key in ("source", "x", "y"))
        width, height = result.images.sizes[row]
        assert (width, height) == ((40, 40) if name == "a.png" else (30, 20))
        assert np.array_equal(result.sample(row).image, original[name][y : y + height, x : x + width])
        covered[name][y : y + height, x : x + width] = True
    assert all(every.all() for every in covered.values())


def test_boxes_are_where_they_were_painted(data, tmp_path):
    result, losses = build(data, tmp_path / "out", min_visible_frac=0)
    table = result.annotations
    painted = {row: set() for row in range(len(result))}
    for row in range(len(result)):
        if result.images.extra["tile.source"][row] == "a.png":
            pixels = result.sample(row).image
            for color in (COLORS[k] for k in range(1, 5)):  # the first box is partly covered
                y, x = np.nonzero((pixels == color).all(axis=2))
                if len(x):
                    painted[row].add((x.min(), y.min(), x.max() + 1, y.max() + 1))
    for row, expected in painted.items():
        own = table.boxes[table.image_rows == row]
        found = {tuple(box) for box in own.tolist()}
        assert expected <= found
        assert len(found - expected) <= (1 if result.images.extra["tile.source"][row] == "a.png" else 2)
    assert "boxes too little seen in every tile" not in losses


def test_areas_add_up_where_tiles_do_not_overlap(tmp_path, data):
    whole = data.take([0])
    exact = replace(whole, images=replace(whole.images, sizes=np.array([[97, 63]])))
    # 97 and 63 are no multiples: cut to 80 x 60, of which 40 x 30 is, so that no tile moves back over its neighbour.
    PIL.Image.fromarray(exact.sample(0).image[:60, :80]).save(exact.root / "c.png")
    cut = replace(exact, images=Images.of(["c.png"], [[80, 60]], files=["c.png"]))
    result, _ = build(cut, tmp_path / "out", size=(40, 30), overlap=0, min_visible_frac=0)
    boxes = result.annotations.boxes
    inside = np.clip(np.array(BOXES, float), 0, [80, 60, 80, 60])
    assert len(result) == 4
    assert (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).sum() == (inside[:, 2:] - inside[:, :2]).prod(axis=1).sum()


def test_every_pair_of_box_and_tile():
    rng = np.random.default_rng(1)
    for _ in range(60):
        sizes = rng.integers(1, 90, (4, 2))
        tile = tuple(rng.integers(1, 50, 2).tolist())
        overlap = tuple(int(rng.integers(0, side)) for side in tile)
        grid = Grid.of(sizes, tile, overlap)
        low = rng.uniform(-20, 90, (50, 2)).round(1)
        corners = np.concatenate([low, low + rng.uniform(0.5, 60, (50, 2)).round(1)], axis=1)
        images = rng.integers(0, 4, 50)
        boxes, tiles = grid.seen(corners, images)
        places = grid.places.astype(float)
        shared = intersect(corners, np.concatenate([places[:, :2], places[:, :2] + places[:, 2:]], axis=1)) > 0
        shared &= images[:, None] == grid.images
        assert sorted(zip(boxes.tolist(), tiles.tolist(), strict=True)) == [tuple(pair) for pair in np.argwhere(shared)]
        assert (grid.places[:, :2] >= 0).all()
        assert (grid.places[:, :2] + grid.places[:, 2:] <= sizes[grid.images]).all()


def test_the_share_is_that_of_the_whole_box(tmp_path, data):
    """A box of 20 x 10 across the line between two tiles of 40: 4 of its 20 columns, a fifth, are in the first."""
    one = replace(data.take([0]), annotations=Annotations.of([0], [0], [[36, 5, 56, 15]]))
    one = replace(one, images=replace(one.images, sizes=np.array([[97, 63]])))
    for least, expected in ((0.2, [[36, 5, 40, 15], [0, 5, 16, 15]]), (0.21, [[0, 5, 16, 15]])):
        result, _ = build(one, tmp_path / "out", overlap=0, min_visible_frac=least)
        assert result.annotations.boxes.tolist() == expected
    result, losses = build(one, tmp_path / "out", overlap=0, min_visible_frac=0.81)
    assert len(result.annotations) == 0
    assert losses["boxes too little seen in every tile"] == 1


def test_names_splits_ids_and_what_is_still_true(data, tmp_path):
    result, losses = build(data, tmp_path / "out", size=(60, 63), overlap=0.5)
    assert result.images.names.tolist() == ["a_0_0.png", "a_30_0.png", "a_37_0.png", "sub/b_0_0.jpg"]
    assert result.images.splits.tolist() == ["train"] * 3 + ["val"]
    assert result.images.ids.tolist() == [1, 2, 3, 4]
    assert result.images.extra["coco.license"].tolist() == [4, 4, 4, ABSENT]
    table = result.annotations
    assert table.ids.tolist() == list(range(1, len(table) + 1))
    first = {tuple(box): row for row, box in enumerate(table.boxes.tolist()) if table.image_rows[row] == 0}
    # In the first tile of 60 x 63: the first box whole, the second cut at 60 (35 of 50 columns), the last whole and ignored.
    assert set(first) == {(5, 5, 30, 20), (25, 10, 60, 40), (0, 50, 50, 63)}
    assert table.extra["coco.area"][first[5, 5, 30, 20]] == 375
    assert table.extra["coco.area"][first[25, 10, 60, 40]] is ABSENT
    assert table.extra["coco.keypoints"][first[5, 5, 30, 20]] is ABSENT
    assert table.extra["coco.note"][first[25, 10, 60, 40]] is None
    assert table.ignore[first[0, 50, 50, 63]]
    # The image that fits one tile keeps everything, its label and keypoints, too.
    last = np.flatnonzero(table.image_rows == 3)
    assert table.extra["coco.keypoints"][last].tolist() == [[3, 3, 1], ABSENT]
    assert table.is_box[last].tolist() == [True, False]
    assert (tmp_path / "out" / "3.jpg").read_bytes() == (data.root / "sub" / "b.jpg").read_bytes()
    assert losses["coco.coco_url"] == 3
    assert losses["coco.keypoints"] == 1
    assert losses["coco.area"] == sum(
        1 for row in range(len(table)) if table.image_rows[row] < 3 and table.extra["coco.area"][row] is ABSENT
    )


def test_labels_of_a_cut_image_are_lost(data, tmp_path):
    labels = replace(data, annotations=Annotations.of([0, 1], [0, 1]))
    result, losses = build(labels, tmp_path / "out")
    assert result.annotations.category_rows.tolist() == [1]
    assert losses == {"image labels": 1, "coco.coco_url": len(result) - 1}


def test_empty_tiles_are_dropped_on_request(data, tmp_path):
    one = replace(data.take([0]), annotations=Annotations.of([0], [1], [[90, 50, 96, 60]]))
    everything, _ = build(one, tmp_path / "all")
    kept, _ = build(one, tmp_path / "some", keep_empty=False)
    assert len(everything) == 3 * 2
    assert kept.images.names.tolist() == ["a_57_23.png"]
    assert kept.annotations.boxes.tolist() == [[33, 27, 39, 37]]
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["0.png"]


def test_fractions_stay_fractions(data, tmp_path):
    unit = replace(
        data,
        annotations=replace(data.annotations, boxes=data.boxes(Layout.CXCYWH_UNIT), layout=Layout.CXCYWH_UNIT),
    )
    expected, _ = build(data, tmp_path / "a")
    result, _ = build(unit, tmp_path / "b")
    assert result.annotations.layout is Layout.CXCYWH_UNIT
    np.testing.assert_allclose(result.boxes(), expected.boxes(), atol=1e-9)


def area(ring):
    x, y = np.array(ring).reshape(-1, 2).T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def star(rng, points=14):
    angle = np.sort(rng.uniform(0, 2 * np.pi, points))
    radius = rng.uniform(5, 45, points)
    return np.stack([50 + radius * np.cos(angle), 50 + radius * np.sin(angle)], axis=1).reshape(-1).tolist()


def test_polygons_by_hand():
    square = [10, 10, 30, 10, 30, 30, 10, 30]
    assert clip_polygons([square], 5, 5, 100, 100) == [[5, 5, 25, 5, 25, 25, 5, 25]]
    (cut,) = clip_polygons([square], 20, 0, 100, 100)
    assert sorted(zip(cut[::2], cut[1::2], strict=True)) == [(0, 10), (0, 30), (10, 10), (10, 30)]
    assert clip_polygons([square], 30, 0, 10, 100) == []  # touches
    (cut,) = clip_polygons([square], 11, 12, 5, 4)  # all of the crop
    assert {tuple(point) for point in np.array(cut).reshape(-1, 2).tolist()} == {(0, 0), (5, 0), (5, 4), (0, 4)}
    # A triangle whose bounding box reaches into the crop while it does not itself.
    assert clip_polygons([[0, 0, 20, 0, 0, 20]], 12, 12, 10, 10) == []


def test_areas_of_concave_polygons_add_up():
    rng = np.random.default_rng(2)
    for _ in range(50):
        ring = star(rng)
        parts = [
            area(cut)
            for x in (0, 25, 50, 75)
            for y in (0, 20, 40, 60, 80)
            for cut in clip_polygons([ring], x, y, 25, 20)
        ]
        assert sum(parts) == pytest.approx(area(ring), abs=1e-3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools with numpy 2
def test_masks_of_concave_polygons_are_crops_of_the_mask():
    mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(3)

    def draw(rings, height, width):
        return mask.decode(mask.merge(mask.frPyObjects(rings, height, width))).astype(bool)

    for _ in range(30):
        rings = [star(rng)]
        whole = draw(rings, 100, 100)
        for x, y in ((20, 30), (45, 10), (50, 50)):
            cut = clip_polygons(rings, x, y, 40, 35)
            found = draw(cut, 35, 40) if cut else np.zeros((35, 40), bool)
            # pycocotools rounds each edge to pixels, and a cut edge has other ends: it may differ by pixels along the outline.
            assert (found != whole[y : y + 35, x : x + 40]).sum() <= 25


def test_shapes_are_cut_along_or_counted(data, tmp_path):
    ring = [25, 10, 75, 10, 75, 40, 25, 40]
    shapes = objects(
        [
            [[5, 5, 30, 5, 5, 20]],  # a triangle: the lower right of its box is empty
            msgspec.Raw(json.dumps([ring]).encode()),
            [],
            {"size": [63, 97], "counts": "xx"},
            ABSENT,
            {"size": [20, 30], "counts": "yy"},
            ABSENT,
        ]
    )
    table = replace(data.annotations, extra={"segmentation": shapes})
    result, losses = build(
        replace(data, annotations=table), tmp_path / "out", size=(29, 15), overlap=0, min_visible_frac=0
    )
    found = {}
    for row in range(len(result.annotations)):
        image = result.annotations.image_rows[row]
        place = tuple(result.images.extra[f"tile.{key}"][image] for key in ("source", "x", "y"))
        found.setdefault(place, []).append(
            (result.annotations.boxes[row].tolist(), result.annotations.extra["segmentation"][row])
        )
    # The second box, 25..75 x 10..40, in the tile from (58, 15): 17 columns wide, all 15 rows.
    ((_, shape),) = [each for each in found["a.png", 58, 15] if each[0] == [0, 0, 17, 15]]
    assert sorted(zip(shape[0][::2], shape[0][1::2], strict=True)) == [(0, 0), (0, 15), (17, 0), (17, 15)]
    # The first box reaches into the tile from (29, 15), one column of five rows; its triangle does not.
    assert [0, 0, 1, 5] not in [box for box, _ in found["a.png", 29, 15]]
    assert result.annotations.extra["segmentation"][result.annotations.image_rows == len(result) - 1].size
    crowds = sum(shape is ABSENT for values in found.values() for _, shape in values)
    assert 0 < losses["segmentation"] < crowds  # the fifth box had no shape to lose


def test_jpeg_stays_jpeg_and_nearly_the_same(tmp_path):
    y, x = np.mgrid[0:200, 0:300]
    smooth = np.stack([x * 0.8, y * 1.2, (x + y) * 0.5], axis=2).astype(np.uint8)
    PIL.Image.fromarray(smooth).save(tmp_path / "a.JPEG", quality=98, format="JPEG")
    PIL.Image.fromarray(smooth).save(tmp_path / "b.bmp")
    images = Images.of(["a.JPEG", "b.bmp"], [[300, 200]] * 2, files=["a.JPEG", "b.bmp"])
    data = Dataset(images, Categories.of(["x"]), Annotations.of([], []), root=tmp_path)
    result, _ = build(data, tmp_path / "out", size=(128, 128))
    assert {name.rpartition(".")[2] for name in result.images.names} == {"JPEG", "png"}
    for row in range(len(result)):
        source = 0 if result.images.extra["tile.source"][row] == "a.JPEG" else 1
        x, y = (result.images.extra[f"tile.{key}"][row] for key in "xy")
        with PIL.Image.open(result.path(row)) as opened:
            assert opened.format == ("JPEG" if source == 0 else "PNG")
        crop = data.sample(source).image[y : y + 128, x : x + 128]
        difference = np.abs(result.sample(row).image.astype(int) - crop)
        assert difference.mean() < (1.0 if source == 0 else 1e-9)
    exact, _ = build(data.take([0]), tmp_path / "png", size=(128, 128), encoding="png")
    for row in range(len(exact)):
        x, y = (exact.images.extra[f"tile.{key}"][row] for key in "xy")
        assert np.array_equal(exact.sample(row).image, data.sample(0).image[y : y + 128, x : x + 128])


def test_two_processes_write_the_same_bytes(data, tmp_path):
    one, _ = build(data, tmp_path / "one")
    with using(2, run_local):
        two, _ = build(data, tmp_path / "two")
    assert [one.path(row).read_bytes() for row in range(len(one))] == [
        two.path(row).read_bytes() for row in range(len(two))
    ]


def test_an_image_of_another_size_is_an_error(data, tmp_path):
    wrong = replace(data, images=replace(data.images, sizes=np.array([[63, 97], [30, 20]])))
    with pytest.raises(DataError, match="the image is 97 x 63, but its annotations say 63 x 97"):
        build(wrong, tmp_path / "out")


@pytest.mark.parametrize("overlap", [40, 1000, -1, 0.999, float("nan"), float("inf")])
def test_overlap_must_be_less_than_a_tile(data, tmp_path, overlap):
    with pytest.raises(ConfigError, match="overlap"):
        build(data, tmp_path / "out", overlap=overlap)


def test_the_share_that_is_seen_is_a_share(data, tmp_path):
    with pytest.raises(ConfigError, match="expected a share"):
        build(data, tmp_path / "out", min_visible_frac=float("nan"))


def test_large_images_are_opened_on_request(data, tmp_path, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.raises(DataError, match="limit"):
        build(data, tmp_path / "out")
    result, _ = build(data, tmp_path / "out", max_pixels=97 * 63)
    assert len(result) == 3 * 2 + 1
    assert PIL.Image.MAX_IMAGE_PIXELS == 2000


def run(*arguments):
    return CliRunner().invoke(cli.cli, ["tile", *map(str, arguments)])


@pytest.fixture
def source(data, tmp_path):
    import augsuite

    plain = replace(data.annotations.take(data.annotations.is_box), extra={})
    augsuite.write(replace(data, annotations=plain), tmp_path / "set", format="coco")
    return tmp_path / "set"


def test_command_writes_what_pycocotools_reads(source, tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    done = run(source, tmp_path / "out", "--size", "40x30", "--overlap", 0)
    assert done.exit_code == 0, done.output
    assert "2 images -> 10 tiles of 40 x 30" in done.stdout
    found = coco.COCO(tmp_path / "out" / "annotations" / "instances_train.json")
    capsys.readouterr()
    names = [image["file_name"] for image in found.loadImgs(found.getImgIds())]
    assert names == [f"a_{x}_{y}.png" for y in (0, 30, 33) for x in (0, 40, 57)]
    for image in found.loadImgs(found.getImgIds()):
        with PIL.Image.open(tmp_path / "out" / "images" / "train" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"]) == (40, 30)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "set", "source"]


def test_a_sidecar_keeps_where_tiles_come_from(source, tmp_path):
    import augsuite

    done = run(source, tmp_path / "out", "--size", "40x30", "--sidecar")
    assert done.exit_code == 0, done.output
    data = augsuite.read(tmp_path / "out")
    for row, name in enumerate(data.images.names):
        place = tuple(data.images.extra[f"tile.{key}"][row] for key in ("x", "y"))
        assert name.rpartition(".")[0].endswith(f"_{place[0]}_{place[1]}")
        assert data.images.extra["tile.source"][row] in {"a.png", "sub/b.jpg"}


def test_command_says_everything_as_json(source, tmp_path):
    done = run(source, tmp_path / "out", "--size", 50, "--empty", "drop", "--to", "voc", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["format"] == "voc"
    assert found["images_before"] == 2
    assert found["images"] == len(list((tmp_path / "out" / "JPEGImages").rglob("*.*")))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--overlap", 40, "--size", 40], "overlap"), (["--to", "cocoa"], "Did you mean 'coco'")],
)
def test_mistakes_are_one_line_and_leave_nothing(source, tmp_path, arguments, said):
    before = sorted(tmp_path.rglob("*"))
    done = run(source, tmp_path / "out", *arguments)
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_size_that_is_none(source, tmp_path):
    assert "640x480" in run(source, tmp_path / "out", "--size", "0x5").output


def test_two_workers_and_an_archive_change_nothing(source, tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for path in sorted(source.rglob("*")):
            packed.write(path, path.relative_to(tmp_path))
    for target, arguments in (("one", [source]), ("two", [tmp_path / "set.zip", "--workers", 2])):
        done = run(*arguments[:1], tmp_path / target, "--size", 40, "--overlap", 10, *arguments[1:])
        assert done.exit_code == 0, done.output
    written = [
        sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.*")) for name in ("one", "two")
    ]
    assert written[0] == written[1]
    for path in written[0]:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
