"""`pocketbert bench augmentation`: speed and memory of a recipe's data augmentation."""

from pathlib import Path

import numpy as np
from pydantic_core import to_jsonable_python
from rich.console import Console

from bench.augmentation_speed import ladder
from bench.measurement import machine
from compress.common.errors import UserError
from compress.common.files import write_json
from compress.common.owned_files import open_output, require_writable
from compress.common.progress import progress_bar
from compress.data.tasks import Task
from compress.models.sources import max_tokens, read_config
from pocketbert.recipe.sections import Recipe, augmentation_of, masked_lm_of
from pocketbert.store.stage_cache import cache_folder

MEMORY_FACTOR = 20  # times as many texts for the second measurement of memory
FILE = "augmentation.json"


def bench_augmentation(
    recipe: Recipe,
    task: Task,
    *,
    num_rows: int,
    rounds: int,
    num_threads: int | None,
    output: Path | None,
    console: Console,
) -> ladder.AugmentationLadder:
    """Augment `num_rows` randomly sampled train texts with each method.

    The recipe's masked language model must have a head. `output`: a folder for augmentation.json, which holds the raw
    seconds too. Raises UserError.
    """
    if output is not None:
        require_writable(output, [FILE])
    section = augmentation_of(recipe)
    if section.masked_lm.train_head is not None:
        raise UserError(
            "augment.masked_lm.train_head: a benchmark trains nothing; run `pocketbert augment` first, then set "
            "augment.masked_lm.model to RUN/masked_lm/model and remove train_head"
        )
    name = masked_lm_of(recipe)
    texts = task.train.unique_texts()
    order = np.random.default_rng(recipe.seed).permutation(len(texts))
    sampled = [texts[number] for number in order]
    options = ladder.AugmentationOptions(
        masked_lm=name,
        vectors=section.vectors,
        max_vectors=section.max_vectors,
        stop_words=section.stop_words,
        variants=section.copies_per_text,
        probability=section.probability,
        candidates=section.candidates,
        max_length=min(task.max_length, max_tokens(read_config(name))),
    )
    here, cache = machine.describe(), str(cache_folder())
    threads = num_threads or machine.usable_cores()
    with progress_bar("augmentation", console) as on_progress:
        timings = ladder.time_augmentation(
            sampled[:num_rows],
            options,
            cache=cache,
            rounds=rounds,
            num_threads=threads,
            seed=recipe.seed,
            on_progress=on_progress,
        )
    sizes = sorted({min(num_rows, len(sampled)), min(MEMORY_FACTOR * num_rows, len(sampled))})
    with console.status(f"augmenting {' and '.join(f'{size:,}' for size in sizes)} texts"):
        memory = ladder.measure_memory(sampled, sizes, options, cache=cache, num_threads=threads)
    result = ladder.AugmentationLadder(
        machine=here,
        num_texts=min(num_rows, len(sampled)),
        rounds=rounds,
        num_threads=threads,
        options=options,
        rows=ladder.augmentation_rows(timings),
        memory=memory,
        samples=timings,
    )
    if output is not None:
        with open_output(output, [FILE]).writing(FILE):
            write_json(output / FILE, to_jsonable_python(result))
    return result
