"""Curves, settings and pictures, read back by the packages that they are for."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from augsuite import registry
from augsuite.errors import ConfigError
from augsuite.protocols import TakesImages, TakesRun
from augsuite.study.tracker import Trackers

RUN = {"trainer": "quick", "config": {"lr": 0.25, "size": [64, 32]}, "seed": 3, "augsuite": "0"}
CURVE = [{"loss": 2.0, "AP/red & blue": 10.0}, {"loss": 1.5}, {"loss": 1.25, "AP/red & blue": 30.5}]
PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def track(name, folder, *, curve=CURVE, finished=True):
    """What a session does with a tracker, for one run."""
    folder.mkdir(exist_ok=True)
    spec = registry.default().trackers()[name]
    with Trackers([spec], folder, RUN) as sinks:
        for epoch, values in enumerate(curve, start=1):
            sinks.log(epoch, values)
        if finished:
            sinks.image("predictions", PICTURE, len(curve))
            sinks.finish({"AP": 30.5})


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb", "visdom"])
def test_they_declare_the_extra_that_brings_them(name):
    from importlib.metadata import metadata

    assert registry.default().trackers()[name].extra in metadata("augsuite").get_all("Provides-Extra")


# TensorBoard


def accumulated(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder))
    read.Reload()
    return read


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard")
    track("tensorboard", tmp_path / "run")
    read = accumulated(tmp_path / "run")
    assert [(event.step, event.value) for event in read.Scalars("loss")] == [(1, 2.0), (2, 1.5), (3, 1.25)]
    assert [(event.step, event.value) for event in read.Scalars("AP/red & blue")] == [(1, 10.0), (3, 30.5)]
    (picture,) = read.Images("predictions")
    assert (picture.step, picture.width, picture.height) == (3, 6, 4)
    import io

    import PIL.Image

    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(picture.encoded_image_string))), PICTURE)


def test_tensorboard_has_the_settings_and_how_the_run_ended(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    for finished, status in ((True, api_pb2.STATUS_SUCCESS), (False, api_pb2.STATUS_FAILURE)):
        folder = tmp_path / str(finished)
        track("tensorboard", folder, finished=finished)
        content = accumulated(folder).PluginTagToContent("hparams")
        start = plugin_data_pb2.HParamsPluginData.FromString(content[metadata.SESSION_START_INFO_TAG])
        assert start.session_start_info.hparams["config.lr"].number_value == 0.25
        assert start.session_start_info.hparams["config.size"].string_value == "[64, 32]"
        end = plugin_data_pb2.HParamsPluginData.FromString(content[metadata.SESSION_END_INFO_TAG])
        assert end.session_end_info.status == status


def test_tensorboard_begins_anew_when_a_run_does(tmp_path):
    pytest.importorskip("tensorboard")
    track("tensorboard", tmp_path / "run", curve=[{"loss": 9.0}], finished=False)
    (tmp_path / "run" / "model.pt").write_bytes(b"kept")
    track("tensorboard", tmp_path / "run")
    assert [event.value for event in accumulated(tmp_path / "run").Scalars("loss")] == [2.0, 1.5, 1.25]
    assert (tmp_path / "run" / "model.pt").exists()


# MLflow


@pytest.fixture
def mlflow_client(tmp_path, monkeypatch):
    """A client of a file store: of MLflow's own stores the one that is made fastest."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    uri = (tmp_path / "store").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return mlflow.MlflowClient(tracking_uri=uri)


def mlflow_runs(client):
    experiment = client.get_experiment_by_name("augsuite")
    return client.search_runs([experiment.experiment_id])


def test_mlflow_reads_what_was_written(tmp_path, mlflow_client):
    track("mlflow", tmp_path / "first")
    (run,) = mlflow_runs(mlflow_client)
    assert run.info.run_name == "first"
    assert run.info.status == "FINISHED"
    assert run.data.params["config.lr"] == "0.25"
    assert run.data.params["config.size"] == "[64, 32]"
    history = mlflow_client.get_metric_history(run.info.run_id, "AP/red _ blue")
    assert [(point.step, point.value) for point in history] == [(1, 10.0), (3, 30.5)]
    assert [file.path for file in mlflow_client.list_artifacts(run.info.run_id)] == ["predictions-3.png"]


