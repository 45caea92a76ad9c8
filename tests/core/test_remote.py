"""Reading remote places, from a real S3 server behind a proxy that counts and misbehaves; boto3 puts the files there."""

from __future__ import annotations

import functools
import http.server
import io
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from remotekit import BUCKET, Rule

import augsuite
from augsuite.augment.cache import DiskCache
from augsuite.augment.feed import Feed
from augsuite.cli import cli
from augsuite.dataset import remote_tree, stores
from augsuite.dataset.archives import at
from augsuite.dataset.disk import entries, walk
from augsuite.dataset.images import decode, read_size
from augsuite.dataset.locate import locate
from augsuite.dataset.remote import RemotePath
from augsuite.dataset.remote_cache import RemoteCache
from augsuite.dataset.remote_errors import redacted
from augsuite.errors import ConfigError, DataError, MissingExtraError

boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")


def put(bucket, folder: Path, prefix: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            bucket.put_object(Key=f"{prefix}/{path.relative_to(folder).as_posix()}", Body=path.read_bytes())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A COCO dataset of 12 noisy pictures on disk, made by hand; the last two are large."""
    root = tmp_path_factory.mktemp("plain") / "set"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    rng = np.random.default_rng(2)
    rows = []
    for row in range(12):
        size = (640, 400) if row >= 10 else (48 + row, 32)
        pixels = rng.integers(0, 255, (size[1], size[0], 3), np.uint8)
        PIL.Image.fromarray(pixels).save(root / "images" / f"p {row}ü.png")
        rows.append({"id": row + 1, "file_name": f"p {row}ü.png", "width": size[0], "height": size[1]})
    boxes = [
        {"id": row + 1, "image_id": row + 1, "category_id": 1, "bbox": [1, 2, 20, 9], "area": 180, "iscrowd": 0}
        for row in range(12)
    ]
    document = {"images": rows, "annotations": boxes, "categories": [{"id": 1, "name": "thing"}]}
    (root / "annotations" / "instances.json").write_text(json.dumps(document), encoding="utf-8")
    return root


@pytest.fixture
def there(bucket, plain):
    put(bucket, plain, "a/set")
    return f"s3://{BUCKET}/a/set"


def test_a_dataset_is_read_and_decoded(there, plain, front):
    data, expected = augsuite.read(there), augsuite.read(plain)
    assert data.images.files.tolist() == expected.images.files.tolist()
    np.testing.assert_array_equal(data.annotations.boxes, expected.annotations.boxes)
    assert front.count("GET", ".png") == 0, "annotations alone need no image"
    for row in (0, 11):
        np.testing.assert_array_equal(data.sample(row).image, expected.sample(row).image)
    assert str(data.path(0)) == f"{there}/images/p 0ü.png"
    lists = [path for method, path in front.requests if method == "GET" and "list-type" in path]
    assert len(lists) == 1, "one listing for the whole tree"


def test_a_single_file_is_read_with_the_images_beside_it(there, plain):
    data = augsuite.read(f"{there}/annotations/instances.json")
    assert all(data.images.files.tolist())
    np.testing.assert_array_equal(data.sample(3).image, augsuite.read(plain).sample(3).image)


def test_paths_answer_as_those_of_the_disk(there, plain):
    root = locate(there)
    assert isinstance(root, RemotePath)
    assert [path.name for path in entries(root)] == [path.name for path in entries(plain)]
    assert list(walk(root)) == list(walk(plain))
    file, same = root / "images" / "p 11ü.png", plain / "images" / "p 11ü.png"
    assert (file.is_file(), file.is_dir(), file.exists(), file.is_symlink()) == (True, False, True, False)
    assert file.stat().st_size == same.stat().st_size
    assert file.read_bytes() == same.read_bytes()
    with file.open("rb") as opened, same.open("rb") as other:
        for place, length in ((700_000, 10), (0, 3), (64 << 10, 100), (5, 200_000)):
            opened.seek(place)
            other.seek(place)
            assert opened.read(length) == other.read(length)
        opened.seek(-7, os.SEEK_END)
        other.seek(-7, os.SEEK_END)
        assert opened.read() == other.read()
    assert not (root / "nothing").exists()
    assert not (root / "images" / "nothing.png").exists()
    assert (root / "images").is_dir()
    assert (root / "images" / ".." / "annotations").resolve() == root / "annotations"
    assert sorted(path.name for path in root.glob("*/*.json")) == ["instances.json"]
    with pytest.raises(OSError, match="read-only"):
        file.open("wb")
    with pytest.raises(FileNotFoundError):
        (root / "nothing").read_bytes()


def test_blocks_of_a_large_file_come_in_order_and_at_random(bucket, front):
    content = np.random.default_rng(0).integers(0, 255, 19_000_001, np.uint8).tobytes()
    bucket.put_object(Key="big.bin", Body=content)
    path = at(Path(f"s3://{BUCKET}/big.bin"))
    with path.open("rb") as opened:
        assert b"".join(iter(functools.partial(opened.read, 1 << 18), b"")) == content
        opened.seek(18_999_990)
        assert opened.read() == content[-11:]
    gets = front.count("GET", "big.bin")
    assert gets <= 6, "five blocks, and the head"
    assert path.read_bytes() == content
    with path.open("rb") as opened:
        opened.seek(9_000_000)
        assert opened.read(10) == content[9_000_000:9_000_010]
    assert front.count("GET", "big.bin") == gets, "kept"


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_there_is_a_folder(kind, bucket, plain, tmp_path, front):
    import shutil

    form = {"zip": "zip", "tar": "tar", "tar.gz": "gztar"}[kind]
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), form, plain.parent, plain.name))
    bucket.put_object(Key=f"d.{kind}", Body=packed.read_bytes())
    data, expected = augsuite.read(f"s3://{BUCKET}/d.{kind}"), augsuite.read(plain)
    for row in (0, 10):
        np.testing.assert_array_equal(data.sample(row).image, expected.sample(row).image)
    bucket.put_object(Key=f"d.{kind}", Body=b"no archive any more")
    with pytest.raises(DataError, match="damaged"):
        augsuite.read(f"s3://{BUCKET}/d.{kind}")


def test_of_a_zip_file_only_what_is_needed_is_fetched(bucket, front):
    noise = np.random.default_rng(0).integers(0, 255, 5_000_000, np.uint8).tobytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as out:
        for name in "abcdef":
            out.writestr(name, noise)
    bucket.put_object(Key="z.zip", Body=packed.getvalue())
    assert (at(Path(f"s3://{BUCKET}/z.zip")) / "a").read_bytes() == noise
    ranges = front.count("GET", "/z.zip")
    assert ranges <= 4, "the list at the end, and the blocks of one of six files"


def test_images_are_asked_for_their_heads_alone(bucket, front):
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)
    packed = io.BytesIO()
    PIL.Image.fromarray(noise).save(packed, "jpeg", quality=95)
    bucket.put_object(Key="i/large.jpg", Body=packed.getvalue())
    assert read_size(at(Path(f"s3://{BUCKET}/i/large.jpg"))) == (900, 900)
    kept = sum(path.stat().st_size for path in Path(os.environ["XDG_CACHE_HOME"]).rglob("*") if path.is_file())
    assert kept < 100_000 < len(packed.getvalue())


def test_a_reader_asks_for_many_sizes_at_once(bucket, front):
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)
    packed = io.BytesIO()
    PIL.Image.fromarray(noise).save(packed, "jpeg", quality=95)
    assert len(packed.getvalue()) > 256 << 10, "only its head is asked for"
    bucket.put_object(Key="y/data.yaml", Body=b"names: [thing]\ntrain: images\n")
    for row in range(24):
        bucket.put_object(Key=f"y/images/{row}.jpg", Body=packed.getvalue())
    front.rules.append(Rule("GET", ".jpg", "late"))
    data = augsuite.read(f"s3://{BUCKET}/y", format="yolo")
    assert data.images.sizes.tolist() == [[600, 600]] * 24
    assert front.count("GET", ".jpg") == 24
    assert front.most >= 16


def test_small_files_in_order_are_fetched_ahead(bucket, front, tmp_path, plain):
    local = tmp_path / "voc"
    augsuite.convert(plain, local, "voc")
    for row in range(100):
        text = (local / "Annotations" / "p 1ü.xml").read_bytes()
        bucket.put_object(Key=f"v/Annotations/{row}.xml", Body=text)
    front.rules.append(Rule("GET", ".xml", "late"))
    data = augsuite.read(f"s3://{BUCKET}/v", format="voc")
    assert len(data) == 100
    assert front.most >= 16
    assert front.count("GET", ".xml") == 100, "each once"


# Faults


@pytest.mark.parametrize("what", [503, 500, 429, "reset", "cut"])
def test_what_passes_is_tried_again(what, there, plain, front):
    front.rules += [Rule("GET", "list-type", what, times=2), Rule("GET", "instances.json", what, times=3)]
    front.rules.append(Rule("GET", "11", what, times=2))
    data = augsuite.read(there)
    np.testing.assert_array_equal(data.sample(11).image, augsuite.read(plain).sample(11).image)
    assert all(rule.done.is_set() for rule in front.rules)


@pytest.mark.parametrize("what", [503, "reset"])
def test_what_does_not_pass_is_one_line(what, there, front):
    front.rules.append(Rule("GET", "instances.json", what))
    with pytest.raises(ConfigError, match="6 tries") as caught:
        augsuite.read(there)
    assert "\n" not in str(caught.value)
    assert "s3://" in str(caught.value)
    assert stores.TRIES <= front.rules[0].seen <= 2 * stores.TRIES, (
        "aiohttp asks once more where a kept connection was closed"
    )


def test_what_is_denied_is_asked_once(there, front):
    front.rules.append(Rule("", "", 403))
    with pytest.raises(ConfigError, match=r"access denied .* Check your credentials"):
        augsuite.read(there)
    assert len(front.requests) == 1


def test_a_lost_connection_is_no_fault_of_an_image(there, front):
    data = augsuite.read(there)
    front.rules.append(Rule("GET", ".png", "reset"))
    with pytest.raises(ConfigError, match="cannot be reached"):
        data.sample(0).image  # noqa: B018 - decodes


def test_nothing_there_is_one_line(bucket, monkeypatch):
    for place in (f"s3://{BUCKET}/nothing", "s3://no-such-bucket/x", f"s3://{BUCKET}/x.zip"):
        with pytest.raises(ConfigError, match="nothing is there") as caught:
            augsuite.read(place)
        assert place in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be opened"):
        augsuite.read("nosuch://x/y")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'augsuite\[remote\]'"):
        augsuite.read("gs://bucket/x")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match="needs the package 'fsspec'"):
        augsuite.read("s3://another/x")


def test_without_credentials_the_line_says_which(front, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match=r"no credentials .* FSSPEC_S3_ANON=true"):
        augsuite.read(f"s3://{BUCKET}/x")


# What is kept


def test_what_changed_is_read_anew(there, bucket, plain):
    key = "a/set/annotations/instances.json"
    first = augsuite.read(there)
    text = (plain / "annotations" / "instances.json").read_text(encoding="utf-8")
    bucket.put_object(Key=key, Body=text.replace('"thing"', '"other"').encode())
    assert augsuite.read(there).categories.names.tolist() == ["other"]
    assert first.categories.names.tolist() == ["thing"]
    image = (plain / "images" / "p 5ü.png").read_bytes()
    for row in (3, 11):
        bucket.put_object(Key=f"a/set/images/p {row}ü.png", Body=image)
        with pytest.raises(ConfigError, match="changed while it was being read"):
            first.sample(row).image  # noqa: B018 - decodes
    again = augsuite.read(there)
    np.testing.assert_array_equal(again.sample(3).image, augsuite.read(plain).sample(5).image)


def test_a_new_file_of_the_same_size_is_not_the_kept_one(bucket):
    path = at(Path(f"s3://{BUCKET}/x/file"))
    for content in (b"one", b"two"):
        bucket.put_object(Key="x/file", Body=content)
        locate(f"s3://{BUCKET}/x")
        assert path.read_bytes() == content


def test_the_second_time_comes_from_the_cache(there, front):
    for _ in range(2):
        data = augsuite.read(there)
        for row in range(12):
            data.sample(row).image  # noqa: B018 - decodes
    assert front.count("GET", ".png") == 12, "each once"
    remote_tree.forget_all()
    augsuite.read(there).sample(0).image  # noqa: B018 - decodes
    assert front.count("GET", "p%200") == 1, "another process finds it"


def test_pixels_that_are_kept_are_those_of_the_version_that_was_listed(there, bucket, plain, front, tmp_path):
    cache = DiskCache(tmp_path / "pixels")

    def picture(row: int) -> np.ndarray:
        return cache.wrap(augsuite.read(there).sample(row).source).decode()

    expected = [augsuite.read(plain).sample(row).image for row in (3, 5)]
    np.testing.assert_array_equal(picture(3), expected[0])
    assert len(list((tmp_path / "pixels").rglob("*.pixels"))) == 1
    image = (plain / "images" / "p 5ü.png").read_bytes()
    bucket.put_object(Key="a/set/images/p 3ü.png", Body=image)
    np.testing.assert_array_equal(picture(3), expected[1])


def test_what_stat_says_is_the_same_in_every_process(there, bucket):
    found = (locate(there) / "annotations" / "instances.json").stat()
    assert found.st_mtime_ns == bucket.Object("a/set/annotations/instances.json").last_modified.timestamp() * 1e9
    line = f"from augsuite.dataset.locate import locate; print(locate({there!r}).joinpath('annotations/instances.json').stat().st_ino)"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert int(done.stdout) == found.st_ino


def test_the_cache_keeps_to_its_limit_and_to_what_was_used_last(tmp_path):
    cache = RemoteCache(tmp_path, limit=100_000)
    for number in range(50):
        cache.put("s3://b/x", "1", number, bytes([number]) * 5_000)
        found = cache.get("s3://b/x", "1", 0)
        if found is not None:
            entry = cache._entry("s3://b/x", "1", 0)
            os.utime(entry, (2**31, 2**31 + number))
    kept = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert 50_000 < kept <= 100_000 * 17 / 16
    assert cache.get("s3://b/x", "1", 0) == bytes(5_000), "used again and again"
    assert cache.get("s3://b/x", "1", 1) is None
    assert cache.get("s3://b/x", "1", 49) == bytes([49]) * 5_000
    assert cache.get("s3://b/x", "2", 49) is None, "another version"
    cache.put("s3://b/x", "", 7, b"x")
    assert cache.get("s3://b/x", "", 7) is None, "without a version nothing says when it is old"


def test_a_damaged_entry_counts_for_nothing(tmp_path):
    cache = RemoteCache(tmp_path)
    cache.put("s3://b/x", "1", 0, b"hello")
    entry = cache._entry("s3://b/x", "1", 0)
    whole = entry.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + b"x", b"", b"x" * 8):
        entry.write_bytes(damaged)
        assert cache.get("s3://b/x", "1", 0) is None


def test_a_limit_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("AUGSUITE_REMOTE_CACHE", "10GB")
    with pytest.raises(ConfigError, match="AUGSUITE_REMOTE_CACHE: expected a number of bytes"):
        RemoteCache()


def test_without_a_cache_all_works(there, plain, monkeypatch, front):
    monkeypatch.setenv("AUGSUITE_REMOTE_CACHE", "0")
    remote_tree.forget_all()
    np.testing.assert_array_equal(augsuite.read(there).sample(11).image, augsuite.read(plain).sample(11).image)
    assert not [path for path in Path(os.environ["XDG_CACHE_HOME"]).rglob("*") if path.is_file()]


# Other processes


def test_another_process_takes_over_the_listing(there, front):
    data = augsuite.read(there)
    expected = [int(decode(data.path(row)).sum()) for row in range(12)]
    front.requests.clear()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert [int(image.sum()) for image in pool.map(decode, [data.path(row) for row in range(12)])] == expected
    assert not front.requests, "the listing and the content are at hand"
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert [int(image.sum()) for image in pool.map(decode, [data.path(row) for row in range(12)])] == expected
    copy = pickle.loads(pickle.dumps(data.path(3)))
    assert copy == data.path(3)
    assert isinstance(copy, RemotePath)


def test_training_is_that_of_the_disk(there, plain, tmp_path):
    torch = pytest.importorskip("torch")
    from augsuite.engines.local import _wait_for_server
    from augsuite_ssd.settings import Config
    from augsuite_ssd.trainer import train

    _wait_for_server()  # one that another test left knows no credentials
    config = Config(size=64, epochs=1, batch_size=4, width=32, device="cpu")
    states = []
    for name, place, workers in (("near", plain, 0), ("far", there, 1)):
        data = augsuite.read(place)
        feed = Feed(data, augsuite.policy("flip"), seed=3, workers=workers)
        (tmp_path / name).mkdir()
        train(config, feed, Feed(data, augsuite.policy("none")), seed=1, folder=tmp_path / name, log=lambda *_: None)
        states.append(torch.load(tmp_path / name / "model.pt", weights_only=True)["state"])
    near, far = states
    assert near.keys() == far.keys()
    assert all(torch.equal(near[key], far[key]) for key in near)


def test_the_command_line_reads_and_says_what_is_wrong(there, front, tmp_path):
    command = [sys.executable, "-m", "augsuite", "stats", there]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert front.count("GET", ".png") == 0
    done = subprocess.run([*command[:-1], f"s3://{BUCKET}/none"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_what_a_command_prints_is_the_url(there):
    done = CliRunner().invoke(cli, ["anchors", there], catch_exceptions=False)
    assert f"augsuite anchors {there} -k N" in done.output


# Other servers


@pytest.fixture
def web(tmp_path):
    """Python's own web server: it lists folders, and sends files whole only."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = None
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0),
        type(
            "Quiet",
            (http.server.SimpleHTTPRequestHandler,),
            {
                "__init__": lambda self, *given: http.server.SimpleHTTPRequestHandler.__init__(
                    self, *given, directory=str(folder)
                ),
                "log_message": lambda self, *given: None,
            },
        ),
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    remote_tree.forget_all()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    remote_tree.forget_all()


