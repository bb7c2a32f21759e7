"""Commands that make bundles and explain them: export, explain."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.timing.limits import MOST_TOKENS
from compress.common.errors import UserError
from pocketbert.cli_parts import completion
from pocketbert.cli_parts.options import (
    EXIT_GATE,
    AsJson,
    Encoding,
    LabelColumn,
    TableLabels,
    TextColumns,
    examples,
    print_result,
    split_labels,
    stderr_console,
)

if TYPE_CHECKING:
    pass

PANEL = "Models and bundles"
commands = typer.Typer()


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert export models/my-bert --data dev.csv --calibration train.csv",
        "pocketbert export models/my-bert --data dev.csv --variant int8-weight --output small",
        "pocketbert export models/my-bert --data dev.csv --labels negative,positive --variant fp32 --output named",
    ),
)
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A fine-tuned classifier: a Hugging Face folder or a Hub name",
            autocompletion=completion.models,
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help="Labelled table on which each variant is compared with torch [required]")
    ] = None,
    task_data: Annotated[Path | None, typer.Option(hidden=True, help="The same as --data")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the bundles [default: bundles/NAME]")] = None,
    text: TextColumns = None,
    label: LabelColumn = "label",
    labels: TableLabels = None,
    encoding: Encoding = "utf-8",
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VARIANT",
            help="fp32, fp16, int8-dynamic, int8-static, int4-static, int8-weight or int4-weight; with another "
            "embedding: int8-static-int4-embedding; repeatable [default: all but fp16; static ones need --calibration]",
            autocompletion=completion.variants,
        ),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Labelled table of train rows, for the activation ranges of static variants")
    ] = None,
    full_range: Annotated[
        bool, typer.Option("--full-range", help="Use all 8 bits of int8 weights, not 7; old processors may saturate")
    ] = False,
    fp32_attention: Annotated[
        bool, typer.Option("--fp32-attention", help="Compute the products of attention in fp32 in static variants")
    ] = False,
    reduce_range: Annotated[bool, typer.Option("--reduce-range", hidden=True, help="The default")] = False,
    metric: Annotated[
        str | None,
        typer.Option(
            help="accuracy, macro_f1, f1, matthews or pearson_spearman [default: accuracy; pearson_spearman for "
            "regression]"
        ),
    ] = None,
    positive: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Class whose F1 is the metric f1 [default: the second label]")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=4, max=MOST_TOKENS, help="Tokens per text; longer texts are cut [default: 128]")
    ] = None,
    student_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of torch's metric that a variant must reach")
    ] = 0.99,
    as_json: AsJson = False,
) -> None:
    """Export a fine-tuned model to bundles, without distillation. Variants that differ from torch are not written."""
    from pocketbert.cli_parts import run_text
    from pocketbert.standalone.export_model import ExportRequest, export_model

    if full_range and reduce_range:
        raise UserError("--full-range and --reduce-range: expected one of them")
    table = data or task_data
    if table is None:
        raise UserError(f"{model}: name a labelled table with --data; each variant is compared with torch on its rows")
    exported = export_model(
        model,
        ExportRequest(
            data=table,
            calibration=calibration,
            text=text or ["text"],
            label=label,
            labels=split_labels(labels),
            encoding=encoding,
            variants=variant,
            metric=metric,
            positive=positive,
            max_length=max_length,
            reduce_range=not full_range,
            attention="fp32" if fp32_attention else "int8",
            student_share=student_share,
        ),
        output=output or Path("bundles") / Path(model).absolute().name,
        console=stderr_console(),
    )
    print_result(exported, as_json, run_text.variants)
    if any(result.failures for result in exported.variants.values()):
        raise typer.Exit(EXIT_GATE)


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert explain runs/reviews",
        "pocketbert explain runs/reviews/bundles/fp32",
        "pocketbert explain runs/reviews/bundles",
    ),
)
def explain(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="A run, a bundle, or the --output folder of an export",
            autocompletion=completion.runs_and_bundles,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Explain each variant: how it differs from torch, on which rows, and why it passed or failed."""
    from pocketbert.cli_parts import run_text
    from pocketbert.standalone.explain_export import export_result_of

    print_result(export_result_of(folder), as_json, run_text.explanation)
