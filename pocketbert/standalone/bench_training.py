"""`pocketbert bench training`: training speed of a recipe, compared with a plain training loop and TextBrewer."""

from pathlib import Path
from typing import get_args

import numpy as np
from pydantic_core import to_jsonable_python
from rich.console import Console

from bench.measurement import machine
from bench.training_speed import ladder
from compress.common.errors import UserError
from compress.common.files import write_json
from compress.common.owned_files import open_output, require_writable
from compress.common.progress import progress_bar
from compress.data.tasks import Task
from compress.data.tokenization import encode_split
from compress.distillation.used_embeddings import used_token_ids
from compress.models import loading
from pocketbert.recipe.sections import Recipe

FILE = "training.json"


def bench_training(
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
) -> ladder.TrainingLadder:
    """Time both stages of task distillation on `num_rows` randomly sampled train rows.

    `peer_path`: a folder with TextBrewer (pip install --target); None leaves TextBrewer out. `output`: a folder for
    training.json, which holds the raw seconds too. Raises UserError.
    """
    if output is not None:
        require_writable(output, [FILE])
    if peer_path is not None and not (peer_path / "textbrewer").is_dir():
        raise UserError(
            f"--textbrewer {peer_path}: has no package textbrewer; install it with "
            f"`pip install --no-deps --target {peer_path} textbrewer==0.2.1.post1`"
        )
    teacher = recipe.teacher.model or recipe.teacher.base or ""
    tokenizer = loading.load_tokenizer(teacher)
    sampled = np.random.default_rng(recipe.seed).permutation(len(task.train))[:num_rows]
    train = encode_split(task.train, tokenizer, max_length=task.max_length)
    here = machine.describe()
    stages: dict[ladder.Stage, ladder.LadderStage] = {}
    for stage in get_args(ladder.Stage):
        section = getattr(recipe.distill, stage)
        workload = ladder.TrainingWorkload(
            teacher=teacher,
            shape=recipe.student.shape,
            rows=train.rows[sampled]["input_ids"],
            used_tokens=used_token_ids(train, len(tokenizer)).tolist(),
            num_labels=len(task.labels),
            task_type=task.type,
            batch_size=section.batch_size,
            max_length=task.max_length,
            epochs=section.epochs,
        )
        configs = [config for config in ladder.LADDER[stage] if compiled or not config.compiled]
        if peer_path is not None:
            configs.append(ladder.TEXTBREWER)
        with progress_bar(stage, console) as on_progress:
            timings = ladder.time_training(
                stage,
                configs,
                workload,
                rounds=rounds,
                num_threads=num_threads or machine.usable_cores(),
                peer_path=peer_path,
                seed=recipe.seed,
                on_progress=on_progress,
            )
        stages[stage] = ladder.LadderStage(
            rows=ladder.training_rows(timings, workload),
            samples=timings,
            mean_tokens=float(np.mean(train.lengths[sampled])),
            max_length=task.max_length,
            batch_size=section.batch_size,
            epochs=section.epochs,
        )
    result = ladder.TrainingLadder(machine=here, num_rows=len(sampled), rounds=rounds, stages=stages)
    if output is not None:
        with open_output(output, [FILE]).writing(FILE):
            write_json(output / FILE, to_jsonable_python(result))
    return result
