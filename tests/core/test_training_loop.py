import math

import numpy as np
import pytest
import torch
from trainingkit import PLAIN, STEPS, fit, network, pictures

import augsuite
from augsuite.augment import Feed
from augsuite.augment.policies import policy
from augsuite.errors import ConfigError, DataError, PluginError
from augsuite.training import Loop, Settings
from augsuite.training.guard import read_batch


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return augsuite.read(pictures(tmp_path_factory.mktemp("pictures")))


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def plain(told):
    return [
        (epoch, {name: value for name, value in values.items() if name not in {"images_per_s", "wait_frac"}})
        for epoch, values in told
    ]


def test_the_loop_is_the_one_that_torch_users_write(data, tmp_path):
    """The judge is a loop by hand on torch alone: SGD, cosine, the same order of images."""
    _, told, weights = fit(data, tmp_path, steps=[])
    feed = Feed(data, PLAIN, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        judge = network()
        judge.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(judge.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 9)
        losses = []
        for epoch in range(3):
            total = 0.0
            for batch in feed.batches(epoch, 4, (64, 64)):
                images = torch.from_numpy(batch.images).permute(0, 3, 1, 2) / 255
                mean, std = (torch.tensor(values).view(3, 1, 1) for values in (feed.mean, feed.std))
                wanted = torch.tensor(np.stack([boxes[0] for boxes in batch.boxes]) / 64).float()
                loss = ((judge((images - mean) / std) - wanted) ** 2).sum(dim=1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                total += loss.item() * len(batch)
            losses.append(total / 9)
    assert [values["loss"] for _, values in told] == pytest.approx(losses, rel=1e-4)
    for name, value in judge.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-5)


def test_accumulated_batches_are_one_large_batch(data, tmp_path):
    """Also the last step of an epoch, of one batch of one image; no batch norm, which sees each batch alone."""
    settings = {"norm": False, "dropout": 0.0, "clip_norm": 0.5}
    _, first, large = fit(data, tmp_path / "a", batch_size=4, **settings)
    _, second, small = fit(data, tmp_path / "b", batch_size=2, accumulate=2, **settings)
    _, third, tiny = fit(data, tmp_path / "c", batch_size=1, accumulate=4, **settings)
    for name, value in large.items():
        torch.testing.assert_close(small[name], value, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(tiny[name], value, rtol=1e-4, atol=1e-6)
    assert [values["loss"] for _, values in second] == pytest.approx([values["loss"] for _, values in first], rel=1e-4)
    assert [values["loss"] for _, values in third] == pytest.approx([values["loss"] for _, values in first], rel=1e-4)


def test_the_gradient_is_clipped(data, tmp_path):
    """Plain SGD at a constant rate moves the weights by the rate times the norm, no further."""
    before = {}

    def watch(loop):
        now = torch.cat([part.detach().flatten() for part in loop.network.parameters()])
        if before:
            assert (now - before["weights"]).norm() <= 0.05 * 0.01 * 1.1  # a little for weight decay
        before["weights"] = now

    fit(data, tmp_path, schedule="constant", momentum=0.0, clip_norm=0.01, watch=watch, steps=[])


def test_random_training_shapes_are_those_of_the_settings(data, tmp_path):
    with Loop(
        Settings(input_sizes=(32, 64), batch_size=1, device="cpu"),
        Feed(data, PLAIN), Feed(data, PLAIN), name="toy", seed=0, folder=tmp_path, log=lambda *_: None,
    ) as loop:  # fmt: skip
        model = network()
        loop.prepare(model, [{"params": list(model.parameters()), "weight_decay": 0.0}])
        assert {batch.images.shape[1:3] for batch in loop.batches(0, (96, 96))} == {(32, 32), (64, 64)}


def test_early_stopping_keeps_the_best_weights(data, tmp_path):
    metrics = [10.0, 30.0, 20.0, float("nan"), 90.0]
    record, told, weights = fit(
        data, tmp_path / "a", metric=metrics.__getitem__, epochs=5, evaluate_every=1, patience=2, schedule="constant"
    )
    assert [epoch for epoch, _ in told] == [1, 2, 3, 4], "two evaluations without a better one"
    assert record.epochs == 4
    _, _, two = fit(data, tmp_path / "b", epochs=2, schedule="constant")
    assert equal(weights, two)
    with pytest.raises(ConfigError, match="Set evaluate_every"):
        fit(data, tmp_path / "c", patience=1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_keeps_its_batch(data, tmp_path, bad):
    def poison(loss, epoch, at):
        return loss * bad if (epoch, at) == (1, 2) else loss

    with pytest.raises(
        ConfigError, match=r"toy: the loss is (nan|inf) in epoch 2, batch 3; .*nan-batch\.npz.*Lower lr"
    ):
        fit(data, tmp_path, poison=poison, checkpoint_s=0.0)
    kept = read_batch(tmp_path / "nan-batch.npz")
    feed = Feed(data, policy(STEPS), seed=1)
    again = list(feed.batches(1, 4, (64, 64)))[2]
    assert np.array_equal(kept.images, again.images)
    assert all(np.array_equal(one, other) for one, other in zip(kept.boxes, again.boxes, strict=True))
    with np.load(tmp_path / "nan-batch.npz") as file:
        rendered = [
            feed.policy.resized(64, 64)(data.sample(key[2]), key=tuple(key), pool=feed) for key in file["keys"].tolist()
        ]
        assert file["names"].tolist() == [str(data.images.names[row]) for row in kept.image_rows]
    assert np.array_equal(np.stack([sample.image for sample in rendered]), kept.images)


def test_a_gradient_that_is_no_number_counts_too(data, tmp_path):
    """The root of zero: a finite loss whose slope is infinite."""
    with pytest.raises(ConfigError, match="the gradient is nan in epoch 1, batch 1"):
        fit(data, tmp_path, poison=lambda loss, *_: (loss * 0).sqrt())
    (tmp_path / "nan-batch.npz").write_bytes(b"no batch")
    with pytest.raises(DataError, match="cannot be read as a batch"):
        read_batch(tmp_path / "nan-batch.npz")


def test_the_range_test_stops_where_the_loss_explodes(data, tmp_path):
    _, told, _ = fit(data, tmp_path, schedule="range", batch_size=3, epochs=1, steps=[])
    assert told[-1][0] <= 34, "9 images in batches of 3: 100 steps are 34 epochs"
    curve = augsuite.config.read_yaml(tmp_path / "lr.json")
    assert len(curve["lr"]) > 50
    assert 1e-5 < curve["suggestion"] < 1
    assert (tmp_path / "lr.svg").read_text().startswith("<svg")
    assert not (tmp_path / "checkpoint.pt").exists()


def test_mixed_precision_and_layout_change_rounding_only(data, tmp_path):
    losses = [
        [values["loss"] for _, values in fit(data, tmp_path / str(at), dropout=0.0, **settings)[1]]
        for at, settings in enumerate([{}, {"precision": "bf16"}, {"channels_last": False}, {"deterministic": True}])
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert losses[1] != losses[0], "bfloat16 was used"
    assert losses[2] == pytest.approx(losses[0], rel=1e-3)
    assert losses[3] == losses[0]
    assert not torch.are_deterministic_algorithms_enabled(), "put back"


def test_threads_and_random_numbers_are_put_back(data, tmp_path):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    fit(data, tmp_path, threads=threads + 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("stop", [1, 4, 6, 8])
def test_a_run_goes_on_to_the_same_bits(data, tmp_path, stop):
    settings = {
        "ema": 0.9,
        "schedule": "onecycle",
        "optimizer": "adam",
        "accumulate": 2,
        "evaluate_every": 1,
        "patience": 9,
    }
    _, told, weights = fit(
        data, tmp_path / "whole", metric=lambda epoch: [2, 3, 1][epoch], checkpoint_s=0.0, **settings
    )
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path / "cut", metric=lambda epoch: [2, 3, 1][epoch], stop=stop, checkpoint_s=0.0, **settings)
    assert (tmp_path / "cut" / "checkpoint.pt").exists() == (stop > 1), "a step takes two batches"
    _, again, resumed = fit(data, tmp_path / "cut", metric=lambda epoch: [2, 3, 1][epoch], checkpoint_s=0.0, **settings)
    assert plain(again) == plain(told), "all epochs are told again"
    assert equal(resumed, weights)


@pytest.mark.parametrize("how", ["cut", "text", "code", "other"])
def test_a_checkpoint_that_cannot_be_used_is_not(data, tmp_path, how):
    _, told, weights = fit(data, tmp_path / "whole", checkpoint_s=0.0)
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path / "a", stop=4, checkpoint_s=0.0)
    path = tmp_path / "a" / "checkpoint.pt"
    marker = tmp_path / "executed"
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-2000])
    elif how == "text":
        path.write_text("hello")
    elif how == "code":
        torch.save({"format": 1, "evil": Evil(marker)}, path)
    else:
        torch.save({**torch.load(path, weights_only=True), "identity": {}}, path)
    _, again, anew = fit(data, tmp_path / "a", checkpoint_s=0.0)
    assert plain(again) == plain(told)
    assert equal(anew, weights)
    assert not marker.exists(), "loading executes nothing"


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (type(self.marker).touch, (self.marker,))


def test_phases_follow_each_other_and_go_on(data, tmp_path):
    def train(folder, stop=None):
        folder.mkdir(exist_ok=True)
        told, seen = [], 0
        config = Settings(epochs=3, batch_size=4, lr=0.05, device="cpu", precision="fp32", checkpoint_s=0.0)
        feed = Feed(data, PLAIN, seed=1)
        with Loop(
            config,
            feed,
            feed,
            name="toy",
            seed=1,
            folder=folder,
            log=lambda epoch, _, values: told.append((epoch, values)),
        ) as loop:
            model = network()
            for parts, epochs in ((list(model[-1].parameters()), 1), (list(model.parameters()), 2)):
                for part in model.parameters():
                    part.requires_grad_(any(part is other for other in parts))
                loop.prepare(model, [{"params": parts, "weight_decay": 0.0}], epochs)
                for epoch in loop.epochs():
                    loop.model.train()
                    for batch in loop.batches(epoch, (64, 64)):
                        loop.step(loop.model(loop.images(batch)).square().mean(), batch)
                        seen += 1
                        if seen == stop:
                            return None
                    loop.tell(epoch, {})
            return plain(told), {name: value.clone() for name, value in model.state_dict().items()}

    told, weights = train(tmp_path / "whole")
    assert [epoch for epoch, _ in told] == [1, 2, 3]
    for stop in (2, 3, 5, 9):
        train(tmp_path / str(stop), stop)
        again, resumed = train(tmp_path / str(stop))
        assert again == told
        assert equal(resumed, weights)


def test_an_epoch_must_be_told(data, tmp_path):
    feed = Feed(data, PLAIN)
    with Loop(Settings(device="cpu"), feed, feed, name="toy", seed=0, folder=tmp_path, log=lambda *_: None) as loop:
        model = network()
        loop.prepare(model, [{"params": list(model.parameters()), "weight_decay": 0.0}])
        with pytest.raises(PluginError, match=r"toy: epoch 1 ended without tell"):
            list(loop.epochs())


def test_what_a_record_says(data, tmp_path):
    record, told, _ = fit(data, tmp_path, epochs=2)
    assert (record.images, record.epochs, record.metrics) == (18, 2, {"AP": 1.0})
    assert record.parameters == 3 * 8 * 9 + 8 + 16 + 8 * 4 + 4
    assert 0 <= record.wait_seconds <= record.seconds
    assert record.peak_bytes > 2**20
    assert all(values["images_per_s"] > 0 and 0 <= values["wait_frac"] <= 1 for _, values in told)
    assert all(math.isfinite(values["loss"]) for _, values in told)
