"""`pocketbert curves`: a training stage of two runs side by side."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import plots
from bench.curves import Curve, curve_of, side_by_side
from compress.errors import UserError
from compress.files import write_json, write_text
from pocketbert.runs import read_manifest


def compare(first: Path, second: Path, *, stage: str, output: Path | None) -> dict[str, Any]:
    """Both runs' losses as plain values. `output`: a folder for curves.svg and curves.json."""
    curves = [_read(folder, stage) for folder in (first, second)]
    found = {
        "stage": stage,
        "runs": [asdict(curve) for curve in curves],
        "lines": [asdict(line) for line in side_by_side(*curves)],
    }
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / "curves.svg", plots.curves_together(curves, stage))
        write_json(output / "curves.json", found)
    return found


def _read(folder: Path, stage: str) -> Curve:
    record = read_manifest(folder).get(stage)
    curve = curve_of(folder.name, record.metrics.get("history", [])) if record is not None else None
    if curve is None or not curve.steps:
        raise UserError(f"{folder}: holds no finished stage {stage!r} with a loss curve; expected the folder of a run")
    return curve
