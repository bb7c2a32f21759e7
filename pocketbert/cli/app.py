"""The command line: what each command takes and prints. The work lies elsewhere and is imported when it is needed."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from compress.common import distributed
from compress.common.errors import UserError
from pocketbert import __version__
from pocketbert.cli import bench_commands, remedies, tool_commands
from pocketbert.cli.options import (
    EXIT_BAD_INPUT,
    EXIT_FAULT,
    EXIT_GATE,
    EXIT_INTERRUPTED,
    AsJson,
    Changes,
    Output,
    RecipeName,
    Smoke,
    print_result,
    stderr_console,
)

NO_ONNXRUNTIME = (
    "onnxruntime is not installed; install PocketBERT with one of its extras: pip install 'pocketbert[cpu]', or "
    "'pocketbert[gpu]' where there is a CUDA device"
)

app = typer.Typer(
    help="A fine-tuned BERT and a recipe in; a small model that ships, and the proof that it is good enough, out.",
    epilog="Examples:\n\n    pocketbert new reviews.csv\n\n    pocketbert check reviews.yaml\n\n"
    "    pocketbert run reviews.yaml\n\nExit codes: 0 all is well, 1 a fault of PocketBERT's, 2 bad input, 3 a variant "
    "was not good enough and was not shipped. `--debug` shows the traceback behind an error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version")] = False) -> None:
    if version:
        print(f"pocketbert {__version__}")
        raise typer.Exit


@app.command(
    epilog="Examples:\n\n    pocketbert run quickstart\n\n    pocketbert run reviews.yaml --smoke\n\n"
    "    pocketbert run reviews.yaml --until prediction\n\n"
    "    pocketbert run reviews.yaml --set distill.prediction.epochs=1 --output runs/second-try"
)
def run(
    recipe: RecipeName,
    output: Output = None,
    changes: Changes = None,
    smoke: Smoke = False,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE",
            help="Stop after this stage: teacher, general, masked_lm, augment, intermediate, prediction, export, bench",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Do a recipe from teacher to report. What is done already is skipped, what was cut off goes on."""
    from pocketbert.cli import printing
    from pocketbert.pipeline.flow import prepare, run_recipe
    from pocketbert.recipe.loading import load_recipe

    console = stderr_console()
    loaded = load_recipe(recipe, changes=changes or (), smoke=smoke)
    with _message_when_interrupted(console):
        outcome = run_recipe(
            loaded, prepare(loaded, console), output or Path("runs") / loaded.name, console, until=until
        )
    if outcome is None:  # the main one of several processes goes on
        return
    if as_json and outcome.results is not None:
        print_result(outcome.results, as_json, printing.table)
    else:
        if not outcome.num_built:
            console.print("[green]Nothing to do: every stage was done before.[/green]")
        print_result(outcome, as_json, printing.outcome)
    for line in outcome.not_shipped:
        console.print(f"[red]not shipped[/red] {escape(line)}")
    if outcome.not_shipped:
        raise typer.Exit(EXIT_GATE)


@app.command(
    epilog="Examples:\n\n    pocketbert check reviews.yaml\n\n    pocketbert check sst2 --set student.preset=tinybert6"
)
def check(
    recipe: RecipeName, output: Output = None, changes: Changes = None, smoke: Smoke = False, as_json: AsJson = False
) -> None:
    """Resolve a recipe without running it: data, models, stages, steps, about how long, and what would be skipped."""
    from pocketbert.cli import printing
    from pocketbert.pipeline.flow import prepare
    from pocketbert.recipe.loading import load_recipe

    console = stderr_console()
    loaded = load_recipe(recipe, changes=changes or (), smoke=smoke)
    task = prepare(loaded, Console(quiet=True))
    with console.status("timing a few steps of each stage") as status:
        from pocketbert.pipeline.estimate import forecast

        plan = forecast(
            loaded,
            task,
            output or Path("runs") / loaded.name,
            on_stage=lambda stage: status.update(f"timing a few steps: {stage}"),
        )
    print_result(plan, as_json, printing.plan)


