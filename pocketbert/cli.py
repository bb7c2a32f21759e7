"""The command line."""

import json
import os
import sys
from errno import ENOSPC
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from compress.errors import UserError

app = typer.Typer(
    help="A fine-tuned BERT and a recipe in; a small model that ships, and the proof that it is good enough, out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

EXIT_BAD_INPUT = 2
EXIT_GATE = 3
EXIT_INTERRUPTED = 130


@app.command(
    epilog="Examples:\n\n    pocketbert run quickstart\n\n    pocketbert run my-recipe.yaml --output runs/second-try"
)
def run(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a built-in recipe by its name")],
    output: Annotated[Path | None, typer.Option(help="The run folder; default: runs/NAME")] = None,
) -> None:
    """Do a recipe from teacher to report. What is done already is skipped, what was cut off goes on."""
    from pocketbert.pipeline import run_recipe
    from pocketbert.recipe import load_recipe

    console = _console()
    loaded = load_recipe(recipe)
    try:
        outcome = run_recipe(loaded, output or Path("runs") / loaded.name, console)
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to go on from here")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if not outcome.num_built:
        console.print("[green]Nothing to do: every stage was done before.[/green]")
    _show_table(outcome.results)
    shown = Console(highlight=False, soft_wrap=True)
    for bundle in sorted((outcome.folder / "bundles").glob("*")):
        shown.print(f"bundle  {bundle}")
    shown.print(f"report  {outcome.folder / 'report.html'}")
    shown.print(f"figures {outcome.folder / 'results.json'}")
    if outcome.gate:
        for line in outcome.gate:
            console.print(f"[red]not shipped[/red] {line}")
        raise typer.Exit(EXIT_GATE)


@app.command(
    epilog="Examples:\n\n    pocketbert bench models/teacher models/student\n\n"
    "    pocketbert bench models/teacher runs/quickstart/bundles/int8-dynamic --data dev.tsv --text sentence"
)
def bench(
    paths: Annotated[list[Path], typer.Argument(help="Hugging Face folders or bundles; ratios are against the first")],
    data: Annotated[Path | None, typer.Option(help="A labelled table, for accuracy and real text lengths")] = None,
    text: Annotated[list[str] | None, typer.Option(help="Its text column; twice for pairs [default: text]")] = None,
    label: Annotated[str, typer.Option(help="Its label column")] = "label",
    device: Annotated[str, typer.Option(help="cpu, cuda or both")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each model; default: all usable cores")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Interleaved rounds")] = 12,
    output: Annotated[Path | None, typer.Option(help="Folder for results.json, samples.json and the report")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of a table")] = False,
) -> None:
    """Time models side by side; no recipe needed."""
    from pocketbert.benchmark import of_folders

    results = of_folders(
        paths,
        data=data,
        text=text or ["text"],
        label=label,
        device=device,
        num_threads=threads,
        rounds=rounds,
        output=output,
        console=_console(),
    )
    if as_json:
        print(json.dumps(results))
        return
    _show_table(results)
    if output is not None:
        Console(highlight=False, soft_wrap=True).print(f"report  {output / 'report.html'}")


@app.command(epilog="Example:\n\n    pocketbert verify runs/quickstart/bundles/int8-dynamic")
def verify(bundle: Annotated[Path, typer.Argument(help="A bundle folder")]) -> None:
    """Hash a bundle's files and replay the golden examples stored in it."""
    from export.bundle import verify_bundle

    found = verify_bundle(bundle)
    same = "all labels as stored" if not found.num_label_flips else f"{found.num_label_flips} LABELS DIFFER"
    print(
        f"{bundle}: {found.num_files} files as written; {found.num_golden} golden examples replayed, {same}, "
        f"largest difference of a probability {found.largest_difference:.2g}"
    )
    if found.num_label_flips:
        raise typer.Exit(1)


def main() -> None:
    """The console script: mistakes of the user's end in a line each and exit code 2."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except UserError as error:
        if debug:
            raise
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        advice = "; what is done stays: free some room and run the same command again" if error.errno == ENOSPC else ""
        print(f"error: {where}{error.strerror or error}{advice}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


def _console() -> Console:
    from bench.machine import shadowed_onnxruntime

    console = Console(stderr=True, highlight=False)
    if shadowed_onnxruntime():
        console.print(
            "[yellow]warning:[/yellow] onnxruntime and onnxruntime-gpu are both installed and overwrite each other; "
            "uninstall both, then install one of the extras cpu and gpu"
        )
    return console


def _show_table(results: dict[str, Any]) -> None:
    from bench import table

    bench = results["stages"]["bench"]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(table.header(bench, table.scored_rows(results))):
        shown.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for cells in table.cells(bench):
        shown.add_row(*cells)
    width = None if sys.stdout.isatty() else 140
    Console(highlight=False, width=width).print(shown)


if __name__ == "__main__":
    main()
