"""The study panel in the App: what each arm did, with its interval; a click on an arm shows the images that it changed.

It reads what `augsuite view STUDY` left in the dataset's `info`, so that it needs no study folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

from augsuite_fiftyone.app_plugin.panel_charts import curves, intervals
from augsuite_fiftyone.study_looks import BROKE, FIXED, ONLY_THIS, PANEL, SMALL
from augsuite_fiftyone.study_story import KEY, VERSION

_KINDS = {FIXED: "fixed", BROKE: "broke", ONLY_THIS: "only this arm finds"}
_QUIET = {"displayModeBar": False}
_ELSEWHERE = {"seeds", "ms/image"}
"""Columns that the panel, half a window wide, has no room for: the row's button would be out of sight."""
_COLUMN = types.GridView(orientation="vertical", gap=2, align_x="left", width=94, pad=2)
_EMPTY = """
**No study in this dataset**

This panel shows what a study found. Put one here from the command line:

```
augsuite study run study.yaml
augsuite view studies/NAME
```
"""
_OTHER = """
**This study was put here by another version of augsuite**

View it again: `augsuite view STUDY`
"""


class StudyPanel(foo.Panel):  # type: ignore[misc]  # FiftyOne is not typed
    """The panel; FiftyOne makes one for each tab."""

    @property
    def config(self) -> Any:
        """What the App lists."""
        return foo.PanelConfig(
            name=PANEL,
            label="Study",
            icon="science",
            help_markdown="What each arm of an augsuite study did, and the images that it changed.",
        )

    def on_load(self, ctx: Any) -> None:
        """Nothing is chosen yet."""
        ctx.panel.state.chosen = None

    def on_change_dataset(self, ctx: Any) -> None:
        """Another dataset may hold another study."""
        ctx.panel.state.chosen = None

    def choose(self, ctx: Any) -> None:
        """A click on an arm, in the table or in the chart: show the images that it fixed."""
        known = _known(ctx)
        if known is None:
            return
        arm = _clicked(ctx.params, known)
        if arm is not None:
            ctx.panel.state.chosen = arm
            self._load(ctx, known, arm, FIXED)

    def load(self, ctx: Any) -> None:
        """A click on one of the chosen arm's views."""
        known = _known(ctx)
        if known is not None:
            self._load(ctx, known, ctx.params.get("arm") or "", ctx.params.get("kind") or FIXED)

    def show_all(self, ctx: Any) -> None:
        """Back to all images."""
        ctx.panel.state.chosen = None
        ctx.ops.clear_view()

    def _load(self, ctx: Any, known: Mapping[str, Any], arm: str, kind: str) -> None:
        """Load a view; the first that has images, where the one asked for has none."""
        views = known["small"] if kind == SMALL else next((a["views"] for a in known["arms"] if a["arm"] == arm), {})
        kinds = [kind, *(other for other in views if other != kind)]
        view = next((views[each] for each in kinds if views.get(each, {}).get("images")), None)
        if view is None:
            ctx.ops.notify(f"{arm or 'the study'}: no image changed", variant="info")
            return
        ctx.ops.set_view(name=view["name"])
        if fields := known["fields"].get(arm):
            ctx.ops.set_active_fields(fields)

    def render(self, ctx: Any) -> Any:
        """The panel as it stands."""
        panel = types.Object()
        known = _story(ctx)
        if known is None or known.get("version") != VERSION:
            panel.md(_EMPTY if known is None else _OTHER, name="nothing")
            return types.Property(panel, view=_COLUMN)
        chosen = ctx.panel.state.chosen
        panel.md(f"**{_plain(known['headline'])}**\n\n{_plain(known['question'])}", name="headline")
        self._table(panel, known)
        self._arm(panel, known, chosen)
        with_effect = [arm for arm in known["arms"] if arm["effect"] is not None]
        if with_effect:
            data, layout = intervals(with_effect, known["metric"])
            panel.plot("effects", data=data, layout=layout, config=_QUIET, on_click=self.choose)
        for place, (name, lines) in enumerate(known["curves"].items()):
            data, layout = curves(lines, name, known["reference"])
            panel.plot(f"curve_{place}", data=data, layout=layout, config=_QUIET)
        return types.Property(panel, view=_COLUMN)

    def _table(self, panel: Any, known: Mapping[str, Any]) -> None:
        shown = [(place, heading) for place, heading in enumerate(known["headings"]) if heading not in _ELSEWHERE]
        # The App makes tables at least 650 pixels wide, of which half a window would show half.
        table = types.TableView(componentsProps={"table": {"sx": {"minWidth": 0}}})
        for place, heading in shown:
            table.add_column(f"c{place}", label=heading)
        table.add_row_action(
            "show",
            on_click=self.choose,
            icon="image_search",
            tooltip="The images that this arm changed",
        )
        rows = [{f"c{place}": row[place] for place, _ in shown} for row in known["rows"]]
        panel.list("table", types.Object(), view=table, default=rows)

    def _arm(self, panel: Any, known: Mapping[str, Any], chosen: str | None) -> None:
        """The chosen arm: what is said of it, and its views."""
        arm = next((each for each in known["arms"] if each["arm"] == chosen), None)
        if arm is not None:
            policy = "\n".join(f"- `{line}`" for line in arm["policy"]) or "- no steps"
            config = f"\n- settings: `{arm['config']}`" if arm["config"] else ""
            panel.md(
                f"**{_plain(arm['arm'])}** {_plain(arm['said'])}\n\n{policy}{config}",
                name=f"about_{known['arms'].index(arm)}",
            )
        row = panel.h_stack("views", gap=1, align_y="center")
        for kind, said in _KINDS.items():
            view = None if arm is None else arm["views"].get(kind)
            if view is not None and arm is not None:
                row.btn(
                    f"view_{kind}",
                    label=f"{said} ({view['images']})",
                    on_click=self.load,
                    params={"arm": arm["arm"], "kind": kind},
                    variant="outlined",
                    disabled=not view["images"],
                )
        small = known["small"].get(SMALL)
        if small is not None:
            row.btn("view_small", label=f"small objects ({small['images']})", on_click=self.load, params={"arm": chosen or "", "kind": SMALL}, variant="outlined", disabled=not small["images"])  # fmt: skip
        row.btn("view_all", label=f"all {known['images']} images", on_click=self.show_all, variant="outlined")


def _story(ctx: Any) -> dict[str, Any] | None:
    """What the dataset knows of a study; None where it knows nothing."""
    dataset = ctx.dataset
    known = None if dataset is None else (dataset.info or {}).get(KEY)
    return known if isinstance(known, dict) else None


def _known(ctx: Any) -> dict[str, Any] | None:
    """The same, of a version that we can read."""
    known = _story(ctx)
    return known if known is not None and known.get("version") == VERSION else None


def _clicked(params: Mapping[str, Any], known: Mapping[str, Any]) -> str | None:
    """The arm that a click was on: a row of the table, or a point of the chart, whose y is the arm."""
    names = [arm["arm"] for arm in known["arms"]]
    row, y = params.get("row"), params.get("y")
    if isinstance(row, int) and 0 <= row < len(known["rows"]):
        return str(known["rows"][row][0])
    if y in names:
        return str(y)
    return None


def _plain(text: str) -> str:
    """Text in which nothing is Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|~&" else letter for letter in text)
