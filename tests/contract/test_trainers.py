"""The bundled trainers keep the contract that any trainer keeps, and the kit finds those that do not."""

import importlib
import sys

import pytest

from augsuite import hookimpl, registry
from augsuite.spec import Ref, TrainerSpec
from augsuite.study import identity
from augsuite.testing.trainers import ContractError, check_trainer

pytest.importorskip("torch")
pytest.importorskip("cv2")

SHORT = {
    "ssd": {"epochs": 2, "batch_size": 4, "size": 64, "width": 16, "device": "cpu", "threads": 1},
    "finetune": {
        "epochs": 2, "batch_size": 4, "size": 64, "model": "squeezenet1_1", "weights": "none", "device": "cpu", "threads": 1
    },
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SHORT))
def test_trainer(name, tmp_path):
    check_trainer(name, tmp_path, **SHORT[name])


def test_every_bundled_trainer_is_checked():
    assert set(registry.default().trainers()) == set(SHORT)


STRANGER = '''
import time
import msgspec, numpy as np, torch
from augsuite.errors import DataError
from augsuite.evaluation import evaluate_labels, write_labels
from augsuite.protocols import Prediction, RunRecord

class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An image is as likely of a class as its mean colour is near the class's."""
    epochs: int = 1
    fault: str = ""

def scores_of(means, images):
    colours = np.stack([image.reshape(-1, 3).mean(axis=0) for image in images])
    away = np.linalg.norm(colours[:, None] - means, axis=2)
    return np.exp(-away) / np.exp(-away).sum(axis=1, keepdims=True)

def train(config, train, val, *, seed, folder, log):
    began, total, counts = time.perf_counter(), np.zeros((len(train.data.categories), 3)), np.zeros(len(train.data.categories))
    for batch in train.batches(0, 4, (32, 32)):
        total += batch.targets.T @ batch.images.mean(axis=(1, 2))
        counts += batch.targets.sum(axis=0)
    means = total / counts[:, None]
    log(2 if config.fault == "epochs" else 1, 2 if config.fault == "epochs" else 1, {"loss": 0.0})
    said = scores_of(means, [val.data.sample(row).image for row in range(len(val.data))])
    write_labels(folder / "predictions.csv", val.data, said)
    content = {"trainer": "stranger", "config": msgspec.to_builtins(config), "categories": val.data.categories.names.tolist(),
               "mean": [0.0] * 3, "std": [1.0] * 3, "state": {"means": torch.from_numpy(means)}}
    if config.fault == "key":
        del content["mean"]
    if config.fault == "pickle":
        content["config"] = config
    torch.save(content, folder / "model.pt")
    metrics = evaluate_labels(val.data, said)
    if config.fault == "share":
        metrics = {name: 101.0 for name in metrics}
    return RunRecord(metrics=metrics, images=8, seconds=time.perf_counter() - began, cpu_seconds=0.0, parameters=means.size)

class Nearest:
    task = "classification"
    def __init__(self, means, categories, fault):
        self.means, self.categories, self.fault = means, categories, fault
    def __call__(self, images):
        if not images:
            return []
        scores = scores_of(self.means, images)
        if self.fault == "others":
            scores = np.repeat(scores.mean(axis=0, keepdims=True), len(images), axis=0)
        if self.fault == "sum":
            scores = scores / 2
        if self.fault == "changes":
            images[0][...] = 0
        order = np.argsort(scores if self.fault == "order" else -scores, axis=1)
        if self.fault == "classes":
            order = order[:, :2]
        return [Prediction(np.zeros((0, 4)), row, one[row]) for row, one in zip(order, scores)]

def load_predictor(path, device="auto"):
    try:
        content = torch.load(path, weights_only=True)
    except Exception as error:
        if content_of_fault.get("damaged"):
            raise
        raise DataError(f"{path}: damaged. Train again.") from error
    return Nearest(content["state"]["means"].numpy(), content["categories"], content["config"]["fault"])

content_of_fault = {}
'''


@pytest.fixture
def stranger(monkeypatch, tmp_path_factory):
    """A trainer in somebody else's plugin, beside ours."""
    place = tmp_path_factory.mktemp("site")
    (place / "stranger_trainer.py").write_text(STRANGER)
    monkeypatch.syspath_prepend(str(place))

    class Plugin:
        @hookimpl
        def augsuite_trainers(self):
            ours = "stranger_trainer"
            yield TrainerSpec(
                "stranger", "nearest mean colour", "classification", "top1", Ref(f"{ours}:Config"), Ref(f"{ours}:train"),
                predictor=Ref(f"{ours}:load_predictor"),
            )  # fmt: skip

    found = registry.Registry()
    from augsuite import builtin

    found.register(builtin, "augsuite")
    found.load_entry_points()
    found.register(Plugin(), "stranger")
    monkeypatch.setattr(registry, "default", lambda: found)
    yield importlib.import_module("stranger_trainer")
    sys.modules.pop("stranger_trainer")
    identity.source_digest.cache_clear()


def test_a_stranger_that_keeps_the_contract_passes(stranger, tmp_path):
    check_trainer("stranger", tmp_path)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("epochs", "log was called for the epochs"),
        ("key", r"lacks \['mean'\]"),
        ("pickle", "weights_only"),
        ("share", "expected percent"),
        ("sum", "sum to 1"),
        ("order", "surest comes first"),
        ("classes", "gives all its classes"),
        ("changes", "changed an image"),
        ("others", "judged otherwise"),
    ],
)
def test_the_kit_finds_what_is_broken(stranger, tmp_path, fault, said):
    with pytest.raises(ContractError, match=said):
        check_trainer("stranger", tmp_path, fault=fault)


def test_the_kit_wants_a_damaged_model_to_be_a_data_error(stranger, tmp_path):
    stranger.content_of_fault["damaged"] = True
    with pytest.raises(ContractError, match="expected a DataError"):
        check_trainer("stranger", tmp_path)