@app.command(epilog="Example:\n\n    pocketbert general reviews.yaml --output runs/general-english")
def general(
    recipe: RecipeName, output: Output = None, changes: Changes = None, smoke: Smoke = False, as_json: AsJson = False
) -> None:
    """Make a recipe's general student alone: once for many tasks.

    It is kept in the cache. Recipes with the same base, student, seed, corpus and distill.general find it there; others
    name its folder as student.checkpoint.
    """
    from pocketbert.pipeline.flow import make_general, prepare
    from pocketbert.recipe.loading import load_recipe

    console = stderr_console()
    loaded = load_recipe(recipe, changes=changes or (), smoke=smoke)
    with _message_when_interrupted(console):
        folder = make_general(loaded, prepare(loaded, console), output or Path("runs") / loaded.name, console)
    if folder is None:  # another process prints it
        return
    print(json.dumps({"model": str(folder)}) if as_json else f"general student {folder}")


@app.command(
    epilog="Examples:\n\n    pocketbert augment reviews.yaml --show 20\n\n"
    "    pocketbert augment sst2 --set augment.variants=5 --smoke"
)
def augment(
    recipe: RecipeName,
    output: Output = None,
    changes: Changes = None,
    smoke: Smoke = False,
    show: Annotated[int, typer.Option(min=0, help="Variants to print, the replaced words marked")] = 10,
    as_json: AsJson = False,
) -> None:
    """Make a recipe's augmented data alone, and look at it: what was replaced by what, and where that came from.

    They are kept in the cache, where `run` finds them.
    """
    from pocketbert.cli import printing
    from pocketbert.pipeline.flow import make_variants, prepare
    from pocketbert.recipe.loading import load_recipe

    console = stderr_console()
    loaded = load_recipe(recipe, changes=changes or (), smoke=smoke)
    with _message_when_interrupted(console):
        folder = make_variants(loaded, prepare(loaded, console), output or Path("runs") / loaded.name, console)
    if folder is None:  # another process prints it
        return
    from pocketbert.standalone.augmentation_preview import preview_augmentation

    print_result(
        preview_augmentation(folder, task_type=loaded.task.task_type, count=show, seed=loaded.seed),
        as_json,
        printing.augmented,
    )


app.add_typer(tool_commands.commands)
app.add_typer(bench_commands.commands)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: mistakes of the user's end in a line each and 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app(arguments, prog_name="pocketbert")
    except SystemExit as end:
        return int(end.code or 0)
    except UserError as error:
        if debug:
            raise
        return _print_error(remedies.with_remedy(error, _command_of(arguments)), EXIT_BAD_INPUT)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        advice = "; what is done stays: free some room and run the same command again" if error.errno == ENOSPC else ""
        return _print_error(f"{where}{error.strerror or error}{advice}", EXIT_BAD_INPUT)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime":
            return _print_error(NO_ONNXRUNTIME, EXIT_BAD_INPUT)
        reason = " ".join(str(error).split()) or "no reason given"
        return _print_error(
            f"a fault of PocketBERT's: {type(error).__name__}: {reason}; run the command again with --debug and report "
            "what it prints; what is done stays",
            EXIT_FAULT,
        )
    return 0


def _command_of(arguments: list[str]) -> remedies.Command:
    name = next((argument for argument in arguments if not argument.startswith("-")), "")
    command = getattr(typer.main.get_command(app), "commands", {}).get(name)
    parameters = command.params if command is not None else []
    return remedies.Command(
        takes_recipe=any(parameter.name == "recipe" for parameter in parameters),
        flags={flag for parameter in parameters for flag in parameter.opts},
    )


def _print_error(message: str, code: int) -> int:
    who = "" if distributed.is_main() else f"process {distributed.rank()}: "
    for line in message.splitlines():
        print(f"error: {who}{line}", file=sys.stderr)
    return code


@contextmanager
def _message_when_interrupted(console: Console) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to go on from here")
        raise typer.Exit(EXIT_INTERRUPTED) from None
