import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

from augsuite.augment import Feed, policy
from augsuite.augment.loading import Keys, Loader, WaitTimer, normalized_on, stream
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.errors import ConfigError

torch = pytest.importorskip("torch")

STEPS = [{"do": "photometric", "p": 0.8}, {"do": "mixup", "p": 0.5}, {"do": "iou_crop"}, {"do": "hflip", "p": 0.5}]
SIZE = (48, 32)


@pytest.fixture(scope="module")
def feed(tmp_path_factory):
    folder = Path(tmp_path_factory.mktemp("loading"))
    rng = np.random.default_rng(0)
    names = [f"{row}.png" for row in range(10)]
    for name in names:
        PIL.Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(folder / name)
    data = Dataset(
        Images.of(names, sizes=[[80, 60]] * 10, files=names),
        Categories.of(["a", "b"]),
        Annotations.of(np.arange(10), [0, 1] * 5, [[10, 10, 70, 50]] * 10),
        root=folder,
    )
    return Feed(data, policy(STEPS), seed=5)


def told(batches):
    return [
        (batch.image_rows.tolist(), batch.images.tobytes(), [boxes.tolist() for boxes in batch.boxes])
        for batch in batches
    ]


@pytest.fixture(scope="module")
def judge(feed):
    """Two epochs, by the feed itself."""
    return [told(feed.batches(epoch, 3, SIZE)) for epoch in range(2)]


def test_a_loader_goes_through_the_epochs(feed, judge):
    loader = Loader(feed, 3, SIZE)
    assert len(loader) == 4
    assert [told(loader), told(loader)] == judge
    assert judge[0] != judge[1]


@pytest.mark.parametrize("stop", [0, 1, 3, 4])
def test_a_loader_goes_on_where_another_stood(feed, judge, stop):
    first = Loader(feed, 3, SIZE)
    before = []
    for batch in first:
        before += told([batch])
        if len(before) == stop:
            break
    state = pickle.loads(pickle.dumps(first.state_dict()))
    second = Loader(feed, 3, SIZE)
    second.load_state_dict(state)
    after = told(second)
    if stop == 0:  # a loop without a stop: the whole epoch
        assert (before, after) == (judge[0], judge[1])
    else:
        assert before + after == judge[0]
        assert told(second) == judge[1]


@pytest.mark.parametrize("kind", [Loader, Keys])
def test_a_state_of_another_loader_is_refused(feed, kind):
    state = kind(feed, 3, SIZE).state_dict()
    with pytest.raises(ConfigError, match="batch size 3, this loader 4"):
        kind(feed, 4, SIZE).load_state_dict(state)


@pytest.mark.parametrize(
    ("workers", "method", "persistent"), [(0, None, False), (1, "spawn", True), (2, "fork", True), (2, "fork", False)]
)
def test_torch_loads_the_same(feed, judge, workers, method, persistent):
    loader = torch.utils.data.DataLoader(
        feed,
        batch_sampler=Keys(feed, 3, SIZE),
        collate_fn=feed.collate,
        num_workers=workers,
        multiprocessing_context=method,
        persistent_workers=persistent,
    )
    assert [told(loader), told(loader)] == judge


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_stream_is_the_same_for_any_workers(feed, judge, workers):
    loader = torch.utils.data.DataLoader(
        stream(feed, 3, SIZE),
        batch_size=None,
        num_workers=workers,
        persistent_workers=bool(workers),
        multiprocessing_context="fork" if workers else None,
    )
    assert [told(loader), told(loader)] == judge


def test_a_stream_travels(feed, judge):
    again = pickle.loads(pickle.dumps(stream(feed, 3, SIZE, first_epoch=1)))
    assert told(again) == judge[1]


@pytest.mark.filterwarnings("ignore")  # its own, of torch's renamed parts
def test_a_stateful_loader_of_torchdata(feed, judge):
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def make():
        return stateful.StatefulDataLoader(
            feed, batch_sampler=Keys(feed, 3, SIZE), collate_fn=feed.collate, num_workers=2
        )

    first = make()
    iterator = iter(first)
    before = told([next(iterator), next(iterator)])
    second = make()
    second.load_state_dict(first.state_dict())
    assert before + told(second) == judge[0]


def test_waiting_is_told_from_working(monkeypatch):
    now = 0.0
    monkeypatch.setattr("augsuite.augment.loading.time", SimpleNamespace(perf_counter=lambda: now))

    def slow():
        nonlocal now
        for _ in range(3):
            now += 0.75
            yield 1

    timer = WaitTimer()
    assert timer.wait_frac == 0
    for _ in timer(slow()):
        now += 0.25
    assert (timer.waited_s, timer.worked_s, timer.wait_frac) == (2.25, 0.75, 0.75)


def test_normalized_on_is_what_torchvision_computes():
    from torchvision.transforms import v2

    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 1.0)
    expected = v2.functional.normalize(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, mean, std)
    torch.testing.assert_close(normalized_on("cpu", images, mean, std), expected, atol=1e-5, rtol=0)
    assert normalized_on("cpu", images, mean, std, torch.bfloat16).dtype == torch.bfloat16
