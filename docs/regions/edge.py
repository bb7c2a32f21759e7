"""The table of packaged bundles on other machines, from results/serving/edge.json."""

from collections.abc import Callable, Mapping
from pathlib import Path

from regions.cells import read_json, table

HEADER = ("processor", "system", "Python", "onnxruntime", "archive", "installed", "install", "one call", "peak memory")


def edge_table(results: Path) -> str:
    """A row per machine."""
    rows = []
    for device in read_json(results / "serving" / "edge.json")["devices"]:
        name = f"{device['name']} (emulated)" if device["emulated"] else f"{device['name']} (this machine)"
        rows.append(
            [
                name,
                device["system"],
                device["python"],
                device["packages"]["onnxruntime"],
                f"{device['archive_bytes'] / 1e6:.0f} MB",
                f"{device['installed_bytes'] / 1e6:.0f} MB",
                f"{device['install_s']:.1f} s",
                f"{device['one_call_median_s']:.1f} s",
                f"{device['peak_rss_mb']} MB",
            ]
        )
    return table(HEADER, rows)


def edge_facts(results: Path) -> str:
    """What was measured, and on what."""
    document = read_json(results / "serving" / "edge.json")
    bundle, calls = document["bundle"], len(document["devices"][0]["one_call_s"])
    outcomes = [f"- {device['name']}: {device['golden']}." for device in document["devices"]]
    facts = [
        f"- Bundle: {bundle['name']}, {bundle['variant']}, {bundle['model_bytes'] / 1e6:.0f} MB.",
        f"- Host: 2 shared cores of an {document['host']}.",
        f"- One call: the median of {calls} calls of `predict` with one text, each a new process.",
    ]
    return "\n".join([*facts, *outcomes])


REGIONS: Mapping[str, Callable[[Path], str]] = {"edge-table": edge_table, "edge-facts": edge_facts}
