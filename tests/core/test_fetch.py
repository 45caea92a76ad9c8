"""Datasets come over a real connection that breaks, lies and stalls; what becomes visible is whole and right."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from fetchkit import File, described, make_tar, make_zip, serving, voc_files, write_card
from hypothesis import given, settings
from hypothesis import strategies as st

import augsuite
from augsuite.cli import cli
from augsuite.conversion import detect
from augsuite.dataset import fetch_http
from augsuite.dataset.cards import Archive, read_cards
from augsuite.dataset.fetch_archive import unpack
from augsuite.dataset.locate import locate, named, user_folder
from augsuite.dataset.progress import listening
from augsuite.errors import ConfigError, DataError

FILES = voc_files(padding=400_000)
ZIP = make_zip(FILES)


@pytest.fixture
def server():
    with serving() as found:
        yield found


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No dataset of the developer's is at hand, and waits between tries are short."""
    monkeypatch.delenv("AUGSUITE_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(fetch_http, "_BACKOFF_S", 0.01)


@pytest.fixture
def card(server, tmp_path):
    """A function that serves an archive and writes its card."""

    def make(content=ZIP, path="/tiny.zip", served=None, **more):
        server.files[path] = File(content if served is None else served)
        return write_card(tmp_path / "tiny.yaml", described(server, path, content, **more))

    return make


def content_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".fetched.json"
    }


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_dataset_is_fetched_and_read_by_its_name(card, tmp_path):
    assert augsuite.fetch(card()) == user_folder() / "tiny"
    assert content_of(user_folder() / "tiny") == FILES
    assert named()["tiny"] == user_folder() / "tiny"
    data = augsuite.read("tiny")
    assert len(data) == 3
    assert data.categories.names.tolist() == ["cat"]
    assert visible(user_folder()) == ["tiny"]
    assert not (user_folder() / ".tiny.fetch").exists()


def test_what_is_at_hand_is_not_downloaded(card, server, tmp_path):
    found = augsuite.fetch(card())
    asked = len(server.requests)
    assert augsuite.fetch(tmp_path / "tiny.yaml") == found
    assert augsuite.fetch(tmp_path / "tiny.yaml", found) == found
    assert len(server.requests) == asked


def test_augsuite_data_comes_first_and_is_where_datasets_go(card, tmp_path, monkeypatch):
    monkeypatch.setenv("AUGSUITE_DATA", str(tmp_path / "data"))
    assert augsuite.fetch(card()) == tmp_path / "data" / "tiny"
    (user_folder() / "tiny").mkdir(parents=True)
    assert locate("tiny") == tmp_path / "data" / "tiny"


def test_a_folder_that_cannot_be_written_is_passed_over(card, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("AUGSUITE_DATA", str(tmp_path / "file"))
    assert augsuite.fetch(card()) == user_folder() / "tiny"


def test_a_record_says_where_it_came_from(card):
    record = json.loads((augsuite.fetch(card()) / ".fetched.json").read_bytes())
    assert record["licence"] == "CC0-1.0"
    assert record["archives"][0]["sha256"] == hashlib.sha256(ZIP).hexdigest()
    assert record["archives"][0]["bytes"] == len(ZIP)


def test_the_digest_of_the_content_is_that_of_sha256sum(card, tmp_path):
    folder = augsuite.fetch(card())
    record = json.loads((folder / ".fetched.json").read_bytes())
    command = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    said = subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True, text=True).stdout.split()[0]
    assert record["archives"][0]["content_sha256"] == said


@pytest.mark.parametrize("chunked", [False, True])
def test_a_connection_that_is_cut_goes_on_where_it_ended(card, server, chunked):
    path = card()
    server.files["/tiny.zip"].cuts = [100_000, 50_000]
    server.files["/tiny.zip"].chunked = chunked
    assert content_of(augsuite.fetch(path)) == FILES
    assert server.ranges("/tiny.zip") == ["", "bytes=100000-", "bytes=150000-"]
    assert server.requests[1][1]["If-Range"] == '"one"'


