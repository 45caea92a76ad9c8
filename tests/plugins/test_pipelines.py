"""Policies from albumentations and to albumentations and torchvision: judged by what the other library does with the same image."""

import json
import random
import textwrap

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from scipy.stats import ks_2samp

import augsuite
from augsuite import cli
from augsuite.augment import pipelines
from augsuite.errors import ConfigError
from augsuite_albumentations import SUMMARIES

pytestmark = pytest.mark.filterwarnings("ignore:Got processor for bboxes, but no transform")
pytest.importorskip("augsuite_albumentations.pixel")
A = pytest.importorskip("albumentations")

BOX = [40.0, 32.0, 65.0, 54.0]
DRAWS = 400
SURE = 1e-4  # of a difference; the seeds are fixed, so a test that passes once passes always


@pytest.fixture(scope="module")
def image():
    """A smooth picture of 80 x 110, so that a rounding of the place is a rounding of the value."""
    small = np.random.default_rng(0).integers(20, 235, (6, 8, 3), np.uint8)
    return np.asarray(PIL.Image.fromarray(small).resize((110, 80), PIL.Image.Resampling.BICUBIC))


def row(image, boxes):
    """What there is to compare of one draw: the box, the size, mean and corner of the picture."""
    box = boxes[0] if len(boxes) else [-1.0] * 4
    return [*box, *image.shape[:2], *image.reshape(-1, 3).mean(axis=0), *image[0, 0]]


def by_us(policy, image):
    results = [policy(augsuite.Sample.of(image, [BOX], [0]), key=(0, 0, draw)) for draw in range(DRAWS)]
    return np.array([row(result.image, result.boxes) for result in results])


def by_them(pipeline, image):
    for place, transform in enumerate(pipeline.transforms):
        transform.set_random_seed(
            place + 1
        )  # `Compose(seed=...)` gives all the same stream: their coins would fall alike
    results = [pipeline(image=image, bboxes=[BOX], labels=[0]) for _ in range(DRAWS)]
    return np.array([row(result["image"], result["bboxes"]) for result in results])


def reseed(pipeline, seed=1):
    """A seed of its own for each; `Compose(seed=...)` gives all the same stream, and their coins fall alike."""
    pipeline.set_random_seed(seed)
    for place, transform in enumerate(getattr(pipeline, "transforms", ())):
        reseed(transform, 10 * seed + place)


def alike(ours, theirs):
    """No column has two distributions that differ for sure, beyond what rounding and resampling do: half a pixel, some levels."""
    assert ours.shape == theirs.shape
    noise = np.random.default_rng(5).uniform(-1, 1, (2, *ours.shape)) * ([0.5] * 6 + [6] * 6)
    columns = zip((ours + noise[0]).T, (theirs + noise[1]).T, strict=True)
    chances = [ks_2samp(left, right).pvalue for left, right in columns]
    worst = int(np.argmin(chances))
    found = [np.quantile(side[:, worst], [0, 0.25, 0.5, 0.75, 1]).round(2).tolist() for side in (ours, theirs)]
    assert chances[worst] > SURE, f"column {worst}: quantiles {found[0]} here, {found[1]} there"


def compose(*transforms):
    return A.Compose(transforms, bbox_params=A.BboxParams("pascal_voc", label_fields=["labels"]))


