"""The charts say what the numbers say: positions recomputed from the axis that they draw."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from augsuite.study.charts import curves, forest, ticks
from augsuite.study.effects import Effect


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (-1.2, 5.7, [0, 2, 4]),
        (-0.31, 0.28, [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2]),
        (1, 40, [10, 20, 30, 40]),
        (3, 3, [3]),
    ],
)
def test_ticks(low, high, expected):
    assert ticks(low, high) == expected


def effect(arm, mean, low, high, differences, verdict="not shown"):
    seeds = tuple(range(len(differences)))
    return Effect(
        arm=arm, metric="AP", seeds=seeds, differences=differences, mean=mean, low=low, high=high, verdict=verdict
    )


def axis(svg):
    """x of the axis labels -> a function from value to x, from two of them."""
    found = {
        float((text.text or "").replace("\N{MINUS SIGN}", "-")): float(text.get("x"))
        for text in svg.iter("text")
        if text.get("class") == "tick" and re.fullmatch(r"[+\N{MINUS SIGN}]?[\d.]+", text.text or "")
    }
    (v0, x0), (v1, x1) = min(found.items()), max(found.items())
    return lambda value: x0 + (value - v0) / (v1 - v0) * (x1 - x0)


def test_forest_of_arms_that_did_nothing():
    """Every difference is 0, as between equal arms: the one mark of all stands on the line of zero."""
    svg = ET.fromstring(forest([effect("a", 0.0, None, None, (0.0, 0.0), "identical")], "AP", "none"))
    places = {line.get("x1") for line in svg.iter("line") if line.get("class") == "zero"}
    assert places == {circle.get("cx") for circle in svg.iter("circle")}
    assert len(places) == 1


def test_forest_places_means_intervals_and_seeds():
    effects = [
        effect("a & <b>", 2.0, 1.0, 3.0, (1.5, 2.0, 2.5), "helps"),
        effect("c", -1.0, -2.5, 0.5, (-1.0, -2.0, 0.0)),
    ]
    svg = ET.fromstring(forest(effects, "AP", "none"))
    at = axis(svg)
    groups = svg.findall("g")
    assert [group.get("class") for group in groups] == ["good", "open"]
    for group, shown in zip(groups, effects, strict=True):
        line = group.find("line")
        assert float(line.get("x1")) == pytest.approx(at(shown.low), abs=0.2)
        assert float(line.get("x2")) == pytest.approx(at(shown.high), abs=0.2)
        circles = group.findall("circle")
        assert [float(c.get("cx")) for c in circles] == pytest.approx(
            [at(value) for value in (*shown.differences, shown.mean)], abs=0.2
        )
        assert group.find("path") is None


def test_an_endless_interval_is_cut_with_arrows():
    wide = effect("two seeds", 1.0, -24.4, 26.4, (-1.0, 3.0))
    svg = ET.fromstring(forest([wide], "AP", "none"))
    assert len(svg.find("g").findall("path")) == 2
    at = axis(svg)
    assert at(3.0) - at(-1.0) > 100  # the seeds stay apart
    assert any(text.text == "+1.0 [-24.4, 26.4]" for text in svg.iter("text"))


def test_curves_draw_means_and_keep_labels_apart():
    lines = {"none": [[(1, 0.0), (2, 2.0)], [(1, 2.0), (2, 4.0)]], "b": [[(1, 1.0), (2, 3.1)]]}
    svg = ET.fromstring(curves(lines, "AP", "none"))
    bold = {p.get("class"): p.get("points") for p in svg.iter("polyline") if p.get("class").startswith("line")}
    mean = [tuple(map(float, point.split(","))) for point in bold["line ink"].split()]
    (one,) = [p.get("points") for p in svg.iter("polyline") if p.get("class") == "faint c1"]
    first = [tuple(map(float, point.split(","))) for point in one.split()]
    assert mean[0] == first[0]  # both 1.0 at epoch 1
    assert mean[1][1] > first[1][1]  # 3.0 lies under 3.1
    ends = sorted(float(text.get("y")) for text in svg.iter("text") if text.get("class").startswith("end"))
    assert ends[1] - ends[0] >= 15 - 0.11


def test_labels_of_equal_curves_stay_apart_and_in_the_chart():
    lines = {arm: [[(1, 5.0), (2, 1.0)]] for arm in "abcdef"}
    svg = ET.fromstring(curves(lines, "loss", "a"))
    ends = sorted(float(text.get("y")) for text in svg.iter("text") if text.get("class").startswith("end"))
    assert min(high - low for low, high in pairwise(ends)) >= 15 - 0.11
    assert ends[-1] <= float(svg.get("viewBox").split()[3]) - 30
