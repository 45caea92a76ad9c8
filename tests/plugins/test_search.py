"""Steps that choose: chances, independence of the options, and the spaces against torchvision's tables and pixels."""

import math
import pickle

import msgspec
import numpy as np
import pytest

from augsuite.augment import PixelOp, Plan, Policy, Scene, Warp, policy, render
from augsuite.augment.plan import Mix, Origin
from augsuite.augment.steps import transforms_of
from augsuite.dataset import Sample
from augsuite.errors import ConfigError
from augsuite_search import spaces
from augsuite_search.mixing import AugMix, mix_space
from augsuite_search.operations import operation
from augsuite_search.race import race

torchvision_names = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "saturation": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
}


def photo():
    y, x = np.mgrid[:96, :128].astype(float)
    channels = [np.sin(x / 17 + y / 29), np.cos(x / 23 - y / 19), np.sin(x / 31) * np.cos(y / 13)]
    return np.rint(120 + 100 * np.stack(channels, axis=2)).astype(np.uint8)


def sample():
    return Sample.of(photo(), [[20, 15, 90, 70]], [1])


def near(count, total, chance):
    return abs(count - total * chance) <= 4.5 * math.sqrt(total * chance * (1 - chance))


class TestRace:
    def test_chances_are_the_weights(self):
        random = np.random.default_rng(0)
        weights = {"a": 1.0, "b": 2.5, "never": 0.0, "c": 0.5}
        found = [race(random, weights) for _ in range(8000)]
        for name, weight in weights.items():
            assert near(found.count(name), 8000, weight / 4)

    def test_an_option_taken_away_changes_only_what_it_won(self):
        weights = {"a": 1.0, "b": 2.0, "c": 1.0}
        for seed in range(300):
            whole = race(np.random.default_rng(seed), weights)
            less = race(np.random.default_rng(seed), {"a": 1.0, "c": 1.0})
            assert whole in {"b", less}

    def test_nothing_to_choose(self):
        assert race(np.random.default_rng(0), {}) is None
        assert race(np.random.default_rng(0), {"a": 0.0}) is None


