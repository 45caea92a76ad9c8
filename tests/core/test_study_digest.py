"""What a dataset's and a run's digest depend on, and what they do not."""

from __future__ import annotations

import shutil
from dataclasses import replace

import PIL.Image
import pytest
from studykit import Bench, installed

from augsuite import conversion, policy
from augsuite.dataset.digest import digest
from augsuite.errors import DataError
from augsuite.study import identity
from augsuite.study.arms import Arm
from augsuite.study.file import load


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "one")
    with installed(made.plugin):
        yield made


def runs(study):
    return [run.digest for run in identity.ask(study, "")[0].runs]


def test_dataset_digest_survives_a_move(bench, tmp_path):
    before = digest(conversion.read(bench.folder / "pets"))
    shutil.move(bench.folder / "pets", tmp_path / "elsewhere")
    assert digest(conversion.read(tmp_path / "elsewhere")) == before


def test_dataset_digest_sees_a_changed_pixel_box_class_and_order(bench):
    data = conversion.read(bench.folder / "pets")
    before = digest(data)
    moved = data.annotations.boxes.copy()
    moved[3, 0] += 0.01
    classes = data.annotations.category_rows.copy()
    classes[0] = 1 - classes[0]
    changed = [
        replace(data, annotations=replace(data.annotations, boxes=moved)),
        replace(data, annotations=replace(data.annotations, category_rows=classes)),
        data.take([1, 0, 2, 3, 4, 5, 6, 7]),
        data.take(range(7)),
    ]
    file = data.path(2)
    image = PIL.Image.open(file).copy()
    image.putpixel((0, 0), tuple(255 - value for value in image.getpixel((0, 0))))
    digests = {before, *map(digest, changed)}
    image.save(file)
    digests.add(digest(data))
    assert len(digests) == len(changed) + 2


def test_dataset_digest_needs_the_files(bench):
    data = conversion.read(bench.folder / "pets")
    data.path(0).unlink()
    with pytest.raises(DataError, match=r"0\.png"):
        digest(data)


def test_run_digest_is_of_the_question_not_of_the_names(bench, tmp_path):
    study = load(bench.file)
    before = runs(study)
    assert len(set(before)) == 6
    renamed = replace(study, name="other", arms={"a": study.arms["none"], "b": study.arms["hflip"]}, reference="a")
    assert runs(renamed) == before
    shutil.move(bench.folder, tmp_path / "two")
    assert runs(load(tmp_path / "two" / "study.yaml")) == before


def test_run_digest_depends_on_what_the_result_depends_on(bench):
    study = load(bench.file)
    before = set(runs(study))
    for changed in (
        replace(study, arms={"none": Arm(policy([{"do": "vflip", "p": 0.5}]))}),
        replace(study, arms={"none": Arm(policy([{"do": "hflip", "p": 0.9}]))}),
        replace(study, config={**study.config, "epochs": 3}),
        replace(study, arms={"none": Arm(study.arms["none"].policy, {"epochs": 3})}),
        replace(study, trainer="ssd"),
        replace(study, seeds=(7,)),
        replace(study, train=study.train.take(range(5))),
        replace(study, val=study.val.take([0])),
    ):
        assert not set(runs(changed)) & before


def test_settings_of_an_arm_and_of_the_study_are_the_same_run(bench):
    study = load(bench.file)
    for_all = replace(study, config={**study.config, "epochs": 3}, arms={"none": study.arms["none"]})
    for_one = replace(study, arms={"none": Arm(study.arms["none"].policy, {"epochs": 3})})
    assert runs(for_all) == runs(for_one)


def test_run_digest_depends_on_the_plugins_code_that_the_run_uses(bench):
    study = load(bench.file)
    before = runs(study)
    source = bench.plugin / "quick_trainer.py"
    source.write_text(source.read_text() + "\n# a change\n")
    identity.source_digest.cache_clear()
    assert not set(runs(study)) & set(before)


@pytest.mark.parametrize("part", ["augsuite.augment", "augsuite.boxes", "augsuite.dataset", "augsuite.study.session"])
def test_run_digest_depends_on_the_part_of_the_core_that_makes_the_numbers(bench, monkeypatch, part):
    study = load(bench.file)
    before = runs(study)
    real = identity.source_digest
    monkeypatch.setattr(identity, "source_digest", lambda name: "edited" if name == part else real(name))
    assert not set(runs(study)) & set(before)
    assert real("augsuite.augment") != real("augsuite.boxes")


def test_one_more_seed_or_arm_keeps_the_runs_there_are(bench):
    study = load(bench.file)
    before = set(runs(study))
    more = replace(study, seeds=(0, 1, 2, 3), arms={**study.arms, "vflip": Arm(policy([{"do": "vflip"}]))})
    assert before < set(runs(more))
