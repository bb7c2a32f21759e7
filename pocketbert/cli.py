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

from compress import processes
from compress.errors import UserError
from pocketbert import __version__, bench_commands
from pocketbert.terminal import AsJson, Changes, Label, Output, RecipeName, Smoke, Texts, printed, stderr_console

EXIT_FAULT = 1
EXIT_BAD_INPUT = 2
EXIT_GATE = 3
EXIT_INTERRUPTED = 130
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
    "    pocketbert run reviews.yaml --set distill.prediction.epochs=1 --output runs/second-try"
)
def run(
    recipe: RecipeName, output: Output = None, changes: Changes = None, smoke: Smoke = False, as_json: AsJson = False
) -> None:
    """Do a recipe from teacher to report. What is done already is skipped, what was cut off goes on."""
    from pocketbert import shown
    from pocketbert.pipeline import run_recipe
    from pocketbert.reading import load_recipe

    console = stderr_console()
    loaded = load_recipe(recipe, changes=changes or (), smoke=smoke)
    with _told_when_interrupted(console):
        outcome = run_recipe(loaded, output or Path("runs") / loaded.name, console)
    if outcome is None:  # the main one of several processes goes on
        return
    if as_json:
        print(json.dumps(outcome.results))
    else:
        if not outcome.num_built:
            console.print("[green]Nothing to do: every stage was done before.[/green]")
        shown.outcome(outcome)
    for line in outcome.gate:
        console.print(f"[red]not shipped[/red] {escape(line)}")
    if outcome.gate:
        raise typer.Exit(EXIT_GATE)


@app.command(
    epilog="Examples:\n\n    pocketbert check reviews.yaml\n\n    pocketbert check sst2 --set student.preset=tinybert6"
)
def check(
    recipe: RecipeName, output: Output = None, changes: Changes = None, smoke: Smoke = False, as_json: AsJson = False
) -> None:
    """Resolve a recipe without running it: data, models, stages, steps, about how long, and what would be skipped."""
    from pocketbert import shown
    from pocketbert.pipeline import prepare
    from pocketbert.reading import load_recipe

    console = stderr_console()
    loaded = load_recipe(recipe, changes=changes or (), smoke=smoke)
    task = prepare(loaded, Console(quiet=True))
    with console.status("timing a few batches"):
        from pocketbert.estimate import examine

        found = examine(loaded, task, output or Path("runs") / loaded.name)
    printed(found, as_json, shown.plan)


@app.command(
    epilog="Examples:\n\n    pocketbert new reviews.csv\n\n"
    "    pocketbert new pairs.tsv --text question --text answer --label relevant --teacher models/my-bert"
)
def new(
    table: Annotated[Path, typer.Argument(help="Your labelled data: CSV, TSV, JSON lines or Parquet")],
    output: Annotated[Path | None, typer.Option(help="The recipe to write; default: NAME.yaml")] = None,
    text: Annotated[list[str] | None, typer.Option(help="The text column; twice for pairs; default: found")] = None,
    label: Annotated[str | None, typer.Option(help="The label column; default: found")] = None,
    teacher: Annotated[str | None, typer.Option(help="The base to fine-tune: a folder or a Hub name")] = None,
    encoding: Annotated[str, typer.Option(help="Text encoding of the table")] = "utf-8",
) -> None:
    """Write a commented recipe for a table of your own, after looking at its columns, labels and lengths."""
    from pocketbert.draft import draft

    found = draft(table, text=text, label=label, teacher=teacher, encoding=encoding)
    target = output or Path(f"{found.name}.yaml")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(found.recipe)
    except FileExistsError:
        raise UserError(f"{target}: is there already; remove it, or name another file with --output") from None
    for line in found.seen:
        print(line)
    print(f"recipe {target}\nnext   pocketbert check {target}")


@app.command(
    epilog="Examples:\n\n    pocketbert schema > recipe.schema.json\n\n"
    "    pocketbert schema results > results.schema.json"
)
def schema(
    of: Annotated[str, typer.Argument(help="recipe, or results: those of `bench --json` and results.json")] = "recipe",
) -> None:
    """Print the JSON Schema of recipes, from which editors complete and check, or of results."""
    from bench.schema import results_schema
    from pocketbert.recipe import Recipe

    schemas = {
        "recipe": lambda: {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()},
        "results": results_schema,
    }
    if of not in schemas:
        raise UserError(f"schema of {of}: expected one of {', '.join(schemas)}")
    print(json.dumps(schemas[of](), indent=2))