class TestOneOf:
    STEPS = ({"do": "hflip"}, {"do": "rotate", "max_deg": 30.0}, {"do": "brightness", "p": 0.5})

    def test_one_at_a_time_with_its_chance(self):
        chosen = policy([{"do": "one_of", "steps": self.STEPS, "weights": {"rotate": 2.0}}])
        ids = [[op.step for op in chosen.plan(sample(), (0, 0, row)).ops] for row in range(4000)]
        assert max(map(len, ids)) == 1
        assert near(ids.count(["one_of/hflip"]), 4000, 0.25)
        assert near(ids.count(["one_of/rotate"]), 4000, 0.5)
        assert near(ids.count(["one_of/brightness"]), 4000, 0.125)

    def test_removing_an_option_leaves_the_draws_of_the_others(self):
        whole = policy([{"do": "one_of", "steps": self.STEPS}, {"do": "gamma"}])
        less = policy([{"do": "one_of", "steps": self.STEPS[1:]}, {"do": "gamma"}])
        for row in range(200):
            first = {op.step: op for op in whole.plan(sample(), (0, 0, row)).ops}
            second = {op.step: op for op in less.plan(sample(), (0, 0, row)).ops}
            assert first["gamma"] == second["gamma"]
            if "one_of/rotate" in first or "one_of/brightness" in first:
                assert first == second

    def test_nested(self):
        inner = {"do": "one_of", "id": "turns", "steps": [{"do": "hflip"}, {"do": "rotate"}]}
        chosen = policy([{"do": "one_of", "steps": [inner, {"do": "gamma"}]}])
        ids = {op.step for row in range(100) for op in chosen.plan(sample(), (0, 0, row)).ops}
        assert ids == {"one_of/turns/hflip", "one_of/turns/rotate", "one_of/gamma"}
        assert transforms_of(chosen.steps) == {"one_of", "hflip", "rotate", "gamma"}

    def test_a_plan_holds_plain_operations(self):
        chosen = policy([{"do": "one_of", "steps": self.STEPS}, {"do": "randaugment"}, {"do": "augmix"}])
        for row in range(30):
            plan = chosen.plan(sample(), (0, 0, row))
            assert all(op.do != "one_of" for op in plan.ops if isinstance(op, PixelOp))
            again = Plan.from_json(plan.to_json())
            assert again == plan
            np.testing.assert_array_equal(render(again, sample()).image, chosen(sample(), key=(0, 0, row)).image)

    def test_steps_that_change_the_canvas(self):
        chosen = policy([{"do": "one_of", "steps": [{"do": "crop"}, {"do": "expand"}]}, {"do": "hflip"}])
        for row in range(20):
            plan = chosen.plan(sample(), (0, 0, row))
            assert plan.ops[1].width == plan.ops[0].width
        assert chosen.resized(50, 40)(sample()).image.shape == (40, 50, 3)

    def test_a_mix_among_the_options(self):
        class Pool:
            def __len__(self):
                return 4

            def original(self, row):
                return sample()

        steps = [
            {"do": "gamma"},
            {"do": "sub_policies", "policies": {"mixed": [{"do": "hflip"}, {"do": "mixup"}, {"do": "rotate"}]}},
        ]
        chosen = policy(steps)
        plan = chosen.plan(sample(), (0, 0, 0), Pool())
        assert isinstance(plan.start, Mix)
        assert plan.start.step == "sub_policies/mixed/mixup"
        # Both parts went through what stands before the mixup, the partner with draws of its own.
        own, other = plan.start.parts
        assert [op.step for op in own.ops] == ["gamma", "sub_policies/mixed/hflip"]
        assert [op.step.rpartition("]/")[2] for op in other.ops] == ["gamma", "sub_policies/mixed/hflip"]
        assert own.ops[0].drawn != other.ops[0].drawn
        assert [op.step for op in plan.ops] == ["sub_policies/mixed/rotate"]

    def test_yaml_round_trip(self):
        text = (
            "policy: nested\nsteps:\n  - {do: one_of, steps: [{do: hflip}, {do: rotate, max_deg: 30.0, p: 0.5}], "
            "weights: {rotate: 2.0}, p: 0.8}\n"
        )
        read = Policy.from_yaml(text)
        assert read.to_yaml() == text
        # Spelled otherwise, it is the same policy.
        other = "steps: [{do: one_of, steps: [{do: hflip, p: 1}, {max_deg: 30, do: rotate, p: 0.5}], weights: {rotate: 2}, p: 0.8}]"
        assert Policy.from_yaml(other).steps == read.steps

    @pytest.mark.parametrize(
        ("step", "message"),
        [
            ({"steps": [{"do": "hflipp"}]}, "p.yaml: steps[0] (one_of): steps[0]: unknown transform 'hflipp'. Did you mean 'hflip'?"),
            ({"steps": [{"do": "rotate", "max_dg": 3}]}, "p.yaml: steps[0] (one_of): steps[0] (rotate): unknown parameter 'max_dg'. Did you mean 'max_deg'?"),
            ({"steps": [{"do": "hflip"}], "weights": {"vflip": 1}}, "p.yaml: steps[0] (one_of): weights: there is no option 'vflip'. Did you mean 'hflip'?"),
            ({"steps": [{"do": "hflip"}], "weights": {"hflip": 0}}, "p.yaml: steps[0] (one_of): weights: all are 0, so that nothing can be chosen."),
            ({"steps": [{"do": "normalize"}]}, "p.yaml: steps[0] (one_of): steps[0]: normalize acts on a whole batch. Make it a step of the policy itself."),
            ({"steps": ["hflip"]}, "p.yaml: steps[0] (one_of): steps[0]: expected object, got str."),
            ({"do": "sub_policies", "policies": {"a": "sdd"}}, "p.yaml: steps[0] (sub_policies): policies.a: unknown policy 'sdd'. Did you mean 'ssd'?"),
            ({"do": "sub_policies", "policies": {"a": "x.yaml"}}, "p.yaml: steps[0] (sub_policies): policies.a: expected steps or the name of a bundled policy, got 'x.yaml'."),
            ({"do": "sub_policies", "policies": {"a": [{"do": "hflip", "id": "x"}, {"do": "vflip", "id": "x"}]}}, "p.yaml: steps[0] (sub_policies): policies.a: steps[1] has the id 'x' of steps[0]. Give it its own."),
        ],
    )  # fmt: skip
    def test_errors_name_the_place(self, step, message):
        with pytest.raises(ConfigError) as error:
            Policy.from_yaml(msgspec.json.encode({"steps": [{"do": "one_of", **step}]}).decode(), "p.yaml")
        assert str(error.value) == message


