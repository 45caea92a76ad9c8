"""How a policy looks in the App: saved views, colours, the order of the sidebar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SIDE_BY_SIDE, LOST, WHOLE_LOSES, MIXED = "side by side", "boxes dropped", "boxes dropped by the policy", "mixed boxes"
"""Saved views: all slices of an image in a row; images that lost boxes, of any slice; groups whose policy loses some; boxes with a weight
below 1."""

_RED = "#ff2d55"
_CLASSES = (
    "#009900", "#0066ff", "#ffcc00", "#009999", "#6600ff", "#999900", "#00cc99", "#33ccff", "#996633", "#000099", "#99cc33", "#666699",
)  # fmt: skip
"""Of what is left: none that could be taken for red, as some of FiftyOne's own would."""


def dress(dataset: Any, field: str, dropped: str, steps: Sequence[str], about: Sequence[str]) -> None:
    """Give a dataset of groups its views, colours and sidebar.

    Args:
        dataset: the `fiftyone.Dataset`; whoever changed it saves it.
        field: the label field.
        dropped: the field of dropped boxes.
        steps: the fields with what was drawn, in the order of the policy.
        about: the fields that say what an image is.
    """
    import fiftyone as fo

    schema = dataset.get_field_schema(flat=True)
    labels = [path for path, kind in dataset.get_field_schema().items() if _is_label(kind)]
    dataset.app_config.color_scheme = fo.ColorScheme(
        color_by="value",
        color_pool=list(_CLASSES),
        fields=[
            {
                "path": dropped,
                "fieldColor": _RED,
                "colorByAttribute": "state",
                "valueColors": [{"value": "dropped", "color": _RED}],
            }
        ],
    )
    ordered = [field, dropped, *(path for path in labels if path not in {field, dropped})]
    groups = [
        fo.SidebarGroupDocument(name="labels", paths=ordered, expanded=True),
        fo.SidebarGroupDocument(name="image", paths=[path for path in about if path in schema], expanded=True),
    ]
    for step in steps:
        paths = [path for path in schema if path.startswith(f"{step}.")]
        groups.append(fo.SidebarGroupDocument(name=step, paths=paths, expanded=False))
    taken = {path for group in groups for path in group.paths}
    for group in fo.DatasetAppConfig.default_sidebar_groups(dataset):
        rest = [path for path in group.paths if path not in taken]
        if rest and group.name not in {"labels", *steps}:
            groups.append(fo.SidebarGroupDocument(name=group.name, paths=rest, expanded=False))
    dataset.app_config.sidebar_groups = groups
    dataset.app_config.active_fields = fo.ActiveFields(paths=ordered)
    _save_views(dataset, field, schema)


def _save_views(dataset: Any, field: str, schema: Any) -> None:
    from fiftyone import ViewField as F

    flat = dataset.select_group_slices()
    dataset.save_view(SIDE_BY_SIDE, flat)
    dataset.save_view(LOST, flat.match(F("boxes_dropped") > 0))
    dataset.save_view(WHOLE_LOSES, dataset.match(F("policy_drops") > 0))
    if f"{field}.detections.weight" in schema:
        dataset.save_view(MIXED, flat.filter_labels(field, F("weight") < 1))


def _is_label(kind: Any) -> bool:
    import fiftyone as fo

    return isinstance(kind, fo.EmbeddedDocumentField) and issubclass(kind.document_type, fo.Label)