IMPORTED = {
    "hflip": lambda: A.HorizontalFlip(p=0.5),
    "vflip": lambda: A.VerticalFlip(p=0.3),
    "resize": lambda: A.Resize(60, 90, p=0.5),
    "crop": lambda: A.RandomResizedCrop((50, 70), scale=(0.3, 0.9), ratio=(0.6, 1.5)),
    "rotate": lambda: A.Rotate(limit=25, fill=(10, 200, 30), p=0.8),
    "shift": lambda: A.Affine(translate_percent={"x": (-0.1, 0.1), "y": (-0.2, 0.2)}, p=1),
    "scale": lambda: A.Affine(scale=(0.6, 1.2), keep_ratio=True, p=0.9),
    "turn and scale": lambda: A.Affine(scale=(0.7, 1.1), keep_ratio=True, rotate=(-20, 20), fill=90, p=1),
    "shear": lambda: A.Affine(shear={"x": (-20, 20), "y": (0, 0)}, p=1),
    "ShiftScaleRotate": lambda: A.ShiftScaleRotate(0.1, (0, 0), 15, p=1),
    "nothing": A.NoOp,
    "transpose": lambda: A.Transpose(p=0.5),
    "quarter turns": lambda: A.RandomRotate90(p=0.8),
    "D4": lambda: A.D4(p=0.7),
    "center_crop": lambda: A.CenterCrop(60, 84),
    "center_crop and pad": lambda: A.CenterCrop(91, 84, pad_if_needed=True, fill=(9, 8, 200)),
    "longest side": lambda: A.LongestMaxSize([133, 90]),
    "shortest side": lambda: A.SmallestMaxSize(97, p=0.5),
    "pad": lambda: A.PadIfNeeded(121, 151, fill=30),
    "pad to a multiple": lambda: A.PadIfNeeded(None, None, 32, 32, position="top_left"),
    "pad anywhere": lambda: A.PadIfNeeded(120, 150, position="random"),
    "crop half of the time": lambda: A.RandomResizedCrop((50, 70), scale=(0.3, 0.9), p=0.5),
    "one of": lambda: A.OneOf(
        [A.HorizontalFlip(p=0.2), A.Sequential([A.VerticalFlip(p=1), A.Transpose(p=1)], p=0.6)], p=0.9
    ),
    "one or other": lambda: A.OneOrOther(A.HorizontalFlip(p=1), A.Resize(40, 60), p=0.3),
    "a sequence half of the time": lambda: A.Sequential([A.VerticalFlip(p=0.5), A.Resize(40, 55)], p=0.4),
    "some of": lambda: A.SomeOf([A.HorizontalFlip(p=0.6), A.Resize(40, 55, p=1), A.Transpose(p=1)], n=2, p=0.8),
    "some of, again": lambda: A.SomeOf([A.HorizontalFlip(p=1), A.Transpose(p=0.7)], n=3, replace=True),
    "in any order": lambda: A.RandomOrder(
        [A.VerticalFlip(p=0.5), A.Resize(40, 55, p=1), A.RandomResizedCrop((50, 70), scale=(0.3, 0.5), p=0.5)], n=3
    ),
    "two in any order": lambda: A.RandomOrder([A.Rotate((-20, 20), p=1), A.Transpose(p=1), A.Resize(40, 55, p=1)], n=2),
    "one hole": lambda: A.CoarseDropout((1, 1), (0.2, 0.3), (0.1, 0.2), fill=(250, 3, 9), p=0.7),
    "holes of noise": lambda: A.CoarseDropout((2, 5), (0.1, 0.2), (0.1, 0.2), fill="random", p=1),
    "erasing of one shape": lambda: A.Erasing((0.02, 0.06), (1.5, 1.5), fill=200, p=1),
    "nested": lambda: A.Sequential([A.HorizontalFlip(p=0.5), A.Resize(40, 55)], p=1),
}

HOLES = {"one hole", "holes of noise", "erasing of one shape"}


@pytest.mark.filterwarnings("ignore:ShiftScaleRotate is a special case")
@pytest.mark.parametrize("name", IMPORTED)
def test_imported_policies_draw_what_albumentations_draws(name, image):
    theirs = compose(IMPORTED[name]())
    ours = augsuite.policy(theirs)
    assert not any(step.do.startswith("albumentations.") for step in ours.steps)
    compared = by_us(ours, image), by_them(theirs, image)
    alike(*map(without_corners, compared) if name in HOLES else compared)


