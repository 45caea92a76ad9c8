"""What a policy comes to: shares that are known beforehand, decode scales worked out by hand."""

import json
from collections import Counter

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from augsuite import cli
from augsuite.augment import policy
from augsuite.augment.explain import Stand, explain
from augsuite.dataset import Annotations, Categories, Dataset, FileSource, Images
from augsuite.errors import ConfigError


def about(steps, size=(640, 480), draws=200):
    stand = Stand(*size)
    return explain(policy(steps), [stand.original(row) for row in range(4)], stand, draws=draws)


def test_shares_and_what_becomes_of_steps():
    found = about([{"do": "hflip", "p": 0.25}, {"do": "brightness"}, {"do": "normalize"}], draws=1000)
    flip, bright, normalize = found.steps
    assert abs(flip.drawn_frac - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 1000)
    assert bright.drawn_frac == 1
    assert bright.becomes == "a table of 256 values"
    assert bright.params == {"factor": (0.6, 1.4)}
    assert flip.becomes == "part of warp 1"
    assert normalize.drawn_frac == 0
    assert found.draws.pixels == {
        "untouched": 1000 - round(flip.drawn_frac * 1000),
        "sliced": round(flip.drawn_frac * 1000),
    }
    assert found.draws.boxes_kept_frac == 1


@pytest.mark.parametrize(
    ("target", "scale"), [(639, "1/1"), (330, "1/1"), (320, "1/2"), (160, "1/4"), (90, "1/4"), (80, "1/8")]
)
def test_the_decode_scale_is_the_smallest_that_is_not_magnified(target, scale):
    found = about([{"do": "resize_long", "sizes": [target]}])
    assert found.draws.decode == {scale: 200}
    assert found.draws.pixels == {"warped": 200}


def test_tables_in_a_row_take_one_pass():
    fused = about([{"do": "brightness"}, {"do": "gamma"}, {"do": "hflip"}, {"do": "posterize"}])
    assert (fused.draws.value_ops, fused.draws.value_passes) == (3, 1)
    apart = about([{"do": "brightness"}, {"do": "blur"}, {"do": "posterize"}])
    assert (apart.draws.value_ops, apart.draws.value_passes) == (3, 3)


def test_stretches_between_mixes():
    found = about([{"do": "hflip"}, {"do": "crop"}, {"do": "mixup"}, {"do": "rotate"}, {"do": "hue"}])
    assert [step.becomes for step in found.steps][:2] == ["part of warp 1", "part of warp 1"]
    assert found.steps[3].becomes == "part of warp 2"
    assert [line.partition(":")[0] for line in found.passes] == ["warp 1", "mix", "warp 2", "values"]
    assert "hflip and crop are one matrix" in found.passes[0]
    assert found.draws.pixels == {"mixed": 200}
    assert about([]).passes == ["nothing: the image stays as it is"]


@pytest.mark.parametrize(
    "steps",
    [
        [{"do": "mosaic", "size": [640, 640]}, {"do": "affine", "scale": [0.3, 0.6]}],
        [{"do": "mixup"}, {"do": "resize", "size": [150, 150]}],
        [{"do": "hflip", "p": 0.5}, {"do": "cutmix"}, {"do": "crop"}, {"do": "resize", "size": [150, 150]}],
        [{"do": "resize", "size": [160, 120]}, {"do": "perspective"}, {"do": "mosaic", "size": [300, 300]}],
        [{"do": "mosaic", "size": [640, 640]}, {"do": "perspective"}, {"do": "resize", "size": [200, 200]}],
        [{"do": "resize", "size": [160, 120]}, {"do": "elastic"}],
    ],
    ids=["mosaic", "mixup", "cutmix", "bent parts", "bent mosaic", "bent"],
)
def test_decode_scales_are_those_that_rendering_asks_for(steps, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for row, size in enumerate([(1280, 960), (641, 480), (500, 900), (320, 240), (1000, 1000)]):
        PIL.Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(tmp_path / f"{row}.jpg")
    names = [f"{row}.jpg" for row in range(5)]
    boxes = Annotations.of(range(5), [0] * 5, [[10, 10, 200, 200]] * 5)
    data = Dataset(Images.of(names, files=names), Categories.of(["thing"]), boxes, root=tmp_path)
    chosen = policy(steps)
    found = explain(chosen, [data.sample(row) for row in range(5)], data, draws=20).draws.decode
    asked = Counter()
    decode = FileSource.decode

    def watched(self, reduce=1, rows=None):
        asked[f"1/{reduce}"] += 1
        return decode(self, reduce, rows)

    monkeypatch.setattr(FileSource, "decode", watched)
    for number in range(20):
        chosen(data.sample(number % 5), key=(0, number, number % 5), pool=data)
    assert found == dict(asked)
    assert len(found) > 1


def test_what_needs_a_histogram_says_so():
    found = about([{"do": "autocontrast"}, {"do": "contrast"}, {"do": "equalize"}, {"do": "blur"}], draws=5)
    assert [("histogram" in step.becomes) for step in found.steps] == [True, True, True, False]


def test_a_dropped_box_is_not_kept():
    """Of the four boxes of the blank image, two lie wholly in the middle half of the width; one does by a fifth."""
    found = about([{"do": "center_crop", "size": [320, 480]}])
    # x from 160 to 480 of 640: boxes 64-288, 256-384, 448-627 and 333-384; visible 0.57, 1, 0.18 and 1: all over 0.1.
    assert found.draws.boxes_kept_frac == 1
    found = about([{"do": "center_crop", "size": [240, 480]}])  # x from 200 to 440: the third is gone
    assert found.draws.boxes_kept_frac == 0.75


def test_command(tmp_path):
    call = CliRunner().invoke
    done = call(cli.cli, ["explain", "ssd", "--draws", "50", "--to", "300x300"])
    assert done.exit_code == 0, done.output
    assert "warp 1: expand, iou_crop, hflip and resize are one matrix" in done.stdout
    assert "300 x 300 (50)" in done.stdout
    assert "arXiv:1512.02325" in done.stdout
    plain = json.loads(call(cli.cli, ["explain", "ssd", "--draws", "50", "--json"]).stdout)
    assert [step["id"] for step in plain["steps"]] == ["photometric", "expand", "iou_crop", "hflip"]
    assert plain["draws"]["count"] == 50
    wrong = call(cli.cli, ["explain", "ssd", "--size", "640"]).exception
    assert isinstance(wrong, ConfigError)
    assert "--size '640'" in str(wrong)
