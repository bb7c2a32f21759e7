"""Trains a student with each system, times the training, and scores the student."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from inputs import (
    BATCH_SIZE,
    LABELS,
    ORIGINAL_WEIGHTS,
    PROJECTION,
    Inputs,
    accuracies,
    read_original,
    remove,
    width_of,
    write_teacher,
)
from original_copy import ORIGINAL_RATES, POCKETBERT_RATES, factors_in, patched_copy

from compress.common.errors import UserError
from compress.models import loading
from pocketbert.store.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[2]
DRIVER = Path(__file__).with_name("original_driver.py")
STAGES = ("intermediate", "prediction")
Recipe = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A training of one system. `variant`: names of its changes, joined by +; empty for the system as it is."""

    system: str
    start: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its files."""
        return "-".join(filter(None, [self.system, self.start, self.variant, str(self.seed)]))


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all trainings share. `scripts`: the original folder. `python`: of its environment."""

    inputs: Inputs
    steps: int
    eval_step: int
    scripts: Path
    python: Path

    @property
    def epochs(self) -> int:
        """Passes over the train rows in each step."""
        return self.steps * BATCH_SIZE // self.inputs.num_rows


def _set(*path: str, value: object) -> Callable[[Recipe], None]:
    """A change of a recipe: a value at a path of keys."""

    def change(recipe: Recipe) -> None:
        for key in path[:-1]:
            recipe = recipe.setdefault(key, {})
        recipe[path[-1]] = value

    return change


VARIANTS: Mapping[str, Sequence[Callable[[Recipe], None]]] = {
    "fp32": [_set("compute", "precision", value="fp32")],
    "original-rates": [
        _set("distill", step, "learning_rate", value=rate) for step, rate in zip(STAGES, ORIGINAL_RATES, strict=True)
    ],
    "constant-rate": [
        _set("distill", "intermediate", "decay", value="constant_with_warmup"),
        _set("distill", "intermediate", "warmup", value=0.0),
    ],
    "dropout": [_set("student", "dropout", value=0.1)],
    "layer-projections": [_set("distill", "projection", value="per_layer")],
    "random-head": [_set("student", "initialisation", value="random"), _set("student", "checkpoint", value=None)],
}


def run_row(row: Row, setup: Setup, folder: Path, log: Path) -> dict[str, object]:
    """Train and score one row in a new folder, which is removed afterwards. Raises UserError if a program fails."""
    remove(folder)
    folder.mkdir(parents=True)
    load = psutil.getloadavg()[0]
    result = (_original if row.system == "original" else _pocketbert)(row, setup, folder, log)
    shutil.rmtree(folder)
    return {**vars(row), "load_average": [round(each, 2) for each in (load, psutil.getloadavg()[0])], **result}


def call(command: Sequence[object], log: Path, **options: Any) -> float:
    """Call a program with its output in a log. Returns its seconds. Raises UserError if it fails."""
    started = time.perf_counter()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **options.pop("env", {})}
    with log.open("a", encoding="utf-8") as output:
        status = subprocess.run(
            list(map(str, command)), stdout=output, stderr=output, env=environment, check=False, **options
        ).returncode
    if status != 0:
        raise UserError(f"{command[0]} failed with exit code {status}; its output is in {log}")
    return time.perf_counter() - started


def _original(row: Row, setup: Setup, folder: Path, log: Path) -> dict[str, object]:
    """Steps 1 and 2 of the scripts. Step 2 starts from the last weights that step 1 saved."""
    inputs, factors = setup.inputs, factors_in(row.variant)
    copy = patched_copy(setup.scripts, folder / "copy", teacher_width=width_of(inputs.teacher), variant=row.variant)
    start, teacher = folder / "start", folder / "teacher"
    shutil.copytree(inputs.student("original", row.start, row.seed), start)
    _adjust_start(
        start, [each.student for each in factors], own_projection=any(each.own_projection for each in factors)
    )
    write_teacher(inputs, teacher, {key: value for each in factors for key, value in each.teacher.items()})
    rates = next((each.rates for each in factors if each.rates is not None), ORIGINAL_RATES)
    eval_step = setup.steps if any(each.evaluates_once for each in factors) else setup.eval_step
    stages = {}
    for stage, rate, options in (("intermediate", rates[0], []), ("prediction", rates[1], ["--pred_distill"])):
        record, output = folder / f"{stage}.json", folder / stage
        command = [
            setup.python, "-P", DRIVER, copy, "train", record, "--task_name", "SST-2", "--do_lower_case",
            "--data_dir", inputs.data, "--teacher_model", teacher, "--student_model", start, "--output_dir", output,
            "--max_seq_length", inputs.max_length, "--train_batch_size", BATCH_SIZE, "--learning_rate", rate,
            "--num_train_epochs", setup.epochs, "--eval_step", eval_step, "--seed", row.seed, *options,
        ]  # fmt: skip
        seconds = call(command, log, cwd=folder, env={"PYTHONDONTWRITEBYTECODE": "1"})
        timings = json.loads(record.read_text(encoding="utf-8"))
        stages[stage] = {"stage_s": seconds, "learning_rate": rate, **timings}
        start = output
    reported = max(each["acc"] for each in stages["prediction"]["evaluations"])
    return {"stages": stages, "reported_dev": reported, "scores": accuracies(inputs, read_original(start))}