@pytest.mark.parametrize("name", sorted(HOLES))
def test_holes_lie_where_those_of_albumentations_do(name):
    """On white: first and last column and row that a hole reaches, and how much is hidden."""
    white = np.full((80, 110, 3), 255, np.uint8)
    theirs = compose(IMPORTED[name]())
    ours = augsuite.policy(theirs)
    reseed(theirs, 4)
    found = [
        [where(ours(augsuite.Sample.of(white), key=(0, 0, draw)).image) for draw in range(DRAWS)],
        [where(theirs(image=white, bboxes=[], labels=[])["image"]) for _ in range(DRAWS)],
    ]
    noise = np.random.default_rng(5).uniform(-0.5, 0.5, (2, DRAWS, 5))
    for mine, other in zip(*(np.array(found) + noise).transpose(0, 2, 1), strict=True):
        assert ks_2samp(mine, other).pvalue > SURE


def where(image):
    hidden = (image < 255).any(axis=2)
    if not hidden.any():
        return [-1] * 5
    columns, rows = np.flatnonzero(hidden.any(axis=0)), np.flatnonzero(hidden.any(axis=1))
    return [columns[0], columns[-1], rows[0], rows[-1], np.sqrt(hidden.sum())]


def without_corners(rows):
    """Whether there is a box, instead of the box: albumentations cuts to whole pixels and away from holes what it keeps."""
    return np.column_stack([np.repeat(rows[:, :1] >= 0, 4, axis=1), rows[:, 4:]])


@pytest.mark.parametrize("name", sorted(SUMMARIES))
def test_pixel_transforms_stay_what_they_are(name, image):
    theirs = A.Compose([getattr(A, name)(p=1.0)])
    ours = augsuite.policy(A.to_dict(theirs))
    (step,) = ours.steps
    assert step.do == f"albumentations.{name}"
    assert step.params == {}, "a default is not spelled out"
    seed = ours.plan(augsuite.Sample.of(image)).ops[0].drawn["seed"]
    alone = theirs.transforms[0]
    alone.set_random_seed(seed)
    np.testing.assert_array_equal(ours(augsuite.Sample.of(image)).image, alone(image=image)["image"])


def test_saved_files_and_live_objects_agree(tmp_path, image):
    theirs = compose(
        A.Blur(blur_limit=(3, 5), p=0.2), A.HorizontalFlip(p=0.5), A.GaussNoise(std_range=(1e-05, 2e-05), p=1)
    )
    A.save(theirs, tmp_path / "p.json")
    A.save(theirs, tmp_path / "p.yaml", data_format="yaml")
    live = augsuite.policy(theirs)
    assert live.steps[0].params == {"blur_limit": [3, 5]}
    assert live.steps[2].params == {"std_range": [1e-05, 2e-05]}
    for given in (tmp_path / "p.json", str(tmp_path / "p.yaml"), A.to_dict(theirs)):
        assert augsuite.policy(given).steps == live.steps
    again = augsuite.policy(augsuite.policy(tmp_path / "p.json").to_plain())
    np.testing.assert_array_equal(again(augsuite.Sample.of(image)).image, live(augsuite.Sample.of(image)).image)


def test_rules_for_boxes():
    rules = A.BboxParams("yolo", label_fields=["labels"], min_visibility=0.25, min_width=3, min_height=3)
    policy = augsuite.policy(A.Compose([A.HorizontalFlip()], bbox_params=rules))
    assert (policy.min_visible_frac, policy.min_size) == (0.25, 3.0)
    unequal = A.BboxParams("coco", label_fields=["labels"], min_area=9, min_width=3)
    with pytest.raises(ConfigError, match=r"min_area 9, .*; bbox_params: min_width 3 and min_height 0 differ"):
        augsuite.policy(A.Compose([A.NoOp()], bbox_params=unequal))


