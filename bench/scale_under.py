"""What lies under the cost of a command: images from files and shards, folders, engines."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Tell = Callable[[str], None]
SIDE = (640, 480)
ROUNDS = 3  # of which the quickest counts
STORE_MB, STORE_TIMES = 64, 8


def images(work: Path, count: int, tell: Tell) -> list[dict[str, object]]:
    """Read the bytes of photographs, from files, from WebDataset shards and from Parquet shards; in their order and at random.

    All were just written, so they come from memory where there is enough of it: the figures are those of system calls and of finding
    a file, not of a disk.
    """
    import PIL.Image

    import augsuite
    from augsuite.dataset import Annotations, Categories, Dataset, Images

    folder = work / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [f"{row:08d}.jpg" for row in range(count)]
    kinds = min(count, 64)
    for row in range(kinds):
        small = rng.integers(0, 255, (SIDE[1] // 8, SIDE[0] // 8, 3), np.uint8)
        PIL.Image.fromarray(small).resize(SIDE).save(folder / names[row], quality=90)
    for row in range(kinds, count):
        shutil.copyfile(folder / names[row % kinds], folder / names[row])
    data = Dataset(
        Images.of(names, [SIDE] * count, files=names), Categories.of(["x"]), Annotations.of([], []), root=folder
    )
    rows = []
    written = {"files": (data, None)}
    for name, options in (("webdataset", {}), ("parquet", {"embed": "yes"})):
        started = time.perf_counter()
        augsuite.write(data, work / name, name, **options)
        written[name] = (augsuite.read(work / name), time.perf_counter() - started)
    for name, (there, write_s) in written.items():
        there.path(0).read_bytes()  # the list of what a shard holds is made once
        for order in ("in order", "at random"):
            at = np.arange(count) if order == "in order" else rng.permutation(count)
            seconds = float("inf")
            for _ in range(ROUNDS):
                started = time.perf_counter()
                size = sum(len(there.path(row).read_bytes()) for row in at.tolist())
                seconds = min(seconds, time.perf_counter() - started)
            row = {"from": name, "order": order, "images": count, "us_per_image": seconds / count * 1e6}
            rows.append(row | {"mb_per_s": size / 1e6 / seconds, "write_s": write_s})
            tell(f"{name} {order}: {seconds / count * 1e6:.0f} us an image, {size / 1e6 / seconds:,.0f} MB/s")
    for name in ("photographs", "webdataset", "parquet"):
        shutil.rmtree(work / name)
    return rows


def listing(work: Path, count: int, tell: Tell) -> dict[str, object]:
    """Make so many empty files in one folder, list them in natural order as readers do, and ask for the size of each."""
    from augsuite.dataset.files import entries

    folder = work / "many"
    folder.mkdir()
    made = time.perf_counter()
    for row in range(count):
        os.close(os.open(folder / f"{row:09d}.txt", os.O_CREAT | os.O_WRONLY))
    listed = time.perf_counter()
    found = entries(folder, (".txt",))
    asked = time.perf_counter()
    for path in found:
        path.stat()
    ended = time.perf_counter()
    shutil.rmtree(folder)
    steps = {"make": listed - made, "list": asked - listed, "stat": ended - asked}
    tell(
        f"{count:,} files: "
        + ", ".join(f"{name} {seconds / count * 1e6:.1f} us each" for name, seconds in steps.items())
    )
    return {"files": len(found), **{f"{name}_us": seconds / count * 1e6 for name, seconds in steps.items()}}


def engines(count: int, *, ray: bool, tell: Tell) -> list[dict[str, object]]:
    """How many items that take no time each engine does in a second, with two workers."""
    from augsuite.engines.choice import load

    rows = []
    for name in ("inline", "local", *(["ray"] if ray else [])):
        engine = load(name)
        workers = 1 if name == "inline" else 2
        started = time.perf_counter()
        given = engine(abs, range(count + 2 * workers), workers)
        answers = [result for _, (_, result) in zip(range(2 * workers), given, strict=False)]  # processes are there now
        warm = time.perf_counter()
        answers += [result for _, result in given]
        seconds = time.perf_counter() - warm
        answers = sorted(answers)[2 * workers :]
        if answers != list(range(2 * workers, count + 2 * workers)):
            raise RuntimeError(f"the engine {name} lost items")
        rows.append({"engine": name, "workers": workers, "start_s": warm - started, "items_per_s": count / seconds})
        tell(f"engine {name}: begins in {warm - started:.1f} s, {count / seconds:,.0f} items/s")
    return rows


def object_store(tell: Tell) -> dict[str, float]:
    """Bytes into and out of Ray's store of objects, which is memory that the processes of a machine share."""
    import ray

    block = np.random.default_rng(0).integers(0, 255, STORE_MB * 10**6, np.uint8)
    ray.get(ray.put(block))
    started = time.perf_counter()
    references = [ray.put(block) for _ in range(STORE_TIMES)]
    put = time.perf_counter()
    total = sum(int(ray.get(reference).sum()) for reference in references)
    got = time.perf_counter()
    ray.shutdown()
    if total != STORE_TIMES * int(block.sum()):
        raise RuntimeError("other bytes came back")
    size = STORE_MB * STORE_TIMES
    tell(f"object store: put {size / (put - started):,.0f} MB/s, get and read {size / (got - put):,.0f} MB/s")
    return {"put_mb_per_s": size / (put - started), "get_mb_per_s": size / (got - put)}