def test_a_connection_that_is_always_cut_gives_up_and_keeps_what_came(card, server):
    path = card()
    server.files["/tiny.zip"].cuts = [1000] * 20
    with pytest.raises(DataError, match=r"ended after 6,000 of .* \(6 tries\)\. 6,000 bytes are kept; run the same"):
        augsuite.fetch(path)
    assert visible(user_folder()) == []
    server.files["/tiny.zip"].cuts = []
    assert content_of(augsuite.fetch(path)) == FILES
    assert server.ranges("/tiny.zip")[-1] == "bytes=6000-"


def test_a_server_that_ignores_ranges_begins_again(card, server):
    path = card()
    server.files["/tiny.zip"].cuts = [100_000]
    server.files["/tiny.zip"].ranges = False
    assert content_of(augsuite.fetch(path)) == FILES
    assert server.ranges("/tiny.zip") == ["", "bytes=100000-"]


@pytest.mark.parametrize("if_range", [True, False])
def test_a_file_that_changed_between_two_tries_is_not_mixed(server, tmp_path, if_range):
    """Without a digest on the card, the ETag alone tells; one server heeds If-Range, another does not."""
    server.files["/a.zip"] = File(make_zip(voc_files(2, padding=300_000)), cuts=[100_000], if_range=if_range)
    path = write_card(tmp_path / "tiny.yaml", {"urls": [server.url("/a.zip")]})

    def change(what, step, total):
        if step > 0 and server.files["/a.zip"].etag == '"one"':
            server.files["/a.zip"] = File(ZIP, etag='"two"', if_range=if_range)

    with listening(change):
        folder = augsuite.fetch(path)
    assert server.ranges("/a.zip") == ["", "bytes=100000-", *([] if if_range else [""])]
    assert content_of(folder) == FILES


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_a_state_without_a_name_is_not_resumed_unless_the_card_has_a_digest(server, tmp_path, card, etag):
    server.files["/a.zip"] = File(ZIP, etag=etag, cuts=[100_000])
    augsuite.fetch(write_card(tmp_path / "a.yaml", {"urls": [server.url("/a.zip")]}, name="a"))
    assert server.ranges("/a.zip") == ["", ""]
    path = card()
    server.files["/tiny.zip"].etag = etag
    server.files["/tiny.zip"].cuts = [100_000]
    assert content_of(augsuite.fetch(path)) == FILES
    assert server.ranges("/tiny.zip") == ["", "bytes=100000-"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(card, server, status):
    path = card()
    server.files["/tiny.zip"].statuses = [status, status]
    assert content_of(augsuite.fetch(path)) == FILES
    assert len(server.requests) == 3


def test_a_server_that_asks_for_an_hour_is_not_given_it(card, server, monkeypatch):
    monkeypatch.setattr(fetch_http, "_LONGEST_WAIT_S", 0.01)
    path = card()
    server.files["/tiny.zip"].statuses = [503, 503]
    server.files["/tiny.zip"].headers = {"Retry-After": "3600"}
    assert content_of(augsuite.fetch(path)) == FILES
    assert len(server.requests) == 3


def test_a_server_that_falls_silent_is_asked_again(card, server, monkeypatch):
    monkeypatch.setattr(fetch_http, "_TIMEOUT_S", (20, 1.0))
    path = card()
    server.files["/tiny.zip"].pauses = [0, 0, 0, 0, 20.0]
    assert content_of(augsuite.fetch(path)) == FILES
    assert "bytes=262144-" in server.ranges("/tiny.zip")


def test_a_redirect_is_followed(card, server, tmp_path):
    server.files["/tiny.zip"] = File(ZIP)
    server.files["/old.zip"] = File(b"", statuses=[302], headers={"Location": "/tiny.zip"})
    path = write_card(tmp_path / "tiny.yaml", described(server, "/old.zip", ZIP))
    assert content_of(augsuite.fetch(path)) == FILES


def test_a_file_that_its_server_calls_an_encoding_is_left_as_it_is(server, tmp_path):
    packed = make_tar(FILES, mode="w:gz")
    server.files["/a.tar.gz"] = File(packed, headers={"Content-Encoding": "gzip"})
    path = write_card(tmp_path / "tiny.yaml", described(server, "/a.tar.gz", packed))
    assert content_of(augsuite.fetch(path)) == FILES


def test_a_server_that_stays_busy_is_one_clear_line(card, server):
    path = card()
    server.files["/tiny.zip"].statuses = [503] * 20
    with pytest.raises(DataError, match=r"answered 503 Service Unavailable \(6 tries\)\. Run the same command again"):
        augsuite.fetch(path)
    assert len(server.requests) == 6


def test_a_missing_file_is_said_at_once_and_found_later(card, server):
    path = card()
    server.files["/tiny.zip"].statuses = [404]
    with pytest.raises(DataError, match=r"answered 404 Not Found\. The file may have moved"):
        augsuite.fetch(path)
    assert len(server.requests) == 1
    assert content_of(augsuite.fetch(path)) == FILES


def test_the_second_source_is_asked_where_the_first_fails(card, server, tmp_path):
    server.files["/tiny.zip"] = File(ZIP)
    said = described(server, "/tiny.zip", ZIP)
    said["urls"] = [server.url("/gone.zip"), *said["urls"]]
    assert content_of(augsuite.fetch(write_card(tmp_path / "tiny.yaml", said))) == FILES


def test_the_second_source_goes_on_with_what_the_first_gave(server, tmp_path):
    server.files["/a.zip"] = File(ZIP, cuts=[100_000], statuses=[])
    server.files["/b.zip"] = File(ZIP, etag='"other"')
    said = described(server, "/a.zip", ZIP) | {"urls": [server.url("/a.zip"), server.url("/b.zip")]}
    first = server.files["/a.zip"]
    path = write_card(tmp_path / "tiny.yaml", said)
    with listening(lambda what, step, total: first.statuses.append(404)):
        assert content_of(augsuite.fetch(path)) == FILES
    assert server.ranges("/b.zip") == ["bytes=100000-"]


def test_a_wrong_file_of_the_right_size_leaves_nothing(card, server):
    wrong = bytearray(ZIP)
    wrong[1000] ^= 1
    path = card(served=bytes(wrong))
    expected = hashlib.sha256(ZIP).hexdigest()
    with pytest.raises(DataError, match=rf"is not the file that the card describes \(expected sha256 {expected}, got"):
        augsuite.fetch(path)
    assert visible(user_folder()) == []
    assert [path for path in (user_folder() / ".tiny.fetch").rglob("*") if path.is_file()] == []
    server.files["/tiny.zip"] = File(ZIP)
    assert content_of(augsuite.fetch(path)) == FILES


def test_a_wrong_file_of_another_size_is_refused_before_it_is_downloaded(card, server):
    with pytest.raises(DataError, match=rf"expected {len(ZIP):,} bytes, the server offers 12\)"):
        augsuite.fetch(card(served=b"<html></html"))


def test_a_longer_file_without_a_length_is_stopped(card, server):
    path = card(served=ZIP + b"x" * 3_000_000)
    server.files["/tiny.zip"].chunked = True
    with pytest.raises(DataError, match=rf"it is longer than {len(ZIP):,} bytes"):
        augsuite.fetch(path)


def test_an_md5_is_checked_where_it_is_all_there_is(server, tmp_path):
    server.files["/a.zip"] = File(ZIP)
    said = {"urls": [server.url("/a.zip")], "md5": hashlib.md5(b"another").hexdigest()}
    with pytest.raises(DataError, match="expected md5"):
        augsuite.fetch(write_card(tmp_path / "a.yaml", said))
    said["md5"] = hashlib.md5(ZIP).hexdigest()
    assert content_of(augsuite.fetch(write_card(tmp_path / "a.yaml", said))) == FILES


def test_half_a_file_of_another_version_is_not_kept(card, server):
    """What an earlier fetch left turns out wrong only at the end: then it all comes once more."""
    path = card(served=bytes(len(ZIP)))
    server.files["/tiny.zip"].cuts = [1000] * 20
    with pytest.raises(DataError, match="6,000 bytes are kept"):
        augsuite.fetch(path)
    server.files["/tiny.zip"] = File(ZIP)  # under the same ETag: a server that lies
    assert content_of(augsuite.fetch(path)) == FILES
    assert server.ranges("/tiny.zip")[-2:] == ["bytes=6000-", ""]


def test_without_a_digest_the_first_fetch_is_trusted_and_the_next_held_to_it(server, tmp_path):
    path = write_card(tmp_path / "tiny.yaml", {"urls": [server.url("/a.zip")]})
    server.files["/a.zip"] = File(ZIP)
    augsuite.fetch(path, tmp_path / "out" / "tiny")
    kept = tmp_path / "out" / ".tiny.first-fetch.json"
    assert list(json.loads(kept.read_bytes())) == [server.url("/a.zip")]
    (tmp_path / "out" / "tiny").rename(tmp_path / "elsewhere")
    server.files["/a.zip"] = File(make_zip(dict(reversed(FILES.items()))))  # packed otherwise: the same content
    augsuite.fetch(path, tmp_path / "out" / "tiny")
    (tmp_path / "out" / "tiny").rename(tmp_path / "elsewhere2")
    server.files["/a.zip"] = File(make_zip(FILES | {"Annotations/0.xml": b"<annotation/>"}))
    with pytest.raises(DataError, match=rf"not that of the first fetch .* delete {re.escape(str(kept))}\."):
        augsuite.fetch(path, tmp_path / "out" / "tiny")
    assert visible(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (make_zip({"../evil.txt": b"x"}), r"'\.\./evil\.txt' would be written outside"),
        (make_zip({"a/../../evil.txt": b"x"}), "would be written outside"),
        (make_zip({"/evil.txt": b"x"}), "would be written outside"),
        (make_zip({"C:/evil.txt": b"x"}), "would be written outside"),
        (make_zip({"..\\evil.txt": b"x"}), "would be written outside"),
        (make_tar({"../evil.txt": b"x"}), "would be written outside"),
        (make_tar({"/evil.txt": b"x"}, mode="w:gz"), "would be written outside"),
        (make_zip({"a.bin": bytes(10_000_000)})[:-10], "neither a zip nor a tar"),
        (b"<html>log in first</html>", "neither a zip nor a tar"),
        (make_tar({"a.bin": os.urandom(100_000)})[:50_000], "the archive is broken"),
        (make_tar({"a.bin": os.urandom(100_000)}, mode="w:gz")[:50_000], "the archive is broken"),
        (make_tar({"a.bin": os.urandom(3_000_000)}, mode="w:bz2")[:2_000_000], "the archive is broken"),
        (make_tar({"a.bin": os.urandom(100_000)}, mode="w:xz")[:50_000], "the archive is broken"),
    ],
)
def test_an_archive_that_is_unsafe_or_broken_leaves_nothing(content, line, card, tmp_path):
    with pytest.raises(DataError, match=line):
        augsuite.fetch(card(content, "/a.bin"), tmp_path / "out" / "tiny")
    assert visible(tmp_path / "out") == []
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_flipped_bit_in_a_zip_without_a_digest_is_found(server, tmp_path):
    broken = bytearray(ZIP)
    broken[len(broken) // 2] ^= 1
    server.files["/a.zip"] = File(bytes(broken))
    path = write_card(tmp_path / "tiny.yaml", {"urls": [server.url("/a.zip")]})
    with pytest.raises(DataError, match=r"the archive is broken .*CRC"):
        augsuite.fetch(path)
    server.files["/a.zip"] = File(ZIP)
    assert content_of(augsuite.fetch(path)) == FILES


def link_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("images/link")
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr("a.txt", "x")
    return buffer.getvalue()


def link_tar(kind):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("images/link")
        info.type = kind
        info.linkname = "/etc/passwd"
        archive.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [link_zip(), *(link_tar(kind) for kind in (b"1", b"2", b"3", b"6"))])
