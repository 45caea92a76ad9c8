from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pycocotools import mask as judge

from augsuite.augment import Feed, policy
from augsuite.augment.feed import collate
from augsuite.boxes import Layout
from augsuite.dataset import Annotations, Categories, Dataset, Images, Sample
from augsuite.dataset.sample_shapes import Lazy

POLICY = [
    {"do": "photometric", "p": 0.8},
    {"do": "albumentations.GaussNoise", "p": 0.5},
    {"do": "mixup", "p": 0.5},
    {"do": "expand", "p": 0.5},
    {"do": "iou_crop"},
    {"do": "affine", "p": 0.5},
    {"do": "hflip", "p": 0.5},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = Path(tmp_path_factory.mktemp("feed"))
    rng = np.random.default_rng(0)
    for row in range(10):
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        PIL.Image.fromarray(coarse).resize((160, 120)).save(folder / f"{row}.jpg")
    names = [f"{row}.jpg" for row in range(10)]
    return Dataset(
        Images.of(names, sizes=[[160, 120]] * 10, files=names),
        Categories.of(["a", "b"]),
        Annotations.of(np.repeat(np.arange(10), 2), [0, 1] * 10, [[10, 10, 80, 60], [60, 40, 150, 110]] * 10),
        root=folder,
    )


def samples(feed, batch_size=4, epoch=1):
    """Image row -> the bytes of everything about it."""
    found = {}
    for batch in feed.batches(epoch, batch_size, (64, 48)):
        for place, row in enumerate(batch.image_rows):
            parts = (
                batch.images[place],
                batch.boxes[place],
                batch.labels[place],
                batch.weights[place],
                batch.matrices[place],
            )
            found[int(row)] = tuple(part.tobytes() for part in parts)
    return found


@pytest.fixture(scope="module")
def expected(data):
    return samples(Feed(data, policy(POLICY), seed=3))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_change_nothing(data, expected, workers):
    feed = Feed(data, policy(POLICY), seed=3, workers=workers)
    assert samples(feed, epoch=0) != expected
    assert samples(feed) == expected  # the same workers, their second epoch


def test_epochs_side_by_side(data, expected):
    feed = Feed(data, policy(POLICY), seed=3, workers=1)
    first, second = feed.batches(1, 10, (64, 48)), feed.batches(2, 10, (64, 48))
    one, two = next(first), next(second)
    assert {int(row): image.tobytes() for row, image in zip(one.image_rows, one.images, strict=True)} == {
        row: parts[0] for row, parts in expected.items()
    }
    assert two.images.tobytes() != one.images.tobytes()


def test_an_epoch_left_early_does_not_leak_into_the_next(data, expected):
    feed = Feed(data, policy(POLICY), seed=3, workers=2)
    unfinished = feed.batches(0, 2, (64, 48))
    next(unfinished)
    unfinished.close()
    assert samples(feed) == expected


@pytest.mark.parametrize("change", [{"batch_size": 1}, {"batch_size": 7}])
def test_batch_size_changes_nothing(data, expected, change):
    assert samples(Feed(data, policy(POLICY), seed=3), **change) == expected


def test_cache_changes_nothing(data, expected):
    feed = Feed(data, policy(POLICY), seed=3, cache=True)
    assert samples(feed) == expected
    assert samples(feed) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_shapes_arrive_with_their_boxes(tmp_path, workers):
    """Run-length masks and keypoints, mirrored: judged by pycocotools and numpy; through workers as without."""
    rng = np.random.default_rng(1)
    truth, segmentation, points = [], np.empty(6, object), np.empty(6, object)
    for row in range(3):
        PIL.Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(tmp_path / f"{row}.png")
    for place in range(6):
        mask = np.zeros((48, 64), np.uint8)
        mask[8 + place : 30, 5 + 4 * place : 30 + 3 * place] = rng.random((22 - place, 25 - place)) < 0.8
        truth.append(mask)
        code = judge.encode(np.asfortranarray(mask))
        segmentation[place] = {"size": code["size"], "counts": code["counts"].decode()}
        points[place] = [10.5 + place, 20.0, 2, 0, 0, 0]
    boxes = [judge.toBbox(judge.encode(np.asfortranarray(mask))) for mask in truth]
    names = [f"{row}.png" for row in range(3)]
    annotations = Annotations.of(
        np.repeat(np.arange(3), 2), [0] * 6, boxes, Layout.XYWH_PX,
        extra={"segmentation": segmentation, "coco.keypoints": points},
    )  # fmt: skip
    data = Dataset(
        Images.of(names, sizes=[[64, 48]] * 3, files=names), Categories.of(["a"]), annotations, root=tmp_path
    )
    mirror = policy([{"do": "hflip"}])
    (batch,) = Feed(data, mirror, workers=workers, shapes=True).batches(0, 3, (64, 48))
    assert batch.shapes is not None
    for row, boxes, shapes in zip(batch.image_rows.tolist(), batch.boxes, batch.shapes, strict=True):
        assert len(shapes) == len(boxes) == 2
        for place in range(2):
            mask = np.asfortranarray(shapes.mask(place, 64, 48))
            np.testing.assert_array_equal(mask, truth[2 * row + place][:, ::-1])
            x, y, w, h = judge.toBbox(judge.encode(mask.astype(np.uint8)))
            assert boxes[place].tolist() == [x, y, x + w, y + h]
            assert shapes.keypoints[place].tolist() == [[64 - 10.5 - 2 * row - place, 20, 2], [0, 0, 0]]
    (unasked,) = Feed(data, mirror, workers=workers).batches(0, 3, (64, 48))
    assert unasked.shapes is None
    assert unasked.images.tobytes() == batch.images.tobytes()


def test_shapes_cost_nothing_unasked(data):
    class Never:
        def __call__(self):
            raise AssertionError("nobody asked")

    class Guarded(Feed):
        def original(self, row):
            return replace(super().original(row), lazy=Lazy(Never()))

    steps = policy([{"do": "hflip"}, {"do": "mixup"}, {"do": "cutout"}, {"do": "crop"}])
    assert sum(len(batch) for batch in Guarded(data, steps).batches(0, 4, (64, 48))) == 10
    with pytest.raises(AssertionError, match="nobody asked"):
        next(Guarded(data, steps, shapes=True).batches(0, 4, (64, 48)))


def test_seed_epoch_and_order(data):
    feed = Feed(data, policy(POLICY), seed=3)
    assert samples(Feed(data, policy(POLICY), seed=4)) != samples(feed)
    assert sorted(feed.order(0)) == list(range(10))
    assert feed.order(0).tolist() != feed.order(1).tolist()
    plain = list(feed.batches(0, 4, (64, 48), shuffle=False))
    assert [len(batch) for batch in plain] == [4, 4, 2]
    assert np.concatenate([batch.image_rows for batch in plain]).tolist() == list(range(10))


def test_workers_leave_torch_alone(data):
    import torch

    torch.manual_seed(0)
    judge = torch.rand(3).tolist()
    torch.manual_seed(0)
    samples(Feed(data, policy("none"), workers=1))
    assert torch.rand(3).tolist() == judge


def test_an_error_in_a_worker_is_the_one_line(data, tmp_path):
    from dataclasses import replace

    from augsuite.errors import DataError

    (tmp_path / "0.jpg").write_bytes((data.root / "0.jpg").read_bytes()[:200])
    broken = replace(data.take([0]), root=tmp_path)
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"0\.jpg: the image cannot be read") as error:
            list(Feed(broken, policy("none"), workers=workers).batches(0, 1, (64, 48)))
        assert "\n" not in str(error.value)