@app.command(epilog="Examples:\n\n    pocketbert recipes\n\n    pocketbert recipes sst2 > my-sst2.yaml")
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe's file")] = None, as_json: AsJson = False
) -> None:
    """List the built-in recipes, or print one to start from."""
    from pocketbert.reading import built_in, summary_of

    known = built_in()
    if name is not None:
        if name not in known:
            raise UserError(f"{name}: got no built-in recipe of that name; expected one of {', '.join(known)}")
        print(known[name].read_text(encoding="utf-8"), end="")
    elif as_json:
        print(json.dumps({name: {"summary": summary_of(path), "path": str(path)} for name, path in known.items()}))
    else:
        for each, path in known.items():
            print(f"{each:<12}{summary_of(path)}")


@app.command(epilog="Example:\n\n    pocketbert general reviews.yaml --output runs/general-english")
def general(
    recipe: RecipeName, output: Output = None, changes: Changes = None, smoke: Smoke = False, as_json: AsJson = False
) -> None:
    """Make a recipe's general student alone: once for many tasks.

    It is kept in the cache. Recipes with the same base, student, seed, corpus and distill.general find it there; others
    name its folder as student.checkpoint.
    """
    from pocketbert.pipeline import make_general
    from pocketbert.reading import load_recipe

    console = stderr_console()
    loaded = load_recipe(recipe, changes=changes or (), smoke=smoke)
    with _told_when_interrupted(console):
        folder = make_general(loaded, output or Path("runs") / loaded.name, console)
    if folder is None:  # another process tells
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
    from pocketbert import shown
    from pocketbert.pipeline import make_variants
    from pocketbert.reading import load_recipe

    console = stderr_console()
    loaded = load_recipe(recipe, changes=changes or (), smoke=smoke)
    with _told_when_interrupted(console):
        folder = make_variants(loaded, output or Path("runs") / loaded.name, console)
    if folder is None:  # another process tells
        return
    from pocketbert.examples import look_at

    found = look_at(folder, count=show, seed=loaded.seed)
    printed(found, as_json, shown.augmented)


@app.command(
    epilog="Examples:\n\n    pocketbert export models/my-bert --task-data dev.csv --calibration train.csv "
    "--text sentence --output bundles\n\n"
    "    pocketbert export models/my-bert --task-data dev.csv --output bundles --variant int8-weight-int4-embedding\n\n"
    "    pocketbert export runs/quickstart --explain\n\n    pocketbert export bundles/int8-static --explain"
)
def export(
    model: Annotated[
        str,
        typer.Argument(
            help="A fine-tuned model: Hugging Face folder or Hub name; with --explain also a run or a bundle"
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option("--task-data", "--data", help="A labelled table, on which each variant is held against torch"),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the bundles [default: bundles/NAME]")] = None,
    text: Texts = None,
    label: Label = "label",
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="fp32, fp16, int8-dynamic, int8-static, int4-static, int8-weight, int4-weight; with another embedding "
            "than its usual one: int8-static-int4-embedding; several times; default: those seven but fp16, without "
            "--calibration also but the static ones"
        ),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Another such table, of train rows: static variants take their ranges from it")
    ] = None,
    reduce_range: Annotated[
        bool, typer.Option("--reduce-range", help="int8 weights in 7 bits: their products saturate on no processor")
    ] = False,
    metric: Annotated[str, typer.Option(help="accuracy, f1, matthews or pearson_spearman")] = "accuracy",
    max_length: Annotated[int | None, typer.Option(min=4, help="Tokens, longer texts are cut [default: 128]")] = None,
    student_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of torch's metric that a variant must keep to be written")
    ] = 0.99,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell of each variant all that was found, and what it means")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a fine-tuned model into bundles, without distilling it. What does not agree with torch is not written."""
    from pocketbert import shown
    from pocketbert.exporting import export_model, ledger_of

    if explain and data is None:
        printed(ledger_of(Path(model)), as_json, shown.explained)
        return
    if data is None:
        raise UserError(
            f"{model}: name a labelled table with --task-data, on which its variants are held against torch"
        )
    found = export_model(
        model,
        variants=variant,
        data=data,
        calibration=calibration,
        text=text or ["text"],
        label=label,
        metric=metric,
        max_length=max_length,
        reduce_range=reduce_range,
        student_share=student_share,
        output=output or Path("bundles") / Path(model).absolute().name,
        console=stderr_console(),
    )
    printed(found, as_json, shown.explained if explain else shown.variants)
    if any(facts["failures"] for facts in found["variants"].values()):
        raise typer.Exit(EXIT_GATE)