def test_links_and_devices_are_refused(content, card, tmp_path):
    with pytest.raises(DataError, match="'images/link' is a link or a device"):
        augsuite.fetch(card(content), tmp_path / "out" / "tiny")
    assert visible(tmp_path / "out") == []


def test_a_link_that_nobody_wants_is_left(card, tmp_path):
    folder = augsuite.fetch(card(link_zip(), take={"a.txt": ""}))
    assert content_of(folder) == {"a.txt": b"x"}


def test_a_bomb_is_stopped(card, tmp_path, monkeypatch):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.bin", bytes(150_000_000))
    assert len(buffer.getvalue()) < 200_000
    with pytest.raises(DataError, match="unpacks to more than 20 times its size"):
        augsuite.fetch(card(buffer.getvalue()), tmp_path / "out" / "tiny")
    assert visible(tmp_path / "out") == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_several_archives_are_laid_out_as_one_dataset(server, tmp_path, mode):
    images = {name: content for name, content in FILES.items() if name.endswith(".jpg")}
    rest = {name: content for name, content in FILES.items() if name.endswith(".xml")}
    server.files["/one/a.tar"] = File(make_tar(images, "VOCdevkit/VOC2007/", mode))
    server.files["/two/a.tar"] = File(make_zip(rest | {"Annotations/._0.xml": b"x", "notes.txt": b"y"}, "repo-1/"))
    path = write_card(
        tmp_path / "tiny.yaml",
        {"urls": [server.url("/one/a.tar")], "take": {"VOCdevkit/VOC2007": ""}},
        {"urls": [server.url("/two/a.tar")], "take": {"*/Annotations/*.xml": "Annotations/"}},
    )
    assert content_of(augsuite.fetch(path)) == images | rest