def test_everything_without_an_equal_is_named_at_once():
    pipeline = A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Morphological(),
            A.Rotate((0, 40)),
            A.FDA(),
            A.Lambda(),
            A.Rotate(10, border_mode=4),
            A.Affine(scale=(0.5, 2)),
            A.SomeOf([A.HorizontalFlip() for _ in range(20)], n=10),
            A.Perspective(),
            A.ElasticTransform(),
            A.GridDistortion(),
            A.Erasing(),
            A.CoarseDropout(hole_height_range=(3, 9), hole_width_range=(3, 9)),
            A.CoarseDropout(fill="inpaint_ns"),
            A.CoarseDropout(fill_mask=3),
        ]
    )
    with pytest.raises(ConfigError) as error:
        augsuite.policy(pipeline)
    said = str(error.value)
    assert said.startswith(
        "policy: 14 of 34 transforms of this albumentations pipeline have no equivalent: transforms[1] (Morphological)"
    )
    for place, why in enumerate(
        [
            "no such step",
            "limit from 0 to 40",
            "cannot save it",
            "Lambda",
            "BORDER_REFLECT_101",
            "keep_ratio",
            "10 of 20 can be chosen in more than 120 ways",
            "enlarges a part",
            "filtered noise",
            "whole lines",
            "uniform in the logarithm",
            "measured in pixels",
            "inpaint_ns",
            "fill_mask 3",
        ],
        1,
    ):
        assert f"transforms[{place}] " in said
        assert why in said
    assert "\n" not in said
    plain, found = pipelines.load(pipeline, "left", skip_unknown=True)
    assert [step["do"] for step in plain["steps"]] == ["hflip"]
    assert len(found.unknown) == 14


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"__version__": "2.0.8", "transform": 3}, "not a pipeline that albumentations saved"),
        (saved_one := {"__class_fullname__": "Blur", "blur_limt": 3}, "blur_limt"),
        ({"__class_fullname__": "NoSuchThing", "p": 1}, "no such transform"),
        ({"__class_fullname__": "Resize", "height": 3}, "Resize"),
    ],
)
def test_mistakes_in_a_saved_pipeline(given, said):
    if "__class_fullname__" in given:
        given = {
            "__version__": "2.0.8",
            "transform": {"__class_fullname__": "Compose", "p": 1.0, "transforms": [given]},
        }
    with pytest.raises(ConfigError, match=said) as error:
        augsuite.policy(given)
    assert "\n" not in str(error.value)


def test_something_else_is_no_policy():
    with pytest.raises(ConfigError, match="got Random"):
        augsuite.policy(random.Random())


EXPORTED = {
    "mirrors": [{"do": "hflip", "p": 0.5}, {"do": "vflip", "p": 0.3}],
    "crop and resize": [{"do": "crop", "area_frac": [0.3, 0.9], "ratio": [0.6, 1.5]}, {"do": "resize", "size": [70, 50]}],
    "rotate": [{"do": "rotate", "max_deg": 20, "fill": [10, 200, 30], "p": 0.7}],
    "affine": [{"do": "affine", "rotate_deg": 20, "shear_deg": 0, "translate_frac": [0.05, 0.1], "scale": [0.7, 1.1]}],
    "shear": [{"do": "affine", "rotate_deg": 0, "shear_deg": 15, "translate_frac": [0, 0], "scale": [1, 1]}],
    "brightness": [{"do": "brightness", "factor": [0.5, 1.2]}],
    "contrast": [{"do": "contrast", "factor": [0.5, 1.2], "p": 0.5}],
    "saturation": [{"do": "saturation", "factor": [0.2, 1.2]}],
    "hue": [{"do": "hue", "hue_deg": [-60, 60]}],
    "jitter": [{"do": "color_jitter"}],
    "quarters": [{"do": "rot90"}, {"do": "transpose", "p": 0.5}],
    "padded": [{"do": "pad", "least": [130, 95], "multiple": 1, "place": "random"}],
    "sides": [{"do": "resize_long", "sizes": [120, 150]}, {"do": "resize_short", "sizes": [97], "most": None}],
    "center_crop": [{"do": "center_crop", "size": [85, 60], "p": 0.5}],
    "grey": [{"do": "grayscale", "p": 0.5}],
    "resize": [{"do": "resize", "size": [150, 100]}],
}  # fmt: skip


