from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from augsuite.augment import Feed, policy
from augsuite.augment.feed import collate
from augsuite.dataset import Annotations, Categories, Dataset, Images, Sample

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
