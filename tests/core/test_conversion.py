"""Detection, atomic writing, options, names of datasets, and the convert command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import augsuite
from augsuite import conversion, registry
from augsuite.boxes import Layout
from augsuite.commands.augment import augment as augment_command
from augsuite.commands.convert import convert as command
from augsuite.dataset import ABSENT, Intake, objects
from augsuite.dataset.locate import locate
from augsuite.dataset.output import fresh_folder
from augsuite.errors import ConfigError, DataError
from augsuite.protocols import Losses
from augsuite.spec import FormatSpec, Ref


@pytest.fixture
def data(tmp_path, image_file):
    for name in ("a.jpg", "b.jpg"):
        image_file(tmp_path / "source" / name, (30, 20))
    return augsuite.Dataset(
        augsuite.Images.of(["a.jpg", "b.jpg"], [[30, 20], [30, 20]], files=["a.jpg", "b.jpg"]),
        augsuite.Categories.of(["x", "y"]),
        augsuite.Annotations.of([0, 1], [0, 1], [[1, 2, 11, 12], [0, 0, 30, 20]]),
        root=tmp_path / "source",
    )


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("way", ["copy", "hardlink", "symlink", "none"])
def test_images_are_placed_as_asked(data, tmp_path, way):
    augsuite.write(data, tmp_path / "out", "coco", images=way)
    placed = tmp_path / "out" / "images" / "a.jpg"
    original = tmp_path / "source" / "a.jpg"
    assert placed.exists() == (way != "none")
    assert placed.is_symlink() == (way == "symlink")
    if way != "none":
        assert placed.read_bytes() == original.read_bytes()
        assert placed.samefile(original) == (way != "copy")


def test_an_existing_output_is_kept_unless_overwritten(data, tmp_path):
    out = tmp_path / "out"
    augsuite.write(data, out, "coco")
    before = names(out)
    with pytest.raises(ConfigError, match="--overwrite"):
        augsuite.write(data, out, "voc")
    assert names(out) == before
    augsuite.write(data, out, "voc", overwrite=True)
    assert names(out) == ["Annotations/a.xml", "Annotations/b.xml", "JPEGImages/a.jpg", "JPEGImages/b.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_no_part_of_the_source_is_overwritten(data, tmp_path):
    home = tmp_path / "home"
    augsuite.write(data, home, "coco")
    before = names(home)
    for part in ("", "annotations", "images"):
        with pytest.raises(ConfigError, match=r"being read, or holds it|no dataset"):
            conversion.convert(home, home / part, "voc", overwrite=True)
    file = home / "annotations" / "instances.json"
    with pytest.raises(ConfigError, match="is part of the dataset that is being read, or holds it"):
        conversion.convert(file, home / "annotations", "voc", overwrite=True, images="none")
    augment = ["--policy", "flip", "--to", "coco", "--overwrite"]
    done = CliRunner().invoke(augment_command, [str(home), str(home / "annotations"), *augment])
    assert "is part of the dataset" in str(done.exception)
    with pytest.raises(ConfigError, match="holds the images that are being read"):
        augsuite.write(augsuite.read(home), home, "voc", overwrite=True)
    assert names(home) == before


def test_a_loss_on_rows_of_two_kinds_names_both(data):
    column = objects(["n", ABSENT])
    both = replace(
        data,
        categories=replace(data.categories, extra={"coco.keypoints": column}),
        annotations=replace(data.annotations, extra={"coco.keypoints": column}),
    )
    assert conversion.describe(Losses({"coco.keypoints": 2}), both) == ["coco.keypoints on 2 categories and boxes"]


def test_what_is_no_dataset_is_never_overwritten(data, tmp_path, monkeypatch):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="no dataset"):
        augsuite.write(data, thesis, "coco", overwrite=True)
    augsuite.write(data, tmp_path / "out", "coco")
    with pytest.raises(ConfigError, match="holds the images that are being read"):
        augsuite.write(augsuite.read(tmp_path / "out"), tmp_path / "out", "voc", overwrite=True)
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(ConfigError, match="will not be replaced"):
        augsuite.write(data, ".", "voc", overwrite=True)
    assert names(thesis) == ["chapter.txt"]


def test_lossless_refuses_before_anything_is_left(data, tmp_path):
    both = [*data.annotations.boxes.tolist(), *[[float("nan")] * 4] * 2]
    table = augsuite.Annotations.of([0, 1, 0, 1], [0, 1, 0, 1], both)
    labelled = augsuite.Dataset(data.images, data.categories, table, data.root)
    with pytest.raises(DataError, match="would lose 2 boxes"):
        augsuite.write(labelled, tmp_path / "out", "folder", lossless=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize("how", ["copy", "hardlink", "symlink"])
def test_a_broken_image_is_not_passed_on_in_silence(data, tmp_path, how):
    path = tmp_path / "source" / "b.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"b\.jpg: the image cannot be read .*--skip-invalid"):
        augsuite.write(data, tmp_path / "out", "voc", images=how)
    assert not (tmp_path / "out").exists()
    intake = Intake(skip_invalid=True)
    augsuite.write(data, tmp_path / "out", "voc", images=how, intake=intake)
    assert (tmp_path / "out" / "JPEGImages" / "b.jpg").read_bytes() == path.read_bytes()
    assert [note for note in intake.notes if "b.jpg" in note and "Passed on as it is" in note]
    augsuite.write(data, tmp_path / "without", "voc", images="none")


def test_a_missing_image_stops_only_where_it_is_needed(data, tmp_path):
    (tmp_path / "source" / "b.jpg").unlink()
    with pytest.raises(DataError, match=r"b\.jpg: cannot be placed"):
        augsuite.write(data, tmp_path / "out", "coco")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]
    augsuite.write(data, tmp_path / "out", "coco", images="none")
    result = conversion.convert(tmp_path / "out", tmp_path / "again", "voc")
    assert any("2 of 2 images have no file" in note for note in result.notes)
    assert augsuite.read(tmp_path / "again").boxes(Layout.XYWH_PX).tolist() == [[1, 2, 10, 10], [0, 0, 30, 20]]


def test_a_kill_leaves_the_old_output_or_the_new_one(data, tmp_path):
    """Exchange two valid outputs again and again, kill at a random moment: one of them is there, whole."""
    out = tmp_path / "out"
    augsuite.write(data, out, "coco")
    loop = (
        "import sys, augsuite\n"
        "data = augsuite.read(sys.argv[1])\n"
        "for turn in range(10**6):\n"
        "    augsuite.write(data, sys.argv[2], ('coco', 'voc')[turn % 2], overwrite=True, images='none')\n"
        "    print(turn, flush=True)\n"
    )
    augsuite.write(data, tmp_path / "given", "coco")
    for pause in (0.0, 0.003, 0.011):
        arguments = [sys.executable, "-c", loop, str(tmp_path / "given"), str(out)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
        assert len(augsuite.read(out).annotations) == 2


def _half_written(target):
    with fresh_folder(target) as folder:
        (folder / "half").write_text("written")
        raise ZeroDivisionError


def test_the_folder_vanishes_on_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError):
        _half_written(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_nothing_recognised_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"coco: annotations/\*\.json.*voc: Annotations/\*\.xml.*--from"):
        augsuite.read(tmp_path)


def test_unknown_names_say_the_nearest(data, tmp_path, monkeypatch):
    (tmp_path / "datasets" / "raccoon").mkdir(parents=True)
    monkeypatch.setenv("AUGSUITE_DATA", str(tmp_path / "datasets"))
    assert locate("raccoon") == tmp_path / "datasets" / "raccoon"
    with pytest.raises(ConfigError, match="Did you mean 'raccoon'"):
        locate("racoon")
    with pytest.raises(ConfigError, match="Did you mean 'coco'"):
        augsuite.write(data, tmp_path / "out", "cocoo")
    with pytest.raises(ConfigError, match="Did you mean 'origin'"):
        augsuite.read(tmp_path / "source", "voc", orign="0")
    with pytest.raises(ConfigError, match="unknown value '2'"):
        augsuite.read(tmp_path / "source", "voc", origin="2")
    with pytest.raises(ConfigError, match="unknown option 'unitz'"):
        conversion.convert(tmp_path / "source", tmp_path / "out", "csv", "voc", options={"unitz": "pixel"})


def test_the_command_says_what_was_lost(data, tmp_path):
    augsuite.write(data, tmp_path / "in", "coco")
    run = CliRunner().invoke(command, [str(tmp_path / "in"), str(tmp_path / "out"), "--to", "csv"])
    assert run.exit_code == 0
    assert run.stdout.startswith("coco -> csv   2 images   2 boxes   ")
    assert "coco.area on 2 boxes" in run.stdout
    run = CliRunner().invoke(command, [str(tmp_path / "out"), str(tmp_path / "back"), "--to", "coco", "--json"])
    said = json.loads(run.stdout)
    assert (said["source_format"], said["images"], said["boxes"], said["lost"]) == ("csv", 2, 2, [])
    assert said["target"] == str(tmp_path / "back")


@pytest.mark.parametrize(
    ("source", "chain"),
    [
        ("bccd", ("coco", "csv", "voc", "coco")),
        ("raccoon", ("csv", "coco", "voc")),
        ("bccd_coco", ("voc", "csv", "coco")),
    ],
)
def test_real_boxes_survive_a_chain_of_formats(real_data, tmp_path, source, chain):
    """Image, class and box are compared with the start of the chain; half pixels and whole ones are exact in float64."""

    def boxes(dataset):
        table = dataset.annotations
        return sorted(
            (dataset.images.names[image], dataset.images.splits[image], dataset.categories.names[category], *box)
            for image, category, box in zip(
                table.image_rows, table.category_rows, dataset.boxes().tolist(), strict=True
            )
        )

    start = boxes(augsuite.read(real_data / source))
    place = real_data / source
    for number, target in enumerate(chain):
        conversion.convert(place, tmp_path / str(number), target, images="symlink", allow_outside=True)
        place = tmp_path / str(number)
        assert boxes(augsuite.read(place, allow_outside=True)) == start


def test_a_broken_detector_costs_its_own_format_alone(data, tmp_path, monkeypatch):
    @augsuite.hookimpl
    def augsuite_formats():
        nowhere = Ref("package_of_a_stranger.io:read")
        for name, detect in (("absent", Ref("package_of_a_stranger.io:detect")), ("raises", Ref("json:loads"))):
            yield FormatSpec(name, "broken", (), frozenset(), detect, nowhere)

    plugins = registry.Registry()
    plugins.register(SimpleNamespace(augsuite_formats=augsuite_formats), "broken")
    plugins.load_entry_points()
    monkeypatch.setattr(registry, "default", lambda: plugins)
    augsuite.write(data, tmp_path / "out", "voc")
    assert len(augsuite.read(tmp_path / "out")) == 2
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match=r"format absent could not look .* format raises could not look \(TypeError"):
        augsuite.read(tmp_path / "none")
