import numpy as np
import PIL.Image
import pytest

from augsuite.augment import policy
from augsuite.dataset import Sample
from augsuite.errors import ConfigError

torch = pytest.importorskip("torch")
batched = pytest.importorskip("augsuite.augment.batched")

RESIZE = {"do": "resize", "size": [96, 80]}
JITTER = {"do": "color_jitter", "hue_deg": [-40, 40]}
POLICIES = {
    "flip": ([{"do": "hflip", "p": 0.5}, {"do": "vflip", "p": 0.5}], 0),
    "crop and resize": ([{"do": "crop"}, RESIZE, {"do": "hflip", "p": 0.5}], 0.6),
    "shrink": ([{"do": "expand", "max_ratio": 3.0}, RESIZE], 0.6),
    "turn": ([{"do": "affine", "rotate_deg": 40.0}, {"do": "rotate", "max_deg": 30.0}], 0.6),
    "photometric": ([{"do": "photometric", "brightness_p": 1.0, "hue_p": 0.7, "saturation_p": 0.7}], 0.2),
    "jitter": ([{"do": "expand", "max_ratio": 1.5}, {"do": "crop"}, RESIZE, JITTER, {"do": "saturation"}], 1.0),
    "grey on the CPU": ([JITTER, {"do": "grayscale"}], 0.6),
    "erasing": ([{"do": "random_erasing"}, {"do": "hflip"}], 0),
    "mixup": ([{"do": "hflip", "p": 0.5}, {"do": "mixup"}], 0.5),
    "cutmix": ([{"do": "crop"}, RESIZE, {"do": "cutmix"}], 0.7),
    "perspective on the CPU": ([{"do": "perspective"}], 0),
    "ssd": (
        [{"do": "photometric"}, {"do": "expand", "p": 0.5}, {"do": "iou_crop"}, {"do": "hflip", "p": 0.5}, RESIZE],
        1.0,
    ),
}


class Pool:
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def original(self, row):
        return self.samples[row]


@pytest.fixture(scope="module")
def samples():
    """Smooth pictures, where interpolation in other words comes to nearly the same."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(8):
        coarse = PIL.Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
        image = np.asarray(coarse.resize((120, 90), PIL.Image.Resampling.BICUBIC))
        found.append(Sample.of(image.copy(), [[10.5, 12, 60, 70], [50, 20, 110.25, 85]], [3, 900_100_581_904]))
    return found


@pytest.mark.parametrize("name", POLICIES)
def test_a_batch_is_what_the_cpu_renders(samples, name):
    steps, off = POLICIES[name]
    chosen = policy(steps)
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
    from dataclasses import replace

    pool = Pool([replace(sample, image_row=row) for row, sample in enumerate(samples)])
    for step in range(3):
        result, placed = batched.augment(chosen, images, samples, seed=1, step=step)
        assert result.dtype == torch.uint8
        differences = []
        for row, sample in enumerate(placed):
            judge = chosen(pool.samples[row], key=(1, step, row), pool=pool)
            assert np.array_equal(sample.boxes, judge.boxes)
            assert sample.labels.tolist() == judge.labels.tolist()
            assert np.array_equal(sample.weights, judge.weights)
            assert result[row].shape == (3, *judge.image.shape[:2])
            differences.append(np.abs(result[row].permute(1, 2, 0).numpy().astype(int) - judge.image).mean())
        assert max(differences) <= off


def test_the_given_images_stay_as_they_are(samples):
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
    before = images.clone()
    batched.augment(policy(POLICIES["ssd"][0]), images, samples, seed=0, step=0)
    assert torch.equal(images, before)


def test_results_of_several_sizes_are_refused(samples):
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
    with pytest.raises(ConfigError, match="last resize"):
        batched.augment(policy([{"do": "crop"}]), images, samples, seed=0, step=0)
