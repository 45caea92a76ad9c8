"""From records to answers: what the arms of a rule say together, and what they cost."""

from __future__ import annotations

import pytest
import yaml
from msgspec.structs import replace
from scipy import stats
from studykit import STUDY, Bench, installed

from augsuite.study.file import load
from augsuite.study.scheduler import execute, prepare
from augsuite.study.store import Store
from augsuite.study.summary import contrast_lines, interval, number, summarize, table

FLIPS = [{"do": "hflip", "p": 0.5}, {"do": "rotate", "p": 0.4}]
ARMS = [
    {"rule": "cumulative", "steps": [*FLIPS, {"config": {"bonus": 1.5}}]},
    {"rule": "factorial", "steps": FLIPS},
    {"rule": "grid", "step": {"do": "hflip"}, "over": {"p": [0.1, 0.4, 0.9]}},
]


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp("summary"))
    content = yaml.safe_load(STUDY.replace("NAP", "0.0")) | {"arms": ARMS, "seeds": 3}
    made.file.write_text(yaml.safe_dump(content, sort_keys=False))
    with installed(made.plugin), pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUICK_LOG", str(made.log))
        state, work = prepare(load(made.file), made.out)
        for outcome in execute(state.runs, work, "inline"):
            assert outcome.error is None
        yield summarize(Store(made.out).state(), Store(made.out))


def values(summary, arm):
    return next(each.values for each in summary.arms if each.arm == arm)


def test_rows_of_a_cumulative_table_are_compared_with_the_row_above(summary):
    rows = summary.contrasts[0]
    assert [effect.arm for effect in rows.effects] == ["+hflip", "+rotate", "+bonus=1.5"]
    above, below = values(summary, "+hflip"), values(summary, "+rotate")
    assert rows.effects[1].differences == pytest.approx([below[seed] - above[seed] for seed in range(3)])
    assert rows.effects[1].p == pytest.approx(stats.ttest_rel(list(below.values()), list(above.values())).pvalue)
    # The bonus is added to every seed alike, which is no chance at all.
    assert rows.effects[2].verdict == "no spread"
    assert rows.effects[2].mean == pytest.approx(1.5)


def test_a_pair_has_its_interaction(summary):
    (effect,) = summary.contrasts[1].effects
    none, one, two, both = (values(summary, name) for name in ("none", "hflip", "rotate", "hflip + rotate"))
    assert effect.arm == "hflip + rotate"
    assert effect.differences == pytest.approx([(both[s] - two[s]) - (one[s] - none[s]) for s in range(3)])


def test_a_grid_has_its_trend(summary):
    (effect,) = summary.contrasts[2].effects
    doses = [0.1, 0.4, 0.9]
    by_seed = [[values(summary, f"hflip p={dose:g}")[seed] for dose in doses] for seed in range(3)]
    assert effect.arm == "p"
    assert effect.differences == pytest.approx([0.8 * stats.linregress(doses, row).slope for row in by_seed])


@pytest.mark.parametrize(
    ("place", "verdict", "said"),
    [
        (1, "hurts", "less than the sum"),
        (1, "identical", "exactly the sum"),
        (2, "helps", "rises"),
        (2, "identical", "flat"),
    ],
)
def test_an_interaction_or_a_slope_neither_helps_nor_hurts(summary, place, verdict, said):
    found = summary.contrasts[place]
    judged = replace(found, effects=[replace(found.effects[0], verdict=verdict)])
    ((_, (line,)),) = contrast_lines(replace(summary, contrasts=[judged]))
    assert said in line
    assert not {"helps", "hurts", "partner"} & set(line.replace(")", " ").split())


def test_what_rounds_to_zero_has_no_minus(summary):
    effect = replace(summary.arms[1].effect, mean=-0.01, low=-0.04, high=0.02)
    assert interval(effect) == "+0.0 [0.0, 0.0]"
    assert number(-0.04) == "0.0"


def test_equal_arms_of_two_rules_are_trained_once(summary):
    runs = {(run.arm, run.seed): run.digest for run in summary.state.runs}
    assert runs["+hflip", 2] == runs["hflip", 2]
    assert runs["+hflip", 2] != runs["hflip p=0.4", 2]


def test_what_arms_cost(summary):
    # The trainer says 0.01 s of CPU for every run.
    assert [arm.extra_frac for arm in summary.arms] == pytest.approx([0.0] * len(summary.arms))
    assert all(arm.missing == arm.failed == 0 for arm in summary.arms)
    arm = summary.arms[1]
    assert arm.sd == pytest.approx(stats.tstd(list(arm.values.values())))


def test_the_table_of_a_cumulative_study_has_both_columns(summary):
    headings, rows = table(summary)
    assert headings[:4] == ["arm", "AP", "effect on AP", "on the row above"]
    cells = dict(zip(headings, rows[2], strict=True))
    assert cells["arm"] == "+rotate"
    assert cells["on the row above"].startswith(f"{summary.contrasts[0].effects[1].mean:+.1f} [")
    assert dict(zip(headings, rows[0], strict=True))["on the row above"] == ""