def test_a_card_that_wants_what_is_not_there_is_said(card, tmp_path):
    with pytest.raises(DataError, match="holds nothing of VOCdevkit/VOC2007"):
        augsuite.fetch(card(take={"VOCdevkit/VOC2007": ""}))
    with pytest.raises(DataError, match="the card puts a member outside the folder"):
        augsuite.fetch(card(take={"*": "../out/"}))


def test_what_cannot_fit_is_refused_before_anything_is_asked(server, tmp_path):
    said = {"urls": [server.url("/a.zip")], "bytes": 10**18}
    with pytest.raises(ConfigError, match=r"tiny needs 2,000,000,000,000 MB, of which [\d,]+ MB are free"):
        augsuite.fetch(write_card(tmp_path / "tiny.yaml", said))
    assert server.requests == []


def test_a_disk_that_is_full_is_one_clear_line_and_keeps_what_fits(card, tmp_path):
    path = card()
    out = tmp_path / "out" / "tiny"
    limit = 150_000  # bytes that the system lets this process write into one file

    process = fetch_process(
        path, out, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    )
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.fullmatch(
        r"augsuite: .*: cannot be written \(File too large\)\. Choose another place with --out, .*\n", said
    )
    assert (tmp_path / "out" / ".tiny.fetch" / "1" / "tiny.zip.part").stat().st_size == limit
    assert visible(tmp_path / "out") == []
    assert content_of(augsuite.fetch(path, out)) == FILES


