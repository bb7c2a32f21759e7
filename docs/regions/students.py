"""Students of several shapes and forms of the graph, from the JSON files in results/students."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.results.measurements import Machine, Ratio
from regions.cells import difference_cell, machine_words, megabytes, ratio, read_json, table

AMX, VNNI = "speed", "speed-vnni"  # the file of each kind of processor
FORMER = "tinybert4 former"  # the graph with attention in fp32
RATIO = TypeAdapter(Ratio)


def _read(results: Path, name: str) -> Any:
    return read_json(results / "students" / f"{name}.json")


def students_quality(results: Path) -> str:
    """Accuracy on dev and test, the paired difference on both, and the labels that quantisation changes."""
    rows = _read(results, "quality")["rows"]
    by_name: dict[str, dict[str, Any]] = {}
    for row in rows:
        by_name.setdefault(row["name"], {})[row["split"]] = row
    return table(
        ("bundle", "size", "dev", "test", "difference on dev", "difference on test", "changed labels, dev", "test"),
        [
            (
                name,
                megabytes(splits["dev"]["size_bytes"]),
                *(f"{splits[split]['accuracy']:.4f}" for split in ("dev", "test")),
                *(difference_cell(splits[split]["difference"]) for split in ("dev", "test")),
                *(str(splits[split]["num_label_changes"]) for split in ("dev", "test")),
            )
            for name, splits in by_name.items()
        ],
    )


def students_latency(results: Path, file: str = AMX) -> str:
    """Median latency of the model alone, by shape."""
    median_ms = _read(results, file)["median_ms"]
    shapes = list(next(iter(median_ms.values())))
    rows = [(name, *(f"{by_shape[shape]:.3g}" for shape in shapes)) for name, by_shape in median_ms.items()]
    return table(("model, ms", *(shape.replace("x", " x ") for shape in shapes)), rows)


def students_ratios(results: Path, file: str = AMX) -> str:
    """How many times as fast: each student as the former graph of TinyBERT4, and as other engines on the same model."""
    ratios = _read(results, file)["ratios"]
    rows = []
    for name, others in ratios.items():
        for other in others:
            model = other.partition(", ")[2]
            if other == FORMER or model == name:
                rows.append((name, other, *(_cell(others[other][shape]) for shape in others[other])))
    shapes = list(next(iter(next(iter(ratios.values())).values())))
    header = ("model", "than", *(shape.replace("x", " x ") for shape in shapes))
    return table(header, rows, text_columns=(0, 1))


def _cell(value: Mapping[str, float]) -> str:
    return ratio(RATIO.validate_python(value))


def students_bound(results: Path, file: str = AMX) -> str:
    """The share of the time that all products would take at the rate of a large int8 product."""
    content = _read(results, file)
    rows = []
    for name, products in content["products"].items():
        medians = content["median_ms"][name]
        shares = (2 * products[shape] / (content["int8_gops"] * 1e6) / medians[shape] for shape in products)
        rows.append((name, *(f"{share:.0%}" for share in shares)))
    shapes = list(next(iter(content["products"].values())))
    return table(("model", *(shape.replace("x", " x ") for shape in shapes)), rows)


def students_machine(results: Path, file: str = AMX) -> str:
    """The machine, and the rate of its int8 products with one thread."""
    content = _read(results, file)
    machine = TypeAdapter(Machine).validate_python(content["machine"])
    return f"{machine_words(machine)}; one thread, {content['int8_gops']:,.0f} GOPS for int8 products of 2048 x 2048"


SPEED = {
    "latency": students_latency,
    "ratios": students_ratios,
    "bound": students_bound,
    "machine": students_machine,
}
REGIONS = {
    "students-quality": students_quality,
    **{f"students-{name}": partial(region, file=AMX) for name, region in SPEED.items()},
    **{f"students-{name}-vnni": partial(region, file=VNNI) for name, region in SPEED.items()},
}
