import itertools
import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
)

from augsuite.training.averaging import Average
from augsuite.training.ramp import RangeTest, draw_curve
from augsuite.training.schedule import RANGE_HIGH, RANGE_LOW, RANGE_STEPS, Schedule
from augsuite.training.settings import Settings

EPOCH_STEPS, EPOCHS = 10, 6
STEPS = EPOCH_STEPS * EPOCHS


def judged(make, optimizer=SGD, steps=STEPS):
    """The learning rate and momentum that torch's own scheduler uses at each step."""
    one = optimizer([nn.Parameter(torch.zeros(1))], lr=0.1, **({"momentum": 0.9} if optimizer is SGD else {}))
    scheduler = make(one)
    rates, momenta = [], []
    for _ in range(steps):
        group = one.param_groups[0]
        rates.append(group["lr"])
        momenta.append(group["betas"][0] if "betas" in group else group["momentum"])
        one.step()
        scheduler.step()
    return rates, momenta


def ours(steps=STEPS, **settings):
    return Schedule(Settings(lr=0.1, **settings), EPOCH_STEPS, steps)


@pytest.mark.parametrize(
    ("settings", "make"),
    [
        ({"schedule": "constant"}, lambda one: LinearLR(one, 1.0, 1.0)),
        ({"schedule": "cosine"}, lambda one: CosineAnnealingLR(one, STEPS)),
        (
            {"schedule": "cosine", "warmup_epochs": 2},
            lambda one: SequentialLR(one, [LinearLR(one, 1 / 20, 1.0, 19), CosineAnnealingLR(one, STEPS - 20)], [20]),
        ),
        ({"schedule": "step", "milestones": (0.5, 0.9)}, lambda one: MultiStepLR(one, [30, 54], 0.1)),
        ({"schedule": "step", "milestones": (0.9, 0.5), "gamma": 0.3}, lambda one: MultiStepLR(one, [30, 54], 0.3)),
        ({"schedule": "onecycle"}, lambda one: OneCycleLR(one, 0.1, STEPS)),
    ],
)
def test_learning_rates_are_those_of_torch(settings, make):
    rates, _ = judged(make)
    assert [0.1 * ours(**settings).factor(step) for step in range(STEPS)] == pytest.approx(rates, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_one_cycle_moves_momentum_as_torch_does(optimizer):
    _, momenta = judged(lambda one: OneCycleLR(one, 0.1, STEPS), optimizer)
    assert [ours(schedule="onecycle").momentum(step) for step in range(STEPS)] == pytest.approx(momenta)
    assert ours(schedule="cosine").momentum(3) is None


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_one_cycle_of_a_few_steps_has_finite_rates(steps):
    schedule = ours(steps, schedule="onecycle")
    assert all(math.isfinite(schedule.factor(step)) for step in range(steps))


def test_the_range_test_ramps_by_equal_ratios():
    rates = [0.1 * ours(schedule="range").factor(step) for step in range(RANGE_STEPS)]
    assert (rates[0], rates[-1]) == pytest.approx((RANGE_LOW, RANGE_HIGH))
    ratios = [second / first for first, second in itertools.pairwise(rates)]
    assert ratios == pytest.approx([(RANGE_HIGH / RANGE_LOW) ** (1 / (RANGE_STEPS - 1))] * (RANGE_STEPS - 1))


def test_the_average_is_that_of_torch_once_its_warm_up_is_over():
    """torch's own averages with one decay throughout, so the judge is given that of each step."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = Average(network, 0.5)
    begun = {name: value.clone() for name, value in network.state_dict().items()}
    decays = iter([2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 9 / 18, 0.5, 0.5])
    for _ in range(10):
        network(torch.randn(8, 3))
        with torch.no_grad():
            for part in network.parameters():
                part.add_(torch.randn_like(part))
        average.update(network)
        decay = next(decays)
        for name, value in network.state_dict().items():
            begun[name] = decay * begun[name] + (1 - decay) * value if value.is_floating_point() else value.clone()
    for name, value in average.network.state_dict().items():
        torch.testing.assert_close(value, begun[name])
    assert average.network[1].num_batches_tracked == 10


def test_the_suggestion_lies_below_the_lowest_loss():
    """A parabola over the logarithm of the rate, lowest at 1e-2: smoothing lags by some steps, a tenth of it leaves room."""
    test = RangeTest()
    rates = [10 ** (-6 + 7 * step / 99) for step in range(100)]
    over = [test.take(rate, 1 + 0.2 * (math.log10(rate) + 2) ** 2) for rate in rates]
    assert over == [False] * 99 + [True], "the loss never explodes, so the last rate ends the test"
    curve = test.curve()
    assert 1e-2 < curve.lowest < 1e-1
    assert 2e-3 < curve.close < curve.lowest
    assert curve.suggestion == curve.close / 10
    assert curve.steepest < curve.lowest
    assert f"suggested: {curve.suggestion:.2g}" in draw_curve(curve)


def test_a_loss_that_never_grows_suggests_no_rate_near_the_end():
    """It falls from 1.2 around 1e-4 to nothing, ever more slowly, as of images that a network knows by heart."""
    test = RangeTest()
    rates = [10 ** (-6 + 7 * step / 99) for step in range(100)]
    for rate in rates:
        test.take(rate, 1.2 / (1 + rate / 1e-4))
    curve = test.curve()
    assert curve.lowest == rates[-1]
    assert 1e-4 < curve.suggestion < 1e-2, "95 % of the fall is done at 1.9e-3, and smoothing lags"


def test_a_loss_that_only_grows_suggests_nothing():
    test = RangeTest()
    for step in range(40):
        test.take(1e-6 * 1.2**step, 1.0 + step / 100)
    curve = test.curve()
    assert curve.lowest == 1e-6
    assert curve.suggestion is None
    assert "suggested" not in draw_curve(curve)


def test_an_exploding_loss_ends_the_range_test():
    test = RangeTest()
    assert not any(test.take(1e-6 * 1.2**step, 2.0 - step / 100) for step in range(40))
    taken = 0
    while not test.take(1e-3 * 1.2**taken, 10.0):
        taken += 1
    assert taken < 20
    assert RangeTest().take(1.0, float("nan"))
    assert RangeTest().curve().suggestion is None
    assert draw_curve(RangeTest().curve()).startswith("<svg")
