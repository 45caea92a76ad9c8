"""Images that show the same: files made by Pillow, and photographs."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import augsuite
from augsuite import cli
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.dataset.duplicates import Leak, dedupe
from augsuite.errors import ConfigError


def scene(seed, size=(200, 160)):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (9, 12, 3), np.uint8)
    return PIL.Image.fromarray(small).resize(size, PIL.Image.Resampling.BICUBIC)


@pytest.fixture
def data(tmp_path):
    """Two scenes in three splits, one of them at several qualities and sizes, and three grey files."""
    files = {
        "a.png": ("train", scene(1)),
        "a small.jpg": ("train", scene(1).resize((100, 80))),
        "a again.png": ("val", scene(1)),
        "b.png": ("train", scene(2)),
        "b test.jpg": ("test", scene(2)),
        "grey.png": ("train", PIL.Image.new("RGB", (64, 64), (90, 90, 90))),
        "white.png": ("val", PIL.Image.new("RGB", (64, 64), (255, 255, 255))),
        "grey copy.png": ("train", PIL.Image.new("RGB", (64, 64), (90, 90, 90))),
        "c.png": ("val", scene(3)),
    }
    for name, (_, image) in files.items():
        image.save(tmp_path / name)
    labels = Annotations.of([0, 1, 2, 3, 3], [0, 0, 1, 0, 1])
    images = Images.of(
        [*files, "gone.png"], splits=[*(split for split, _ in files.values()), "train"], files=[*files, ""]
    )
    return Dataset(images, Categories.of(["cat", "dog"]), labels, root=tmp_path)


def names(data):
    return data.images.names.tolist()


def test_test_stays_before_val_before_train(data):
    kept, found = dedupe(data)
    assert names(kept) == ["a again.png", "b test.jpg", "grey.png", "white.png", "c.png", "gone.png"]
    assert found.copies == 4
    assert found.leaks == [Leak("train", "test", 1), Leak("train", "val", 2)]
    assert (found.images, found.not_compared, found.one_colour) == (9, 1, 3)
    groups = {group.image: {copy.image: copy for copy in group.copies} for group in found.groups}
    assert set(groups) == {"a again.png", "b test.jpg", "grey.png"}
    assert groups["a again.png"]["a.png"].same_file
    assert not groups["a again.png"]["a.png"].same_labels
    assert not groups["a again.png"]["a small.jpg"].same_file
    assert groups["grey.png"]["grey copy.png"].distance == 0
    assert len(kept.annotations) == 1


def test_a_preferred_split_stays(data):
    kept, _ = dedupe(data, prefer=["train"])
    assert names(kept) == ["a.png", "b.png", "grey.png", "white.png", "c.png", "gone.png"]  # a.png has more pixels
    with pytest.raises(ConfigError, match=r"trian.*Did you mean 'train'"):
        dedupe(data, prefer=["trian"])


def test_only_across_splits(data):
    kept, found = dedupe(data, across=True)
    assert names(kept) == ["a again.png", "b test.jpg", "grey.png", "white.png", "grey copy.png", "c.png", "gone.png"]
    assert found.copies == 3


def test_distance_zero_is_the_same_picture_only(data):
    _, found = dedupe(data, distance=0)
    assert all(copy.distance == 0 for group in found.groups for copy in group.copies)
    assert {group.image for group in found.groups} >= {"a again.png", "grey.png"}
    with pytest.raises(ConfigError, match="between 0 and 48"):
        dedupe(data, distance=49)


def test_every_image_that_goes_is_near_one_that_stays(tmp_path):
    """A picture that changes little by little: the ends differ, and so one does not stand for all."""
    first, last = np.asarray(scene(5), float), np.asarray(scene(6), float)
    files = []
    for step in range(21):
        mixed = (first * (20 - step) + last * step) / 20
        PIL.Image.fromarray(mixed.round().astype(np.uint8)).save(tmp_path / f"{step:02}.png")
        files.append(f"{step:02}.png")
    data = Dataset(Images.of(files, files=files), Categories.of([]), Annotations.of([], []), root=tmp_path)
    kept, found = dedupe(data)
    assert 1 < len(kept) < 21
    assert found.copies == 21 - len(kept)
    assert all(copy.distance <= 32 for group in found.groups for copy in group.copies)
    assert dedupe(kept)[1].copies == 0  # those that stay are no copies of each other


def test_nothing_to_find():
    kept, found = augsuite.dedupe(Dataset(Images.of([]), Categories.of([]), Annotations.of([], [])))
    assert (len(kept), found.copies, found.groups) == (0, 0, [])


@pytest.fixture
def raccoons(real_data, tmp_path):
    """Thirty photographs, five of them again at another quality in the test split."""
    source = real_data / "raccoon" / "images"
    if not source.is_dir():
        pytest.skip("needs raccoon under AUGSUITE_DATA")
    folder = tmp_path / "raccoons"
    for split in ("train", "test"):
        (folder / split / "raccoon").mkdir(parents=True)
    paths = sorted(source.glob("*.jpg"))[:30]
    for path in paths:
        shutil.copy(path, folder / "train" / "raccoon")
    for path in paths[:25:5]:
        with PIL.Image.open(path) as opened:
            small = opened.convert("RGB").resize((opened.width * 2 // 3, opened.height * 2 // 3))
        small.save(folder / "test" / "raccoon" / f"again {path.name}", quality=60)
    return folder


def test_the_command_reports_and_writes(raccoons, tmp_path):
    run = CliRunner()
    done = run.invoke(cli.cli, ["dedupe", str(raccoons), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["leaks"] == [{"split": "train", "of": "test", "images": 5}]
    again = [group["image"] for group in found["groups"] if group["split"] == "test"]
    assert len(again) == 5
    target = tmp_path / "clean"
    done = run.invoke(cli.cli, ["dedupe", str(raccoons), str(target), "--across", "--prefer", "train"])
    assert done.exit_code == 0, done.output
    assert "leakage: 5 images of test are copies of images of train" in done.stdout
    kept = augsuite.read(target)
    assert len(kept) == 30
    assert set(kept.images.splits.tolist()) == {"train"}
    done = run.invoke(cli.cli, ["dedupe", str(raccoons), str(target)])
    assert isinstance(done.exception, ConfigError)
    assert "--overwrite" in str(done.exception)
