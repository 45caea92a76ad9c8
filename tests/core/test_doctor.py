"""The doctor, on environments that are broken for real: modules that fail, crash or hang, folders and disks that take nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from augsuite.cli import cli
from augsuite.doctor import Check, database, examine, failed, machine, packages
from augsuite.doctor.probing import first_line, probe
from augsuite.doctor.requirements import GIVES, fits, needed, version
from augsuite.errors import ConfigError

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing of this user's counts."""
    for name, folder in (("HOME", "home"), ("XDG_DATA_HOME", "data"), ("XDG_CACHE_HOME", "cache")):
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.delenv(database.URI, raising=False)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A folder whose modules come before all others, here and in processes started from here."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def module(folder, name, code):
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)


def distribution(folder, name, number, requires=()):
    info = folder / f"{name.replace('-', '_')}-{number}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {number}"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {line}" for line in requires)]) + "\n")


def doctor(*arguments):
    """The command in a process of its own; exit status and checks by name."""
    done = subprocess.run(
        [sys.executable, "-m", "augsuite", "doctor", "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    return done.returncode, {check["name"]: check for check in said["checks"]}


def by_name(checks):
    return {check.name: check for check in checks}


def test_a_sound_machine_passes():
    status, checks = doctor("convert")
    assert status == 0, checks
    assert checks["core"]["status"] == "ok"
    assert "numpy" in checks["core"]["said"]
    assert {"Python", "augsuite", "processors", "datasets", "temporary files"} <= set(checks)


def test_a_package_that_fails_to_import_costs_only_itself(path):
    module(path, "fsspec", "raise OSError('libfoo.so.1: cannot open shared object file')")
    status, checks = doctor("remote")
    assert status == 1
    broken = {name for name, check in checks.items() if check["status"] == "broken"}
    assert "fsspec" in broken
    assert broken <= {"fsspec", "gcsfs", "s3fs"}  # which import it
    assert "OSError: libfoo.so.1" in checks["fsspec"]["said"]
    assert checks["fsspec"]["advice"].startswith("pip install --force-reinstall 'fsspec")


@linux
def test_a_package_that_takes_the_process_down_is_named_and_the_others_are_tried(path):
    module(path, "first", "")
    module(path, "second", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    module(path, "third", "print('noise')\nraise SystemExit(3)")
    module(path, "fourth", "import os\nos._exit(7)")
    module(path, "fifth", "")
    found = probe(["first", "second", "third", "fourth", "fifth"], "found['answer'] = 42")
    assert found.errors == {
        "first": "",
        "second": "takes the process down (SIGSEGV)",
        "third": "SystemExit: 3",
        "fourth": "takes the process down (exit status 7)",
        "fifth": "",
    }
    assert found.facts == {"answer": 42}


def test_a_package_that_hangs_is_ended(path):
    module(path, "hangs", "import time\ntime.sleep(600)")
    module(path, "sound", "")
    found = probe(["hangs", "sound"], limit_s=8)
    assert found.errors == {"hangs": "did not finish in 8 s", "sound": ""}


def test_facts_that_fail_are_told():
    assert probe([], "1 / 0").facts == {"error": "ZeroDivisionError: division by zero"}


def test_a_missing_extra_is_a_failure_only_for_who_asks_for_it(path):
    distribution(path, "augsuite", "9.9", ["click>=8", "no-such-package>=2; extra == 'remote'"])
    checks = list(examine(quick=True))
    found = by_name(checks)["remote"]
    assert (found.status, found.advice) == ("missing", "pip install 'augsuite[remote]'")
    assert "no-such-package" in found.said
    assert not failed(checks)
    assert failed(list(examine(["remote"], quick=True)), ["remote"])
    assert not failed(list(examine(["convert"], quick=True)), ["convert"])


def test_an_old_version_is_broken(path):
    distribution(path, "msgspec", "0.2")
    found = by_name(examine(["convert"], quick=True))["msgspec"]
    assert (found.status, found.said) == ("broken", "0.2 is installed, and augsuite needs >=0.19")


def test_two_opencvs_are_broken(path):
    distribution(path, "opencv-python", "4.9.0")
    distribution(path, "opencv-python-headless", "4.11.0")
    found = by_name(packages.ourselves())["OpenCV"]
    assert found.status == "broken"
    assert found.advice.startswith("pip uninstall -y opencv-python-headless opencv-python &&")


def test_a_broken_plugin_is_shown(path):
    distribution(path, "augsuite-odd", "1.0")
    (path / "augsuite_odd-1.0.dist-info" / "entry_points.txt").write_text("[augsuite]\nodd = no_such_module_anywhere\n")
    status, checks = doctor("convert", "--quick")
    assert status == 1
    assert "no_such_module_anywhere" in checks["plugin odd"]["said"]
    assert checks["plugin odd"]["advice"].endswith("AUGSUITE_DISABLE_PLUGINS=odd")


@linux
def test_folders_that_take_no_file(monkeypatch):
    """Not even root may write there."""
    monkeypatch.setenv("XDG_DATA_HOME", "/proc/data")
    monkeypatch.chdir("/proc")
    found = by_name(machine.folders())
    assert found["datasets"].status == "broken"
    assert "export XDG_DATA_HOME=" in found["datasets"].advice
    assert found["this folder"].status == "note"  # it is enough to name another for the output
    assert found["cache"].status != "broken"


@linux
def test_a_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("this user cannot mount a disk")
    try:
        with pytest.raises(OSError, match="No space"):
            (disk / "filler").write_bytes(b"\0" * 1_000_000)
        assert machine.refused(disk) == os.strerror(28)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_limits_of_containers(tmp_path):
    """Files as the kernel documents them: two processors and a half, 512 MB."""
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "cpu.max").write_text("250000 100000\n")
    (tmp_path / "two" / "memory.max").write_text("536870912\n")
    assert (machine.cpu_limit(tmp_path / "two"), machine.memory_limit(tmp_path / "two")) == (2.5, 536_870_912)
    (tmp_path / "free").mkdir()
    (tmp_path / "free" / "cpu.max").write_text("max 100000\n")
    (tmp_path / "free" / "memory.max").write_text("max\n")
    assert (machine.cpu_limit(tmp_path / "free"), machine.memory_limit(tmp_path / "free")) == (None, None)
    for name, text in (("cpu.cfs_quota_us", "150000"), ("cpu.cfs_period_us", "100000")):
        (tmp_path / "one" / "cpu").mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / "cpu" / name).write_text(text)
    assert machine.cpu_limit(tmp_path / "one") == 1.5
    assert machine.cpu_limit(tmp_path / "none") is None


@linux
def test_few_open_files_are_noted():
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 300))\n"
        "from augsuite.doctor import machine\n"
        "found = {c.name: c for c in machine.machine()}['open files']\nprint(found.status, found.advice)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "note ulimit -n 300"


