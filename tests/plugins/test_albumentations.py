"""The guest transforms: the list against the installed package, parameters, determinism."""

import inspect
import json
import os
import pickle
import random
import subprocess
import sys

import cv2
import numpy as np
import pytest

from augsuite import config, registry
from augsuite.augment import policy
from augsuite.dataset import Sample
from augsuite.errors import ConfigError
from augsuite_albumentations import SUMMARIES, UNAVAILABLE

pixel = pytest.importorskip("augsuite_albumentations.pixel")
albumentations = pytest.importorskip("albumentations")


@pytest.fixture
def image():
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)


def params(name, **values):
    spec = registry.default().transforms()[f"albumentations.{name}"]
    return config.build(spec.params.load(), values, f"p.yaml: steps[0] (albumentations.{name})", "parameter")


def test_the_list_is_what_the_installed_package_has():
    from albumentations.core.transforms_interface import ImageOnlyTransform

    installed = {
        name
        for name, value in vars(albumentations).items()
        if inspect.isclass(value) and issubclass(value, ImageOnlyTransform) and value is not ImageOnlyTransform
    }
    assert set(SUMMARIES) | set(UNAVAILABLE) == installed
    assert not set(SUMMARIES) & set(UNAVAILABLE)


def test_listing_imports_nothing_heavy():
    script = (
        "import sys; from augsuite import registry; specs = registry.default().transforms();"
        "assert 'albumentations.Blur' in specs; print([m for m in ('albumentations', 'cv2', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(SUMMARIES))
def test_equals_albumentations_itself_and_depends_on_the_seed_alone(name, image):
    transform = params(name)
    drawn = transform.draw(np.random.default_rng(7), None)
    before = image.copy()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global state is what must not matter
    first = transform.apply(image.copy(), drawn)
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002
    pickle.loads(pickle.dumps(transform)).apply(image.copy(), {"seed": 5})
    second = pickle.loads(pickle.dumps(transform)).apply(image.copy(), drawn)
    assert first.dtype == np.uint8
    assert first.shape == image.shape
    assert np.array_equal(first, second)
    theirs = getattr(albumentations, name)(p=1.0)
    theirs.set_random_seed(drawn["seed"])
    assert np.array_equal(first, theirs(image=before)["image"])


@pytest.mark.parametrize("name", sorted(pixel._POINTWISE))
def test_pointwise_ones_do_not_care_where_a_pixel_is(name, image):
    transform = params(name)
    assert transform.pointwise
    order = np.random.default_rng(3).permutation(96 * 128)
    shuffled = image.reshape(-1, 3)[order].reshape(image.shape)
    half = image[:, :31].copy()

    def same(first, second):  # vector and scalar code of OpenCV may round differently
        return np.abs(first.astype(int) - second).max() <= 1

    for seed in range(5):
        whole = transform.apply(image.copy(), {"seed": seed})
        moved = transform.apply(shuffled.copy(), {"seed": seed})
        assert same(whole.reshape(-1, 3)[order], moved.reshape(-1, 3))
        assert same(whole[:, :31], transform.apply(half.copy(), {"seed": seed}))
        lone = transform.apply(image[5:6, 9:10].copy(), {"seed": seed})
        assert same(whole[5:6, 9:10], lone)


def test_parameters_reach_the_transform(image):
    blurred = params("Blur", blur_limit=[5, 5]).apply(image.copy(), {"seed": 0})
    assert np.array_equal(blurred, cv2.blur(image, (5, 5)))


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("Blur", {"blur_limt": 3}, "unknown parameter 'blur_limt'. Did you mean 'blur_limit'?"),
        ("Blur", {"blur_limit": "wide"}, "blur_limit"),
        ("Posterize", {"num_bits": 99}, "num_bits"),
        ("FDA", {}, "needs reference images"),
        ("ToFloat", {}, "float"),
    ],
)
def test_bad_parameters_are_one_line(name, values, said):
    with pytest.raises(ConfigError, match="albumentations") as caught:
        params(name, **values)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_another_shape_is_refused(image):
    with pytest.raises(ConfigError, match="keeps both"):
        params("ToGray", num_output_channels=1).apply(image.copy(), {"seed": 0})


def test_importing_it_does_not_look_for_updates():
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"
    script = (
        "import urllib.request as u\n"
        "def refuse(*a, **k): raise SystemExit('it went to the network')\n"
        "u.OpenerDirector.open = refuse\n"
        "import augsuite_albumentations.pixel"
    )
    clean = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    subprocess.run([sys.executable, "-c", script], check=True, env=clean)


def test_another_process_gives_the_same_bytes():
    script = """
import hashlib, json, sys
import numpy as np
from augsuite import registry
image = np.random.default_rng(1).integers(0, 256, (64, 80, 3), dtype=np.uint8)
digests = {}
for name, spec in registry.default().transforms().items():
    if name.startswith("albumentations.") and not spec.unavailable:
        pixels = spec.params.load()().apply(image.copy(), {"seed": 11})
        digests[name] = hashlib.sha256(pixels.tobytes()).hexdigest()
print(json.dumps(digests))
"""
    found = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", script],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "PYTHONHASHSEED": seed},
            ).stdout
        )
        for seed in ("1", "2")
    ]
    assert len(found[0]) == len(SUMMARIES)
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["Downscale", "GlassBlur", "Superpixels", "ToGray"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 21), (30, 2)])
def test_a_sliver_of_an_image_is_no_error(name, shape):
    sliver = Sample.of(np.full((*shape, 3), 90, np.uint8))
    assert policy([{"do": f"albumentations.{name}"}])(sliver).image.shape == (*shape, 3)
