"""What a policy comes to: shares that are known beforehand, decode scales worked out by hand."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from augsuite import cli
from augsuite.augment import policy
from augsuite.augment.explain import Stand, explain
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
