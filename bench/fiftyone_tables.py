"""The goals of `fiftyone.py`, and its tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

LOADING = 15.0
PREDICTIONS = 9.0
AUGMENTING = 1.5

Found = dict[str, Any]


def goals(found: Found) -> dict[str, Found]:
    """Each goal: the value (None where it could not be measured), what it shall be, and whether it is."""
    said: dict[str, Found] = {}

    def least(name: str, value: float | None, goal: float) -> None:
        said[name] = {"value": value, "goal": f">= {goal}", "met": value is not None and value >= goal}

    cost = {row["how"]: row["objects_cpu_s"] + row["cpu_s"] for row in found.get("loading", [])}
    if cost:
        least("loading.insert_samples_over_add_samples", cost["add_samples"] / cost["insert_samples"], LOADING)
        least("loading.store_over_add_samples", cost["add_samples"] / cost["store"], LOADING)
        least("loading.set_labels_over_set_values", cost["set_values"] / cost["set_labels"], PREDICTIONS)
    rates = {(row["task"], row["who"]): row["images_per_cpu_s"] for row in found.get("augmenting", [])}
    for task in dict.fromkeys(task for task, _ in rates):
        rivals = [rate for (of, who), rate in rates.items() if of == task and who != "augsuite" and rate]
        if rivals:
            own = rates[task, "augsuite"]
            least(f"augmenting.{task.replace(' ', '_')}", own and own / max(rivals), AUGMENTING)
    own_boxes = [row["right"] for row in found.get("boxes", []) if row["who"] == "augsuite"]
    if own_boxes:
        said["boxes.ours_right"] = {"value": all(own_boxes), "goal": "== True", "met": all(own_boxes)}
    return said


def show(found: Found) -> None:
    """Print the tables."""
    console = Console(width=None if Console().is_terminal else 150, highlight=False)
    machine = found["machine"]
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; load {machine['load_before'][0]:.1f} before, "
        f"{machine['load_after'][0]:.1f} after"
    )
    console.print(", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    if "loading" in found:
        title = "Into FiftyOne: CPU seconds, of the process to make objects, of the process, of MongoDB; medians"
        table = _table(title, "what", "by", "samples", "objects", "call", "MongoDB", "samples/CPU s")
        for row in found["loading"]:
            table.add_row(
                row["task"], row["how"], f"{row['samples']:,}", f"{row['objects_cpu_s']:.2f}", f"{row['cpu_s']:.2f}",
                f"{row['server_cpu_s']:.2f}", f"{row['samples_per_cpu_s']:,.0f}",
            )  # fmt: skip
        console.print(table)
    if "augmenting" in found:
        table = _table(
            "Augmented copies: CPU seconds, medians", "task", "by", "images", "process", "MongoDB", "images/CPU s", ""
        )
        for row in found["augmenting"]:
            rate = row["images_per_cpu_s"]
            table.add_row(
                row["task"], row["who"], f"{row['images']:,}", f"{row['cpu_s']:.2f}", f"{row['server_cpu_s']:.2f}",
                f"{rate:.0f}" if rate else "-", row["failure"] or "",
            )  # fmt: skip
        console.print(table)
    if "boxes" in found:
        table = _table(
            "Boxes beside what is painted",
            "by",
            "transform",
            "right",
            "worst px",
            "labels lost",
            "without attributes",
            "",
        )
        for row in found["boxes"]:
            if row["failure"]:
                table.add_row(row["who"], row["transform"], "FAILS", "", "", "", row["failure"])
                continue
            table.add_row(
                row["who"], row["transform"], "yes" if row["right"] else "NO", f"{row['worst_px']:.1f}", str(row["lost"]),
                str(row["without_attributes"]), "",
            )  # fmt: skip
        console.print(table)
    table = _table("Goals", "goal", "value", "shall be", "met")
    for name, goal in found["goals"].items():
        value = goal["value"]
        shown = str(value) if isinstance(value, bool) else "-" if value is None else f"{value:.2f}"
        table.add_row(name, shown, goal["goal"], "yes" if goal["met"] else "NO")
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    left = {"what", "by", "task", "transform", "", "goal", "right", "met"}
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    return table