def test_mlflow_begins_anew_when_a_run_does(tmp_path, mlflow_client):
    track("mlflow", tmp_path / "other", curve=[{"loss": 8.0}], finished=False)
    track("mlflow", tmp_path / "run", curve=[{"loss": 9.0}], finished=False)
    track("mlflow", tmp_path / "run")
    runs = {run.info.run_name: run for run in mlflow_runs(mlflow_client)}
    assert {name: run.info.status for name, run in runs.items()} == {"run": "FINISHED", "other": "FAILED"}
    history = mlflow_client.get_metric_history(runs["run"].info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.5), (3, 1.25)]


def test_mlflow_that_cannot_be_used_is_said_before_the_training(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://nowhere")
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        track("mlflow", tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "expected"), [("AP/a&b", "AP/a_b"), ("AP/.", "AP/_"), ("AP/é 1:2", "AP/é 1:2"), ("x/", "x/_")]
)
def test_mlflow_takes_every_name(name, expected):
    pytest.importorskip("mlflow")
    from mlflow.utils.validation import _validate_metric_name

    from augsuite_mlflow.tracker import metric_name

    assert metric_name(name) == expected
    _validate_metric_name(metric_name(name))


# Weights & Biases


def test_wandb_stays_on_this_machine_and_is_read_back(tmp_path):
    """In a process of its own, since it starts a service; the second attempt replaces the first."""
    pytest.importorskip("wandb")
    script = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_trackers import track
folder = Path(sys.argv[1])
track("wandb", folder, curve=[{"loss": 9.0}], finished=False)
track("wandb", folder)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment |= {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc"), "WANDB_BASE_URL": "http://127.0.0.1:9"}
    (tmp_path / "netrc").write_text("machine 127.0.0.1\n  login user\n  password " + "0" * 40 + "\n")  # logged in
    (tmp_path / "netrc").chmod(0o600)
    here = str(Path(__file__).parent)
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "run"), here],
        env=environment, cwd=tmp_path, timeout=200, check=True,
    )  # fmt: skip
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    history, config, code = wandb_records(file)
    losses = [float(row["loss"]) for row in history if "loss" in row]
    assert losses == [2.0, 1.5, 1.25]
    assert [int(row["_step"]) for row in history if "loss" in row] == [1, 2, 3]
    assert config["config"] == {"lr": 0.25, "size": [64, 32]}
    assert code == 0
    (picture,) = (tmp_path / "run" / "wandb").glob("offline-run-*/files/media/images/*.png")
    import PIL.Image

    with PIL.Image.open(picture) as opened:
        assert np.array_equal(np.asarray(opened), PICTURE)


def wandb_records(path):
    """History, config and exit code of an offline file: blocks of records as LevelDB's log has them, each a protocol buffer."""
    from wandb.proto import wandb_internal_pb2 as pb

    content, history, config, code = path.read_bytes(), [], {}, None
    position, whole = 7, b""  # the file's own header
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind not in {1, 4}:  # the first or a middle part
            continue
        record = pb.Record.FromString(whole)
        whole = b""
        said = record.WhichOneof("record_type")
        if said == "history":
            history.append({item.key or item.nested_key[0]: item.value_json for item in record.history.item})
        elif said == "config":
            config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif said == "run":
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif said == "exit":
            code = record.exit.exit_code
    return history, config, code


# Visdom


@pytest.fixture
def visdom_server(tmp_path, monkeypatch):
    """Visdom's own server on a free port; its pages would be downloaded, and are not needed."""
    pytest.importorskip("visdom", reason="visdom is not installed; docs/trackers.md says how")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = (
        "import sys; from visdom.server.run_server import start_server; "
        "start_server(port=int(sys.argv[1]), base_url='', env_path=sys.argv[2], bind_local=True)"
    )
    (tmp_path / "environments").mkdir()
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", script, str(port), str(tmp_path / "environments")], stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            assert server.poll() is None, (tmp_path / "server.log").read_text()
            time.sleep(0.1)
        monkeypatch.setenv("VISDOM_SERVER", f"http://127.0.0.1:{port}")
        yield tmp_path / "environments"
    finally:
        server.kill()
        server.wait()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:visdom")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # visdom never closes its session
