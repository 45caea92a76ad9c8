"""What the editing commands share: the target, the format, the line; and `split` from end to end."""

from __future__ import annotations

import zipfile
from collections import Counter

import msgspec
import pytest
from click.testing import CliRunner
from rich.progress import Progress

import augsuite
from augsuite.commands.console import Rate, progress
from augsuite.commands.filter import filter as filter_command
from augsuite.commands.merge import merge
from augsuite.commands.remap import remap
from augsuite.commands.sample import sample
from augsuite.commands.split import parse_shares, split
from augsuite.errors import ConfigError


@pytest.fixture
def source(tmp_path, image_file):
    """A COCO dataset of ten images: five cats, five dogs."""
    folder = tmp_path / "pets"
    for row in range(10):
        image_file(folder / "images" / f"{row}.png", (20 + row, 10))
    document = {
        "info": {"year": 2026},
        "images": [{"id": row, "file_name": f"{row}.png", "width": 20 + row, "height": 10} for row in range(10)],
        "annotations": [
            {
                "id": row,
                "image_id": row,
                "category_id": row % 2 + 1,
                "bbox": [1, 2, 3, 4 + row],
                "area": 12,
                "iscrowd": 0,
            }
            for row in range(10)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances.json").write_bytes(msgspec.json.encode(document))
    return folder


def run(command, *arguments):
    done = CliRunner().invoke(command, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_split_writes_each_split_and_prints_its_shares(source, tmp_path):
    printed = run(split, source, tmp_path / "out", "--shares", "train=0.6,val=0.4")
    rows = [line.split() for line in printed.splitlines()]
    assert ["cat", "5", "60.0%", "40.0%"] in rows
    assert ["dog", "5", "60.0%", "40.0%"] in rows
    assert ["(all", "images)", "10", "60.0%", "40.0%"] in rows
    assert "10 images   10 boxes   2 categories" in printed
    assert "lost: nothing" in printed
    counts = {}
    for name in ("train", "val"):
        document = msgspec.json.decode((tmp_path / "out" / "annotations" / f"instances_{name}.json").read_bytes())
        counts[name] = Counter(each["category_id"] for each in document["annotations"])
        assert all((tmp_path / "out" / "images" / name / each["file_name"]).is_file() for each in document["images"])
        assert all(each["id"] == each["image_id"] for each in document["annotations"])  # ids are those of the source
    assert counts == {"train": {1: 3, 2: 3}, "val": {1: 2, 2: 2}}


def test_split_as_json(source, tmp_path):
    said = msgspec.json.decode(
        run(split, source, tmp_path / "out", "--shares", "a=0.5,b=0.5", "--to", "voc", "--images", "none", "--json")
    )
    assert (said["format"], said["images"], said["boxes"]) == ("voc", 10, 10)
    assert [each["name"] for each in said["classes"]] == ["cat", "dog", ""]
    assert sum(said["classes"][0]["images"].values()) == 5


@pytest.mark.parametrize("text", ["train", "train=", "train=a", "=1", "train=0.5,train=0.5", ""])
def test_shares_are_names_and_numbers(source, tmp_path, text):
    with pytest.raises(ConfigError):
        run(split, source, tmp_path / "out", "--shares", text)
    assert not (tmp_path / "out").exists()


def test_shares_in_order():
    assert list(parse_shares("train=0.8, val = .1 ,test=1e-1").items()) == [("train", 0.8), ("val", 0.1), ("test", 0.1)]


COMMANDS = [
    (filter_command, ["--class", "cat"]),
    (remap, ["--map", "cat=tomcat"]),
    (sample, ["--count", "3"]),
    (split, ["--shares", "a=1"]),
    (merge, []),
]


@pytest.mark.parametrize(("command", "arguments"), COMMANDS, ids=lambda each: getattr(each, "name", ""))
def test_every_edit_writes_the_sources_format_and_only_where_it_may(source, tmp_path, command, arguments):
    target = tmp_path / "out"
    run(command, source, target, *arguments)
    assert list((target / "annotations").glob("*.json"))
    with pytest.raises(ConfigError, match="exists already"):
        run(command, source, target, *arguments)
    run(command, source, target, *arguments, "--overwrite", "--to", "voc")
    assert list((target / "Annotations").glob("*.xml"))
    with pytest.raises(ConfigError, match="is part of the dataset that is being read"):
        run(command, source, source, *arguments, "--overwrite")
    (tmp_path / "link").symlink_to(source)
    for within in (source / "new", source / "images" / "new", tmp_path / "link" / "new"):
        with pytest.raises(ConfigError, match="would become part of the dataset that is being read"):
            run(command, source, within, *arguments)
        assert not within.exists()
    with pytest.raises(ConfigError, match="Did you mean 'coco'"):
        run(command, source, tmp_path / "other", *arguments, "--to", "cocoo")
    assert len(augsuite.read(source)) == 10


def test_filter_counts_what_it_kept(source, tmp_path):
    # heights are 4 to 13: four are above 9, of which two (11, 13) belong to dogs
    printed = run(filter_command, source, tmp_path / "out", "--where", "height > 9 and category == 'dog'")
    assert "2 of 10 images   2 of 10 boxes   2 categories" in printed


def test_an_archive_and_a_folder_are_merged(source, tmp_path):
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for path in sorted(source.rglob("*")):
            archive.write(path, path.relative_to(source))
    run(merge, source, tmp_path / "more.zip", tmp_path / "out", "--splits", "train,val")
    for name in ("train", "val"):
        for row in range(10):
            copied = tmp_path / "out" / "images" / name / f"{row}.png"
            assert copied.read_bytes() == (source / "images" / f"{row}.png").read_bytes()


def test_ids_that_a_reader_made_up_are_not_lost(tmp_path, real_data):
    printed = run(filter_command, real_data / "bccd", tmp_path / "out", "--where", "width > 200", "--images", "none")
    assert "unused categories" in printed
    assert " ids" not in printed  # VOC has none


def test_what_files_say_of_themselves_is_kept_for_each_split_or_counted(source, tmp_path):
    other = tmp_path / "other"
    run(sample, source, other, "--count", "4")
    (path,) = (other / "annotations").glob("*.json")
    document = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode(document | {"info": {"year": 1999}}))
    assert "lost: coco.info@" in run(merge, source, other, tmp_path / "lost")
    assert "lost: nothing" in run(merge, source, other, tmp_path / "kept", "--splits", "a,b")
    for name, year in (("a", 2026), ("b", 1999)):
        written = msgspec.json.decode((tmp_path / "kept" / "annotations" / f"instances_{name}.json").read_bytes())
        assert written["info"] == {"year": year}


def test_remap_writes_new_names_where_files_listed_old_ones(source, tmp_path):
    run(split, source, tmp_path / "cut", "--shares", "a=0.5,b=0.5")
    run(
        filter_command,
        tmp_path / "cut",
        tmp_path / "cats",
        "--where",
        "category == 'cat' or split == 'a'",
        "--empty",
        "keep",
    )
    run(remap, tmp_path / "cats", tmp_path / "out", "--map", "dog=hound")
    for name in "ab":  # in b no dog is left, but its file still lists the class
        written = msgspec.json.decode((tmp_path / "out" / "annotations" / f"instances_{name}.json").read_bytes())
        assert [(each["id"], each["name"]) for each in written["categories"]] == [(1, "cat"), (2, "hound")]


def test_what_was_said_of_a_split_is_said_of_no_other_image(source, tmp_path):
    run(split, source, tmp_path / "cut", "--shares", "train=0.6,val=0.4")
    for name, year in (("train", 2017), ("val", 2018)):
        path = tmp_path / "cut" / "annotations" / f"instances_{name}.json"
        path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | {"info": {"year": year}}))
    printed = run(split, tmp_path / "cut", tmp_path / "again", "--shares", "train=0.5,val=0.5", "--seed", "3")
    assert "coco.info@former train" in printed
    assert "coco.info@former val" in printed
    for name in ("train", "val"):
        assert "info" not in msgspec.json.decode(
            (tmp_path / "again" / "annotations" / f"instances_{name}.json").read_bytes()
        )
    run(filter_command, tmp_path / "cut", tmp_path / "one", "--split", "train")
    run(split, tmp_path / "one", tmp_path / "folds", "--shares", "val=0.5,test=0.5")
    for name in ("val", "test"):  # all of whose images come from train
        written = msgspec.json.decode((tmp_path / "folds" / "annotations" / f"instances_{name}.json").read_bytes())
        assert written["info"] == {"year": 2017}