def test_a_folder_with_something_else_is_kept(card, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    with pytest.raises(ConfigError, match="exists already, and is not tiny"):
        augsuite.fetch(card(), tmp_path / "out")
    assert visible(tmp_path / "out") == ["mine.txt"]


def test_an_empty_folder_is_filled(card, tmp_path):
    (tmp_path / "out").mkdir()
    assert content_of(augsuite.fetch(card(), tmp_path / "out")) == FILES


def test_two_fetches_at_once_download_once(card, server):
    path = card()
    results, waiting = [], []
    both_wait = threading.Event()

    def note(what, step, total):
        if what == "waiting for another fetch of tiny":
            waiting.append(what)
            if len(waiting) == 2:
                both_wait.set()
        elif what.startswith("downloading"):
            assert both_wait.wait(60)

    def one():
        with listening(note):
            results.append(augsuite.fetch(path))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [user_folder() / "tiny"] * 3
    assert len(server.requests) == 1
    assert content_of(results[0]) == FILES


def fetch_process(path, out, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "augsuite", "datasets", "fetch", str(path), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def wait_for(condition, process):
    until = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_fetch_that_is_killed_goes_on(card, server, tmp_path, how):
    content = make_zip(voc_files(padding=3_000_000))
    path = card(content)
    server.files["/tiny.zip"].pause_s = 0.1
    out = tmp_path / "out" / "tiny"
    part = tmp_path / "out" / ".tiny.fetch" / "1" / "tiny.zip.part"
    process = fetch_process(path, out)
    wait_for(lambda: part.exists() and part.stat().st_size > 300_000, process)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert ("Interrupted. What was downloaded is kept" in said) == (how == signal.SIGINT)
    assert "Traceback" not in said
    assert visible(tmp_path / "out") == []
    kept = part.stat().st_size
    assert 300_000 < kept < len(content)
    server.files["/tiny.zip"].pause_s = 0
    process = fetch_process(path, out)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert said == f"tiny   {out}   licence: CC0-1.0\n"
    assert errors == ""
    assert server.ranges("/tiny.zip") == ["", f"bytes={kept}-"]
    assert content_of(out) == voc_files(padding=3_000_000)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".tiny.fetch.lock", "tiny"]


def test_a_fetch_that_is_killed_while_unpacking_downloads_nothing_again(card, server, tmp_path):
    path = card()
    work = tmp_path / "out" / ".tiny.fetch"

    def stop(what, step, total):
        if what.startswith("unpacking"):
            raise KeyboardInterrupt

    with listening(stop), pytest.raises(KeyboardInterrupt):
        augsuite.fetch(path, tmp_path / "out" / "tiny")
    assert visible(tmp_path / "out") == []
    (work / "tree" / "half.jpg").write_bytes(b"of the fetch that was killed")
    assert content_of(augsuite.fetch(path, tmp_path / "out" / "tiny")) == FILES
    assert len(server.requests) == 1


def test_what_a_kill_at_the_very_end_left_is_swept(card):
    path = card()
    folder = augsuite.fetch(path)
    work = folder.parent / ".tiny.fetch"
    for out in (None, folder):
        (work / "1").mkdir(parents=True)
        (work / "1" / "tiny.zip").write_bytes(ZIP)
        assert augsuite.fetch(path, out) == folder
        assert not work.exists()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a/b/c.zip", "c.zip"),
        ("https://a/b/c.zip?download=1/..", "c.zip"),
        ("https://a/..", "archive"),
        ("https://a/b/..%2Fc:d.zip", "_2Fc_d.zip"),
        ("https://a/", "a"),
    ],
)
def test_an_address_makes_a_harmless_name(url, name):
    assert Archive(urls=[url]).name == name


