"""`fiftyone://NAME` wherever a dataset is read or written."""

from __future__ import annotations

import filecmp

import click.testing
import pytest

import augsuite
from augsuite import conversion, registry
from augsuite.cli import cli
from augsuite.errors import ConfigError
from augsuite.testing.examples import example_datasets
from augsuite.testing.formats import check_declaration, differences
from augsuite_fiftyone.format import detect


@pytest.fixture
def run(fo):
    def call(*words):
        return click.testing.CliRunner().invoke(cli, list(map(str, words)))

    return call


@pytest.fixture
def coco(tmp_path):
    """A dataset as COCO files."""
    data = example_datasets(tmp_path / "given")["hard"]
    conversion.write(data, tmp_path / "coco", "coco")
    return tmp_path / "coco"


def test_there_and_back_gives_the_same_files(run, fo, fo_name, coco, tmp_path):
    there = run("convert", coco, f"fiftyone://{fo_name}")
    assert there.exit_code == 0, there.output
    assert "coco -> fiftyone   6 images   6 boxes" in there.output
    assert "lost: nothing" in there.output
    assert fo.load_dataset(fo_name).persistent
    back = run("convert", f"fiftyone://{fo_name}", tmp_path / "back", "--to", "coco")
    assert back.exit_code == 0, back.output
    files = sorted(path.relative_to(coco) for path in coco.rglob("*") if path.is_file())
    assert [path for path in files if not filecmp.cmp(coco / path, tmp_path / "back" / path, shallow=False)] == []


def test_every_command_that_reads_takes_it(run, fo_name, coco):
    run("convert", coco, fo_name, "--to", "fiftyone")
    said = run("stats", f"fiftyone://{fo_name}", "--json")
    assert said.exit_code == 0, said.output
    assert '"images": 6' in said.output
    done = run("filter", f"fiftyone://{fo_name}", f"fiftyone://{fo_name}-dogs", "--class", "dog")
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"fiftyone://{fo_name}-dogs (fiftyone)")
    dogs = augsuite.read(f"fiftyone://{fo_name}-dogs")
    assert set(dogs.categories.names[dogs.annotations.category_rows]) == {"dog"}


def test_a_dataset_is_replaced_only_if_its_name_is_typed_again(run, fo, fo_name, coco):
    place = f"fiftyone://{fo_name}"
    assert run("convert", coco, place).exit_code == 0
    created = fo.load_dataset(fo_name).created_at
    for words, said in (
        ((), "exists already"),
        (("--overwrite",), "Type its name again"),
        (("--overwrite", "--option", "delete=other"), "Type its name again"),
    ):
        refused = run("convert", coco, place, *words)
        assert refused.exit_code != 0
        assert said in str(refused.exception) + refused.output
    assert fo.load_dataset(fo_name).created_at == created
    done = run("convert", coco, place, "--overwrite", "--option", f"delete={fo_name}")
    assert done.exit_code == 0, done.output


def test_what_cannot_be_meant_is_refused(fo, fo_name, coco, tmp_path):
    with pytest.raises(ConfigError, match="no dataset of that name"):
        augsuite.read(f"fiftyone://{fo_name}-not")
    with pytest.raises(ConfigError, match="names no dataset"):
        augsuite.read("fiftyone://")
    with pytest.raises(ConfigError, match="is a place for the format fiftyone alone"):
        conversion.convert(coco, f"fiftyone://{fo_name}", "voc")
    with pytest.raises(ConfigError, match="Name it with --to"):
        conversion.convert(coco, tmp_path / "out")
    with pytest.raises(ConfigError, match="does not take this name"):
        conversion.convert(coco, "fiftyone://!!!")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("fiftyone")]


def test_a_saved_view_is_read_by_its_name(fo, fo_name, coco):
    conversion.convert(coco, f"fiftyone://{fo_name}")
    dataset = fo.load_dataset(fo_name)
    dataset.save_view("trained", dataset.match_tags("train"))
    assert augsuite.read(f"fiftyone://{fo_name}", view="trained").images.splits.tolist() == ["train", "train"]
    with pytest.raises(ConfigError, match=r"no saved view .traind.\. Did you mean .trained."):
        augsuite.read(f"fiftyone://{fo_name}", view="traind")


def test_the_declaration_keeps_the_contract(fo, fo_name, tmp_path):
    spec = registry.default().formats()["fiftyone"]
    check_declaration(spec, tmp_path)
    for name, data in example_datasets(tmp_path).items():
        place = f"fiftyone://{fo_name}-{name}"
        losses = conversion.write(data, place, spec)
        assert detect(conversion.target_in(spec, place)) == 1
        assert not losses
        assert differences(data, conversion.read(place), losses) == []


def test_a_path_is_none_of_its_places(tmp_path):
    assert detect(tmp_path) == detect(tmp_path / "fiftyone") == 0
