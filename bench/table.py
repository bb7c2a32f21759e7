"""The benchmark as text cells, the same in the terminal, in Markdown and in HTML."""

from collections.abc import Mapping, Sequence
from typing import Any

from compress.metrics import Metric, is_regression

HEADER = ("model", "size", "parameters", "score", "ms, median", "p90", "p95", "p99", "times as fast", "texts/s")
SHORT_REASON = 16  # letters of an error that fit into a column; longer ones are told beside the table
PERCENTILES = ("median_ms", "p90_ms", "p95_ms", "p99_ms")


def cells(bench: dict[str, Any]) -> list[tuple[str, ...]]:
    """One tuple of cells per row, in the order of HEADER. `bench`: the bench part of results.json."""
    return [_cells(row) for row in bench["rows"]]


def header(bench: dict[str, Any], rows: str) -> tuple[str, ...]:
    """HEADER with the metric's name and the rows it was taken on."""
    scored = any(row["score"] is not None for row in bench["rows"])
    metric = f"{bench['metric']} ({rows})" if scored else "score"
    return tuple(metric if name == "score" else name for name in HEADER)


def label_flips(parity: Mapping[str, Any], metric: Metric) -> str:
    """How many labels a variant gives otherwise than torch; a regression has none."""
    return "-" if is_regression(metric) else f"{parity['num_label_flips']} of {parity['num_rows']}"


def scored_rows(results: dict[str, Any]) -> str:
    """Which rows the scores of results.json were taken on."""
    if "rows" not in results:
        return "--data"
    return "dev" if results["selected_on_test"] else "test"


def num_scored_rows(results: dict[str, Any]) -> int | None:
    """How many rows those are; None where results.json does not say, as of a benchmark of folders."""
    return (results.get("rows") or {}).get(scored_rows(results))


def grid_cells(bench: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and cells of the grid: the model alone, milliseconds and speed-up by the shape of its input."""
    shapes = bench["grid"]
    found = []
    for row in bench["rows"]:
        if not row["tokens"]:
            continue
        ratios = row["tokens_ratio"] or {}
        found.append((row["name"], *(_at_shape(row["tokens"].get(shape), ratios.get(shape)) for shape in shapes)))
    return ("model", *map(_words_for, shapes)), found


def megabytes(num_bytes: float) -> str:
    """Decimal megabytes."""
    return f"{num_bytes / 1e6:.1f} MB"


def ratio(value: dict[str, float] | None) -> str:
    """A ratio with its interval."""
    if value is None:
        return "-"
    return f"{value['value']:.2f} ({value['low']:.2f}-{value['high']:.2f})"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    size = megabytes(row["size_bytes"])
    if row["texts"] is None:
        reason = row["error"] if len(row["error"]) <= SHORT_REASON else "not measured"
        return (row["name"], size if row["size_bytes"] else "-", "-", "-", reason, *["-"] * 5)
    return (
        row["name"],
        size,
        "-" if row["num_parameters"] is None else f"{row['num_parameters'] / 1e6:.2f} M",
        "-" if row["score"] is None else f"{row['score']:.3f}",
        *("too few" if row["texts"][name] is None else f"{row['texts'][name]:.2f}" for name in PERCENTILES),
        ratio(row["texts_ratio"]),
        f"{row['throughput']:.0f}",
    )


def _words_for(shape: str) -> str:
    batch, length = shape.split("x")
    return f"{length} tokens" if batch == "1" else f"{batch} x {length} tokens"


def _at_shape(summary: dict[str, float] | None, times: dict[str, float] | None) -> str:
    if summary is None:
        return "-"
    return f"{summary['median_ms']:.2f} ms" + ("" if times is None else f", x{times['value']:.1f}")
