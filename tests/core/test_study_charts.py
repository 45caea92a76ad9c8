"""The charts say what the numbers say: positions recomputed from the axes that they draw."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from augsuite.study.charts import curves, forest, shortened, ticks
from augsuite.study.effects import Effect
from augsuite.study.report_charts import dose, gain, narrowing


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
    svg = ET.fromstring(forest([effect("a", 0.0, None, None, (0.0, 0.0), "identical")], "AP"))
    places = {line.get("x1") for line in svg.iter("line") if line.get("class") == "zero"}
    assert places == {circle.get("cx") for circle in svg.iter("circle")}
    assert len(places) == 1


def test_forest_places_means_intervals_and_seeds():
    effects = [
        effect("a & <b>", 2.0, 1.0, 3.0, (1.5, 2.0, 2.5), "helps"),
        effect("c", -1.0, -2.5, 0.5, (-1.0, -2.0, 0.0)),
    ]
    svg = ET.fromstring(forest(effects, "AP", {"c": (-2.8, 0.8)}))
    at = axis(svg)
    groups = svg.findall("g")
    assert [group.get("class") for group in groups] == ["good", "open"]
    for group, shown in zip(groups, effects, strict=True):
        line = group.find("line[@class='interval']")
        assert float(line.get("x1")) == pytest.approx(at(shown.low), abs=0.2)
        assert float(line.get("x2")) == pytest.approx(at(shown.high), abs=0.2)
        circles = group.findall("circle")
        assert [float(c.get("cx")) for c in circles] == pytest.approx(
            [at(value) for value in (*shown.differences, shown.mean)], abs=0.2
        )
        assert group.find("path") is None
    # The wider interval of the second, behind its own.
    (thin,) = svg.iterfind("g/line[@class='joint']")
    assert [float(thin.get("x1")), float(thin.get("x2"))] == pytest.approx([at(-2.8), at(0.8)], abs=0.2)
    assert thin in list(groups[1])


def test_an_endless_interval_is_cut_with_arrows():
    wide = effect("two seeds", 1.0, -24.4, 26.4, (-1.0, 3.0))
    svg = ET.fromstring(forest([wide], "AP"))
    assert len(svg.find("g").findall("path")) == 2
    at = axis(svg)
    assert at(3.0) - at(-1.0) > 100  # the seeds stay apart
    assert any(text.text == "+1.0 [\N{MINUS SIGN}24.4, +26.4]" for text in svg.iter("text"))


def points(element):
    return [tuple(map(float, point.split(","))) for point in element.get("points").split()]


def test_curves_draw_means_in_bands_and_keep_labels_apart():
    lines = {"none": [[(1, 0.0), (2, 2.0)], [(1, 2.0), (2, 4.0)]], "b": [[(1, 1.0), (2, 3.1)]]}
    svg = ET.fromstring(curves(lines, "AP", "none"))
    mean, one = (points(each) for each in svg.iter("polyline"))
    assert mean[0] == one[0]  # both 1.0 at epoch 1
    assert mean[1][1] > one[1][1]  # 3.0 lies under 3.1
    (band,) = svg.iter("polygon")
    assert band.get("class") == "band ink"
    (left, top), (right, higher), (_, high), (_, low) = points(band)
    assert (left, right) == (mean[0][0], mean[1][0])
    # The mean of two seeds lies in the middle of their band; 0 to 4 is the whole of the axis, 2 the middle.
    assert (top + low) / 2 == pytest.approx(mean[0][1], abs=0.11)
    assert (higher + high) / 2 == pytest.approx(mean[1][1], abs=0.11)
    assert low > top == high > higher
    ends = sorted(float(text.get("y")) for text in svg.iter("text") if text.get("class").startswith("end"))
    assert ends[1] - ends[0] >= 15 - 0.11


def test_seeds_measured_at_other_epochs_have_no_mean():
    svg = ET.fromstring(curves({"none": [[(1, 0.0), (2, 2.0)], [(3, 2.0), (4, 4.0)]]}, "AP", "none"))
    assert [each.get("class") for each in svg.iter("polyline")] == ["faint ink", "faint ink"]


def test_labels_of_equal_curves_stay_apart_and_in_the_chart():
    lines = {arm: [[(1, 5.0), (2, 1.0)]] for arm in "abcdef"}
    svg = ET.fromstring(curves(lines, "loss", "a"))
    ends = sorted(float(text.get("y")) for text in svg.iter("text") if text.get("class").startswith("end"))
    assert min(high - low for low, high in pairwise(ends)) >= 15 - 0.11
    assert ends[-1] <= float(svg.get("viewBox").split()[3]) - 30


def vertical(svg):
    """A function from an effect to y, from two ticks of the axis at the left."""
    found = {
        float((text.text or "").replace("\N{MINUS SIGN}", "-")): float(text.get("y")) - 4
        for text in svg.iter("text")
        if text.get("text-anchor") == "end"
    }
    (v0, y0), (v1, y1) = min(found.items()), max(found.items())
    return lambda value: y0 + (value - v0) / (v1 - v0) * (y1 - y0)


def test_doses_lie_to_scale_in_their_order():
    doses = [45, 10, 90]
    effects = [
        effect("b", 2.0, 1.0, 3.0, (2.0,), "helps"),
        effect("a", 1.0, 0.0, 2.0, (1.0,)),
        effect("c", -3.0, -4.0, -2.0, (1.0,)),
    ]
    svg = ET.fromstring(dose(doses, effects, "max <deg>", "AP", "none"))
    at = vertical(svg)
    groups = svg.findall("g")
    assert [group.get("class") for group in groups] == ["good", "open", "open"]
    x = [float(group.find("circle").get("cx")) for group in groups]
    assert (x[0] - x[1]) / (x[2] - x[1]) == pytest.approx(35 / 80, abs=0.01)
    for group, shown in zip(groups, effects, strict=True):
        assert float(group.find("circle").get("cy")) == pytest.approx(at(shown.mean), abs=0.2)
        line = group.find("line")
        assert sorted([float(line.get("y1")), float(line.get("y2"))]) == pytest.approx(
            [at(shown.high), at(shown.low)], abs=0.2
        )
    (thread,) = svg.iter("polyline")
    assert [place for place, _ in points(thread)] == sorted(x)


def test_doses_without_numbers_stand_at_equal_distances():
    effects = [
        effect(name, mean, None, None, (mean,), "too few seeds") for name, mean in (("a", 1.0), ("b", 2.0), ("c", 0.0))
    ]
    svg = ET.fromstring(dose(["cosine", True, "linear"], effects, "schedule", "AP", "none"))
    first, second, third = (float(group.find("circle").get("cx")) for group in svg.findall("g"))
    assert second - first == pytest.approx(third - second, abs=0.11) != 0


def test_gain_over_cost():
    effects = [effect("cheap", 1.0, 0.5, 1.5, (1.0,), "helps"), effect("dear", 2.0, 1.5, 2.5, (2.0,), "helps")]
    svg = ET.fromstring(gain([("none", 1.0, None), ("cheap", 1.5, effects[0]), ("dear", 3.0, effects[1])], "ms", "AP"))
    at = vertical(svg)
    (ring,) = svg.findall("circle")
    marks = [group.find("circle") for group in svg.findall("g")]
    assert float(ring.get("cy")) == pytest.approx(at(0), abs=0.2)
    assert [float(mark.get("cy")) for mark in marks] == pytest.approx([at(1.0), at(2.0)], abs=0.2)
    x = [float(mark.get("cx")) for mark in (ring, *marks)]
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(0.25, abs=0.01)


def test_names_in_the_cost_chart_cover_no_other():
    """Thirty arms at one place: there is room for few names, and each point still has its title."""
    many = [(f"arm {row}", 1.0, effect(f"arm {row}", 1.0, 0.0, 2.0, (1.0,))) for row in range(30)]
    svg = ET.fromstring(gain([("none", 1.0, None), *many], "ms", "AP"))
    labels = [(float(t.get("x")), float(t.get("y"))) for t in svg.iter("text") if t.get("class").startswith("label")]
    assert 1 <= len(labels) < 30
    assert all(abs(x0 - x1) > 20 or abs(y0 - y1) >= 17 for k, (x0, y0) in enumerate(labels) for x1, y1 in labels[:k])
    assert len(list(svg.iter("title"))) == 31


def test_narrowing_has_a_point_for_each_number_of_seeds():
    looks = [
        effect("a", 3.0, None, None, (3.0,), "too few seeds"),
        effect("a", 2.0, None, None, (3.0, 1.0), "too few seeds"),
        effect("a", 2.0, 0.5, 3.5, (3.0, 1.0, 2.0), "helps"),
    ]
    svg = ET.fromstring(narrowing("a", looks, 1.0, "AP"))
    at = vertical(svg)
    circles = [group.find("circle") for group in svg.findall("g")]
    assert [float(circle.get("cy")) for circle in circles] == pytest.approx([at(3.0), at(2.0), at(2.0)], abs=0.2)
    assert [group.find("line") is not None for group in svg.findall("g")] == [False, False, True]


def test_long_names_lose_their_middle():
    assert shortened("rotate max_deg=90", 17) == "rotate max_deg=90"
    assert shortened("rotate max_deg=90", 11) == "rotat\N{HORIZONTAL ELLIPSIS}eg=90"
