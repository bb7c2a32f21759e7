"""The command line: all commands, one error line for each problem, exit codes. Each command imports its work itself."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from errno import EDQUOT, ENOSPC
from typing import Annotated, Any

import typer

from compress.common import distributed
from compress.common.errors import NotGoodEnough, UserError
from compress.common.escaping import one_line
from pocketbert import __version__, shell
from pocketbert.cli import (
    bench_commands,
    experiment_commands,
    export_commands,
    package_commands,
    predict_commands,
    provenance_commands,
    report_commands,
    run_commands,
    serve_commands,
    setup_commands,
)
from pocketbert.cli_parts import old_spellings, remedies
from pocketbert.cli_parts.options import EXIT_BAD_INPUT, EXIT_FAULT, EXIT_GATE, EXIT_INTERRUPTED, examples

TOOLCHAIN, BUNDLES, AUGMENT = ("cpu", "gpu"), ("bundles", "bundles-gpu"), ("augment",)
SERVE, SIGN = ("serve",), ("sign",)
EXTRAS = {  # by package, the extras that install it, for the CPU and for a CUDA device
    "OpenSSL": SIGN,
    "accelerate": TOOLCHAIN,
    "cyclonedx": SIGN,
    "datasets": TOOLCHAIN,
    "gensim": AUGMENT,
    "google": SERVE,
    "grpc": SERVE,
    "grpc_health": SERVE,
    "httptools": SERVE,
    "model_signing": SIGN,
    "onnxruntime": BUNDLES,
    "prometheus_client": SERVE,
    "regex": TOOLCHAIN,
    "safetensors": TOOLCHAIN,
    "starlette": SERVE,
    "torch": TOOLCHAIN,
    "transformers": TOOLCHAIN,
    "uvicorn": SERVE,
    "uvloop": SERVE,
}
UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # typer does not export it

app = typer.Typer(
    help="Distil a fine-tuned BERT into a small model, export it, and measure how good and how fast it is.",
    epilog=examples("pocketbert new reviews.csv", "pocketbert check reviews.yaml", "pocketbert run reviews.yaml")
    + "\n\nExit codes: 0 success, 1 a fault of PocketBERT, 2 bad input, 3 the data, the teacher or the variants were "
    "not good enough. `--debug` prints the traceback of an error.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version")] = False) -> None:
    if version:
        print(f"pocketbert {__version__}")
        raise typer.Exit


for group in (
    setup_commands,
    run_commands,
    experiment_commands,
    export_commands,
    predict_commands,
    report_commands,
    serve_commands,
    package_commands,
    provenance_commands,
):
    app.add_typer(group.commands)
app.add_typer(bench_commands.commands, rich_help_panel="Benchmarks")
app.add_typer(setup_commands.cache, rich_help_panel=setup_commands.PANEL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. A problem is printed as one line that begins with `error:`."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    root: Any = typer.main.get_command(app)
    renamed = old_spellings.new_spelling(arguments, root)
    if renamed is not None:
        return print_error(renamed, EXIT_BAD_INPUT)
    arguments, debug = _without_debug(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        return int(root(arguments, prog_name="pocketbert", standalone_mode=False) or 0)
    except shell.Stopped as stopped:
        return print_error(f"stopped by {stopped.name}", stopped.exit_code)
    except (KeyboardInterrupt, typer.Abort):  # typer turns the first into the second
        return print_error("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        return _without_reader()
    except SystemExit as end:  # of shell completion, or of rich
        return _without_reader() if isinstance(end.__context__, BrokenPipeError) else int(end.code or 0)
    except UserError as error:
        if debug:
            raise
        code = EXIT_GATE if isinstance(error, NotGoodEnough) else EXIT_BAD_INPUT
        command = remedies.command_of(_selected(arguments, root)[1])
        return _print_errors(remedies.with_remedies(error, command), code)
    except UsageError as error:
        return print_error(_usage(error, _selected(arguments, root)[0]), EXIT_BAD_INPUT)
    except OSError as error:
        if debug:
            raise
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        is_full = error.errno in (ENOSPC, EDQUOT)
        advice = "; finished work is kept: free some space and run the same command again" if is_full else ""
        return print_error(f"{where}{error.strerror or error}{advice}", EXIT_BAD_INPUT)
    except MemoryError:
        if debug:
            raise
        return print_error("not enough memory; finished work is kept", EXIT_BAD_INPUT)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
            return print_error(_missing_package(error.name), EXIT_BAD_INPUT)
        reason = " ".join(str(error).split()) or "no reason given"
        return print_error(
            f"a fault of PocketBERT: {type(error).__name__}: {reason}; run the command again with --debug and report "
            "the output; finished work is kept",
            EXIT_FAULT,
        )


def _without_reader() -> int:
    """The exit code after a write to a pipe without a reader. Only `head` and the like end before the output does."""
    return 0 if shell.has_reader(sys.stderr.fileno()) else EXIT_BAD_INPUT


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments without --debug. What follows `--` is left alone."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    before = [argument for argument in arguments[:end] if argument != "--debug"]
    return [*before, *arguments[end:]], len(before) < end


def _selected(arguments: Sequence[str], root: Any) -> tuple[str, Any]:
    """The words of the command that the arguments select, such as `bench models`, and the command."""
    words, command = list[str](), root
    for name in (argument for argument in arguments if not argument.startswith("-")):
        if name not in getattr(command, "commands", {}):
            break
        words.append(name)
        command = command.commands[name]
    return " ".join(words), command


def _usage(error: Any, words: str) -> str:
    """A wrong use of a command in one line; empty if typer has printed a help page instead."""
    message = str(error.format_message()).rstrip(".")
    if not message:
        return ""
    where = f"{words}: " if words else ""
    return f"{where}{message[0].lower()}{message[1:]}; see `{f'pocketbert {words}'.rstrip()} --help`"


def _missing_package(name: str) -> str:
    from compress.common.extras import install_command

    cpu, *gpu = EXTRAS[name]
    for_gpu = f"; for a CUDA device: {install_command(gpu[0])}" if gpu else ""
    return f"{name} is not installed; install it with an extra: {install_command(cpu)}{for_gpu}"


def print_error(message: str, code: int) -> int:
    """Print a message on one line, unless it is empty. Returns the exit code."""
    return _print_errors([message] if message else [], code)


def _print_errors(messages: Sequence[str], code: int) -> int:
    """Print each message on one line."""
    process = "" if distributed.is_main() else f"process {distributed.rank()}: "
    with suppress(OSError):  # nobody can read it
        for message in messages:
            print(f"error: {process}{one_line(message)}", file=sys.stderr)
    return code