def _adjust_start(folder: Path, changes: Sequence[Mapping[str, float]], *, own_projection: bool) -> None:
    import torch

    path = folder / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for change in changes:
        settings.update(change)
    path.write_text(json.dumps(settings), encoding="utf-8")
    if own_projection:
        weights = torch.load(folder / ORIGINAL_WEIGHTS, weights_only=True)
        kept = {name: weight for name, weight in weights.items() if not name.startswith(PROJECTION)}
        torch.save(kept, folder / ORIGINAL_WEIGHTS)


def recipe_of(row: Row, setup: Setup, checkpoint: Path) -> Recipe:
    """PocketBERT's recipe of a row. `checkpoint`: the first student, for a random start."""
    inputs = setup.inputs
    schedule = {"epochs": setup.epochs, "batch_size": BATCH_SIZE, "max_steps": setup.steps}
    recipe: Recipe = {
        "name": "original",
        "seed": row.seed,
        "task": {
            "data": str(inputs.data), "text": ["sentence"], "label": "label", "labels": list(LABELS),
            "max_length": inputs.max_length,
        },
        "teacher": {"model": str(inputs.teacher)},
        "student": {**vars(inputs.shape), "initialisation": "projected"},
        "distill": {
            stage: {**schedule, "learning_rate": rate} for stage, rate in zip(STAGES, POCKETBERT_RATES, strict=True)
        },
        "gate": {"teacher_over_baseline": False},
    }  # fmt: skip
    if row.start == "random":
        recipe["student"] |= {"initialisation": "checkpoint", "checkpoint": str(checkpoint)}
    for name in filter(None, row.variant.split("+")):
        for change in VARIANTS[name]:
            change(recipe)
    return recipe


def _pocketbert(row: Row, setup: Setup, folder: Path, log: Path) -> dict[str, object]:
    """Both steps as one run. A checkpoint has its dropout in its config.json, not in the recipe."""
    inputs, run = setup.inputs, folder / "run"
    checkpoint = folder / "start"
    shutil.copytree(inputs.student("pocketbert", row.start, row.seed), checkpoint)
    recipe = recipe_of(row, setup, checkpoint)
    if recipe["student"].get("checkpoint") is not None:
        dropout = recipe["student"].pop("dropout", 0.0)
        settings = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        settings |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        (checkpoint / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    recipe_file = folder / "recipe.yaml"
    recipe_file.write_text(json.dumps(recipe), encoding="utf-8")
    seconds = call(
        [sys.executable, "-m", "pocketbert", "run", recipe_file, "--output", run, "--until", "prediction"],
        log,
        env={"PYTHONPATH": str(ROOT), "POCKETBERT_CACHE": str(folder / "cache")},
    )
    stages, reported = {}, None
    for stage in STAGES:
        record = read_manifest(run)[stage]
        result: Any = record.result
        training = result["training"]
        stages[stage] = {
            "stage_s": record.seconds,
            "training_s": training["seconds"],
            "num_steps": training["num_steps"],
            "learning_rate": recipe["distill"][stage]["learning_rate"],
            "losses": [[each["step"], each["loss"]] for each in training["history"]],
            "best_epoch": training["best_epoch"],
            "reported": [result["scores_before"], result["scores"]],
        }
        reported = result["scores"] and result["scores"]["dev"]
    student = loading.load_classifier(str(run / "prediction" / "model"))
    return {"stages": stages, "run_s": seconds, "reported_dev": reported, "scores": accuracies(inputs, student)}
