"""What several commands share: exit codes, options with one meaning everywhere, examples in help pages, output."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from bench.timing.limits import MOST_THREADS
from compress.common import distributed
from compress.common.console import new_console, notice
from compress.common.errors import UserError
from pocketbert.cli_parts import completion
from pocketbert.shell import Stopped

Value = TypeVar("Value")
EXIT_FAULT = 1
EXIT_BAD_INPUT = 2
EXIT_GATE = 3
EXIT_INTERRUPTED = 130

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A recipe file, or the name of a built-in recipe", autocompletion=completion.recipes
    ),
]
BundleFolder = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A bundle folder", autocompletion=completion.bundles)
]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe; repeatable")
]
Smoke = Annotated[bool, typer.Option("--smoke", help="Run every stage on a few rows for a few steps")]
RunFolder = Annotated[Path | None, typer.Option("--output", help="The run folder [default: runs/NAME]")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document")]
TextColumns = Annotated[
    list[str] | None, typer.Option("--text", metavar="COLUMN", help="Text column; twice for pairs [default: text]")
]
LabelColumn = Annotated[str, typer.Option("--label", metavar="COLUMN", help="Label column")]
TableLabels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="A,B,...",
        help="The table's label for each output of the model, in the order of its outputs [default: the model's names]",
    ),
]
Encoding = Annotated[str, typer.Option(help="Encoding of tables that are not UTF-8, such as cp1252")]
Threads = Annotated[
    int | None, typer.Option(min=1, max=MOST_THREADS, help="Threads per model [default: all usable cores]")
]


def examples(*lines: str) -> str:
    """The end of a help page: command lines, one per paragraph."""
    return "\n\n".join(["Example:" if len(lines) == 1 else "Examples:", *(f"    {line}" for line in lines)])


def split_labels(labels: str | None) -> tuple[str, ...] | None:
    """The labels in the value of --labels. A label with a comma is in double quotes. Raises UserError."""
    if labels is None:
        return None
    try:
        names = [name.strip() for row in csv.reader([labels], skipinitialspace=True, strict=True) for name in row]
    except csv.Error as error:
        raise UserError(f"--labels {labels}: {error}; put a label with a comma in double quotes") from error
    if not names or "" in names:
        raise UserError(f"--labels {labels}: a label is empty; expected labels separated by commas")
    return tuple(names)


def print_result(value: Value, as_json: bool, print_text: Callable[[Value], None]) -> None:
    """Print a dataclass as one JSON document, or as text."""
    if as_json:
        from pydantic_core import to_jsonable_python

        print(json.dumps(to_jsonable_python(value)))
    else:
        print_text(value)


def stderr_console() -> Console:
    """The console for progress and warnings. Quiet in all processes but the main one."""
    from bench.measurement import machine

    console = new_console(stderr=True, quiet=not distributed.is_main())
    if machine.shadowed_onnxruntime():
        console.print(notice("warning:", "yellow", machine.SHADOWED))
    return console


@contextmanager
def message_when_interrupted(console: Console) -> Iterator[None]:
    """In this context, Ctrl-C and signals end the command with a line that says how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to continue from here")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except Stopped as stopped:
        console.print(f"stopped by {stopped.name}; the same command resumes")
        raise typer.Exit(stopped.exit_code) from None
