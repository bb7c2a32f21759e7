"""Two runs or benchmarks side by side: what differs, and whether that may be chance."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench import stats, table
from compress.errors import UserError

HEADER = ("model", "score", "then", "difference", "times as fast", "then", "change", "size", "then")
SAME_MACHINE = ("cpu", "usable_cores", "gpu_name")
Z_95 = 1.96


def compare(first: dict[str, Any], second: dict[str, Any], *, other_machine: bool) -> dict[str, Any]:
    """The rows that both results have, by name, as cells under HEADER; and what else is to be known.

    Speed is that against each run's own first row, so that it is compared where both have the same. Raises UserError
    where they were measured on other machines, unless told that this is meant, and where they share no row.
    """
    there, here = (results["stages"]["bench"] for results in (first, second))
    remarks = _machines(there["machine"], here["machine"], other_machine=other_machine)
    if there["metric"] != here["metric"]:
        raise UserError(f"{second['name']}: scored by {here['metric']}, {first['name']} by {there['metric']}")
    before = {row["name"]: row for row in there["rows"] if row["texts"]}
    after = {row["name"]: row for row in here["rows"] if row["texts"]}
    shared = [name for name in before if name in after]
    if not shared:
        raise UserError(f"{first['name']} and {second['name']} have no model of the same name")
    num_rows = [table.num_scored_rows(results) for results in (first, second)]
    accuracy = there["metric"] == "accuracy"
    lines = [_line(before[name], after[name], num_rows if accuracy else [None, None]) for name in shared]
    for who, rows, others in ((first["name"], before, after), (second["name"], after, before)):
        if left := [name for name in rows if name not in others]:
            remarks.append(f"only in {who}: {', '.join(left)}")
    return {"names": [first["name"], second["name"]], "header": list(HEADER), "cells": lines, "remarks": remarks}


def _machines(first: Mapping[str, Any], second: Mapping[str, Any], *, other_machine: bool) -> list[str]:
    def known(machine: Mapping[str, Any]) -> dict[str, Any]:
        return {**machine, "gpu_name": (machine["gpu"] or {}).get("name")}

    a, b = known(first), known(second)
    differ = [f"{name}: {a[name]} and {b[name]}" for name in SAME_MACHINE if a[name] != b[name]]
    if differ and not other_machine:
        raise UserError(
            f"measured on other machines ({'; '.join(differ)}): their speeds say nothing of one another; "
            "--other-machine compares them all the same"
        )
    versions = [
        f"{name} {a['versions'].get(name, 'none')} and {b['versions'].get(name, 'none')}"
        for name in sorted({*a["versions"], *b["versions"]})
        if a["versions"].get(name) != b["versions"].get(name)
    ]
    return [
        *(["OTHER MACHINES: " + "; ".join(differ)] if differ else []),
        *(["other versions: " + ", ".join(versions)] if versions else []),
    ]


def _line(before: Mapping[str, Any], after: Mapping[str, Any], num_rows: list[int | None]) -> tuple[str, ...]:
    return (
        before["name"],
        *_scores(before["score"], after["score"], num_rows),
        *_speeds(before["texts_ratio"], after["texts_ratio"]),
        table.megabytes(before["size_bytes"]),
        table.megabytes(after["size_bytes"]),
    )


def _scores(before: float | None, after: float | None, num_rows: list[int | None]) -> tuple[str, str, str]:
    if before is None or after is None:
        return ("-", "-", "-")
    told = f"{after - before:+.3f}"
    first, second = num_rows
    if first and second:
        half = Z_95 * float(np.sqrt(before * (1 - before) / first + after * (1 - after) / second))
        told += "" if abs(after - before) > half else f" (not significant: within {half:.3f})"
    return (f"{before:.3f}", f"{after:.3f}", told)


def _speeds(before: Mapping[str, float] | None, after: Mapping[str, float] | None) -> tuple[str, str, str]:
    if before is None or after is None:
        return ("-", "-", "-")
    half = np.hypot(*(np.log(ratio["high"] / ratio["low"]) / 2 for ratio in (before, after)))
    change = np.log(after["value"] / before["value"])
    ratio = {"value": float(np.exp(change)), "low": float(np.exp(change - half)), "high": float(np.exp(change + half))}
    return (table.ratio(dict(before)), table.ratio(dict(after)), f"{table.ratio(ratio)}: {stats.verdict(ratio)}")
