"""Commands on a real Ray cluster of two worker processes: the same bytes as on this machine alone, and no loss where processes die."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import PIL.Image
import pytest

from augsuite.cli import main

pytest.importorskip("ray")

LOCAL = (), ("--workers", "2")
RAY = ("--engine", "ray"), ("--engine", "ray", "--workers", "1")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """150 pictures as COCO: two show the same, one is damaged, and one is missing."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    rng = np.random.default_rng(7)
    images, boxes = [], []
    for row in range(150):
        name = f"{row:03d}.{'jpg' if row % 3 else 'png'}"
        small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = PIL.Image.fromarray(small).resize((64, 48), PIL.Image.Resampling.BICUBIC)
        picture.save(folder / "images" / name)
        images.append({"id": row + 1, "file_name": name, "width": 64, "height": 48})
        for _ in range(row % 4):
            x, y = (round(float(value), 2) for value in rng.uniform(0, 30, 2))
            boxes.append(
                {"id": len(boxes) + 1, "image_id": row + 1, "category_id": 1 + row % 2, "bbox": [x, y, 20.5, 12.25],
                 "area": 251.12, "iscrowd": 0}
            )  # fmt: skip
    files = folder / "images"
    (files / "149.jpg").write_bytes((files / "001.jpg").read_bytes())
    (files / "100.jpg").write_bytes((files / "100.jpg").read_bytes()[:-200])
    (files / "080.jpg").unlink()
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": boxes, "categories": names}
    (folder / "annotations" / "instances.json").write_text(json.dumps(content))
    return folder


