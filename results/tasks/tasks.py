"""Students of four shapes on four tasks, with three seeds: scores, retention, size and speed of their bundles.

    python results/tasks/tasks.py train --work runs/tasks [--shard 1/2] [--tasks cola,rte] [--students fast3]
    python results/tasks/tasks.py bench --work runs/tasks
    python results/tasks/tasks.py collect --work runs/tasks --output results/tasks/tasks.json

Run it in a folder with data/ and models/, which the recipes beside this file name. `train` makes every student and its
bundles, and may run in several processes at once. `bench` times the students of seed 0, and must run alone. `collect`
scores the bundles again, on the same rows, and writes the figures. All of them skip what is finished.

`agreement` is the metric with the teacher's predictions in the place of the labels, on train and on test: a student
that agrees on train only has learned the rows, and one that agrees on neither lacks layers, width or steps.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console

import pocketbert
from bench.measurement import machine
from bench.results.benchmark import BenchmarkRow
from bench.results.document import read_results
from compress.common.files import size_bytes, write_json
from compress.data.columns import Split
from compress.data.metrics import positive_class
from compress.data.task_types import task_type
from compress.data.tasks import Task
from compress.results import BaselineResult, PredictionResult, TeacherResult
from export.parity.predictors import TorchPredictor
from export.results import ExportResult
from pocketbert.ablation.paired_seeds import difference_over_seeds, mean_of
from pocketbert.ablation.run_ablation import Shard
from pocketbert.data.recipe_task import load_recipe_task
from pocketbert.recipe.loading import load_recipe
from pocketbert.store.manifest import read_manifest

HERE = Path(__file__).parent
TASKS = ("sst2", "cola", "rte", "stsb")
STUDENTS = {
    "4 x 312": "student={preset: tinybert4}",
    "3 x 192": "student={layers: 3, width: 192, ffn_width: 768, heads: 12}",
    "3 x 384, teacher's layers": (
        "student={layers: 3, width: 384, ffn_width: 1536, heads: 12, initialisation: teacher_layers}"
    ),
    "fast3": "student={preset: fast3}",
}
SEEDS = (0, 1, 2)
MOST_TRAIN_ROWS = 2000  # whose predictions are compared with the teacher's
VARIANTS = ("int4-static", "int8-static", "fp32")  # the smallest that passes is recommended


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    train_parser, bench_parser, collect_parser = map(commands.add_parser, ("train", "bench", "collect"))
    for each in (train_parser, bench_parser, collect_parser):
        each.add_argument("--work", type=Path, required=True)
        each.add_argument("--tasks", default=",".join(TASKS))
        each.add_argument("--students", default=";".join(STUDENTS), help="separated by ;")
    train_parser.add_argument("--shard", default="1/1")
    collect_parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    tasks, students = arguments.tasks.split(","), arguments.students.split(";")
    match arguments.command:
        case "train":
            runs = list(product(SEEDS, students, tasks))
            for seed, student, task in Shard.of_text(arguments.shard).part(runs):
                run(arguments.work, task, student, seed, "--until", "export")
        case "bench":
            for task, student in product(tasks, students):
                run(arguments.work, task, student, 0)
        case "collect":
            collect(arguments.work, tasks, students, arguments.output)


def changes_of(student: str, seed: int) -> list[str]:
    """The changes of a task's recipe."""
    export = f"export={{variants: [{', '.join(VARIANTS)}], teacher_variants: []}}"
    return [STUDENTS[student], f"distill.seed={seed}", export]


def folder_of(work: Path, task: str, student: str, seed: int) -> Path:
    """The run folder of a student."""
    words = "".join(letter if letter.isalnum() else "-" for letter in student)
    return work / f"{task}-{words}-{seed}"


def run(work: Path, task: str, student: str, seed: int, *options: str) -> None:
    """Call `pocketbert run`. A variant that the gate refuses is no failure."""
    sys.stderr.write(f"{task}, {student}, seed {seed}\n")
    settings = [part for change in changes_of(student, seed) for part in ("--set", change)]
    command = [sys.executable, "-P", "-m", "pocketbert", "run", HERE / f"{task}.yaml", *settings, *options]
    done = subprocess.run([*map(str, command), "--output", str(folder_of(work, task, student, seed))], check=False)
    if done.returncode not in (0, 3):
        sys.exit(done.returncode)


def collect(work: Path, tasks: list[str], students: list[str], output: Path) -> None:
    """Write the figures of all students, each with the seeds that are finished."""
    rows = []
    for task, student in product(tasks, students):
        seeds = [seed for seed in SEEDS if "export" in read_manifest(folder_of(work, task, student, seed))]
        if seeds:
            rows.append(row_of(work, task, student, seeds))
    write_json(output, {"machine": asdict(machine.describe()), "rows": rows})


