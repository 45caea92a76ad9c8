"""What a study found, as tables for other programs and for papers."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from augsuite.errors import ConfigError
from augsuite.study.store import Store
from augsuite.study.summary import Summary

Row = dict[str, Any]

SUFFIXES = (".csv", ".parquet", ".tex")


def arm_rows(summary: Summary) -> list[Row]:
    """A row for each arm: its mean, its effect with interval and p values, what it cost; None where there is none."""
    rows = []
    for arm in summary.arms:
        effect = arm.effect
        rows.append(
            {
                "arm": arm.arm,
                "metric": summary.state.metric,
                "seeds": len(arm.values),
                "mean": arm.mean,
                "sd": arm.sd,
                "effect": effect and effect.mean,
                "low": effect and effect.low,
                "high": effect and effect.high,
                "p": effect and effect.p,
                "p_corrected": effect and effect.p_corrected,
                "verdict": effect.verdict if effect else "reference" if arm.arm == summary.state.reference else None,
                "augment_ms": arm.augment_ms,
                "train_ms": arm.train_ms,
                "failed": arm.failed,
                "missing": arm.missing,
            }
        )
    return rows


def run_rows(summary: Summary, store: Store) -> list[Row]:
    """A row for each run: how it stands, all its metrics, what it cost, where and when; None where there is none."""
    state = summary.state
    entries = store.entries(run.digest for run in state.runs)
    records = {digest: entry.record for digest, entry in entries.items() if entry.record is not None}
    metrics = dict.fromkeys(name for record in records.values() for name in record.metrics)
    rows = []
    for run in state.runs:
        entry, record = entries.get(run.digest), records.get(run.digest)
        rows.append(
            {
                "study": state.study,
                "arm": run.arm,
                "seed": run.seed,
                "digest": run.digest,
                "status": entry.status if entry else "missing",
                **{name: record and record.metrics.get(name) for name in metrics},
                "images": record and record.images,
                "seconds": record and record.seconds,
                "cpu_seconds": record and record.cpu_seconds,
                "augment_seconds": record and record.augment_seconds,
                "parameters": record and record.parameters,
                "host": entry and entry.host,
                "began": entry and entry.began,
                "ended": entry and entry.ended,
                "error": entry.error.partition("\n")[0] if entry and entry.error else None,
            }
        )
    return rows


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write rows as CSV, Parquet or LaTeX, as the name of the file ends; whole or not at all.

    Raises:
        ConfigError: for another ending.
    """
    check_suffix(path)
    content = latex(rows).encode() if path.suffix == ".tex" else _arrow(rows, path.suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def check_suffix(path: Path) -> None:
    """Stop at a file whose name does not say what it is to be.

    Raises:
        ConfigError: for another ending than those of `SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: write to a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")


def _arrow(rows: Sequence[Row], suffix: str) -> bytes:
    import pyarrow as pa
    from pyarrow import csv, parquet

    table = pa.table({name: [row[name] for row in rows] for name in (rows[0] if rows else ())})
    buffer = io.BytesIO()
    if suffix == ".csv":
        csv.write_csv(table, buffer)
    else:
        parquet.write_table(table, buffer)
    return buffer.getvalue()


def latex(rows: Sequence[Row]) -> str:
    r"""A table for the package booktabs, to be `\input` into a document: arms with their effects, or runs with their metric.

    Numbers have one decimal; an effect that counts after the correction is bold.
    """
    if rows and "effect" in rows[0]:
        metric = rows[0]["metric"]
        heads = ["arm", metric, f"effect on {metric}", r"95\,\% interval", "corrected $p$", "seeds"]
        lines = [_arm_line(row) for row in rows]
    else:
        heads = ["arm", "seed", "status", *_metrics(rows)]
        lines = [
            [
                escaped(row["arm"]),
                str(row["seed"]),
                escaped(row["status"]),
                *(_number(row[name]) for name in _metrics(rows)),
            ]
            for row in rows
        ]
    heads = [head if "$" in head or "\\" in head else escaped(head) for head in heads]
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs}",
            rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
            *(" & ".join(line) + r" \\" for line in lines),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _arm_line(row: Row) -> list[str]:
    effect = "" if row["effect"] is None else _number(row["effect"], signed=True)
    if row["verdict"] in {"helps", "hurts"}:
        effect = rf"\textbf{{{effect}}}"
    interval = "" if row["low"] is None else f"[{_number(row['low'], True)}, {_number(row['high'], True)}]"
    p = row["p_corrected"]
    chance = "" if p is None else "$<$0.001" if p < 0.001 else f"{p:.3f}"
    return [escaped(row["arm"]), _number(row["mean"]), effect, interval, chance, str(row["seeds"])]


def _metrics(rows: Sequence[Row]) -> list[str]:
    """The metrics of runs that fit a page: not those of single classes."""
    names = list(rows[0]) if rows else []
    return [name for name in names[5 : names.index("images")] if "/" not in name][:6] if names else []


def _number(value: float | None, signed: bool = False) -> str:
    if value is None:
        return "--"
    text = f"{value:+z.1f}" if signed else f"{value:z.1f}"
    return f"${text}$" if text[0] in "+-" else text


# The brackets and the star have a meaning after the end of a row; the bar and the angles are other characters in TeX's first encoding.
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"{{{character}}}" for character in "[]*"},
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escaped(text: str) -> str:
    """Text in which nothing is a command of LaTeX."""
    return "".join(_SPECIAL.get(character, character) for character in text)