CHOICES = {
    "one of": [
        {
            "do": "one_of",
            "steps": [{"do": "hflip", "p": 0.5}, {"do": "resize", "size": [60, 40]}, {"do": "vflip"}],
            "weights": {"vflip": 3.0, "resize": 0.0},
            "p": 0.8,
        }
    ],
    "sub-policies": [
        {
            "do": "sub_policies",
            "policies": {
                "crop": [
                    {"do": "crop", "area_frac": [0.3, 0.9], "ratio": [0.6, 1.5]},
                    {"do": "resize", "size": [70, 50]},
                ],
                "nothing": [],
                "two": [{"do": "hflip", "p": 0.3}, {"do": "one_of", "steps": [{"do": "vflip"}, {"do": "grayscale"}]}],
            },
            "weights": {"crop": 2.0},
        },
        {"do": "hflip", "p": 0.2},
    ],
}


def kept(steps):
    return augsuite.policy({"steps": steps, "min_visible_frac": 0.0, "min_size": 0.0})


@pytest.mark.parametrize("name", [*EXPORTED, *CHOICES, "holes"])
def test_exported_to_albumentations(name, image):
    holes = [{"do": "coarse_dropout", "holes": [1, 1], "height_frac": [0.1, 0.2], "width_frac": [0.2, 0.3], "p": 0.6}]
    policy = kept(holes if name == "holes" else {**EXPORTED, **CHOICES}[name])
    compared = by_us(policy, image), by_them(policy.export("albumentations"), image)
    alike(*map(without_corners, compared) if name == "holes" else compared)


@pytest.mark.parametrize("name", EXPORTED)
def test_there_and_back(name, image):
    policy = kept(EXPORTED[name])
    back = augsuite.policy(json.loads(pipelines.export(policy, "albumentations").text))
    if any("albumentations." in step.do for step in back.steps):  # colours come back as guests, which are exact
        alike(by_us(policy, image), by_us(back, image))
        return
    assert [step.do for step in back.steps] == [step.do for step in policy.steps]
    for draw in range(20):
        sample = augsuite.Sample.of(image, [BOX], [3])
        first, second = (one(sample, key=(0, 0, draw)) for one in (policy, back))
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.boxes, second.boxes)


ONLY_TORCHVISION = {
    "expand": [{"do": "expand", "p": 0.5, "max_ratio": 2}],
    "perspective": [{"do": "perspective", "shift_frac": 0.15, "p": 0.8, "fill": [9, 200, 30]}],
    "erasing": [{"do": "random_erasing", "fill": [250, 3, 9], "area_frac": [0.02, 0.3], "p": 0.7}],
}


@pytest.mark.filterwarnings("ignore:RandomErasing.. is currently passing through")
@pytest.mark.parametrize("name", sorted({*EXPORTED, *CHOICES, *ONLY_TORCHVISION} - {"quarters", "padded", "sides"}))
def test_exported_to_torchvision(name, image):
    torch = pytest.importorskip("torch")
    from torchvision import tv_tensors

    policy = kept({**EXPORTED, **CHOICES, **ONLY_TORCHVISION}[name])
    pipeline = policy.export("torchvision")
    torch.manual_seed(3)
    picture = tv_tensors.Image(torch.from_numpy(image.transpose(2, 0, 1).copy()))
    boxes = tv_tensors.BoundingBoxes([BOX], format="XYXY", canvas_size=image.shape[:2], dtype=torch.float32)
    found = [pipeline(picture, boxes) for _ in range(DRAWS)]
    theirs = np.array([row(moved.permute(1, 2, 0).numpy(), where.numpy()) for moved, where in found])
    ours = by_us(policy, image)
    if name == "erasing":  # there a box that is wholly hidden stays
        ours[:, :4] = theirs[:, :4] = 0
    alike(ours, theirs)


@pytest.mark.parametrize(
    "step",
    [{"do": "randaugment", "ops": 1, "magnitude": 12}, {"do": "trivialaugment", "p": 0.9}],
    ids=["rand", "trivial"],
)
def test_spaces_exported_to_torchvision(step, image):
    """Of images alone: there they refuse boxes."""
    torch = pytest.importorskip("torch")
    policy = kept([step])
    found = pipelines.export(policy, "torchvision")
    assert "refuse boxes" in found.notes[-1]
    torch.manual_seed(3)
    picture = torch.from_numpy(image.transpose(2, 0, 1).copy())
    theirs = np.array([row(found.pipeline(picture).permute(1, 2, 0).numpy(), []) for _ in range(DRAWS)])
    ours = by_us(policy, image)
    ours[:, :4] = -1
    alike(ours, theirs)


