"""What the commands share: options that mean the same everywhere, and how they print."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from compress.common import distributed

Value = TypeVar("Value")
EXIT_FAULT = 1
EXIT_BAD_INPUT = 2
EXIT_GATE = 3
EXIT_INTERRUPTED = 130

RecipeName = Annotated[str, typer.Argument(help="A recipe file, or a built-in recipe by its name")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; may be given several times"),
]
Smoke = Annotated[bool, typer.Option("--smoke", help="A few rows and steps of every stage: does it run at all?")]
Output = Annotated[Path | None, typer.Option(help="The run folder; default: runs/NAME")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead")]
Texts = Annotated[list[str] | None, typer.Option(help="The text column; twice for pairs [default: text]")]
Label = Annotated[str, typer.Option(help="The label column")]
Encoding = Annotated[str, typer.Option(help="Text encoding of the tables, such as cp1252")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of each; default: all usable cores")]


def print_result(value: Value, as_json: bool, show: Callable[[Value], None]) -> None:
    """Print a dataclass as one JSON document, or as `show` does."""
    if as_json:
        from pydantic_core import to_jsonable_python

        print(json.dumps(to_jsonable_python(value)))
    else:
        show(value)


def stderr_console() -> Console:
    """For progress and warnings; silent in all but the main one of several processes."""
    from bench.measurement import machine

    console = Console(stderr=True, highlight=False, quiet=not distributed.is_main())
    if machine.shadowed_onnxruntime():
        console.print(f"[yellow]warning:[/yellow] {machine.SHADOWED}")
    return console
