"""Answers of a real Triton server, from results/serving/triton.json."""

import textwrap
from pathlib import Path
from typing import Any

from regions.cells import read_json, table

PARTS = {"cpu": "default", "gpu_with_stand_in": "`--gpu`, onnxruntime in a Python model"}


def _content(results: Path) -> Any:
    return read_json(results / "serving" / "triton.json")


def _rounded(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}"


def triton_table(results: Path) -> str:
    """One row per model: labels changed and the largest difference over both protocols, and how far requests merged."""
    content = _content(results)
    rows = []
    for part, models in content["parts"].items():
        for name, model in models.items():
            runs = [model[protocol] for protocol in ("http", "grpc")]
            together = [run[mode] for run in runs for mode in ("concurrent", "in_one_request")]
            alone = [run["alone"] for run in runs]
            executions = [run["concurrent"]["executions"] for run in runs]
            rows.append(
                (
                    f"{name}, {PARTS[part]}",
                    f"{sum(each['changed_labels'] for each in alone)}",
                    _rounded(max(each["largest_difference"] for each in alone)),
                    f"{sum(each['changed_labels'] for each in together)}",
                    _rounded(max(each["largest_difference"] for each in together)),
                    f"{min(executions)}-{max(executions)}",
                )
            )
    header = ("model", "labels changed, alone", "difference", "labels changed, together", "difference", "runs")
    return table(header, rows)


def triton_facts(results: Path) -> str:
    """What was run."""
    content = _content(results)
    versions, kserve = content["versions"], content["kserve"]
    refused = sum(map(len, kserve["refused"].values()))
    return "\n" + textwrap.fill(
        f"{content['num_texts']} texts per model; Triton {versions['tritonserver']}, onnxruntime "
        f"{versions['onnxruntime']}, Python {versions['python']}. tritonclient parsed "
        f"{content['parsed_configurations']} config.pbtxt files. The schema of KServe {kserve['version']} refused "
        f"{refused} fields of {len(kserve['refused'])} services.",
        120,
    )


REGIONS = {"triton-table": triton_table, "triton-facts": triton_facts}
