"""The figures of a run as a small JSON file, without texts and paths.

    python results/auto/collect.py RUN ESTIMATE MAXIMUM > results/auto/NAME.json

RUN: the folder of a finished run. ESTIMATE, MAXIMUM: minutes that `pocketbert check` printed before it.
"""

import json
import sys
from pathlib import Path

from bench.results.document import read_results
from bench.results.measurements import Ratio


def collect(run_folder: Path, minutes: tuple[float, float]) -> dict[str, object]:
    """Scores on test and retention with 95 % intervals, times and chosen values."""
    results = read_results(run_folder)
    stages, run = results.stages, results.run
    assert run is not None and stages.export is not None
    named = {
        "baseline": next(row for row in stages.bench.rows if row.role == "baseline"),
        "teacher": next(row for row in stages.bench.rows if row.role == "teacher"),
        "student": next(row for row in stages.bench.rows if row.role == "student" and row.engine == "torch"),
    }
    bundle = stages.bench.student_bundle(stages.export.recommended) if stages.export.recommended else None
    if bundle is not None:
        named["bundle"] = bundle
    return {
        "metric": results.metric,
        "rows": vars(run.num_rows),
        "variant": stages.export.recommended,
        "scores": {name: [row.score, *(row.score_interval or ())] for name, row in named.items()},
        "retention": None if bundle is None else _interval(bundle.retention),
        "size_bytes": None if bundle is None else bundle.size_bytes,
        "estimated_minutes": minutes[0],
        "maximum_minutes": minutes[1],
        "taken_s": results.stage_seconds,
        "choices": {choice.key: choice.value for choice in run.choices},
    }


def _interval(ratio: Ratio | None) -> list[float] | None:
    return None if ratio is None else [ratio.value, ratio.low, ratio.high]


if __name__ == "__main__":
    estimate, maximum = map(float, sys.argv[2:])
    sys.stdout.write(json.dumps(collect(Path(sys.argv[1]), (estimate, maximum)), indent=1) + "\n")