def test_no_browser_is_missing_and_no_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    checks = by_name(database.browser())
    assert checks["browser"].status == "missing"
    assert not failed(checks.values(), ["fiftyone"])


def test_a_browser_that_does_not_start_is_said(tmp_path, monkeypatch):
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\necho 'error while loading shared libraries: libnss3.so' >&2\nexit 127\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = by_name(database.browser())["browser"]
    assert (found.status, "libnss3.so" in found.said) == ("broken", True)
    assert first_line([tmp_path / "nothing"]) == ("", os.strerror(2))


@linux
def test_a_mongod_that_does_not_start_is_broken(path):
    module(path, "fiftyone", "__version__ = '1.22.1'")
    program = path / "fiftyone" / "db" / "bin" / "mongod"
    program.parent.mkdir(parents=True)
    program.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'db version v0.1' && exit 0\necho 'cannot map memory'; exit 14\n"
    )
    program.chmod(0o755)
    script = "from augsuite.doctor.database import trial\nfor c in trial(): print(c.name, c.status, c.said)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("MongoDB broken")
    assert "does not start (cannot map memory)" in done.stdout


@linux
def test_a_mongod_without_a_library_of_the_system(path):
    module(path, "fiftyone", "")
    program = path / "fiftyone" / "db" / "bin" / "mongod"
    program.parent.mkdir(parents=True)
    loader = (
        f"{program}: error while loading shared libraries: libcurl.so.4: cannot open shared object file: No such file"
    )
    program.write_text(f"#!/bin/sh\necho '{loader}' >&2; exit 127\n")
    program.chmod(0o755)
    script = "from augsuite.doctor.database import trial\nfor c in trial(): print(c.name, c.status, c.advice)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "MongoDB broken install libcurl.so.4; on Debian and Ubuntu: sudo apt install libcurl4\n"


@linux
def test_without_mongodb_fiftyone_is_told_how_to_get_it(path):
    module(path, "fiftyone", "")
    script = "from augsuite.doctor.database import trial\nfor c in trial(): print(c.name, c.status, c.advice)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("MongoDB missing")
    assert "augsuite[fiftyone-offline]" in done.stdout


@linux
def test_mongodb_starts_and_fiftyone_works_with_it_alone(monkeypatch):
    """The real ones, while the environment names a database that nobody runs."""
    if version("fiftyone") is None or database.find_mongod() is None:
        pytest.skip("FiftyOne or its MongoDB is not installed")
    monkeypatch.setenv(database.URI, "mongodb://127.0.0.1:9")
    before = {pid for pid, _ in database.running()}
    checks = by_name(database.trial())
    assert {name: check.status for name, check in checks.items()} == {"MongoDB": "ok", "connection": "ok"}
    assert not [command for pid, command in database.running() if pid not in before and "augsuite-doctor-" in command]


