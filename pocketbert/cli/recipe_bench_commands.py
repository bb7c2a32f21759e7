"""`pocketbert bench training` and `augmentation`: benchmarks of the work that a recipe describes."""

from pathlib import Path
from typing import Annotated

import typer

from bench.timing.limits import MOST_ROUNDS, MOST_ROWS
from pocketbert.cli_parts.options import AsJson, Changes, RecipeName, Threads, examples, print_result, stderr_console

commands = typer.Typer()


@commands.command(epilog=examples("pocketbert bench training reviews.yaml --rows 64 --output results"))
def training(
    recipe: RecipeName,
    changes: Changes = None,
    rows: Annotated[int, typer.Option(min=16, max=MOST_ROWS, help="Train rows, randomly sampled")] = 256,
    rounds: Annotated[int, typer.Option(min=2, max=MOST_ROUNDS, help="Interleaved rounds")] = 6,
    threads: Threads = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Also time torch.compile")] = False,
    textbrewer: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also time TextBrewer, from `pip install --no-deps --target FOLDER textbrewer==0.2.1.post1`",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for training.json")] = None,
    as_json: AsJson = False,
) -> None:
    """Time the training stages of a recipe, from a plain training loop to ours, one change at a time."""
    from pocketbert.cli_parts import bench_text
    from pocketbert.pipeline.flow import prepare
    from pocketbert.recipe.loading import load_recipe, require_shape
    from pocketbert.standalone.bench_training import bench_training

    console = stderr_console()
    loaded = require_shape(load_recipe(recipe, changes=changes or ()))
    ladder = bench_training(
        loaded,
        prepare(loaded, console),
        num_rows=rows,
        rounds=rounds,
        num_threads=threads,
        peer_path=textbrewer,
        compiled=compiled,
        output=output,
        console=console,
    )
    print_result(ladder, as_json, bench_text.training)


@commands.command(
    epilog=examples(
        "pocketbert bench augmentation reviews.yaml --set 'augment.masked_lm={model: runs/reviews/masked_lm/model}'"
    )
)
def augmentation(
    recipe: RecipeName,
    changes: Changes = None,
    rows: Annotated[int, typer.Option(min=16, max=MOST_ROWS, help="Train texts, randomly sampled")] = 1000,
    rounds: Annotated[
        int, typer.Option(min=2, max=MOST_ROUNDS, help="Interleaved rounds; each has its share of the texts")
    ] = 4,
    threads: Threads = None,
    output: Annotated[Path | None, typer.Option(help="Folder for augmentation.json")] = None,
    as_json: AsJson = False,
) -> None:
    """Time the augmentation of a recipe and measure its memory, compared with two simpler implementations."""
    from pocketbert.cli_parts import bench_text
    from pocketbert.pipeline.flow import prepare
    from pocketbert.recipe.loading import load_recipe, require_shape
    from pocketbert.standalone.bench_augmentation import bench_augmentation

    console = stderr_console()
    loaded = require_shape(load_recipe(recipe, changes=changes or ()))
    ladder = bench_augmentation(
        loaded,
        prepare(loaded, console),
        num_rows=rows,
        rounds=rounds,
        num_threads=threads,
        output=output,
        console=console,
    )
    print_result(ladder, as_json, bench_text.augmentation)
