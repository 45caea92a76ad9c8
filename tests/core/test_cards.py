"""The bundled datasets say the truth about themselves, and `augsuite datasets` makes the same again."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from augsuite import generation
from augsuite.cli import cli
from augsuite.dataset.cards import CARD, digest, read_card, read_cards
from augsuite.dataset.locate import bundled
from augsuite.errors import AugsuiteError, ConfigError

CARDS = {name: card for name, card in read_cards().items() if not card.archives}
LIMIT_BYTES = 3_000_000


def run(*arguments: str):
    return CliRunner().invoke(cli, ["datasets", *arguments])


def instances(name: str, split: str):
    return json.loads((bundled() / name / "annotations" / f"instances_{split}.json").read_bytes())


def test_the_shelf_is_bundled():
    assert "shelf" in CARDS


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_named_as_its_folder(name):
    assert CARDS[name].name == name


@pytest.mark.parametrize("name", CARDS)
def test_counts_are_true(name):
    card = CARDS[name]
    for split in card.images:
        content = instances(name, split)
        files = {path.name for path in (bundled() / name / "images" / split).iterdir()}
        assert files == {image["file_name"] for image in content["images"]}
        assert len(files) == card.images[split]
        assert len(content["annotations"]) == card.boxes[split]
        assert [category["name"] for category in content["categories"]] == card.categories


@pytest.mark.parametrize("name", CARDS)
def test_the_digest_is_that_of_sha256sum(name):
    folder = bundled() / name
    command = "find annotations images -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    said = subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True, text=True).stdout.split()[0]
    assert said == CARDS[name].sha256 == digest(folder)


def test_the_digest_sees_names_and_content(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(b"pixels")
    line = f"{hashlib.sha256(b'pixels').hexdigest()}  images/a.jpg\n"
    assert digest(tmp_path) == hashlib.sha256(line.encode()).hexdigest()
    (tmp_path / "README").write_text("not counted")
    assert digest(tmp_path) == hashlib.sha256(line.encode()).hexdigest()
    (tmp_path / "images/a.jpg").rename(tmp_path / "images/b.jpg")
    assert digest(tmp_path) != hashlib.sha256(line.encode()).hexdigest()


@pytest.mark.parametrize("name", CARDS)
def test_a_bundled_dataset_is_small_and_holds_no_code(name):
    files = [path for path in (bundled() / name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LIMIT_BYTES
    assert {path.suffix for path in files} <= {".jpg", ".json", ".yaml"}


@pytest.mark.parametrize("name", [name for name in CARDS if CARDS[name].made_by])
def test_the_command_on_the_card_makes_the_same_dataset(name, tmp_path):
    """The first images of it: an image does not depend on how many are made."""
    command = shlex.split(
        re.sub(r"--images \d+", "--images 8", CARDS[name].made_by).replace("DIR", str(tmp_path / "again"))
    )
    assert command[:2] == ["augsuite", "datasets"]
    result = run(*command[2:])
    assert result.exit_code == 0, result.output
    again = tmp_path / "again"
    for split in CARDS[name].images:
        made = json.loads((again / "annotations" / f"instances_{split}.json").read_bytes())
        kept = instances(name, split)
        assert made["images"]
        assert kept["images"][: len(made["images"])] == made["images"]
        assert kept["annotations"][: len(made["annotations"])] == made["annotations"]
        for image in made["images"]:
            first, second = (
                np.asarray(PIL.Image.open(folder / "images" / split / image["file_name"]), np.int64)
                for folder in (again, bundled() / name)
            )
            # another version of Pillow may draw an edge or round a coefficient of the JPEG otherwise
            assert np.abs(first - second).mean() < 2


def test_the_listing_names_datasets_and_generators():
    shown = run().output
    assert re.search(r"^shelf +220 +1,268 +9 +CC0-1\.0 ", shown, re.MULTILINE)
    assert "shift=none|light|mirror|scale" in shown
    listed = json.loads(run("--json").output)
    assert listed["bundled"][0]["images"] == {"train": 165, "val": 55}
    assert [(item["name"], item["plugin"]) for item in listed["generators"]] == [("shelf", "shelf")]


def test_both_spellings_of_an_option_make_the_same(tmp_path):
    for folder, spelling in (("a", ["--shift", "light"]), ("b", ["--option", "shift=light"])):
        result = run("make", "shelf", "--images", "4", "--seed", "2", "-o", str(tmp_path / folder), *spelling)
        assert result.exit_code == 0, result.output
        assert result.output.startswith("shelf   4 images (3 train, 1 val)")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    result = run(
        "make", "shelf", "--images", "4", "-o", str(tmp_path / "c"), "--shift", "scale", "--option", "shift=light"
    )
    assert isinstance(result.exception, ConfigError)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["shelv"], "unknown dataset generator 'shelv'. Did you mean 'shelf'?"),
        (["shelf", "--shift", "lihgt"], "shelf: option shift: unknown value 'lihgt'. Did you mean 'light'?"),
        (["shelf", "--option", "shfit=light"], "shelf: unknown option 'shfit'. Did you mean 'shift'?"),
        (["shelf", "--option", "val=2"], "shelf: option val: expected a share above 0 and below 1, got '2'."),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(arguments, line, tmp_path):
    result = run("make", *arguments, "--images", "2", "-o", str(tmp_path / "out"))
    assert isinstance(result.exception, AugsuiteError)
    assert str(result.exception) == line
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_kept_unless_told_otherwise(tmp_path):
    target = tmp_path / "shelf"
    target.mkdir()
    (target / "mine.txt").write_text("precious")
    with pytest.raises(ConfigError, match="--overwrite"):
        generation.make("shelf", target, images=2)
    assert (target / "mine.txt").read_text() == "precious"
    with pytest.raises(ConfigError, match="holds something that is no dataset"):
        generation.make("shelf", target, images=2, overwrite=True)
    assert (target / "mine.txt").read_text() == "precious"


def test_a_dataset_is_replaced_where_that_is_asked_for(tmp_path):
    target = tmp_path / "shelf"
    generation.make("shelf", target, images=2)
    (target / "notes.txt").write_text("of the old one")
    with pytest.raises(ConfigError, match="--overwrite"):
        generation.make("shelf", target, images=3)
    data = generation.make("shelf", target, images=3, overwrite=True)
    assert not (target / "notes.txt").exists()
    assert all(data.path(row).is_file() for row in range(3))


def test_a_generation_that_breaks_off_leaves_what_was_there(tmp_path):
    target = tmp_path / "shelf"
    generation.make("shelf", target, images=2)
    before = {path.name: path.read_bytes() for path in target.rglob("*.json")}

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generation.make("shelf", target, images=2, seed=5, overwrite=True, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["shelf"]
    assert {path.name: path.read_bytes() for path in target.rglob("*.json")} == before


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: x\nsumary: y\n", "unknown field 'sumary'. Did you mean 'summary'?"),
        ("[1, 2]", "expected names and values"),
    ],
)
def test_a_broken_card_is_one_clear_line(text, line, tmp_path):
    path = tmp_path / CARD
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(line)):
        read_card(path)