def invoke(*arguments):
    """The program in this process, which is a driver of the cluster."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([*map(str, arguments)])
            status = 0
        except SystemExit as end:
            status = end.code or 0
    return status, out.getvalue(), err.getvalue()


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture
def small_pieces(monkeypatch):
    for place, pieces in (("voc.reader", 40), ("voc.writer", 40), ("yolo.reader", 40), ("yolo.writer", 40)):
        monkeypatch.setattr(f"augsuite_{place}._BATCH", pieces)


@pytest.mark.parametrize("road", [("coco", "voc"), ("voc", "coco"), ("coco", "yolo"), ("yolo", "coco")])
def test_conversions_come_to_the_same_bytes(road, address, many, tmp_path, small_pieces):
    first, second = road
    source = many
    if first != "coco":
        source = tmp_path / "source"
        assert invoke("convert", many, source, "--to", first, "--images", "none")[0] == 0
    found = []
    for number, engine in enumerate((*LOCAL, *RAY)):
        out = tmp_path / str(number)
        status, said, error = invoke("convert", source, out, "--to", second, "--images", "none", "--json", *engine)
        assert status == 0, error
        found.append({**tree(out), **{key: json.loads(said)[key] for key in ("images", "boxes", "losses", "retried")}})
    assert found[0]["images"] == 150
    assert found[0]["boxes"] == sum(row % 4 for row in range(150))
    assert found[1:] == [found[0]] * 3


@pytest.mark.parametrize("command", ["validate", "dedupe", "stats"])
def test_what_is_found_in_images_is_the_same(command, address, many):
    said = [invoke(command, many, "--json", *engine) for engine in (*LOCAL, *RAY)]
    assert said[1:] == [said[0]] * 3
    report = json.loads(said[0][1])
    assert report["retried"] == []
    if command == "validate":
        counts = {finding["code"]: finding["count"] for finding in report["findings"]}
        assert (counts["image-missing"], counts["image-unreadable"]) == (1, 1), counts
    if command == "dedupe":
        assert report["copies"] == 1


def test_augmented_copies_are_the_same(address, tmp_path, bench):
    (tmp_path / "policy.yaml").write_text(
        "policy: mixed\nsteps:\n  - {do: hflip, p: 0.5}\n  - {do: mosaic, p: 0.5}\n  - {do: brightness, p: 0.5}\n"
    )
    found = []
    for number, engine in enumerate((*LOCAL, *RAY)):
        out = tmp_path / str(number)
        arguments = ("--policy", tmp_path / "policy.yaml", "--to", "coco", "--copies", "5", "--seed", "3")
        status, _, error = invoke("augment", bench.folder / "pets", out, *arguments, *engine)
        assert status == 0, error
        found.append(tree(out))
    assert len(found[0]) == 8 * 6 + 1
    assert found[1:] == [found[0]] * 3


def start(bench, *arguments):
    """The program in a process of its own, to be killed."""
    environment = bench.environment() | {"FRAGILE": str(bench.folder / "signs")}
    environment["PYTHONPATH"] = os.pathsep.join([str(bench.folder / "fragile"), environment["PYTHONPATH"]])
    environment.pop("RAY_AUTH_MODE", None)  # whoever types a command did not start the cluster, and has but its token
    command = [sys.executable, "-m", "augsuite", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=bench.folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def wait_for(condition, process):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


PIECES = {f"{number}.piece": f"piece {number}".encode() for number in range(8)}


def begun(bench):
    file = bench.folder / "signs" / "begun"
    return sorted(map(int, file.read_text().split())) if file.exists() else []


def convert(bench, address, *more):
    (bench.folder / "signs" / "begun").unlink(missing_ok=True)
    fixed = ("--to", "fragile", "--images", "none", "--json", "--engine", "ray", "--ray-address", address)
    return start(bench, "convert", "pets", "out", *fixed, *more)


def test_a_killed_worker_is_made_good_and_told(address, bench):
    (bench.folder / "signs" / "deadly").touch()
    process = convert(bench, address)
    said, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert tree(bench.folder / "out") == PIECES
    assert begun(bench) == sorted([*range(8), 3])
    (again,) = json.loads(said)["retried"]
    assert again["what"] == "fragile_format.one, piece 4"
    assert "worker process was ended" in again["error"]


def test_a_killed_driver_leaves_the_old_output_and_starts_again(address, bench):
    out, slow = bench.folder / "out", bench.folder / "signs" / "slow"
    (out / "old.piece").parent.mkdir(exist_ok=True)
    (out / "old.piece").write_text("old")
    before = tree(out)
    slow.touch()
    process = convert(bench, address, "--overwrite")
    wait_for(lambda: len(begun(bench)) >= 6, process)  # the others wait
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert tree(out) == before
    slow.unlink()
    process = convert(bench, address, "--overwrite")
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert tree(out) == PIECES
    assert not [path.name for path in bench.folder.iterdir() if path.name.startswith(".out")]


def study(bench, *more):
    return start(bench, "study", "run", "study.yaml", "--json", "--engine", "ray", *more)


def found(store):
    """What the runs of a store found, without times and machines."""
    records = {path.parent.name: json.loads(path.read_text()) for path in store.glob("runs/*/record.json")}
    return {name: (record["metrics"], record["images"], record["parameters"]) for name, record in records.items()}


def test_a_study_comes_to_the_same_although_its_driver_is_killed(address, bench):
    process = study(bench, "--ray-address", address)
    wait_for(lambda: len(bench.records()) >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    early = bench.records()
    assert 2 <= len(early) < 6
    process = study(bench, "--ray-address", address)
    said, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    late = bench.records()
    assert len(late) == 6
    assert {name: late[name] for name in early} == early  # nothing twice
    alone = bench.call("study", "run", "study.yaml", "--out", "alone", "--json")
    assert alone.returncode == 0, alone.stderr
    assert found(bench.store) == found(bench.folder / "alone")
    one, two = json.loads(said), json.loads(alone.stdout)
    assert [(arm["arm"], arm["values"], arm["mean"], arm["sd"]) for arm in one["arms"]] == [
        (arm["arm"], arm["values"], arm["mean"], arm["sd"]) for arm in two["arms"]
    ]


def test_a_run_whose_worker_is_killed_is_tried_again_and_told(address, bench):
    text = bench.file.read_text().replace("study: quick", "study: deadly").replace("seeds: 3", "seeds: 2")
    (bench.folder / "deadly.yaml").write_text(text.replace("  hflip: [", "  dies: [{do: vflip}]\n  hflip: ["))
    bench.calm.unlink(missing_ok=True)
    first = bench.invoke("study", "run", "deadly.yaml", "--engine", "ray", "--json")
    assert first.returncode == 1, first.stderr
    again = json.loads(first.stdout)["retried"]
    assert sorted(each["what"] for each in again) == ["dies seed 0"] * 2 + ["dies seed 1"] * 2
    assert first.stderr.count("tried again: dies seed 0: the worker process was ended") == 2
    assert "dies seed 1: failed: the worker process was ended" in first.stderr
    bench.calm.touch()
    second = bench.invoke("study", "run", "deadly.yaml", "--engine", "ray", "--json", "--retry-failed")
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["retried"] == []