def test_normalize_step_sets_mean_and_deviation(data):
    steps = [{"do": "normalize", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}]
    feed = Feed(data, policy(steps))
    assert (feed.mean, feed.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_collate_targets():
    image = np.zeros((4, 4, 3), np.uint8)
    batch = collate([Sample.of(image, targets=[0.25, 0.75]), Sample.of(image)], 2)
    assert batch.targets.tolist() == [[0.25, 0.75], [0, 0]]
    assert batch.images.shape == (2, 4, 4, 3)


def test_several_sizes(data):
    feed = Feed(data, policy(POLICY), seed=3)
    sizes = [(64, 48), (80, 80), (96, 64)]
    shapes = [batch.images.shape[2:0:-1] for batch in feed.batches(0, 1, sizes)]
    assert set(shapes) == set(sizes)
    assert [batch.images.shape[2:0:-1] for batch in feed.batches(0, 1, sizes)] == shapes
    one = list(feed.batches(0, 4, (64, 48)))
    several = list(feed.batches(0, 4, sizes))
    assert [batch.image_rows.tolist() for batch in one] == [batch.image_rows.tolist() for batch in several]


def test_going_on_in_the_middle(data):
    feed = Feed(data, policy(POLICY), seed=3)
    whole = [batch.images.tobytes() for batch in feed.batches(1, 3, (64, 48))]
    assert [batch.images.tobytes() for batch in feed.batches(1, 3, (64, 48), first=2)] == whole[2:]


def test_normalized_is_what_torchvision_computes():
    import torch
    from torchvision.transforms import v2

    from augsuite.augment.feed import normalized

    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 1.0)
    judge = v2.functional.normalize(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, mean, std).numpy()
    np.testing.assert_allclose(normalized(images, mean, std), judge, atol=1e-5)