PACKED = [
    make_zip(voc_files(2)),
    *(make_tar(voc_files(2), mode=mode) for mode in ("w", "w:gz", "w:bz2", "w:xz")),
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PACKED), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6), st.floats(0, 1))
def test_a_damaged_archive_gives_files_inside_or_one_clear_line(packed, changes, cut):
    content = bytearray(packed[: max(1, round(len(packed) * (1 - cut / 4)))])
    for place, value in changes:
        content[min(int(place * len(content)), len(content) - 1)] = value
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.zip").write_bytes(content)
        (folder / "in").mkdir()
        try:
            found = unpack(folder / "a.zip", folder / "in", {})
        except DataError:
            found = None
        assert sorted(path.name for path in folder.iterdir()) == ["a.zip", "in"]
        assert found is None or set(content_of(folder / "in")) == set(found)


def test_progress_ends_at_the_size_of_the_file_in_spite_of_a_cut(card, server):
    path = card()
    server.files["/tiny.zip"].cuts = [100_000]
    server.files["/tiny.zip"].ranges = False
    done = {}

    def note(what, step, total):
        done[what] = done.get(what, 0) + step

    with listening(note):
        augsuite.fetch(path)
    assert done == {
        "downloading tiny.zip": len(ZIP),
        "checking tiny.zip": len(ZIP),
        "unpacking tiny.zip": len(FILES),
    }


def run(*arguments):
    return CliRunner().invoke(cli, ["datasets", *arguments])