class TestSubPolicies:
    def test_named_lists(self):
        given = {"mirror": "flip", "nothing": [], "both": [{"do": "vflip"}, {"do": "gamma"}]}
        chosen = policy([{"do": "sub_policies", "policies": given, "weights": {"nothing": 2.0}}])
        ids = [tuple(op.step for op in chosen.plan(sample(), (0, 0, row)).ops) for row in range(4000)]
        assert near(ids.count(("sub_policies/both/vflip", "sub_policies/both/gamma")), 4000, 0.25)
        assert near(ids.count(("sub_policies/mirror/hflip",)), 4000, 0.125)
        assert near(ids.count(()), 4000, 0.5 + 0.125)
        assert Policy.from_yaml(chosen.to_yaml()).steps == chosen.steps
        again = pickle.loads(pickle.dumps(chosen))  # as it travels to a worker
        assert [again.plan(sample(), (0, 0, row)) for row in range(20)] == [
            chosen.plan(sample(), (0, 0, row)) for row in range(20)
        ]

    def test_a_bundled_policy_draws_as_its_steps_would(self):
        by_name = policy([{"do": "sub_policies", "policies": {"a": "ssd"}}])
        by_hand = policy([{"do": "sub_policies", "policies": {"a": policy("ssd").to_plain()["steps"]}}])
        for row in range(20):
            assert by_name.plan(sample(), (0, 0, row)) == by_hand.plan(sample(), (0, 0, row))


def strengths(space, levels, width, height):
    """torchvision's table in values that its operations take."""
    found = {}
    for name, theirs in torchvision_names.items():
        if theirs in space:
            make, signed = space[theirs]
            values = make(levels, height, width)
            found[name] = (None if values is None else [float(value) for value in values], signed)
    return found


@pytest.mark.parametrize("kind", ["RandAugment", "TrivialAugmentWide"])
def test_the_tables_are_torchvisions(kind):
    transforms = pytest.importorskip("torchvision.transforms.v2")
    theirs = strengths(getattr(transforms, kind)._AUGMENTATION_SPACE, 31, 331, 662)
    ours = spaces.rand_space(331, 662) if kind == "RandAugment" else spaces.trivial_space()
    assert set(ours) == set(theirs)
    for name, (values, signed) in theirs.items():
        if values is None:
            assert ours[name].at(1.0, 1) == 0
            continue
        assert ours[name].signed == signed
        own = [ours[name].at(level / 30, 1) for level in range(31)]
        if name == "posterize":
            own = [round(value) for value in own]
        scale = 255 if name == "solarize" else 1
        np.testing.assert_allclose(own, np.array(values) * scale, atol=1e-4)


@pytest.mark.parametrize("name", torchvision_names)
@pytest.mark.parametrize("level", [0, 7, 18, 30])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_pixels_are_torchvisions(name, level, sign):
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("torchvision.transforms.v2")
    value = spaces.rand_space(128, 96)[name].at(level / 30, sign)
    ops = operation(name, value, Scene(128, 96, np.zeros((0, 4))), (0, 0, 0), name)
    ours = render(Plan(Origin(-1, 128, 96), ops), Sample.of(photo())).image
    kind = transforms.RandAugment(interpolation=transforms.InterpolationMode.BILINEAR)
    given = {"posterize": round(value), "solarize": value / 255}.get(name, value)
    tensor = torch.from_numpy(photo()).permute(2, 0, 1)
    theirs = kind._apply_image_or_video_transform(
        tensor, torchvision_names[name], given, kind.interpolation, kind._fill
    )
    difference = np.abs(ours.astype(int) - theirs.permute(1, 2, 0).numpy())
    if name in {"shear_x", "shear_y", "rotate"}:
        # They fade into the fill at the edge, and OpenCV interpolates in steps of 1/32 pixel.
        assert np.median(difference) <= 1
        assert np.mean(difference.max(axis=2) > 4) < 0.04
    else:
        assert difference.max() <= (2 if name in {"saturation", "sharpness"} else 1)


