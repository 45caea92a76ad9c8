"""The tables of `scale.py`, as docs/scale.md has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np

BILLION = 10**9
DAY_S = 86_400


def line_through(images: Sequence[int], values: Sequence[float]) -> dict[str, float]:
    """The straight line whose relative errors are smallest: a constant and a slope for each image, neither below 0.

    Args:
        images: at least two different sizes.
        values: what was measured at each.

    Returns:
        `constant`, `each`, and `worst`, the largest relative difference between line and measurement.
    """
    sizes, seen = np.array(images, float), np.array(values, float)
    columns = np.column_stack([np.ones_like(sizes), sizes]) / seen[:, None]
    constant, each = np.linalg.lstsq(columns, np.ones_like(seen), rcond=None)[0]
    if constant < 0:
        ratio = sizes / seen
        constant, each = 0.0, ratio.sum() / (ratio**2).sum()
    elif each < 0:
        constant, each = (1 / seen).sum() / (1 / seen**2).sum(), 0.0
    worst = float(np.abs((constant + each * sizes) / seen - 1).max())
    return {"constant": float(constant), "each": float(each), "worst": worst}


def show(found: dict[str, Any], out: TextIO) -> None:
    """Print all tables, as Markdown."""

    def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        print("| " + " | ".join(head) + " |", file=out)
        print("| " + " | ".join(["---", *["---:"] * (len(head) - 1)]) + " |", file=out)
        for row in rows:
            print("| " + " | ".join(row) + " |", file=out)
        print(file=out)

    facts = found["machine"]
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, {facts['file_system']}", file=out)
    loads = [f"{facts[name][0]:.1f}" for name in ("load_before", "load_after")]
    print(f"load {loads[0]} before, {loads[1]} after; commit {found['versions']['commit']}\n", file=out)
    table(
        ["step", "images", "workers", "CPU s", "us CPU an image", "wall s", "peak MB"],
        [_grown(row) for row in found["grown"]],
    )
    table(
        ["read from", "order", "us an image", "MB/s"],
        [[r["from"], r["order"], f"{r['us_per_image']:.0f}", f"{r['mb_per_s']:,.0f}"] for r in found["images"]],
    )
    listed = found["listing"]
    table(
        ["a folder of", "make a file, us", "list it, us", "ask for its size, us"],
        [[f"{listed['files']:,} files", *(f"{listed[f'{name}_us']:.1f}" for name in ("make", "list", "stat"))]],
    )
    table(
        ["engine", "workers", "begins in s", "items/s"],
        [[r["engine"], str(r["workers"]), f"{r['start_s']:.1f}", f"{r['items_per_s']:,.0f}"] for r in found["engines"]],
    )
    if found["object_store"]:
        store = found["object_store"]
        table(
            ["Ray's object store", "MB/s"],
            [["put", f"{store['put_mb_per_s']:,.0f}"], ["get and read", f"{store['get_mb_per_s']:,.0f}"]],
        )
    table(
        ["step", "constant s", "us an image", "line off by", "MB constant", "MB a million", "off by", "10^9 images: core days", "10^9 images: GB"],
        [_billion(row) for row in found["lines"]],
    )  # fmt: skip


def _grown(row: dict[str, Any]) -> list[str]:
    cost, begin = row["cost"], [row["step"], f"{row['images']:,}", str(row["workers"])]
    if cost["failure"]:
        return [*begin, cost["failure"], "", "", ""]
    each = cost["cpu_s"] / row["images"] * 1e6
    return [*begin, f"{cost['cpu_s']:.2f}", f"{each:.1f}", f"{cost['wall_s']:.2f}", f"{cost['peak_mb']:,.0f}"]


def _billion(row: dict[str, Any]) -> list[str]:
    if row["cpu_s"] is None:
        return [row["step"], *["not measured"] * 8]
    cpu, peak = row["cpu_s"], row["peak_mb"]
    days = (cpu["constant"] + cpu["each"] * BILLION) / DAY_S
    return [
        row["step"], f"{cpu['constant']:.1f}", f"{cpu['each'] * 1e6:.1f}", f"{cpu['worst']:.0%}",
        f"{peak['constant']:,.0f}", f"{peak['each'] * 1e6:,.0f}", f"{peak['worst']:.0%}",
        f"{days:.2f}", f"{(peak['constant'] + peak['each'] * BILLION) / 1e3:,.1f}",
    ]  # fmt: skip