def test_http_reads_folders_that_are_listed_and_archives(web, plain, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, address = web
    shutil.copytree(plain, folder / "set")
    shutil.make_archive(str(folder / "packed"), "zip", plain.parent, plain.name)
    expected = augsuite.read(plain)
    for place in ("set", "packed.zip", "packed.zip?token=a%2Fb", "set/annotations/instances.json"):
        data = augsuite.read(f"{address}/{place}")
        np.testing.assert_array_equal(data.sample(11).image, expected.sample(11).image)
        assert data.images.files.tolist()[:2] == expected.images.files.tolist()[:2] or "json" in place
        assert "token" not in str(data.path(0))
    with pytest.raises(ConfigError, match="can be read only, over http"):
        augsuite.convert(plain, f"{address}/out", "voc")
    with pytest.raises(ConfigError, match="nothing is there"):
        augsuite.read(f"{address}/none.zip")


def test_memory_and_file_are_places_too(plain, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    files.put(str(plain), "/m/set", recursive=True)
    data, expected = augsuite.read("memory://m/set"), augsuite.read(f"file://{plain}")
    np.testing.assert_array_equal(data.sample(4).image, expected.sample(4).image)
    assert not isinstance(expected.root, RemotePath)
    files.rm("/m", recursive=True)


def test_secrets_are_not_shown():
    assert redacted("https://user:pass@host/a.zip?sig=1&x=2") == "https://...@host/a.zip?..."
    path = at(Path("https://user:pass@host/a.zip?sig=1"))
    assert str(path) == f"{path}" == "https://...@host/a.zip?..."
    assert os.fspath(path) == "https://user:pass@host/a.zip?sig=1"
    assert os.fspath(pickle.loads(pickle.dumps(path / "b"))) == "https://user:pass@host/a.zip?sig=1/b"
