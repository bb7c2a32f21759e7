"""`pocketbert bench-training`: how fast a recipe's stages train, against the plain procedure and against TextBrewer."""

from pathlib import Path
from typing import get_args

import numpy as np
from pydantic_core import to_jsonable_python
from rich.console import Console

from bench import machine, training
from compress import models
from compress.encoding import encode_split
from compress.errors import UserError
from compress.files import write_json
from compress.pieces import pieces_in
from compress.progress import progress_bar
from compress.tasks import Task
from pocketbert.recipe import Recipe


def measure(
    recipe: Recipe,
    task: Task,
    *,
    num_rows: int,
    rounds: int,
    num_threads: int | None,
    peer_path: Path | None,
    compiled: bool,
    output: Path | None,
    console: Console,
) -> training.TrainingLadder:
    """Both stages of task distillation on `num_rows` train rows, drawn by the seed.

    `peer_path`: a folder with TextBrewer in it (pip install --target), whose rows are left out without. `output`: a
    folder for training.json, with the raw seconds.
    """
    if peer_path is not None and not (peer_path / "textbrewer").is_dir():
        raise UserError(
            f"--textbrewer {peer_path}: holds no package textbrewer; make it with "
            f"`pip install --no-deps --target {peer_path} textbrewer==0.2.1.post1`"
        )
    teacher = recipe.teacher.model or recipe.teacher.base or ""
    tokenizer = models.load_tokenizer(teacher)
    drawn = np.random.default_rng(recipe.seed).permutation(len(task.train))[:num_rows]
    whole = encode_split(task.train, tokenizer, max_length=task.max_length)
    here = machine.describe()
    stages: dict[training.Stage, training.LadderStage] = {}
    for stage in get_args(training.Stage):
        section = getattr(recipe.distill, stage)
        workload = training.TrainingWorkload(
            teacher=teacher,
            shape=recipe.student.shape,
            rows=whole.rows[drawn]["input_ids"],
            used_tokens=pieces_in(whole, len(tokenizer)).tolist(),
            num_labels=len(task.labels),
            task_type=task.type,
            batch_size=section.batch_size,
            max_length=task.max_length,
            epochs=section.epochs,
        )
        configs = [config for config in training.LADDER[stage] if compiled or not config.compiled]
        if peer_path is not None:
            configs.append(training.TEXTBREWER)
        with progress_bar(stage, console) as on_progress:
            timings = training.measure(
                stage,
                configs,
                workload,
                rounds=rounds,
                num_threads=num_threads or machine.usable_cores(),
                peer_path=peer_path,
                seed=recipe.seed,
                on_progress=on_progress,
            )
        stages[stage] = training.LadderStage(
            rows=training.rows_of(timings, workload),
            samples=timings,
            mean_tokens=float(np.mean(whole.lengths[drawn])),
            max_length=task.max_length,
            batch_size=section.batch_size,
            epochs=section.epochs,
        )
    ladder = training.TrainingLadder(machine=here, num_rows=len(drawn), rounds=rounds, stages=stages)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / "training.json", to_jsonable_python(ladder))
    return ladder