@app.command(
    epilog="Example:\n\n    pocketbert general my.yaml --output runs/projected\n\n"
    "    pocketbert general my.yaml --set student.initialisation=random --output runs/random\n\n"
    "    pocketbert curves runs/projected runs/random --stage general --output curves"
)
def curves(
    first: Annotated[Path, typer.Argument(help="A run folder")],
    second: Annotated[Path, typer.Argument(help="The run folder to hold it against")],
    stage: Annotated[
        str, typer.Option(help="teacher, general, masked_lm, intermediate or prediction")
    ] = "intermediate",
    output: Annotated[Path | None, typer.Option(help="Folder for curves.svg and curves.json")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold the loss curves of two runs side by side: how many steps of the second are one step of the first worth?"""
    from pocketbert import shown
    from pocketbert.curves import compare

    found = compare(first, second, stage=stage, output=output)
    if as_json:
        print(json.dumps(found))
        return
    shown.curves(found)
    if output is not None:
        shown.path("plot", output / "curves.svg")


app.add_typer(bench_commands.commands)


@app.command(epilog="Example:\n\n    pocketbert verify runs/quickstart/bundles/int8-static")
def verify(bundle: Annotated[Path, typer.Argument(help="A bundle folder")], as_json: AsJson = False) -> None:
    """Hash a bundle's files and replay the golden examples stored in it."""
    from export.bundle import verify_bundle

    found = verify_bundle(bundle)
    if as_json:
        print(json.dumps(vars(found)))
    else:
        same = "all answers as stored" if not found.num_changed else f"{found.num_changed} ANSWERS DIFFER"
        print(
            f"{bundle}: {found.num_files} files as written; {found.num_golden} golden examples replayed, {same}, "
            f"largest difference {found.largest_difference:.2g}"
        )
    if found.num_changed:
        raise typer.Exit(EXIT_FAULT)


@app.command(
    epilog="Examples:\n\n    pocketbert report runs/quickstart --open\n\n"
    "    pocketbert report runs/quickstart runs/second-try"
)
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or that of a benchmark")],
    other: Annotated[Path | None, typer.Argument(metavar="OTHER", help="Another, to compare with the first")] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser")] = False,
    other_machine: Annotated[
        bool, typer.Option("--other-machine", help="Compare though they were measured on other machines")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's report anew from its results.json, and show it; or compare two runs."""
    import webbrowser

    from bench.compare import compare
    from bench.report import read_results, rewrite_reports
    from pocketbert import shown

    if other is not None:
        found = compare(read_results(folder), read_results(other), other_machine=other_machine)
        printed(found, as_json, shown.compared)
        return
    rewrite_reports(folder)
    page = (folder / "report.html").absolute()
    shown.path("report", page)
    if open_it and not webbrowser.open(page.as_uri()):
        raise UserError(f"{page}: no browser could be started here; open the file on another machine")


@app.command(epilog="Examples:\n\n    pocketbert doctor\n\n    pocketbert doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """What this machine and this installation can do: instructions, GPU, providers, versions, free disk."""
    from pocketbert import shown
    from pocketbert.doctor import examine

    found = examine(Path.cwd())
    printed(found, as_json, shown.machine)


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
        return _tell(str(error), EXIT_BAD_INPUT)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        advice = "; what is done stays: free some room and run the same command again" if error.errno == ENOSPC else ""
        return _tell(f"{where}{error.strerror or error}{advice}", EXIT_BAD_INPUT)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime":
            return _tell(NO_ONNXRUNTIME, EXIT_BAD_INPUT)
        reason = " ".join(str(error).split()) or "no reason given"
        return _tell(
            f"a fault of PocketBERT's: {type(error).__name__}: {reason}; run the command again with --debug and report "
            "what it prints; what is done stays",
            EXIT_FAULT,
        )
    return 0


def _tell(message: str, code: int) -> int:
    who = "" if processes.is_main() else f"process {processes.rank()}: "
    for line in message.splitlines():
        print(f"error: {who}{line}", file=sys.stderr)
    return code


@contextmanager
def _told_when_interrupted(console: Console) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to go on from here")
        raise typer.Exit(EXIT_INTERRUPTED) from None
