"""Commands that compare students: shapes for a budget, and variants of the method."""

from pathlib import Path
from typing import Annotated

import typer

from bench.timing.limits import MOST_MB, MOST_MS, MOST_ROUNDS, MOST_TOKENS
from pocketbert.cli_parts import completion
from pocketbert.cli_parts.options import (
    EXIT_GATE,
    AsJson,
    Changes,
    RecipeName,
    Smoke,
    Threads,
    examples,
    message_when_interrupted,
    print_result,
    stderr_console,
)

PANEL = "Recipes and runs"
MOST_SEEDS = 100
commands = typer.Typer()


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert design --latency-ms 1 --size-mb 6 --tokens 64 --variant int4-static",
        "pocketbert design reviews.yaml --latency-ms 1",
    ),
)
def design(
    latency_ms: Annotated[
        float,
        typer.Option(metavar="MS", min=0.001, max=MOST_MS, help="Milliseconds for one text, without its tokenizer"),
    ],
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe: its teacher limits the shapes, and candidates are compared on its texts "
            "[default: any student of BERT-base]",
            autocompletion=completion.recipes,
        ),
    ] = None,
    size_mb: Annotated[
        float | None, typer.Option(metavar="MB", min=0.001, max=MOST_MB, help="Megabytes of model and tokenizer")
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(min=4, max=MOST_TOKENS, help="Tokens of the text [default: task.max_length, or 64]"),
    ] = None,
    threads: Threads = None,
    variant: Annotated[str, typer.Option(help="int8-static or int4-static")] = "int8-static",
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="Training steps of each compared candidate")] = 100,
    rounds: Annotated[int, typer.Option(min=2, max=MOST_ROUNDS, help="Interleaved rounds")] = 12,
    changes: Changes = None,
    output: Annotated[Path | None, typer.Option(help="Folder for design.svg and design.json")] = None,
    as_json: AsJson = False,
) -> None:
    """Propose the shape of a student for a budget of latency and size.

    Times students of many shapes with random weights on this machine. With a recipe, trains the likeliest ones for a
    few steps, and compares how near they come to the teacher.
    """
    from pocketbert.cli_parts import run_text
    from pocketbert.shape_design.design_shape import DesignRequest, design_shape

    request = DesignRequest(
        latency_ms=latency_ms,
        size_mb=size_mb,
        tokens=tokens,
        threads=threads,
        variant=variant,
        steps=steps,
        rounds=rounds,
    )
    console = stderr_console()
    proposed = design_shape(recipe, changes or (), request, output=output, console=console)
    print_result(proposed, as_json, run_text.design)


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert ablate reviews.yaml --table objectives --dry-run",
        "pocketbert ablate reviews.yaml --table all --seeds 5 --output ablations/reviews",
        "pocketbert ablate reviews.yaml --variant 'dropout: student.dropout=0.1' --variant "
        "'longer: distill.intermediate.epochs=20; distill.prediction.epochs=9'",
        "pocketbert ablate reviews.yaml --shard 1/2 --output first",
        "pocketbert ablate reviews.yaml --shard 2/2 --output second",
        "pocketbert ablate reviews.yaml --output first --merge second",
    ),
)
def ablate(
    recipe: RecipeName,
    table: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TABLE",
            help="procedures, objectives, mapping, initialisation, augmentation, baselines or all; repeatable "
            "[default: all, or none with --variant]",
            autocompletion=completion.ablation_tables,
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME: KEY=VALUE; ...'", help="A variant of your own, with keys of the recipe; repeatable"
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=MOST_SEEDS, help="Students of each variant")] = 3,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Train only the I-th of N parts, such as 1/3, on one of N machines")
    ] = "1/1",
    merge: Annotated[
        list[Path] | None, typer.Option(metavar="FOLDER", help="Take over the students of another folder; repeatable")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the students and the time; train nothing")] = False,
    changes: Changes = None,
    smoke: Smoke = False,
    output: Annotated[Path | None, typer.Option(help="Folder of the ablation [default: ablations/NAME]")] = None,
    as_json: AsJson = False,
) -> None:
    """Train students without one part of the method at a time, and compare them with the recipe's student.

    The tables are those of the TinyBERT paper, with its figures, and three more: first weights and steps, augmentation,
    and baselines without intermediate layers. Compares variants of your own with --variant. All variants have the same
    seeds and equally many steps, unless your own one sets epochs or max_steps. Equal stages run once. Writes
    ablation.md, ablation.svg and ablation.json. The same command continues an interrupted ablation.
    """
    from pocketbert.ablation.run_ablation import Shard, plan_ablation, run_ablation
    from pocketbert.ablation.trainings import Source
    from pocketbert.ablation.variants import own_variants, tables_named
    from pocketbert.cli_parts import ablation_text

    console = stderr_console()
    source = Source(name=recipe, changes=tuple(changes or ()), smoke=smoke)
    own, part = own_variants(variant or ()), Shard.of_text(shard)
    names = tables_named(table or ([] if own else ["all"]))
    folder = output or Path("ablations") / source.load().name
    with message_when_interrupted(console):
        planned = plan_ablation(
            source,
            names,
            own=own,
            num_seeds=seeds,
            folder=folder,
            shard=part,
            merged=merge or (),
            dry_run=dry_run,
            console=console,
        )
        if dry_run:
            with console.status("timing a few steps of each stage") as status:
                from pocketbert.ablation.estimate import planned_work

                work = planned_work(planned, folder, lambda stage: status.update(f"timing a few steps: {stage}"))
            print_result(work, as_json, ablation_text.work)
            return
        finished = run_ablation(planned, folder, console)
    print_result(finished, as_json, lambda ablation: ablation_text.tables(ablation, folder))
    if finished.diverged:
        raise typer.Exit(EXIT_GATE)