def test_the_listing_says_what_can_be_fetched_and_what_is_at_hand(tmp_path, monkeypatch):
    (tmp_path / "data" / "voc2007" / "Annotations").mkdir(parents=True)
    monkeypatch.setenv("AUGSUITE_DATA", str(tmp_path / "data"))
    listed = {item["name"]: item for item in json.loads(run("--json").output)["public"]}
    assert set(listed) == {"raccoon", "bccd", "voc2007", "coco-val2017", "oxford-pets"}
    assert listed["voc2007"]["folder"] == str(tmp_path / "data" / "voc2007")
    assert listed["bccd"]["folder"] is None
    assert listed["voc2007"]["bytes"] == 460_032_000 + 451_020_800
    shown = run().output
    assert re.search(r"^voc2007 +9,963 +24,640 +20 +911 +yes ", shown, re.MULTILINE)
    assert re.search(r"^bccd +364 +4,888 +3 +\? +no +MIT ", shown, re.MULTILINE)


def test_a_dataset_that_is_not_here_says_how_to_get_it():
    with pytest.raises(ConfigError, match=r"not on this machine yet\. Fetch it with: augsuite datasets fetch voc2007"):
        locate("voc2007")
    with pytest.raises(ConfigError, match="Did you mean 'voc2007'"):
        locate("voc2077")
    assert "voc2007" not in named()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("VOC2007", "unknown dataset 'VOC2007'. Did you mean 'voc2007'?"),
        ("shelf", "shelf is bundled with augsuite. Use it by its name."),
        ("nothing.yaml", "nothing.yaml: no such file."),
    ],
)
def test_what_cannot_be_fetched_is_one_clear_line(name, line):
    result = run("fetch", name)
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == line


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"urls": []}, r"archives\[0\]\.urls"),
        ({"urls": ["file:///etc/passwd"]}, r"archives\[0\]\.urls\[0\]"),
        ({"urls": ["https://a/b.zip"], "sha256": "abc"}, r"archives\[0\]\.sha256"),
        ({"urls": ["https://a/b.zip"], "bytes": 0}, r"archives\[0\]\.bytes"),
        ({"urls": ["https://a/b.zip"], "size": 5}, "size"),
    ],
)
def test_a_broken_card_is_one_clear_line(change, line, tmp_path):
    with pytest.raises(ConfigError, match=line):
        augsuite.fetch(write_card(tmp_path / "tiny.yaml", change))


def test_a_server_that_is_not_there_is_one_clear_line(tmp_path):
    with serving() as gone:
        url = gone.url("/a.zip")
    path = write_card(tmp_path / "tiny.yaml", {"urls": [url]})
    with pytest.raises(DataError, match=r"the connection failed \(.*[Rr]efused.*\) \(6 tries\)") as caught:
        augsuite.fetch(path)
    assert "\n" not in str(caught.value)


GITHUB = {
    "bccd": ("BCCD_Dataset-d272fb14cdff6e473fafeeeba32aba5f560e9e43/", "BCCD/"),
    "raccoon": ("raccoon_dataset-master/", ""),
}