class TestRandAugment:
    def test_operations_and_directions_are_as_likely(self):
        transform = spaces.RandAugment(ops=2, magnitude=15)
        scene = Scene(100, 80, np.zeros((0, 4)))
        drawn = [transform.draw(np.random.default_rng(seed), scene) for seed in range(3000)]
        names = [op.step.partition(".")[2] for ops in drawn for op in ops]
        for name in torchvision_names:
            if name != "identity":
                assert near(names.count(name), 6000, 1 / 14)
        assert near(6000 - len(names), 6000, 1 / 14)
        shifts = [op.matrix[2] for ops in drawn for op in ops if op.step.endswith("translate_x")]
        assert set(shifts) == {22.0, -22.0}  # 150 / 331 of 100, half of it, cut to whole pixels
        assert near(shifts.count(22.0), len(shifts), 0.5)

    def test_both_are_applied_and_boxes_go_along(self):
        chosen = policy([{"do": "randaugment", "ops": 2, "magnitude": 30}])
        moved = 0
        for row in range(60):
            plan = chosen.plan(sample(), (0, 0, row))
            result = render(plan, sample())
            matrix = np.eye(3)
            for warp in plan.warps:
                matrix = np.array(warp.matrix).reshape(3, 3) @ matrix
            corners = matrix @ np.array([[20, 90, 90, 20], [15, 15, 70, 70], [1, 1, 1, 1]])
            inside = (corners[:2].min() >= 0) and (corners[0].max() <= 128) and (corners[1].max() <= 96)
            if plan.warps and inside:
                moved += 1
                expected = [*corners[:2].min(axis=1), *corners[:2].max(axis=1)]
                np.testing.assert_allclose(result.boxes, [expected], atol=1e-9)
        assert moved > 5

    def test_an_operation_left_out_changes_nothing_else(self):
        scene = Scene(100, 80, np.zeros((0, 4)))
        for seed in range(200):
            whole = spaces.TrivialAugment().draw(np.random.default_rng(seed), scene)
            less = spaces.TrivialAugment(without=("equalize",)).draw(np.random.default_rng(seed), scene)
            if [op.step for op in whole] != ["equalize"]:
                assert whole == less
            else:
                assert [op.step for op in less] != ["equalize"]


class TestTrivialAugment:
    def test_one_operation_of_any_strength(self):
        scene = Scene(100, 80, np.zeros((0, 4)))
        drawn = [spaces.TrivialAugment().draw(np.random.default_rng(seed), scene) for seed in range(14_000)]
        assert {len(ops) for ops in drawn} == {0, 1}
        assert near(sum(not ops for ops in drawn), 14_000, 1 / 14)
        factors = [ops[0].drawn["brightness"] for ops in drawn if ops and ops[0].step == "brightness"]
        # 31 magnitudes in two directions; the weakest is the same in both.
        levels = np.rint((np.array(factors) - 1) / 0.033).astype(int)
        assert np.abs(np.array(factors) - 1 - levels * 0.033).max() < 1e-9
        counts = np.bincount(np.abs(levels), minlength=31)
        assert len(counts) == 31
        expected = len(factors) / 31
        assert ((counts - expected) ** 2 / expected).sum() < 30 + 4 * math.sqrt(60)
        assert near((levels < 0).sum(), len(levels), 15 / 31)