def test_the_named_database(monkeypatch):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        monkeypatch.setenv(database.URI, f"mongodb://me:secret@127.0.0.1:{port}/?x=1")
        found = next(database.places())
        assert found.status == "ok"
        assert "secret" not in found.said
    assert next(database.places()).status == "broken"
    monkeypatch.setenv(database.URI, "postgres://here")
    assert "no URI" in next(database.places()).said
    monkeypatch.delenv(database.URI)
    assert "augsuite's own" in next(database.places()).said


@linux
@linux
def test_a_doctor_that_is_killed_leaves_no_server(tmp_path):
    mongod = database.find_mongod()
    if mongod is None:
        pytest.skip("FiftyOne's MongoDB is not installed")
    code = f"""
from pathlib import Path
from augsuite.doctor.database import started
with started(Path({str(mongod)!r}), Path({str(tmp_path / "db")!r})) as (port, problem):
    print(problem or port, flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as doctor:
        assert int(doctor.stdout.readline())
        assert any(str(tmp_path) in command for _, command in database.running())
        doctor.kill()
    until = time.monotonic() + 120
    while any(str(tmp_path) in command for _, command in database.running()):
        assert time.monotonic() < until, "it still runs"
        time.sleep(0.05)


def test_a_foreign_mongodb_is_shown_and_ours_is_not(tmp_path):
    own = tmp_path / "data" / "augsuite" / "fiftyone"
    code = "import time; time.sleep(100)"
    words = [["mongod", "-c", code, "--dbpath", str(folder), "--port", "1234"] for folder in ("/elsewhere/db", own)]
    processes = [subprocess.Popen(each, executable=sys.executable) for each in words]
    try:
        for _ in range(200):
            if {process.pid for process in processes} <= {pid for pid, _ in database.running()}:
                break
            time.sleep(0.05)
        said = [check for check in database.places() if check.name == "another MongoDB"]
        foreign = [check for check in said if "/elsewhere/db" in check.said]
        assert len(foreign) == 1
        assert str(processes[0].pid) in foreign[0].said
        assert foreign[0].advice.endswith("mongodb://127.0.0.1:1234")
        assert not [check for check in said if str(own) in check.said]
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


def test_versions_are_judged_as_packaging_does():
    specifiers = pytest.importorskip("packaging.specifiers")
    for wanted in ("", ">=1", ">=4.11,<5", "==2.0", "==2.0.0", "<2", "<=1.4.2", "!=1.0", "~=1.4.1", "~=1.0", ">1.4"):
        for installed in ("0.9", "1.0", "1.0.0", "1.4.2", "2.0", "2.15.0+cpu", "4.14.0.94", "5.0", "11"):
            judged = specifiers.SpecifierSet(wanted).contains(installed)
            assert fits(installed, wanted) == judged, (installed, wanted)


def test_what_extras_share_is_listed_once():
    lines = [
        "click>=8.1",
        "pillow>=10; extra == 'remote'",
        "torch>=2.6; extra == 'train'",
        "albumentations==2.0.8; extra == 'train'",
        'albumentations==2.0.8; extra == "augment"',
        "ray[data,train]>=2.40; extra == 'ray'",
        "torch>=2.6; extra == 'all'",
    ]
    found = {
        extra: [(each.name, each.wanted, each.module) for each in listed] for extra, listed in needed(lines).items()
    }
    assert found[""] == [("click", ">=8.1", "click")]
    assert found["augment"] == [("albumentations", "==2.0.8", "albumentations")]
    assert found["train"] == [("torch", ">=2.6", "torch")]
    assert found["ray"] == [("ray", ">=2.40", "ray")]
    assert found["remote"] == [("pillow", ">=10", "PIL")]


def test_every_extra_that_the_doctor_knows_is_an_extra():
    listed = needed()
    assert all(listed[extra] for extra in ("", *GIVES))


def test_an_unknown_job_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'fiftyone'"):
        CliRunner().invoke(cli, ["doctor", "fiftyon"], catch_exceptions=False)


def test_it_prints_plain_lines_into_a_pipe():
    done = CliRunner().invoke(cli, ["doctor", "convert", "--quick"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert done.output.splitlines()[-1].startswith("all is well: ")


def test_what_counts_as_failed():
    missing = Check(group="g", name="n", status="missing", said="")
    note = Check(group="g", name="n", status="note", said="")
    broken = Check(group="g", name="n", status="broken", said="")
    assert not failed([missing, note])
    assert failed([missing], ["train"])
    assert failed([broken])


def test_quick_imports_nothing_heavy():
    script = (
        "import sys\nfrom augsuite.doctor import examine\nlist(examine(quick=True))\n"
        "print(sorted(set(sys.modules) & {'torch', 'cv2', 'fiftyone', 'ray', 'albumentations'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parent,
    )
    assert done.stdout.strip() == "[]"
