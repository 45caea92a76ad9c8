"""Stored plans: the same pixels again, in another process too; what does not fit is one line."""

import hashlib
import json
import os
import subprocess
import sys

import msgspec
import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import augsuite
from augsuite import cli
from augsuite.augment import replay as replays
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.errors import ConfigError, DataError

STEPS = [
    {"do": "photometric"},
    {"do": "mixup", "p": 0.5},
    {"do": "expand", "p": 0.5},
    {"do": "affine"},
    {"do": "hflip", "p": 0.5},
]


@pytest.fixture
def folder(tmp_path):
    """Four photographs of noise, as COCO, with two boxes each."""
    names = [f"{row}.png" for row in range(4)]
    for row, name in enumerate(names):
        PIL.Image.fromarray(np.random.default_rng(row).integers(0, 256, (50, 70, 3), np.uint8)).save(tmp_path / name)
    images = Images.of(names, sizes=[[70, 50]] * 4, files=names)
    boxes = Annotations.of([0, 0, 1, 1, 2, 2, 3, 3], [0, 1] * 4, [[5, 5, 40, 30], [30, 10, 68, 48]] * 4)
    augsuite.write(Dataset(images, Categories.of(["a", "b"]), boxes, root=tmp_path), tmp_path / "set", format="coco")
    (tmp_path / "steps.yaml").write_text(json.dumps({"policy": "mine", "steps": STEPS}))
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(cli.cli, [str(argument) for argument in arguments])


def saved(folder):
    done = call(
        "preview",
        folder / "steps.yaml",
        folder / "set",
        "-o",
        folder / "g.png",
        "--size",
        "64",
        "--save-plans",
        folder / "plans",
    )
    assert done.exit_code == 0, done.output
    return sorted((folder / "plans").iterdir())


def test_the_digest_is_sha256_of_size_and_bytes():
    image = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
    assert replays.digest(image) == hashlib.sha256(b"2x5 " + bytes(range(30))).hexdigest()
    turned = np.ascontiguousarray(image.transpose(1, 0, 2))
    assert replays.digest(turned.transpose(1, 0, 2)) == replays.digest(image)
    assert replays.digest(image.reshape(5, 2, 3)) != replays.digest(image)


def test_replayed_in_another_process_with_the_same_pixels(folder):
    plans = saved(folder)
    assert len(plans) == 16
    policy, data = augsuite.policy(STEPS), augsuite.read(folder / "set")
    mixed = 0
    for path in plans[::3]:
        record = replays.read_record(path)
        mixed += isinstance(record.plan.start, replays.Mix)
        direct = policy(data.sample(record.key[2]), key=record.key, pool=data)
        out = folder / "again.png"
        done = subprocess.run(
            [sys.executable, "-m", "augsuite", "replay", str(path), "-o", str(out), "--json"],
            capture_output=True, text=True, check=False, env=os.environ | {"PYTHONHASHSEED": "7"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["sha256"] == said["recorded"]
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(out)), direct.image)
        np.testing.assert_array_equal(np.reshape(said["boxes"], (-1, 4)), direct.boxes)
        assert said["labels"] == direct.labels.tolist()
    assert 0 < mixed < 6


def test_a_bare_plan_and_an_image_file(folder):
    data = augsuite.read(folder / "set")
    policy = augsuite.policy([{"do": "iou_crop", "min_iou": [0.1]}, {"do": "hflip"}])
    plan = next(plan for row in range(40) if len((plan := policy.plan(data.sample(0), (row, 0, 0))).ops) == 2)
    assert plan.ops[0].keep is not None
    (folder / "bare.json").write_text(plan.to_json())
    done = call("replay", folder / "bare.json", "--image", folder / "0.png", "-o", folder / "out.png")
    assert done.exit_code == 0, done.output
    left, top, width = -plan.ops[0].matrix[2], -plan.ops[0].matrix[5], plan.ops[0].width
    by_hand = np.asarray(PIL.Image.open(folder / "0.png"))[int(top) :, int(left) :][: plan.ops[0].height, :width][
        :, ::-1
    ]
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(folder / "out.png")), by_hand)
    assert call("replay", folder / "bare.json", "--dataset", folder / "set").exit_code == 0


def test_other_pixels_are_said_and_end_with_1(folder):
    path = saved(folder)[0]
    record = replays.read_record(path)
    name = record.image
    stored = next((folder / "set").rglob(name))
    PIL.Image.new("RGB", (70, 50)).save(stored)
    done = call("replay", path)
    assert done.exit_code == 1
    assert f"recorded: {record.sha256}" in done.stdout
    assert "the pixels differ" in done.stderr


def test_what_does_not_fit_is_one_line(folder):
    path = saved(folder)[0]
    record = replays.read_record(path)

    def fails(kind, said, *arguments, **changed):
        other = folder / "other.json"
        msgspec.structs.replace(record, **changed).write(other)
        error = call("replay", other, *arguments).exception
        assert isinstance(error, kind), error
        assert said in str(error)
        assert "\n" not in str(error)

    fails(ConfigError, "names no dataset", dataset="")
    fails(ConfigError, "was drawn for image 'x.png'", image="x.png")
    fails(ConfigError, "leave the other out".capitalize(), "--dataset", "a", "--image", "b")
    fails(ConfigError, "Call it out.png", "-o", "out.jpg")
    small = msgspec.structs.replace(record.plan, start=msgspec.structs.replace(start_of(record.plan), width=71), ops=())
    fails(DataError, "drawn for an image of 71x50", plan=small)
    broken = msgspec.structs.replace(
        record.plan, start=start_of(record.plan), ops=(replays.Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), 10, 10, keep=(99,)),)
    )
    fails(DataError, "the plan cannot be rendered (IndexError", plan=broken)
    assert not list(folder.glob("out.*"))


def start_of(plan):
    while isinstance(plan.start, replays.Mix):
        plan = plan.start.parts[0]
    return plan.start


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"plan": 3}', '{"start": {"type": "image"}}', "[" * 100_000])
def test_no_plan_is_one_line(tmp_path, text):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(ConfigError, match=r"p\.json: not a plan: ") as error:
        replays.read_record(tmp_path / "p.json")
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        replays.read_record(tmp_path / "none.json")