def published():
    """The archives of each card in small: members named as those of the real ones, and what else lies in them."""
    files = voc_files()
    images = {name: content for name, content in files.items() if name.endswith(".jpg")}
    rest = {name: content for name, content in files.items() if name.endswith(".xml")}
    sets = {
        "ImageSets/Main/train.txt": b"0\n1\n",
        "ImageSets/Main/test.txt": b"2\n",
        "ImageSets/Main/cat_train.txt": b"0  1\n",
    }
    coco = json.dumps(
        {
            "images": [{"id": 7, "file_name": "000000000139.jpg", "width": 40, "height": 30}],
            "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}],
            "categories": [{"id": 1, "name": "person"}],
        }
    ).encode()
    pets = {f"annotations/xmls/{name.removeprefix('Annotations/')}": content for name, content in rest.items()}
    more = {
        "annotations/list.txt": b"#Image CLASS-ID\n0 1 1 1\n",
        "annotations/trimaps/0.png": b"no image",
        "annotations/trimaps/._0.png": b"of a Mac",
    }
    bccd_prefix = "".join(GITHUB["bccd"])
    yield (
        "voc2007",
        "voc",
        3,
        make_tar(dict(list(images.items())[:2]) | dict(list(rest.items())[:2]) | sets, "VOCdevkit/VOC2007/"),
        make_tar(dict(list(images.items())[2:]) | dict(list(rest.items())[2:]), "VOCdevkit/VOC2007/"),
    )
    yield (
        "coco-val2017",
        "coco",
        1,
        make_zip({"val2017/000000000139.jpg": files["JPEGImages/0.jpg"]}),
        make_zip(
            {
                "annotations/instances_train2017.json": b"{}",
                "annotations/instances_val2017.json": coco,
                "annotations/captions_val2017.json": b'{"images": [], "annotations": []}',
            }
        ),
    )
    yield (
        "oxford-pets",
        "voc",
        3,
        make_tar({name.replace("JPEGImages", "images"): content for name, content in images.items()}, mode="w:gz"),
        make_tar(pets | more, mode="w:gz"),
    )
    yield (
        "bccd",
        "voc",
        3,
        make_zip(
            {bccd_prefix + name: content for name, content in (images | rest | sets).items()}
            | {GITHUB["bccd"][0] + "LICENSE": b"MIT", GITHUB["bccd"][0] + "plot.py": b"code"}
        ),
    )
    yield (
        "raccoon",
        "voc",
        3,
        make_zip(
            {
                f"raccoon_dataset-master/{name.replace('JPEGImages', 'images').replace('Annotations', 'annotations')}": content
                for name, content in (images | rest).items()
            }
            | {"raccoon_dataset-master/LICENSE": b"MIT", "raccoon_dataset-master/xml_to_csv.py": b"code"}
        ),
    )


@pytest.mark.parametrize(("name", "format_name", "count", "archives"), [(a, b, c, d) for a, b, c, *d in published()])
def test_the_layout_on_each_card_is_read_as_the_card_says(name, format_name, count, archives, server, tmp_path):
    card = read_cards()[name]
    assert len(card.archives) == len(archives)
    said = []
    for number, (archive, content) in enumerate(zip(card.archives, archives, strict=True)):
        server.files[f"/{number}"] = File(content)
        said.append({"urls": [server.url(f"/{number}")], "take": archive.take})
    folder = augsuite.fetch(write_card(tmp_path / "card.yaml", *said, name=name))
    assert card.format == format_name == detect(folder).name
    data = augsuite.read(name)
    assert len(data) == len(data.annotations) == count
    assert all(data.path(row).is_file() for row in range(count))
    assert not list(folder.rglob("*.py"))
    if name in GITHUB:
        assert (folder / "LICENSE").read_bytes() == b"MIT"


@pytest.mark.parametrize("name", GITHUB)
def test_the_counts_on_a_card_are_those_of_the_real_data(name, real_data, server, tmp_path):
    """A copy of the repository, packed as GitHub packs it."""
    card = read_cards()[name]
    outer, inner = GITHUB[name]
    copy = real_data / name
    files = {
        outer + inner + path.relative_to(copy).as_posix(): path.read_bytes()
        for path in copy.rglob("*")
        if path.is_file() and path.parent != copy
    }
    server.files["/a.zip"] = File(make_zip(files), cuts=[1_000_000])
    said = {"urls": [server.url("/a.zip")], "take": card.archives[0].take}
    augsuite.fetch(write_card(tmp_path / "card.yaml", said, name=name))
    data = augsuite.read(user_folder() / name)
    splits = data.images.splits
    for split, count in card.images.items():
        wanted = "" if split == "all" else split
        assert (splits == wanted).sum() == count
        assert (splits[data.annotations.image_rows] == wanted).sum() == card.boxes[split]
    assert data.categories.names.tolist() == card.categories
    assert server.ranges("/a.zip") == ["", "bytes=1000000-"]


@pytest.mark.parametrize("name", [name for name, card in read_cards().items() if card.archives])
def test_a_card_of_a_public_dataset_is_complete(name):
    card = read_cards()[name]
    assert card.name == name
    assert len(set(card.categories)) == len(card.categories)
    assert card.source.startswith("http")
    assert card.format
    for archive in card.archives:
        assert archive.sha256 or "github.com" in archive.urls[0]
        assert bool(archive.sha256) == bool(archive.bytes)