@pytest.mark.parametrize(("command", "arguments"), COMMANDS, ids=lambda each: getattr(each, "name", ""))
def test_options_reach_the_reader_or_the_writer(source, tmp_path, command, arguments):
    darknet = [*arguments, "--to", "yolo", "--option", "layout=darknet"]
    run(command, source, tmp_path / "out", *darknet)
    assert (tmp_path / "out" / "obj.names").is_file()
    with pytest.raises(ConfigError, match="Did you mean 'layout'"):
        run(command, source, tmp_path / "other", *arguments, "--to", "yolo", "--option", "layuot=darknet")
    with pytest.raises(ConfigError, match="layout"):
        run(command, source, tmp_path / "other", *arguments, "--to", "yolo", "--option", "layout=dark")
    assert not (tmp_path / "other").exists()


def test_each_source_and_the_target_take_their_own_options(source, tmp_path):
    boxes = "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,20,10,cat,1,2,4,6\n"
    (tmp_path / "table.csv").write_text(boxes)
    run(merge, source, tmp_path / "table.csv", tmp_path / "out", "--option", "origin=1", "--option", "results=yes")
    document = msgspec.json.decode((tmp_path / "out" / "annotations" / "instances.json").read_bytes())
    assert len(document["annotations"]) == 11
    assert [each["bbox"] for each in document["annotations"]][-1] == [
        0,
        1,
        4,
        5,
    ]  # the first pixel is 1, and corners belong to the box
    assert (tmp_path / "out" / "annotations" / "results.json").is_file()


def test_progress_tells_the_rate():
    now = [0.0]
    with Progress(get_time=lambda: now[0], disable=True) as display:
        task = display.add_task("work", total=1000)
        for seconds in (0.0, 1.0, 2.0):
            now[0] = seconds
            display.advance(task, 150)
        assert Rate().render(display.tasks[0]).plain == "150/s"
        display.add_task("waits", total=5)
        assert Rate().render(display.tasks[1]).plain == ""
    assert any(isinstance(column, Rate) for column in progress().columns)


@pytest.mark.parametrize(("command", "arguments"), COMMANDS, ids=lambda each: getattr(each, "name", ""))
def test_processes_change_no_byte(source, tmp_path, command, arguments):
    written = []
    for workers in ("1", "2"):
        run(command, source, tmp_path / workers, *arguments, "--to", "voc", "--workers", workers)
        written.append(
            {
                path.relative_to(tmp_path / workers): path.read_bytes()
                for path in (tmp_path / workers).rglob("*")
                if path.is_file()
            }
        )
    assert written[0] == written[1]
