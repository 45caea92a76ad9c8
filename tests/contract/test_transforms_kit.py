"""The kit finds what is broken."""

import numpy as np
import pytest

from augsuite.augment import Erase, PixelOp, Step, Warp, policy
from augsuite.study import identity
from augsuite.testing.transforms import ContractError, _check_choice, _check_erase, _check_pixel


class Darker:
    pointwise = True

    def draw(self, rng, scene):
        return {}

    def apply(self, image, drawn):
        return image // 2

    def table(self, drawn):
        return np.arange(256, dtype=np.uint8) // 2


class Choice:
    def __init__(self, *chosen, names=("hflip", "gamma")):
        self._chosen, self._names = chosen, names

    def names(self):
        return self._names

    def draw(self, rng, scene):
        return self._chosen


class Restless:
    def draw(self, rng, scene):
        return Erase(((0, 0, id(object()) % 7, next(self.counter)),))

    def __init__(self):
        self.counter = iter(range(10**6))


def test_a_sound_transform_passes():
    _check_pixel("darker", Darker())
    _check_choice("choice", Choice(Step("hflip"), PixelOp("g", "gamma", {}, {"gamma": 1.0})))


def test_a_table_that_does_something_else():
    class Wrong(Darker):
        def table(self, drawn):
            return np.arange(256, dtype=np.uint8)

    with pytest.raises(ContractError, match="its table does what apply does"):
        _check_pixel("wrong", Wrong())


def test_erasing_by_chance():
    with pytest.raises(ContractError, match="the same rectangles"):
        _check_erase("restless", Restless())


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (Choice(Step("blur")), "blur.*names"),
        (Choice(Step("hflip"), Step("hflip")), "ids that differ"),
        (Choice(names=("normalize",)), "belongs to the policy itself"),
        (Choice(Step("hflip", id="a"), Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), 4, 4, step="a")), "ids that differ"),
    ],
)
def test_a_choice_that_breaks_its_contract(transform, said):
    with pytest.raises(ContractError, match=said):
        _check_choice("choice", transform)


def test_a_study_knows_the_plugins_behind_a_choice():
    chosen = policy([{"do": "one_of", "steps": [{"do": "blur"}, {"do": "hflip"}]}])
    assert identity._packages(chosen) == {"augsuite_search", "augsuite_color", "augsuite_geometry"}