class TestAugMix:
    def drawn(self, count=2000, **params):
        scene = Scene(90, 60, np.zeros((0, 4)))
        return [AugMix(**params).draw(np.random.default_rng(seed), scene) for seed in range(count)]

    def test_shares_are_of_beta_and_dirichlet(self):
        shares = np.array([one["shares"] for one in self.drawn()])
        assert np.allclose(shares.sum(axis=1), 1)
        own, rest = shares[:, 0], shares[:, 1:] / shares[:, 1:].sum(axis=1, keepdims=True)
        # Beta(1, 1) is uniform; each part of Dirichlet(1, 1, 1) has mean 1/3 and variance 1/18.
        assert abs(own.mean() - 0.5) < 4 / math.sqrt(12 * 2000)
        assert abs(own.var() - 1 / 12) < 0.01
        assert np.abs(rest.mean(axis=0) - 1 / 3).max() < 4 * math.sqrt(1 / 18 / 2000)
        assert np.abs(rest.var(axis=0) - 1 / 18).max() < 0.008

    def test_chains(self):
        lengths = [len(chain) for one in self.drawn() for chain in one["chains"]]
        for length in (1, 2, 3):
            assert near(lengths.count(length), 6000, 1 / 3)
        assert {len(chain) for one in self.drawn(50, depth=2, width=5) for chain in one["chains"]} == {2}
        assert {len(one["chains"]) for one in self.drawn(50, depth=2, width=5)} == {5}

    def test_values_are_those_of_the_papers_code(self):
        """int(level * high / 10) or level * high / 10, of a level uniform in [0.1, 3]."""
        ops = [op for one in self.drawn() for chain in one["chains"] for op in chain]
        bits = {op["drawn"]["bits"] for op in ops if op.get("do") == "posterize"}
        assert bits == {4, 3}  # 4 - int(level * 4 / 10)
        thresholds = [op["drawn"]["threshold"] for op in ops if op.get("do") == "solarize"]
        assert (min(thresholds), max(thresholds)) == (256 - 76, 256 - 2)  # int(0.3 * 256), int(0.01 * 256)
        shifts = {
            op["matrix"][2] for op in ops if op["type"] == "warp" and op["matrix"][0] == 1 and op["matrix"][1] == 0
        }
        assert min(shifts) == -8  # int(level * (90 / 3) / 10), below 9
        assert all(shift == int(shift) for shift in shifts)
        assert set(mix_space(90, 60)) == {op["do"] for op in ops if op["type"] == "pixel"} | {
            name for name in mix_space(90, 60) if name[:5] in {"shear", "trans", "rotat"}
        }

    def test_the_blend_by_hand(self):
        image = photo()
        drawn = {
            "shares": [0.5, 0.3, 0.2],
            "size": [128, 96],
            "chains": [
                [{"type": "pixel", "step": "", "do": "posterize", "params": {}, "drawn": {"bits": 3}}],
                [
                    {
                        "type": "warp",
                        "matrix": [1, 0, 5, 0, 1, 0, 0, 0, 1],
                        "width": 128,
                        "height": 96,
                        "fill": [10, 20, 30],
                    }
                ],
            ],
        }
        shifted = np.empty_like(image)
        shifted[:, :5] = 10, 20, 30
        shifted[:, 5:] = image[:, :-5]
        expected = 0.5 * image + 0.3 * (image & 0b11100000) + 0.2 * shifted
        assert np.abs(AugMix().apply(image.copy(), drawn) - expected).max() <= 0.51

    def test_chains_follow_the_size_of_the_result(self):
        """Drawn for one canvas and rendered on another: as much of the image is moved."""
        chain = [
            {"type": "warp", "matrix": [1, 0, 32, 0, 1, 0, 0, 0, 1], "width": 128, "height": 96, "fill": [0, 0, 0]}
        ]
        drawn = {"shares": [0.0, 1.0], "size": [128, 96], "chains": [chain]}
        small = photo()[::2, ::2].copy()
        result = AugMix(width=1).apply(small.copy(), drawn)
        assert (result[:, :16] == 0).all()
        np.testing.assert_array_equal(result[:, 16:], small[:, :-16])

    def test_boxes_stay_and_what_moves_can_be_left_out(self):
        for row in range(10):
            result = policy([{"do": "augmix", "severity": 10.0}])(sample(), key=(0, 0, row))
            assert result.boxes.tolist() == [[20, 15, 90, 70]]
        ops = [op for one in self.drawn(300, moving=False) for chain in one["chains"] for op in chain]
        assert {op["type"] for op in ops} == {"pixel"}

    def test_the_transforms_at_work_are_known(self):
        names = transforms_of(policy([{"do": "augmix"}]).steps)
        assert names == {"augmix", "autocontrast", "equalize", "posterize", "solarize"}
        assert "brightness" in transforms_of(policy("trivialaugment").steps)


def test_warps_of_a_choice_are_checked():
    class Bad:
        def draw(self, rng, scene):
            return [Warp((0, 0, 0, 0, 0, 0, 0, 0, 1), 5, 5, step="x")]

    from augsuite.augment import draw as drawing
    from augsuite.augment.steps import Drawer
    from augsuite.errors import PluginError

    steps = [Drawer("bad", "bad", 1.0, "choice", {}, Bad())]
    with pytest.raises(PluginError, match="flattens the plane"):
        drawing.draw(steps, Policy(name="p")._empty, sample(), (0, 0, 0), None)