def row_of(work: Path, name: str, student: str, seeds: list[int]) -> dict[str, object]:
    """The figures of a student: means over seeds, and what its bundles keep of the teacher's score."""
    sys.stderr.write(f"{name}, {student}\n")
    folders = [folder_of(work, name, student, seed) for seed in seeds]
    task, metric = task_of(name)
    records = [read_manifest(folder) for folder in folders]
    predictions = {
        variant: [predicted(folder / "export" / variant, task, task.test) for folder in folders] for variant in VARIANTS
    }
    teacher = teacher_of((folders[0] / "teacher" / "model").resolve(), name)
    train = [predicted(folder / "export" / "fp32", task, train_sample(name)) for folder in folders]
    agreement = {
        "train": mean_of([score(teacher.train, own, name) for own in train]),
        "test": mean_of([score(teacher.test, own, name) for own in predictions["fp32"]]),
    }
    exported = [record["export"].result_as(ExportResult) for record in records]
    benchmarked = read_results(folders[0]) if (folders[0] / "results.json").exists() else None
    recommended = None if benchmarked is None else benchmarked.stages.export.recommended
    timed = () if benchmarked is None else benchmarked.stages.bench.rows
    variants = {}
    for variant, own in predictions.items():
        difference = difference_over_seeds(
            task.test.labels,
            own,
            [teacher.test] * len(own),
            lambda labels, predictions: score(labels, predictions, name),
            is_mean=metric == "accuracy",
        )
        scores = [score(task.test.labels, each, name) for each in own]
        variants[variant] = {
            "test": asdict(mean_of(scores)),
            "difference": asdict(difference),
            "verdict": difference.verdict,
            "size_bytes": size_bytes(folders[0] / "export" / variant),
            "num_not_shipped": sum(bool(each.variants[variant].failures) for each in exported),
        }
    trained = [record["prediction"].result_as(PredictionResult) for record in records]
    return {
        "task": name,
        "student": student,
        "seeds": seeds,
        "metric": metric,
        "scored_on": task.scored_on,
        "num_rows": {"train": len(task.train), "dev": len(task.dev), "test": len(task.test)},
        "baseline": asdict(records[0]["baseline"].result_as(BaselineResult).scores),
        "teacher": asdict(records[0]["teacher"].result_as(TeacherResult).scores),
        "teacher_interval": next((row.score_interval for row in timed if row.role == "teacher"), None),
        "dev": asdict(mean_of([each.scores.dev for each in trained])),
        "test": asdict(mean_of([each.scores.test for each in trained])),
        "agreement": {split: asdict(mean) for split, mean in agreement.items()},
        "num_steps": [
            sum(record[stage].result["training"]["num_steps"] for stage in ("intermediate", "prediction"))
            for record in records
        ],
        "num_parameters": trained[0].num_parameters,
        "variants": variants,
        "recommended": recommended,
        "speed": [*speeds(timed)],
    }


def speeds(rows: Iterable[BenchmarkRow]) -> Iterator[dict[str, object]]:
    """The latency of each of the student's bundles, and how many times as fast it is as the teacher in torch."""
    for row in rows:
        if row.role == "student" and row.variant is not None and row.latency is not None:
            speedup = None if row.speedup is None else asdict(row.speedup)
            yield {"variant": row.variant, "median_ms": row.latency.median_ms, "speedup": speedup}


@cache
def task_of(name: str) -> tuple[Task, str]:
    """The rows of a task, and its metric."""
    recipe = load_recipe(str(HERE / f"{name}.yaml"))
    return load_recipe_task(recipe, Console(quiet=True)), recipe.task.metric


def score(labels: np.ndarray, predictions: np.ndarray, name: str) -> float:
    """The metric of a task."""
    task, metric = task_of(name)
    return task.score(metric, labels, predictions, positive=positive_class(metric, None, task.labels))


def predicted(bundle: Path, task: Task, rows: Split) -> np.ndarray:
    """What a bundle predicts for some rows, in the form of the labels."""
    return task_type(task.type).decide(pocketbert.load(bundle).logits(rows.texts, rows.pairs))


def train_sample(name: str) -> Split:
    """Evenly spaced train rows of a task."""
    train = task_of(name)[0].train
    return train.take(np.unique(np.linspace(0, len(train) - 1, MOST_TRAIN_ROWS).astype(int)))


@dataclass(frozen=True, kw_only=True)
class TeacherPredictions:
    """What a teacher in torch predicts for rows of train and for test, in the form of the labels."""

    train: np.ndarray
    test: np.ndarray


@cache
def teacher_of(model: Path, name: str) -> TeacherPredictions:
    """The predictions of a teacher for a task."""
    task, _ = task_of(name)
    predictor, decide = TorchPredictor(model, max_length=task.max_length), task_type(task.type).decide
    train, test = (decide(predictor.logits(rows.texts, rows.pairs)) for rows in (train_sample(name), task.test))
    return TeacherPredictions(train=train, test=test)


if __name__ == "__main__":
    main()
