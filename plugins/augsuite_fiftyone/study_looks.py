"""How a study looks in the App: saved views, colours, the sidebar, and the panel beside the images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augsuite_fiftyone.study_marks import EVAL, FN, FP, LEFT_OUT, ONLY, SIZE, SOME, TP, Shown

FIXED, BROKE, ONLY_THIS, SMALL = "fixed", "broke", "only", "small"
"""Kinds of saved views."""

NAMES = {
    FIXED: "images this augmentation fixed ({})",
    BROKE: "images it broke ({})",
    ONLY_THIS: "objects only this arm finds ({})",
    SMALL: "small objects",
}

PANEL = "augsuite_study"
"""The panel's name in FiftyOne."""

WORKSPACE = "study"
"""The images with the panel beside them."""

_COLORS = {
    TP: "#2ca02c",
    FP: "#d62728",
    FN: "#ff9f1c",
    SOME: "#3f8efc",
    LEFT_OUT: "#9e9e9e",
    "correct": "#2ca02c",
    "incorrect": "#d62728",
}
_FOUND = "#f2f2f2"  # objects that all find are what one need not look at


@dataclass(frozen=True, slots=True)
class Column:
    """Per-image numbers of one arm.

    Attributes:
        arm: the arm.
        value: the field of its own number.
        effect: the field of its number minus the reference's; None for the reference.
    """

    arm: str
    value: str
    effect: str | None


def is_study(place: str | Path) -> bool:
    """Whether a place is the folder of a study."""
    return (Path(place) / "study.json").is_file()


def save_views(dataset: Any, truth: str, columns: Sequence[Column], strongest: Sequence[str], boxes: bool) -> Views:
    """Save the views of a study: for each arm the images it fixed and broke, and what only it finds; and small objects.

    Images stand in the order of the effect: the largest gain first, but the largest loss first where an arm broke them.

    Args:
        dataset: the `fiftyone.Dataset`.
        truth: the field of the ground truth.
        columns: the arms.
        strongest: arms, the largest effect first.
        boxes: whether there are objects to be found, or image labels.

    Returns:
        Arm -> kind -> name of the view, and how many images it has; small objects under the arm "".
    """
    from fiftyone import ViewField as F

    found: Views = {}
    for column in columns:
        asked = {}
        if column.effect is not None:
            asked[FIXED] = dataset.match(F(column.effect) > 0).sort_by(column.effect, reverse=True)
            asked[BROKE] = dataset.match(F(column.effect) < 0).sort_by(column.effect)
        if boxes:
            only = dataset.filter_labels(truth, F(ONLY) == column.arm)
            asked[ONLY_THIS] = only if column.effect is None else only.sort_by(column.effect, reverse=True)
        found[column.arm] = {kind: _save(dataset, NAMES[kind].format(column.arm), view) for kind, view in asked.items()}
    if boxes:
        small = dataset.filter_labels(truth, F(SIZE) == "small")
        effects = {column.arm: column.effect for column in columns}
        order = next((effects[arm] for arm in strongest if effects.get(arm)), None)
        found[""] = {
            SMALL: _save(dataset, NAMES[SMALL], small if order is None else small.sort_by(order, reverse=True))
        }
    return found


Views = dict[str, dict[str, dict[str, Any]]]


def _save(dataset: Any, name: str, view: Any) -> dict[str, Any]:
    """Save a view; under another name where FiftyOne takes two for one."""
    free, number = name, 1
    while True:
        try:
            dataset.save_view(free, view)
        except ValueError:
            number += 1
            if number > 1000:  # then it is not the name
                raise
            free = f"{name} {number}"
        else:
            return {"name": free, "images": view.count()}


def paint(dataset: Any, truth: str, runs: Iterable[Shown], shown: Sequence[str], columns: Sequence[Column]) -> None:
    """Colour true and false positives, and put the fields of a study in order.

    Args:
        dataset: the `fiftyone.Dataset`.
        truth: the field of the ground truth.
        runs: the runs that have a field.
        shown: fields that are switched on at first.
        columns: the arms.
    """
    import fiftyone as fo

    fields = [run.field for run in runs]
    verdicts = [{"value": value, "color": color} for value, color in _COLORS.items()]
    objects = [{**each, "color": _FOUND} if each["value"] == TP else each for each in verdicts]
    dataset.app_config.color_scheme = fo.ColorScheme(
        color_by="value",
        fields=[
            {"path": path, "colorByAttribute": EVAL, "valueColors": colors}
            for path, colors in [(truth, objects), *((field, verdicts) for field in fields)]
        ],
    )
    groups = [
        fo.SidebarGroupDocument(name="labels", paths=[truth, *fields], expanded=True),
        fo.SidebarGroupDocument(
            name="effect on each image", paths=[c.effect for c in columns if c.effect is not None], expanded=True
        ),
        fo.SidebarGroupDocument(name="value of each image", paths=[column.value for column in columns], expanded=True),
    ]
    own = {path for group in groups for path in group.paths}
    for group in fo.DatasetAppConfig.default_sidebar_groups(dataset):
        rest = [path for path in group.paths if path not in own]
        if group.name == "labels":  # polygons and keypoints of the ground truth
            groups[0].paths += rest
        elif rest:
            groups.append(fo.SidebarGroupDocument(name=group.name, paths=rest, expanded=group.expanded))
    dataset.app_config.sidebar_groups = groups
    dataset.app_config.active_fields = fo.ActiveFields(paths=list(shown))


def save_workspace(dataset: Any) -> None:
    """Save the layout with the panel beside the images."""
    import fiftyone as fo

    children = [
        fo.Space(children=[panel], active_child=panel.component_id)
        for panel in (fo.Panel(type="Samples", pinned=True), fo.Panel(type=PANEL))
    ]
    both = fo.Space(children=children, orientation="horizontal", sizes=[0.45, 0.55])
    dataset.save_workspace(WORKSPACE, both, overwrite=True)


def settings(columns: Mapping[str, Column], runs: Iterable[Shown], truth: str, reference: str) -> dict[str, list[str]]:
    """Arm -> the fields that show it beside the reference."""
    fields: dict[str, list[str]] = {}
    for run in runs:
        fields.setdefault(run.arm, []).append(run.field)
    found = {}
    for arm, column in columns.items():
        both = [*fields.get(reference, [])[:1], *(fields.get(arm, [])[:1] if arm != reference else [])]
        found[arm] = [truth, *both, *([column.effect] if column.effect else [])]
    return found
