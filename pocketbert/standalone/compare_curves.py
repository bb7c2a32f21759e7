"""`pocketbert curves`: the loss curves of a training stage in two runs."""

from dataclasses import dataclass
from pathlib import Path

from pydantic_core import to_jsonable_python

from bench.plots import report_plots
from bench.plots.loss_curves import Curve, CurveComparison, curve_of, side_by_side
from compress.common.errors import UserError
from compress.common.files import write_json, write_text
from compress.common.owned_files import open_output, require_writable
from compress.results import TrainingResult
from pocketbert.store.manifest import read_manifest

FILES = ("curves.svg", "curves.json")


@dataclass(frozen=True, kw_only=True)
class _StageResult:
    """The part that the results of all training stages share."""

    training: TrainingResult | None = None


def compare_curves(first: Path, second: Path, *, stage: str, output: Path | None) -> CurveComparison:
    """Compare the losses of both runs. `output`: a folder for curves.svg and curves.json. Raises UserError."""
    if output is not None:
        require_writable(output, FILES)
    curves = [_read(folder, stage) for folder in (first, second)]
    comparison = CurveComparison(stage=stage, runs=curves, lines=side_by_side(*curves))
    if output is not None:
        with open_output(output, FILES).writing(*FILES):
            write_text(output / "curves.svg", report_plots.compared_loss_curves(curves, stage))
            write_json(output / "curves.json", to_jsonable_python(comparison))
    return comparison


def _read(folder: Path, stage: str) -> Curve:
    record = read_manifest(folder).get(stage)
    training = None if record is None else record.result_as(_StageResult).training
    if training is None or not any(entry.parts for entry in training.history):
        raise UserError(f"{folder}: no finished stage {stage!r} with a loss curve; expected the folder of a run")
    return curve_of(folder.name, training.history)
