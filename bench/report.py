"""The goals, and the tables."""

from __future__ import annotations

from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

GLOBOX = {"coco_voc": 10, "coco_csv": 8, "coco_yolo": 8, "voc_coco": 6, "csv_coco": 6}
OTHERS = 20
MEMORY = 4
FLOOR = 2
STREAM_MB = 400
OURS = ("augsuite", "floor")

Found = dict[str, Any]


def goals(found: Found, images: int) -> dict[str, Found]:
    """Each goal: the value (None where it could not be measured), what it shall be, and whether it is."""
    said: dict[str, Found] = {}

    def least(name: str, value: float | None, goal: float) -> None:
        said[name] = {"value": value, "goal": f">= {goal}", "met": value is not None and value >= goal}

    def most(name: str, value: float | None, goal: float) -> None:
        said[name] = {"value": value, "goal": f"<= {goal}", "met": value is not None and value <= goal}

    by = {(row["conversion"], row["tool"], row["images"]): row for row in found["results"]}
    for conversion in dict.fromkeys(row["conversion"] for row in found["results"]):
        name = conversion.replace("-", "_")
        rivals = [row for row in found["results"] if row["conversion"] == conversion and row["tool"] not in OURS]
        finished = [row for row in rivals if row["cpu_s"] is not None]
        for row in finished:
            goal = GLOBOX[name] if row["tool"] == "globox" else OTHERS
            least(
                f"cpu_ratio_{row['tool']}.{name}", _ratio(row, by[conversion, "augsuite", row["images"]], "cpu_s"), goal
            )
        ours = by[conversion, "augsuite", images]
        whole = [row for row in finished if row["images"] == images]
        if whole:
            fastest = min(whole, key=lambda row: row["cpu_s"])
            least(f"peak_memory_ratio.{name}", _ratio(fastest, ours, "peak_mb"), MEMORY)
        most(f"floor_ratio.{name}", _ratio(ours, by[conversion, "floor", images], "cpu_s"), FLOOR)
    for row in found["workers"]:
        same = row["same_bytes"]
        said[f"workers_same_bytes.{row['conversion'].replace('-', '_')}"] = {
            "value": same,
            "goal": "== True",
            "met": same,
        }
    for row in found["stream"]:
        peak = None if row["failure"] else row["peak_mb"]
        most(f"stream_peak_mb.{row['conversion'].replace('-', '_')}.{row['times']}x", peak, STREAM_MB)
    return said


def _ratio(above: Found, below: Found, what: str) -> float | None:
    return above[what] / below[what] if above[what] is not None and below[what] else None


def show(found: Found, out: TextIO) -> None:
    """Print the tables."""
    console = Console(file=out, width=None if out.isatty() else 130)
    facts = found["machine"]
    console.print(
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, {facts['system']}; writing to {facts['file_system']}; "
        f"load {facts['load_before'][0]:.1f} before, {facts['load_after'][0]:.1f} after"
    )
    console.print(", ".join(f"{name} {version}" for name, version in found["versions"].items()), highlight=False)
    console.print(_conversions(found))
    if found["workers"]:
        console.print(_workers(found))
    if found["stream"]:
        console.print(_streams(found))
    console.print(_goals(found))


def _conversions(found: Found) -> Table:
    table = _table(
        "One process each: CPU time and peak memory, medians",
        "conversion",
        "images",
        "tool",
        "CPU s",
        "of ours",
        "peak MB",
        "files",
        "boxes",
        "",
    )
    before = None
    for row in sorted(found["results"], key=lambda row: (row["conversion"], -row["images"])):
        group = row["conversion"], row["images"]
        if group != before:
            table.add_section()
            before = group
        ours = next(
            one for one in found["results"] if (one["conversion"], one["images"], one["tool"]) == (*group, "augsuite")
        )
        table.add_row(
            row["conversion"], f"{row['images']:,}", row["tool"], _figure(row["cpu_s"]), _figure(_ratio(row, ours, "cpu_s")),
            _figure(row["peak_mb"], ",.0f"), f"{row['files']:,}" if row["files"] else "", f"{row['boxes']:,}" if row["boxes"] else "",
            row["failure"] or "",
        )  # fmt: skip
    return table


def _workers(found: Found) -> Table:
    table = _table("Two processes", "conversion", "wall s, 1", "wall s, 2", "same bytes", "")
    for row in found["workers"]:
        table.add_row(
            row["conversion"],
            *(_figure(wall) for wall in row["wall_s"]),
            "yes" if row["same_bytes"] else "no",
            row["failure"] or "",
        )
    return table


def _streams(found: Found) -> Table:
    table = _table("--stream", "conversion", "images", "CPU s", "peak MB", "")
    for row in found["stream"]:
        good = not row["failure"]
        table.add_row(
            row["conversion"], f"{row['images']:,}", _figure(row["cpu_s"] if good else None),
            _figure(row["peak_mb"] if good else None, ",.0f"), row["failure"] or "",
        )  # fmt: skip
    return table


def _goals(found: Found) -> Table:
    table = _table("Goals", "goal", "value", "shall be", "met")
    for name, goal in found["goals"].items():
        value = goal["value"]
        table.add_row(
            name,
            str(value) if isinstance(value, bool) else _figure(value),
            goal["goal"],
            "yes" if goal["met"] else "NO",
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(
            column,
            justify="right"
            if column.split(" ")[-1] in {"s", "MB", "images", "files", "boxes", "ours", "value", "1", "2"}
            else "left",
        )
    return table


def _figure(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else format(value, form)
