"""Commands before a run: a recipe for a table, built-in recipes, JSON Schemas, the state of the machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from compress.common.errors import UserError
from pocketbert.cli import completion
from pocketbert.cli.options import AsJson, Encoding, examples, print_result

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
    from pocketbert.new_recipe.propose import propose_recipe

    proposal = propose_recipe(table, text=text, label=label, teacher=teacher, encoding=encoding)
    target = output or Path(f"{proposal.name}.yaml")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(proposal.recipe)
    except FileExistsError:
        raise UserError(f"{target}: already exists; remove it, or name another file with --output") from None
    for fact in proposal.table_facts:
        print(fact)
    print(f"recipe {target}\nnext   pocketbert check {target}")


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
    from pocketbert.cli import printing
    from pocketbert.standalone.doctor import examine_machine

    print_result(examine_machine(Path.cwd()), as_json, printing.machine)
