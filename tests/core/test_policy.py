import pickle
import textwrap

import numpy as np
import pytest

import augsuite
from augsuite.augment import Plan, Policy, Step, policy, render
from augsuite.augment.draw import Keyed
from augsuite.augment.plan import PixelOp
from augsuite.dataset import Annotations, Categories, Dataset, Images, Sample
from augsuite.errors import ConfigError


def sample(row=0):
    image = np.random.default_rng(row).integers(0, 256, (60, 80, 3), np.uint8)
    return Sample.of(image, [[10.0, 10.0, 50.5, 40.25]], [1])


class TestReading:
    def test_yaml_round_trip(self):
        text = textwrap.dedent("""\
            policy: mine
            min_visible_frac: 0.3
            steps:
              - {do: photometric, p: 0.5}
              - {do: expand, max_ratio: 4.0, p: 0.5}
              - {do: iou_crop, min_iou: [0.1, 0.5]}
              - {do: hflip, p: 0.5, id: mirror}
              - {do: resize, size: [300, 200]}
            """)
        read = Policy.from_yaml(text)
        assert read.to_yaml() == text
        assert read.name == "mine"
        assert read.steps[3] == Step("hflip", {}, 0.5, "mirror")
        assert policy(read.to_plain()) == read

    def test_bundled_name_file_mapping_and_steps_agree(self, tmp_path):
        path = tmp_path / "flip.yaml"
        path.write_text("policy: flip\nsteps:\n- {do: hflip, p: 0.5}\n")
        given = ["flip", path, str(path), {"policy": "flip", "steps": [{"do": "hflip", "p": 0.5}]}]
        assert len({policy(value).to_yaml() for value in given}) == 1
        assert policy([Step("hflip", p=0.5)]).steps == policy("flip").steps
        assert augsuite.policy("none").steps == ()

    @pytest.mark.parametrize(
        ("steps", "message"),
        [
            ("[{do: hflip}, {do: iou_crop, min_iuo: 1}]", "p.yaml: steps[1] (iou_crop): unknown parameter 'min_iuo'. Did you mean 'min_iou'?"),
            ("[{do: hflipp}]", "p.yaml: steps[0]: unknown transform 'hflipp'. Did you mean 'hflip'?"),
            ("[{do: hflip, p: 1.5}]", "p.yaml: steps[0] (hflip): p: expected float <= 1.0."),
            ("[{do: resize, size: [3, a]}]", "p.yaml: steps[0] (resize): size[1]: expected int, got str."),
            ("[{do: crop, ratio: [2, 1]}]", "p.yaml: steps[0] (crop): ratio: expected the smaller number first, got [2.0, 1.0]."),
            ("[{do: expand, max_ratio: .inf}]", "p.yaml: steps[0] (expand): max_ratio: expected finite numbers, got inf."),
            ("[{do: affine, scale: [1, .inf]}]", "p.yaml: steps[0] (affine): scale: expected finite numbers, got [1, inf]."),
            ("[hflip]", "p.yaml: steps[0]: expected a step such as {do: hflip, p: 0.5}, got 'hflip'."),
            ("3", "p.yaml: expected a policy: a mapping with the list 'steps', or that list alone."),
            ("[{do: hflip, id: a}, {do: vflip, id: a}]", "p: steps[1] has the id 'a' of steps[0]. Give it its own."),
        ],
    )  # fmt: skip
    def test_errors_name_the_place(self, steps, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "p.yaml").write_text(f"steps: {steps}\n")
        with pytest.raises(ConfigError) as error:
            policy("p.yaml")
        assert str(error.value) == message

    def test_unknown_setting_and_name(self):
        with pytest.raises(ConfigError, match=r"unknown setting 'min_visible'\. Did you mean 'min_visible_frac'\?"):
            policy({"min_visible": 0.1, "steps": []})
        with pytest.raises(ConfigError, match=r"mine: unknown setting 'polcy'\. Did you mean 'policy'\?"):
            Policy.from_yaml("{polcy: a, steps: []}", "mine")
        with pytest.raises(ConfigError, match=r"mine: policy: expected str, got int\."):
            Policy.from_yaml("{policy: 3, steps: []}", "mine")
        with pytest.raises(ConfigError, match=r"unknown policy 'sdd'\. Did you mean 'ssd'\?"):
            policy("sdd")
        with pytest.raises(ConfigError, match=r"gone\.yaml: no such file"):
            policy("gone.yaml")

    def test_a_step_built_by_hand_is_checked(self):
        with pytest.raises(ConfigError, match=r"^policy: steps\[0\] \(hflip\): p: expected float <= 1\.0\.$"):
            policy([Step("hflip", p=1.5)])

    def test_ids(self):
        steps = policy([{"do": "hflip"}, {"do": "rotate"}, {"do": "hflip"}, {"do": "hflip", "id": "x"}]).steps
        assert [step.id for step in steps] == ["hflip", "rotate", "hflip#2", "x"]

    def test_pickle(self):
        chosen = policy("ssd").resized(100, 90)
        again = pickle.loads(pickle.dumps(chosen))
        assert again == chosen
        np.testing.assert_array_equal(again(sample()).image, chosen(sample()).image)


