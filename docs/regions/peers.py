"""Our bundles compared with other toolkits, from results/bench/peers.json and results/bench/openvino-processes.json."""

from pathlib import Path

from pydantic import TypeAdapter

from bench.results.benchmark import TEXTS, BenchmarkRow, BenchResult
from bench.results.measurements import Ratio
from regions.cells import megabytes, ratio, read_json, read_results, table

OURS = "int8-static"
ROW_NAMES = {"OpenVINO int8": "OpenVINO int8", "OpenVINO bf16": "OpenVINO bf16", "ours, again": "A/A control"}


def _bench(results: Path) -> BenchResult:
    return read_results(results / "bench" / "peers.json").stages.bench


def _name(row: BenchmarkRow) -> str:
    if row.engine == "torch":
        return f"torch {row.precision}{' compiled' if row.compiled else ''}"
    return row.label if row.role == "peer" else f"**PocketBERT** {row.variant}"


def peers_latency(results: Path) -> str:
    """Size, accuracy, median latencies and throughput of all."""
    bench = _bench(results)
    rows = []
    for row in bench.rows:
        assert row.latency is not None
        rows.append(
            (
                _name(row),
                megabytes(row.size_bytes),
                f"{row.score:.4f}",
                f"{row.latency.median_ms:.2f}",
                *(f"{row.latency_by_shape[shape].median_ms:.2f}" for shape in bench.grid),
                f"{row.texts_per_s:,.0f}",
            )
        )
    shapes = [shape.replace("x", " x ") for shape in bench.grid]
    return table(("model", "size", "accuracy", "text to label", *shapes, "texts/s"), rows)


def peers_ratios(results: Path) -> str:
    """How many times as fast our int8-static is as each of the others."""
    bench = _bench(results)
    ours = next(row for row in bench.rows if row.variant == OURS and row.role != "peer")
    inputs = list(ours.comparisons_by_input)
    rows = []
    for other in ours.comparisons_by_input[TEXTS]:
        over = {
            name: next(each.ratio for each in ours.comparisons_by_input[name] if each.other == other.other)
            for name in inputs
        }
        rows.append((_name(bench.row(other.other)), *(ratio(over[name]) for name in inputs)))
    header = ["text to label" if name == TEXTS else name.replace("x", " x ") for name in inputs]
    return table(("than", *header), rows)


def peers_control(results: Path) -> str:
    """The A/A control of that run."""
    control = _bench(results).aa_control
    assert control is not None
    return ratio(control.ratio)


def openvino_ratios(results: Path) -> str:
    """How many times as fast our int8-static is as OpenVINO, in a run of the two with eight processes each."""
    content = read_json(results / "bench" / "openvino-processes.json")
    by_input = {name: {line["what"]: line["ratio"] for line in lines} for name, lines in content.items()}
    rows = [
        (title, *(ratio(TypeAdapter(Ratio).validate_python(lines[name])) for lines in by_input.values()))
        for name, title in ROW_NAMES.items()
    ]
    header = ["text to label" if name == TEXTS else name.replace("x", " x ") for name in by_input]
    return table(("than", *header), rows)


REGIONS = {
    "peers-latency": peers_latency,
    "peers-ratios": peers_ratios,
    "peers-control": peers_control,
    "openvino-ratios": openvino_ratios,
}