def test_visdom_keeps_what_was_drawn(tmp_path, visdom_server):
    track("visdom", tmp_path / "a run", curve=[{"old": 9.0}], finished=False)
    track("visdom", tmp_path / "a run", curve=[*CURVE, {"loss": float("nan"), "AP/dog": 4.0}])
    saved = json.loads((visdom_server / "a-run.json").read_text())["jsons"]
    assert set(saved) == {"run", "loss", "AP", "predictions", "metrics"}, "the earlier attempt is gone"
    (loss,) = saved["loss"]["content"]["data"]
    assert (loss["x"], loss["y"]) == ([1, 2, 3], [2.0, 1.5, 1.25])
    curves = {trace["name"]: trace for trace in saved["AP"]["content"]["data"]}
    assert (curves["AP/red & blue"]["x"], curves["AP/red & blue"]["y"]) == ([1, 3], [10.0, 30.5])
    assert curves["AP/dog"]["x"] == [4]
    assert "&quot;lr&quot;: 0.25" in saved["run"]["content"]
    assert "30.5" in saved["metrics"]["content"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:visdom")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_visdom_without_a_server_is_said_before_the_training(tmp_path, monkeypatch):
    pytest.importorskip("visdom", reason="visdom is not installed; docs/trackers.md says how")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("VISDOM_SERVER", f"127.0.0.1:{probe.getsockname()[1]}")
        with pytest.raises(ConfigError, match=r"python -m visdom\.server"):
            track("visdom", tmp_path / "run")


# What a session makes of any tracker


class Sink:
    """Takes everything, and breaks at a step."""

    def __init__(self, breaks=0):
        self.said, self.breaks = [], breaks

    def start(self, run):
        self.said.append(("start", run["seed"]))

    def log(self, step, values):
        if step == self.breaks:
            raise OSError("the server went away")
        self.said.append((step, values))

    def finish(self, metrics):
        self.said.append(("finish", metrics))

    def close(self):
        self.said.append("close")


def opened(monkeypatch, folder, *sinks):
    from augsuite.spec import Ref, TrackerSpec

    specs = [TrackerSpec(f"s{number}", "", Ref(f"nowhere:{number}")) for number in range(len(sinks))]
    found = {spec.open: sink for spec, sink in zip(specs, sinks, strict=True)}
    monkeypatch.setattr(registry, "load", lambda ref, *_: lambda folder: found[ref])
    return Trackers(specs, folder, RUN)


def test_a_tracker_that_breaks_costs_its_curves_alone(tmp_path, monkeypatch):
    breaking, whole = Sink(breaks=2), Sink()
    assert isinstance(whole, TakesRun)
    assert not isinstance(whole, TakesImages)
    with opened(monkeypatch, tmp_path, breaking, whole) as sinks:
        sinks.log(1, {"loss": 1})
        with pytest.warns(RuntimeWarning, match="s0 is left out from here on: OSError: the server went away"):
            sinks.log(2, {"loss": 2})
        sinks.image("x", PICTURE, 2)
        sinks.finish({"AP": 1.0})
    assert breaking.said == [("start", 3), (1, {"loss": 1.0})]
    assert whole.said == [("start", 3), (1, {"loss": 1.0}), (2, {"loss": 2.0}), ("finish", {"AP": 1.0}), "close"]


def test_a_run_that_fails_is_closed_and_not_finished(tmp_path, monkeypatch):
    sink = Sink()
    with pytest.raises(KeyboardInterrupt), opened(monkeypatch, tmp_path, sink):
        raise KeyboardInterrupt
    assert sink.said == [("start", 3), "close"]
