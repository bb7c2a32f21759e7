"""The commands around a run: recipes to start from, models and bundles, reports, this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from compress.common.errors import UserError
from pocketbert.cli.options import EXIT_FAULT, EXIT_GATE, AsJson, Encoding, Label, Texts, print_result, stderr_console

commands = typer.Typer()


@commands.command(
    epilog="Examples:\n\n    pocketbert new reviews.csv\n\n"
    "    pocketbert new pairs.tsv --text question --text answer --label relevant --teacher models/my-bert"
)
def new(
    table: Annotated[Path, typer.Argument(help="Your labelled data: CSV, TSV, JSON lines or Parquet")],
    output: Annotated[Path | None, typer.Option(help="The recipe to write; default: NAME.yaml")] = None,
    text: Annotated[list[str] | None, typer.Option(help="The text column; twice for pairs; default: found")] = None,
    label: Annotated[str | None, typer.Option(help="The label column; default: found")] = None,
    teacher: Annotated[str | None, typer.Option(help="The base to fine-tune: a folder or a Hub name")] = None,
    encoding: Encoding = "utf-8",
) -> None:
    """Write a commented recipe for a table of your own, after looking at its columns, labels and lengths."""
    from pocketbert.recipe.new_recipe import propose_recipe

    found = propose_recipe(table, text=text, label=label, teacher=teacher, encoding=encoding)
    target = output or Path(f"{found.name}.yaml")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(found.recipe)
    except FileExistsError:
        raise UserError(f"{target}: is there already; remove it, or name another file with --output") from None
    for line in found.seen:
        print(line)
    print(f"recipe {target}\nnext   pocketbert check {target}")


@commands.command(
    epilog="Examples:\n\n    pocketbert schema > recipe.schema.json\n\n"
    "    pocketbert schema results > results.schema.json"
)
def schema(
    of: Annotated[str, typer.Argument(help="recipe, or results: those of `bench --json` and results.json")] = "recipe",
) -> None:
    """Print the JSON Schema of recipes, from which editors complete and check, or of results."""
    from bench.results.document import results_schema
    from pocketbert.recipe.sections import Recipe

    schemas = {
        "recipe": lambda: {
            "$schema": "https://json-schema.org/propose_recipe/2020-12/schema",
            **Recipe.model_json_schema(),
        },
        "results": results_schema,
    }
    if of not in schemas:
        raise UserError(f"schema of {of}: expected one of {', '.join(schemas)}")
    print(json.dumps(schemas[of](), indent=2))


@commands.command(epilog="Examples:\n\n    pocketbert recipes\n\n    pocketbert recipes sst2 > my-sst2.yaml")
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe's file")] = None, as_json: AsJson = False
) -> None:
    """List the built-in recipes, or print one to start from."""
    from pocketbert.recipe.loading import built_in, summary_of

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


@commands.command(
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
    encoding: Encoding = "utf-8",
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
    metric: Annotated[
        str | None,
        typer.Option(help="accuracy, f1, matthews or pearson_spearman [default: accuracy; of a regression the last]"),
    ] = None,
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
    from pocketbert.cli import printing
    from pocketbert.standalone.export_model import ExportRequest, export_model, parity_of

    if explain and data is None:
        print_result(parity_of(Path(model)), as_json, printing.explain_variants)
        return
    if data is None:
        raise UserError(
            f"{model}: name a labelled table with --task-data: variants are compared with torch on its rows"
        )
    exported = export_model(
        model,
        ExportRequest(
            data=data,
            calibration=calibration,
            text=text or ["text"],
            label=label,
            encoding=encoding,
            variants=variant,
            metric=metric,
            max_length=max_length,
            reduce_range=reduce_range,
            student_share=student_share,
        ),
        output=output or Path("bundles") / Path(model).absolute().name,
        console=stderr_console(),
    )
    print_result(exported, as_json, printing.explain_variants if explain else printing.variants)
    if any(variant_result.failures for variant_result in exported.variants.values()):
        raise typer.Exit(EXIT_GATE)


@commands.command(
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
    """Compare the loss curves of two runs: how many steps of the second are one step of the first worth?"""
    from pocketbert.cli import printing
    from pocketbert.standalone.compare_curves import compare_curves

    print_result(compare_curves(first, second, stage=stage, output=output), as_json, printing.curves)
    if output is not None and not as_json:
        printing.path("plot", output / "curves.svg")


@commands.command(epilog="Example:\n\n    pocketbert verify runs/quickstart/bundles/int8-static")
def verify(bundle: Annotated[Path, typer.Argument(help="A bundle folder")], as_json: AsJson = False) -> None:
    """Hash a bundle's files and replay the golden examples stored in it."""
    from export.bundle.folder import verify_bundle

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


@commands.command(
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

    from bench.report.comparison import compare_results
    from bench.report.render import write_reports
    from bench.results.document import read_results
    from pocketbert.cli import printing

    if other is not None:
        comparison = compare_results(read_results(folder), read_results(other), other_machine=other_machine)
        print_result(comparison, as_json, printing.compared)
        return
    write_reports(read_results(folder), folder)
    page = (folder / "report.html").absolute()
    printing.path("report", page)
    if open_it and not webbrowser.open(page.as_uri()):
        raise UserError(f"{page}: no browser could be started here; open the file on another machine")


@commands.command(epilog="Examples:\n\n    pocketbert doctor\n\n    pocketbert doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """What this machine and this installation can do: instructions, GPU, providers, versions, free disk."""
    from pocketbert.cli import printing
    from pocketbert.standalone.doctor import examine_machine

    found = examine_machine(Path.cwd())
    print_result(found, as_json, printing.machine)
