"""Students of all-mpnet-base-v2: each bundle's accuracy on dev and test, against its teacher on the same rows.

    python results/mpnet/collect.py --teacher runs/mpnet-teacher --student "4 x 312" runs/mpnet \
        --tried runs/first runs/mpnet --weighted runs/weight-1 runs/weight-0.02 > results/mpnet/mpnet.json

Each run of a student is finished. Sizes and speeds are those of the runs. "agreement" is the share of rows, evenly
spaced ones of train and all of test, for which the fp32 bundle gives the teacher's label. The runs of --tried compare
the steps of the stages, and end after the prediction stage or later; those of --weighted compare weights of the
attention loss, and end after the intermediate stage.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

import pocketbert
from bench.results.benchmark import BenchmarkRow
from bench.results.document import read_results
from compress.common.console import new_console
from compress.data.task_types import task_type
from compress.data.tasks import Task
from compress.results import BaselineResult, IntermediateResult, PredictionResult, TeacherResult
from export.parity.predictors import TorchPredictor
from export.parity.significance import paired_difference
from pocketbert.data.recipe_task import load_recipe_task
from pocketbert.recipe.loading import load_recipe
from pocketbert.recipe.training import IntermediateSection
from pocketbert.store.manifest import read_manifest

SPLITS = ("dev", "test")
NUM_TRAIN_ROWS = 2000  # whose predictions are compared with the teacher's
STAGES = ("general", "intermediate", "prediction")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, metavar="RUN")
    parser.add_argument("--student", nargs=2, action="append", required=True, metavar=("NAME", "RUN"))
    parser.add_argument("--tried", nargs="*", type=Path, default=[], metavar="RUN")
    parser.add_argument("--weighted", nargs="*", type=Path, default=[], metavar="RUN")
    arguments = parser.parse_args()
    runs = {name: Path(folder) for name, folder in arguments.student}
    first = next(iter(runs.values()))
    recipe = load_recipe(str(first / "recipe.yaml"))
    task = load_recipe_task(recipe, new_console(stderr=True, quiet=True))
    teacher = predictions_of(TorchPredictor(first / "teacher" / "model", max_length=task.max_length), task)
    fine_tuned = read_manifest(arguments.teacher)["teacher"].result_as(TeacherResult).training
    document = {
        "machine": asdict(read_results(first).stages.bench.machine),
        "num_rows": {"train": len(task.train), "dev": len(task.dev), "test": len(task.test)},
        "baseline": asdict(read_manifest(first)["baseline"].result_as(BaselineResult).scores),
        "teacher": {
            "num_steps": fine_tuned.num_steps,
            "seconds": fine_tuned.seconds,
            **{split: accuracy(task, split, teacher) for split in SPLITS},
        },
        "students": {name: student(folder, task, teacher) for name, folder in runs.items()},
        "tried": [tried(folder) for folder in arguments.tried],
        "weighted": [weighted(folder) for folder in arguments.weighted],
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


def student(folder: Path, task: Task, teacher: dict[str, np.ndarray]) -> dict[str, object]:
    """The figures of one run. `teacher`: the teacher's predictions."""
    results, records = read_results(folder), read_manifest(folder)
    rows = {(row.role, row.variant, row.engine): row for row in results.stages.bench.rows if row.device == "cpu"}
    predictions = {
        variant: predictions_of(pocketbert.load(folder / "export" / variant), task)
        for variant in results.stages.export.variants
    }
    return {
        "num_steps": {stage: records[stage].result["training"]["num_steps"] for stage in STAGES},
        "seconds": results.stage_seconds,
        "failures": {name: variant.failures for name, variant in results.stages.export.variants.items()},
        "recommended": results.stages.export.recommended,
        "teacher": timed(rows["teacher", None, "torch"]),
        "agreement": {
            split: float((predictions["fp32"][split] == teacher[split]).mean()) for split in ("train", "test")
        },
        "variants": {
            variant: {
                **timed(rows["student", variant, "onnxruntime"]),
                **dict(scores(task, own, teacher)),
            }
            for variant, own in predictions.items()
        },
    }


def tried(folder: Path) -> dict[str, object]:
    """The rows, steps and rates of a run, and the accuracy of its student in torch."""
    recipe, records = load_recipe(str(folder / "recipe.yaml")), read_manifest(folder)
    intermediate = recipe.distill.intermediate
    return {
        "max_rows": recipe.task.max_rows,
        "num_steps": {
            stage: records[stage].result["training"]["num_steps"] if stage in records else 0 for stage in STAGES
        },
        "attention": attention_weight(intermediate),
        "learning_rates": {
            "intermediate": intermediate.learning_rate, "prediction": recipe.distill.prediction.learning_rate
        },
        "scores": asdict(records["prediction"].result_as(PredictionResult).scores),
    }  # fmt: skip


def attention_weight(section: IntermediateSection) -> float:
    """The weight of the attention loss in a run that was made before MPNet had a default of its own."""
    return 1.0 if section.attention is None else section.attention


def weighted(folder: Path) -> dict[str, object]:
    """The losses of the first and the last step, unweighted, and the accuracy on dev with the teacher's head."""
    settings = load_recipe(str(folder / "recipe.yaml")).distill.intermediate
    result = read_manifest(folder)["intermediate"].result_as(IntermediateResult)
    ends = {"first": result.training.history[0], "last": result.training.history[-1]}
    weights = {
        "embedding": settings.embedding, "hidden": settings.hidden, "attention": attention_weight(settings)
    }  # fmt: skip
    return {
        "weights": weights,
        "learning_rate": settings.learning_rate,
        "num_steps": result.training.num_steps,
        "losses": {
            name: {part: value / weights[part] for part, value in entry.parts.items()} for name, entry in ends.items()
        },
        "dev": result.scores.dev,
    }


def timed(row: BenchmarkRow) -> dict[str, object]:
    """Size and speed."""
    speedup = None if row.speedup is None else asdict(row.speedup)
    return {"size_bytes": row.size_bytes, "median_ms": row.latency.median_ms, "speedup": speedup}


def scores(task: Task, own: dict[str, np.ndarray], teacher: dict[str, np.ndarray]) -> Iterator[tuple[str, object]]:
    """Accuracy by split, and the paired difference from the teacher."""
    for split in SPLITS:
        difference = paired_difference(
            "accuracy", getattr(task, split).labels, own[split], teacher[split],
            task_type=task_type(task.type), num_labels=len(task.labels), resamples=10_000,
        )  # fmt: skip
        yield split, {"accuracy": accuracy(task, split, own), "difference": asdict(difference)}


def predictions_of(model: "TorchPredictor | pocketbert.Classifier", task: Task) -> dict[str, np.ndarray]:
    """Predicted classes of a sample of train, of dev and of test."""
    texts = {"train": train_sample(task), **{split: getattr(task, split).texts for split in SPLITS}}
    return {split: model.logits(each).argmax(axis=1) for split, each in texts.items()}


def train_sample(task: Task) -> list[str]:
    """Evenly spaced texts of train."""
    indices = np.unique(np.linspace(0, len(task.train) - 1, NUM_TRAIN_ROWS).astype(int))
    return task.train.take(indices).texts


def accuracy(task: Task, split: str, predicted: dict[str, np.ndarray]) -> float:
    """The share of rows with the right label."""
    return float((predicted[split] == getattr(task, split).labels).mean())


if __name__ == "__main__":
    main()
