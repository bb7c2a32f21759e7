"""Commands for results: the report of a run, two runs compared, two runs' loss curves."""

from pathlib import Path
from typing import Annotated

import typer

from compress.common.errors import UserError
from pocketbert.cli_parts import completion
from pocketbert.cli_parts.options import AsJson, examples, print_result

PANEL = "Reports"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL, epilog=examples("pocketbert report runs/reviews --open"))
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run or a benchmark", autocompletion=completion.runs)
    ],
    open_it: Annotated[bool, typer.Option("--open", help="Open the report in the browser")] = False,
) -> None:
    """Write report.html and report.md of a run from its results.json."""
    import webbrowser

    from pocketbert.cli_parts import printing
    from pocketbert.pipeline.write_report import write_report

    write_report(folder)
    page = (folder / "report.html").absolute()
    printing.path("report", page)
    if open_it and not webbrowser.open(page.as_uri()):
        raise UserError(f"{page}: no browser could be started; open the file on another machine")


@commands.command(rich_help_panel=PANEL, epilog=examples("pocketbert compare runs/reviews runs/second-try"))
def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="Folder of a run or a benchmark", autocompletion=completion.runs)
    ],
    second: Annotated[
        Path, typer.Argument(metavar="B", help="Folder to compare with A", autocompletion=completion.runs)
    ],
    other_machine: Annotated[
        bool, typer.Option("--other-machine", help="Compare results from different machines")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the results of two runs or benchmarks, with the significance of each difference."""
    from bench.report.comparison import compare_results
    from bench.results.document import read_results
    from pocketbert.cli_parts import run_text

    comparison = compare_results(read_results(first), read_results(second), other_machine=other_machine)
    print_result(comparison, as_json, run_text.comparison)


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples("pocketbert curves runs/reviews runs/second-try --stage prediction --output curves"),
)
def curves(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run", autocompletion=completion.runs)],
    second: Annotated[Path, typer.Argument(metavar="B", help="Run to compare with A", autocompletion=completion.runs)],
    stage: Annotated[
        str,
        typer.Option(
            metavar="STAGE",
            help="teacher, general, masked_lm, intermediate or prediction",
            autocompletion=completion.trained_stage_names,
        ),
    ] = "intermediate",
    output: Annotated[Path | None, typer.Option(help="Folder for curves.svg and curves.json")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the loss curves of two runs: at which step does B reach the loss of A?"""
    from pocketbert.cli_parts import printing, run_text
    from pocketbert.standalone.compare_curves import compare_curves

    print_result(compare_curves(first, second, stage=stage, output=output), as_json, run_text.loss_curves)
    if output is not None and not as_json:
        printing.path("plot", output / "curves.svg")
