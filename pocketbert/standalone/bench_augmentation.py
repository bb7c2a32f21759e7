"""`pocketbert bench-augment`: how fast a recipe's data augmentation is, and how much memory it takes."""

from pathlib import Path

import numpy as np
from pydantic_core import to_jsonable_python
from rich.console import Console

from bench.augmentation import ladder
from bench.measurement import machine
from compress.common.errors import UserError
from compress.common.files import write_json
from compress.common.progress import progress_bar
from compress.data.tasks import Task
from compress.models.sources import max_tokens, read_config
from pocketbert.recipe.sections import Recipe, augmentation_of, masked_lm_of
from pocketbert.store.run_folder import cache_folder

TIMES_AS_MANY = 20  # texts for the second look at the memory


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
    """Augment `num_rows` train texts, drawn by the seed, by each method.

    The recipe's masked language model must have its head: of a head trained by a run, name the run's folder. `output`:
    a folder for augmentation.json, with the raw seconds.
    """
    section = augmentation_of(recipe)
    if section.masked_lm.train_head is not None:
        raise UserError(
            "augment.masked_lm.train_head: a benchmark trains nothing; run `pocketbert augment` first, then name "
            "RUN/masked_lm/model as augment.masked_lm.model, and leave train_head out"
        )
    name = masked_lm_of(recipe)
    texts = task.train.different_texts()
    order = np.random.default_rng(recipe.seed).permutation(len(texts))
    drawn = [texts[number] for number in order]
    options = ladder.AugmentationOptions(
        masked_lm=name,
        vectors=section.vectors,
        max_vectors=section.max_vectors,
        stop_words=section.stop_words,
        variants=section.variants,
        probability=section.probability,
        candidates=section.candidates,
        max_length=min(task.max_length, max_tokens(read_config(name))),
    )
    here, cache = machine.describe(), str(cache_folder())
    threads = num_threads or machine.usable_cores()
    with progress_bar("augmentation", console) as on_progress:
        timings = ladder.time_augmentation(
            drawn[:num_rows],
            options,
            cache=cache,
            rounds=rounds,
            num_threads=threads,
            seed=recipe.seed,
            on_progress=on_progress,
        )
    sizes = sorted({min(num_rows, len(drawn)), min(TIMES_AS_MANY * num_rows, len(drawn))})
    with console.status(f"writing the variants of {' and '.join(f'{size:,}' for size in sizes)} texts"):
        memory = ladder.measure_memory(drawn, sizes, options, cache=cache, num_threads=threads)
    result = ladder.AugmentationLadder(
        machine=here,
        num_texts=min(num_rows, len(drawn)),
        rounds=rounds,
        num_threads=threads,
        options=options,
        rows=ladder.augmentation_rows(timings),
        memory=memory,
        samples=timings,
    )
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / "augmentation.json", to_jsonable_python(result))
    return result
