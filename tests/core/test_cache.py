import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from augsuite.augment import Feed, policy
from augsuite.augment.cache import DiskCache
from augsuite.dataset import Annotations, Categories, Dataset, FileSource, Images
from augsuite.dataset.images import decode
from augsuite.errors import DataError

STEPS = [{"do": "photometric"}, {"do": "expand", "p": 0.5}, {"do": "iou_crop"}, {"do": "hflip", "p": 0.5}]


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"{row}.jpg" for row in range(6)]
    folder = tmp_path / "data"
    folder.mkdir()
    for name in names:
        coarse = rng.integers(0, 256, (30, 40, 3), np.uint8)
        PIL.Image.fromarray(coarse).resize((320, 240)).save(folder / name)
    return Dataset(
        Images.of(names, sizes=[[320, 240]] * 6, files=names),
        Categories.of(["a"]),
        Annotations.of(np.arange(6), [0] * 6, [[20, 20, 260, 180]] * 6),
        root=folder,
    )


def pixels(feed, epoch=0):
    return b"".join(batch.images.tobytes() for batch in feed.batches(epoch, 4, (64, 48), shuffle=False))


def entries(cache):
    return sorted(cache.folder.rglob("*.pixels"))


def test_a_file_of_the_same_size_and_time_is_another(tmp_path):
    """As a copy that keeps times leaves it, of a format whose files are all of one size."""
    path, cache = tmp_path / "a.bmp", DiskCache(tmp_path / "cache")
    for value in (10, 200):
        PIL.Image.new("RGB", (16, 8), (value, value, value)).save(path)
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert (cache.decode(FileSource(path, 16, 8), 1) == value).all()
        time.sleep(0.05)  # some systems count time in steps of a hundredth of a second
    assert len(entries(cache)) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cache_changes_no_pixel(data, tmp_path, workers):
    cache = DiskCache(tmp_path / "cache")
    cached = Feed(data, policy(STEPS), workers=workers, cache=cache)
    for epoch in (0, 1, 0):
        assert pixels(cached, epoch) == pixels(Feed(data, policy(STEPS)), epoch)
    assert entries(cache)


def test_copies_of_a_file_share_an_entry(data, tmp_path):
    """Two folders that hold the same images, such as a dataset and its conversion, need one cache."""
    cache = DiskCache(tmp_path / "cache")
    other = tmp_path / "elsewhere.jpg"
    other.write_bytes((data.root / "0.jpg").read_bytes())
    for path in (data.root / "0.jpg", other):
        assert np.array_equal(cache.decode(FileSource(path, 320, 240), 1), decode(path))
    assert len(entries(cache)) == 1
    cache.decode(FileSource(other, 320, 240), 2)
    cache.decode(FileSource(data.root / "1.jpg", 320, 240), 1)
    assert len(entries(cache)) == 3


def test_the_second_reading_decodes_no_image_file(data, tmp_path, monkeypatch):
    cache = DiskCache(tmp_path / "cache")
    source = FileSource(data.root / "0.jpg", 320, 240)
    first = cache.decode(source, 2)
    judge = decode(source.path, 2)
    assert np.array_equal(first, judge)
    with monkeypatch.context() as closed:
        closed.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
        mapped = DiskCache(cache.folder).decode(source, 2)
    assert np.array_equal(mapped, judge)
    assert not mapped.flags.writeable
    entry = source.path.stat()
    source.path.write_bytes(b"x" * entry.st_size)
    with pytest.raises(DataError):
        cache.decode(source, 2)  # a changed file is read anew


def test_a_full_cache_keeps_what_is_in_use(data, tmp_path):
    one = 320 * 240 * 3 + 20
    cache = DiskCache(tmp_path / "cache", max_bytes=3 * one)
    sources = [FileSource(data.root / f"{row}.jpg", 320, 240) for row in range(6)]
    for source in sources:
        assert np.array_equal(cache.decode(source, 1), decode(source.path))
    kept = entries(cache)
    assert len(kept) == 3
    for path in kept[:2]:
        os.utime(path, (time.time() - 7200,) * 2)
    again = DiskCache(cache.folder, max_bytes=3 * one)
    for source in sources[::-1]:
        again.decode(source, 1)
    assert kept[2] in entries(cache)
    assert sum(path.stat().st_size for path in entries(cache)) <= 3 * one
    assert set(entries(cache)) != set(kept)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:1000], lambda b: b"", lambda b: b"\0" * len(b), lambda b: b[:-1] + b"\0"]
)
def test_a_damaged_entry_is_made_anew(data, tmp_path, damage):
    cache = DiskCache(tmp_path / "cache")
    source = FileSource(data.root / "0.jpg", 320, 240)
    cache.decode(source, 1)
    (entry,) = entries(cache)
    good = entry.read_bytes()
    entry.write_bytes(damage(good))
    assert np.array_equal(cache.decode(source, 1), decode(source.path))
    assert entry.read_bytes() == good


def test_a_killed_writer_leaves_whole_entries(data, tmp_path):
    folder = tmp_path / "cache"
    code = (
        "import sys, shutil, pathlib\n"
        "from augsuite.augment.cache import DiskCache\n"
        "from augsuite.dataset import FileSource\n"
        "cache, source = DiskCache(sys.argv[1]), FileSource(pathlib.Path(sys.argv[2]), 320, 240)\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    cache.decode(source, 1)\n"
        "    for entry in cache.folder.rglob('*.pixels'): entry.unlink()\n"
    )
    path = data.root / "0.jpg"
    for pause in (0.05, 0.11, 0.17):
        process = subprocess.Popen([sys.executable, "-c", code, str(folder), str(path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for entry in folder.rglob("*.pixels"):
            assert entry.stat().st_size == 320 * 240 * 3 + 20
        assert np.array_equal(DiskCache(folder).decode(FileSource(path, 320, 240), 1), decode(path))


def test_it_travels_to_a_worker_and_needs_a_folder(tmp_path):
    cache = pickle.loads(pickle.dumps(DiskCache(tmp_path / "a" / "b")))
    assert cache.folder.is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be made"):
        DiskCache(tmp_path / "file" / "cache")


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(DataError, match="no such image file"):
        DiskCache(tmp_path / "cache").decode(FileSource(Path(tmp_path / "none.jpg"), 3, 3), 1)