def test_spaces_that_are_not_the_same():
    pytest.importorskip("torchvision")
    for step, why in (
        ({"do": "randaugment", "magnitude": 9.5}, "takes whole ones"),
        ({"do": "randaugment", "without": ["equalize"]}, "would be the same"),
        ({"do": "augmix"}, "among whole levels"),
        ({"do": "one_of", "steps": [{"do": "hflip"}, {"do": "augmix"}]}, r"steps\[0\]\.augmix\[0\] \(augmix\)"),
        ({"do": "random_erasing"}, "normal noise"),
    ):
        with pytest.raises(ConfigError, match=why):
            augsuite.policy([step]).export("torchvision")
    with pytest.raises(ConfigError, match="not all there"):
        augsuite.policy("trivialaugment").export("albumentations")


def test_the_text_makes_the_pipeline_again():
    torch = pytest.importorskip("torch")
    steps = [
        *EXPORTED["crop and resize"],
        *CHOICES["sub-policies"],
        *EXPORTED["rotate"],
        *EXPORTED["jitter"],
        {"do": "hflip", "p": 0.5},
        {"do": "normalize"},
    ]
    found = pipelines.export(kept(steps), "torchvision")
    space = {}
    exec(found.text, space)
    assert repr(space["pipeline"]) == repr(found.pipeline)
    given = torch.randint(0, 256, (3, 60, 80), dtype=torch.uint8)
    torch.manual_seed(1)
    first = space["pipeline"](given)
    torch.manual_seed(1)
    assert torch.equal(first, found.pipeline(given))
    assert first.dtype == torch.float32
    judge = A.from_dict(json.loads(pipelines.export(kept(steps), "albumentations").text))
    assert repr(judge) == repr(kept(steps).export("albumentations"))


@pytest.mark.parametrize("to", ["albumentations", "torchvision"])
def test_steps_in_the_way_are_all_named(to):
    pytest.importorskip("torchvision")
    with pytest.raises(ConfigError) as error:
        augsuite.policy("ssd").export(to)
    for step in ("steps[0] (photometric)", "steps[2] (iou_crop)"):
        assert step in str(error.value)
    with pytest.raises(ConfigError, match="Did you mean 'torchvision'"):
        augsuite.policy("flip").export("torchvison")
    with pytest.raises(ConfigError, match="resize right after it"):
        augsuite.policy([{"do": "crop"}]).export(to)


def test_command(tmp_path):
    pipeline = A.Compose([A.HorizontalFlip(p=0.5), A.Morphological(), A.Resize(30, 40, interpolation=0)])
    A.save(pipeline, tmp_path / "mine.json")
    call = CliRunner().invoke
    refused = call(cli.cli, ["policies", "import", str(tmp_path / "mine.json")])
    assert isinstance(refused.exception, ConfigError)
    done = call(
        cli.cli, ["policies", "import", str(tmp_path / "mine.json"), "--skip-unknown", "-o", str(tmp_path / "p.yaml")]
    )
    assert done.exit_code == 0, done.output
    assert "skipped 1 of 3 transforms" in done.stderr
    assert "transforms[2] (Resize): resamples linearly, not by INTER_NEAREST" in done.stderr
    assert (tmp_path / "p.yaml").read_text() == textwrap.dedent("""\
        policy: mine
        steps:
          - {do: hflip, p: 0.5}
          - {do: resize, size: [40, 30]}
        """)
    done = call(cli.cli, ["policies", "export", str(tmp_path / "p.yaml"), "--to", "albumentations"])
    assert [type(one).__name__ for one in A.from_dict(json.loads(done.stdout)).transforms] == [
        "HorizontalFlip",
        "Resize",
    ]