class TestResized:
    def test_appends_where_needed(self):
        assert [step.do for step in policy("flip").resized(30, 20).steps] == ["hflip", "resize"]
        chosen = policy([{"do": "letterbox", "size": [30, 20]}, {"do": "brightness"}])
        assert chosen.resized(30, 20) is chosen
        assert len(chosen.resized(20, 30).steps) == 3
        unsure = policy([{"do": "resize", "size": [30, 20], "p": 0.5}])
        assert len(unsure.resized(30, 20).steps) == 2

    def test_result(self):
        assert policy("ssd").resized(33, 21)(sample()).image.shape == (21, 33, 3)

    def test_normalize(self):
        assert policy("ssd").normalize is None
        found = policy([{"do": "normalize", "mean": [0.5, 0.5, 0.5]}]).normalize
        assert found.mean == (0.5, 0.5, 0.5)
        assert found.std == (0.229, 0.224, 0.225)


class TestKeys:
    def test_streams_are_philox_by_digest(self):
        """The definition, spelled out with hashlib and numpy: a change would change every recorded study."""
        from hashlib import blake2b

        digest = blake2b(b"7,3,11,hflip#2", digest_size=16).digest()
        judge = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
        streams = Keyed((7, 3, 11))
        streams.of("rotate").integers(0, 9, 3, dtype=np.uint32)  # leaves half a word behind
        assert streams.of("hflip#2").random(5).tolist() == judge.random(5).tolist()

    def test_removing_a_step_leaves_the_other_draws(self):
        whole = policy(
            [{"do": "photometric"}, {"do": "rotate", "p": 0.5}, {"do": "vflip", "p": 0.5}, {"do": "hflip", "p": 0.5}]
        )
        part = policy([{"do": "photometric"}, {"do": "hflip", "p": 0.5}])
        for row in range(40):
            first = {op.step: op for op in whole.plan(sample(), (0, 0, row)).ops if op.step in {"photometric", "hflip"}}
            second = {op.step: op for op in part.plan(sample(), (0, 0, row)).ops}
            assert first == second

    def test_the_coin(self):
        chosen = policy([{"do": "hflip", "p": 0.3}, {"do": "vflip", "p": 0.0}, {"do": "brightness", "p": 1.0}])
        drawn = [{op.step for op in chosen.plan(sample(), (0, 0, row)).ops} for row in range(2000)]
        share = np.mean(["hflip" in ids for ids in drawn])
        assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 2000)
        assert not any("vflip" in ids for ids in drawn)
        assert all("brightness" in ids for ids in drawn)

    def test_every_part_of_the_key_counts(self):
        chosen = policy([{"do": "rotate"}])
        plans = {chosen.plan(sample(), key).ops[0].matrix for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}
        assert len(plans) == 4


class TestPlan:
    def test_json(self):
        chosen = policy(
            [{"do": "photometric"}, {"do": "mixup"}, {"do": "expand"}, {"do": "iou_crop"}, {"do": "affine"}]
        )
        pool = dataset_of(4)
        for row in range(12):
            plan = chosen.plan(sample(row), (0, 0, row % 4), pool)
            again = Plan.from_json(plan.to_json())
            assert again == plan
            first, second = render(plan, sample(row), pool), render(again, sample(row), pool)
            np.testing.assert_array_equal(first.image, second.image)
            np.testing.assert_array_equal(first.boxes, second.boxes)

    def test_matrix_follows_a_point(self):
        """A box corner goes where the matrix says."""
        result = policy([{"do": "hflip"}, {"do": "resize", "size": [160, 30]}])(sample())
        corner = result.matrix @ [10.0, 10.0, 1]
        np.testing.assert_allclose(corner[:2], [2 * (80 - 10), 5])
        np.testing.assert_allclose(result.boxes, [[2 * (80 - 50.5), 5, 140, 40.25 / 2]])

    def test_a_mix_needs_a_pool(self):
        with pytest.raises(ConfigError, match="step mixup mixes several images and has no others to choose from"):
            policy([{"do": "mixup"}])(sample())

    def test_pixel_operations_hold_their_parameters(self):
        plan = policy([{"do": "brightness", "factor": [0.5, 0.5]}]).plan(sample())
        assert isinstance(plan.ops[0], PixelOp)
        assert plan.ops[0].params == {"factor": [0.5, 0.5]}


def dataset_of(count):
    import tempfile
    from pathlib import Path

    import PIL.Image

    folder = Path(tempfile.mkdtemp())
    for row in range(count):
        PIL.Image.fromarray(np.asarray(sample(row).image)).save(folder / f"{row}.png")
    names = [f"{row}.png" for row in range(count)]
    return Dataset(
        Images.of(names, sizes=[[80, 60]] * count, files=names),
        Categories.of(["a", "b"]),
        Annotations.of(range(count), [1] * count, [[10, 10, 50, 40]] * count),
        root=folder,
    )


def test_saved_policies_are_found_by_name_and_what_a_kill_left_is_none(tmp_path, monkeypatch):
    from augsuite.augment.saved import save, saved

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    path = save("policy: mine\nsteps:\n- {do: hflip, p: 0.5}\n", "mine")
    assert policy("mine") == policy(path)
    (path.parent / ".mine.x1.yaml").write_text("policy: m")
    assert saved() == {"mine": path}
    with pytest.raises(ConfigError, match="is saved already"):
        save("policy: mine\nsteps: []\n", "mine")
    with pytest.raises(ConfigError, match="is a bundled policy"):
        save("policy: ssd\nsteps: []\n", "ssd")
