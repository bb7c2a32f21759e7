"""Commands around runs: a recipe for a table, built-in recipes, JSON Schemas, the state of the machine, the cache."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from compress.common.errors import UserError
from compress.common.escaping import shell_path
from pocketbert.cli_parts import completion
from pocketbert.cli_parts.options import AsJson, Encoding, examples, print_result

PANEL = "Set-up"
commands = typer.Typer()


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert new reviews.csv",
        "pocketbert new pairs.tsv --text question --text answer --label relevant --teacher models/my-bert",
    ),
)
def new(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="Your labelled data: a table (CSV, TSV, JSON, Parquet, Excel), or a folder with one "
            "per split (train, dev, test)",
        ),
    ],
    output: Annotated[Path | None, typer.Option(help="The recipe file [default: NAME.yaml]")] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Text column; twice for pairs [default: detected]"),
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="Label column [default: detected]")] = None,
    teacher: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model to fine-tune as the teacher: a folder or a Hub name")
    ] = None,
    encoding: Encoding = "utf-8",
) -> None:
    """Write a commented recipe for your own table, from its columns, labels and text lengths."""
    from pocketbert.cli_parts import printing
    from pocketbert.new_recipe.propose import propose_recipe

    proposal = propose_recipe(table, text=text, label=label, teacher=teacher, encoding=encoding)
    target = output or Path(f"{proposal.name}.yaml")
    try:
        with target.open("x", encoding="utf-8") as file:
            try:
                file.write(proposal.recipe)
                file.flush()
            except OSError:
                target.unlink()  # half a recipe, on a full disk
                raise
    except FileExistsError:
        raise UserError(f"{target}: already exists; remove it, or name another file with --output") from None
    for fact in proposal.table_facts:
        printing.print_line(fact)
    printing.print_line(f"recipe {target}")
    printing.print_line(f"next   pocketbert check {shell_path(target)}")


@commands.command(
    rich_help_panel=PANEL, epilog=examples("pocketbert recipes", "pocketbert recipes sst2 > my-sst2.yaml")
)
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Print this recipe", autocompletion=completion.built_in_recipes),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the built-in recipes, or print one of them to start from."""
    from pocketbert.recipe.loading import built_in, summary_of

    known = built_in()
    if name is not None:
        if name not in known:
            raise UserError(f"{name}: not the name of a built-in recipe; expected one of {', '.join(known)}")
        print(known[name].read_text(encoding="utf-8"), end="")
    elif as_json:
        print(json.dumps({name: {"summary": summary_of(path), "path": str(path)} for name, path in known.items()}))
    else:
        for each, path in known.items():
            print(f"{each:<12}{summary_of(path)}")


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples("pocketbert schema > recipe.schema.json", "pocketbert schema results > results.schema.json"),
)
def schema(
    document: Annotated[
        str,
        typer.Argument(
            metavar="DOCUMENT",
            help="recipe, or results for results.json and `--json`",
            autocompletion=completion.documents,
        ),
    ] = "recipe",
) -> None:
    """Print the JSON Schema of recipes, for editors, or of results."""
    from bench.results.document import results_schema
    from pocketbert.recipe.schema import recipe_schema

    schemas = {"recipe": recipe_schema, "results": results_schema}
    if document not in schemas:
        raise UserError(f"{document}: there is no schema of that name; expected one of {', '.join(schemas)}")
    print(json.dumps(schemas[document](), indent=2))


@commands.command(rich_help_panel=PANEL, epilog=examples("pocketbert doctor", "pocketbert doctor --json"))
def doctor(as_json: AsJson = False) -> None:
    """Examine the machine and the installation: CPU instructions, GPU, providers, versions, free disk space."""
    from pocketbert.cli_parts import machine_text
    from pocketbert.standalone.doctor import examine_machine

    print_result(examine_machine(Path.cwd()), as_json, machine_text.machine)


cache = typer.Typer(
    name="cache",
    help="List what the cache holds, or remove entries of it.",
    epilog=examples("pocketbert cache", "pocketbert cache prune --older-than 30"),
    invoke_without_command=True,
    rich_markup_mode="markdown",
)


@cache.callback()
def listing(context: typer.Context, as_json: AsJson = False) -> None:
    """List the entries of the cache with their sizes and the days since their last use.

    The cache is in $POCKETBERT_CACHE, or in ~/.cache/pocketbert.
    """
    from pocketbert.cli_parts import machine_text
    from pocketbert.store.cache_contents import contents_of
    from pocketbert.store.stage_cache import cache_folder

    if context.invoked_subcommand is None:
        print_result(contents_of(cache_folder()), as_json, machine_text.cache_contents)


@cache.command(
    epilog=examples("pocketbert cache prune --older-than 30", "pocketbert cache prune --older-than 90 --yes"),
)
def prune(
    older_than: Annotated[
        float | None, typer.Option(metavar="DAYS", min=0, help="Remove entries that no run has used for so many days")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all entries")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first")] = False,
) -> None:
    """Remove entries of the cache, except those that a running process uses.

    A run whose stage was removed does it again. Files that PocketBERT did not write stay.
    """
    from pocketbert.cli_parts import machine_text, printing
    from pocketbert.store.cache_contents import contents_of, remove
    from pocketbert.store.stage_cache import cache_folder

    if everything == (older_than is not None):
        raise UserError("cache prune: give either --older-than DAYS or --all")
    folder = cache_folder()
    chosen = [item for item in contents_of(folder).items if older_than is None or item.age_days >= older_than]
    if not chosen:
        printing.print_line(f"{folder}: no entry to remove")
        return
    if not yes:
        question = f"remove {machine_text.total_of(chosen)} from {folder}?"
        if sys.stdin is None or not sys.stdin.isatty():
            raise UserError(f"{question} Add --yes to remove without a question")
        if not typer.confirm(question):
            return
    removed = [item for item in chosen if remove(folder, item, lambda line: printing.print_line(f"kept {line}"))]
    printing.print_line(f"removed {machine_text.total_of(removed)}")
