"""Commands for models and bundles: export, explain, predict, verify."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.timing.limits import MOST_THREADS, MOST_TOKENS
from compress.common.errors import UserError
from compress.common.escaping import json_line
from pocketbert.cli import completion
from pocketbert.cli.options import (
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
    from pocketbert.standalone.predict_texts import Prediction

PANEL = "Models and bundles"
BundleFolder = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A bundle folder", autocompletion=completion.bundles)
]
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
    from pocketbert.cli import printing
    from pocketbert.standalone.export_model import ExportRequest, export_model

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
            reduce_range=reduce_range or not full_range,
            student_share=student_share,
        ),
        output=output or Path("bundles") / Path(model).absolute().name,
        console=stderr_console(),
    )
    print_result(exported, as_json, printing.variants)
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
    from pocketbert.cli import printing
    from pocketbert.standalone.explain_export import export_result_of

    print_result(export_result_of(folder), as_json, printing.explanation)


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        'pocketbert predict runs/reviews/bundles/fp32 "a warm and lovely film" "a dull plot"',
        "pocketbert predict runs/reviews/bundles/fp32 --input texts.txt > predictions.jsonl",
        "cat texts.txt | pocketbert predict runs/reviews/bundles/fp32 | head -1",
        'pocketbert predict runs/reviews/bundles/fp32 -- "- a text that begins with a dash"',
    ),
)
def predict(
    bundle: BundleFolder,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Texts [default: the lines of standard input]", show_default=False),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Second text, for a bundle of a pair task; one per TEXT, in the same order"),
    ] = None,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="File with one text per line, or a pair separated by a tab; - for standard input",
        ),
    ] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of the lines, such as cp1252")] = "utf-8",
    threads: Annotated[
        int | None, typer.Option(min=1, max=MOST_THREADS, help="Threads [default: one per physical core]")
    ] = None,
) -> None:
    """Print the prediction of a bundle for each text: one JSON line per text, in the same order."""
    from pocketbert.standalone import predict_texts

    if input_file is not None and texts:
        raise UserError(f"--input {input_file}: got {len(texts)} TEXT as well; give texts or --input, not both")
    if pair and not texts:
        raise UserError("--pair: give one --pair for each TEXT; in a file, a tab separates the two texts of a line")
    classifier = predict_texts.load_bundle(bundle, num_threads=threads)
    if texts:
        given = predict_texts.rows_of_arguments(texts, pair or [], takes_pairs=classifier.takes_pairs)
        _print_lines(predict_texts.predictions(classifier, given, rows_per_call=len(given)))
        return
    path = None if input_file in (None, Path("-")) else input_file
    if path is None and sys.stdin is not None and sys.stdin.isatty():
        print("reading one text per line; end with Ctrl-D", file=sys.stderr)
    name = "standard input" if path is None else str(path)
    with predict_texts.open_lines(path, encoding=encoding) as lines:
        rows = predict_texts.rows_of_lines(lines, name=name, encoding=encoding, takes_pairs=classifier.takes_pairs)
        per_call = 1 if path is None else predict_texts.ROWS_PER_CALL
        _print_lines(predict_texts.predictions(classifier, rows, rows_per_call=per_call))


@commands.command(rich_help_panel=PANEL, epilog=examples("pocketbert verify runs/reviews/bundles/fp32"))
def verify(bundle: BundleFolder, as_json: AsJson = False) -> None:
    """Check that a bundle has exactly its files, unchanged, and repeat its golden examples.

    This detects damage. It does not prove who made the bundle: whoever changes a file can write new checksums.
    """
    from export.bundle.verification import verify_bundle
    from pocketbert.cli import printing

    verified = verify_bundle(bundle)
    if as_json:
        print(json.dumps(vars(verified)))
    else:
        printing.verified(bundle, verified)
    if verified.failures:
        raise UserError("\n".join(verified.failures))


def _print_lines(predictions: Iterable["Prediction"]) -> None:
    """One JSON line per prediction. Stops quietly if the reader of a pipe has closed it, as `head` does."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is UTF-8 in every locale
    try:
        for prediction in predictions:
            print(json_line(prediction), flush=True)
    except OSError as error:  # BrokenPipeError, or a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it at exit
        if not isinstance(error, BrokenPipeError):
            raise
