"""How fast the training stages are, from results/training/training.json."""

from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from bench.training_speed.ladder import LadderRow, TrainingLadder
from regions.cells import megabytes, ratio, read_json, table


def _ladder(results: Path) -> TrainingLadder:
    content = read_json(results / "training" / "training.json")
    ladder: TrainingLadder = TypeAdapter(TrainingLadder).validate_python(content)
    return ladder


def training_setup(results: Path) -> str:
    """The rows and rounds of the benchmark."""
    ladder = _ladder(results)
    stage = ladder.stages["intermediate"]
    return (
        f"Data: {ladder.num_rows} train rows of {stage.mean_tokens:.0f} tokens on average, in batches of "
        f"{stage.batch_size}, in {ladder.rounds} interleaved rounds."
    )


def training_stage(results: Path, *, stage: Literal["intermediate", "prediction"]) -> str:
    """Examples per second and peak memory of each rung."""
    header = ("", "examples/s", "over (a)", "over (b)", "input pipeline", "peak memory")
    return table(header, [_cells(row) for row in _ladder(results).stages[stage].rows])


def _cells(row: LadderRow) -> tuple[str, ...]:
    assert row.examples_per_s is not None and row.peak_rss_bytes is not None
    return (
        row.name.replace("like length", "similar length"),
        f"{row.examples_per_s:.0f}",
        ratio(row.speedup_over_plain),
        ratio(row.speedup_over_best_plain),
        "-" if row.input_share is None else f"{row.input_share:.1%}",
        megabytes(row.peak_rss_bytes),
    )


REGIONS = {
    "training-setup": training_setup,
    "training-intermediate": partial(training_stage, stage="intermediate"),
    "training-prediction": partial(training_stage, stage="prediction"),
}
