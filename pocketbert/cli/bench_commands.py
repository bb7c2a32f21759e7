"""`pocketbert bench`: benchmarks of models and bundles, and of the benchmark itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.results.measurements import Effort
from bench.timing.limits import MOST_MS, MOST_PROCESSES, MOST_ROUNDS
from pocketbert.cli import recipe_bench_commands
from pocketbert.cli_parts import completion
from pocketbert.cli_parts.options import (
    AsJson,
    Encoding,
    LabelColumn,
    TableLabels,
    TextColumns,
    Threads,
    examples,
    print_result,
    split_labels,
    stderr_console,
)

if TYPE_CHECKING:
    from bench.results.document import Results

commands = typer.Typer(
    name="bench",
    help="Benchmarks: latency, throughput, accuracy, training, augmentation.",
    epilog=examples(
        "pocketbert bench models models/my-bert runs/reviews/bundles/fp32 --data dev.csv",
        "pocketbert bench models --help",
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
BenchData = Annotated[
    Path | None, typer.Option(help="Labelled table, for accuracy and text lengths [default: generated sentences]")
]
Rounds = Annotated[int, typer.Option(min=2, max=MOST_ROUNDS, help="Interleaved rounds")]
RestartEvery = Annotated[
    int, typer.Option(min=1, max=MOST_ROUNDS, help="Rounds after which each model restarts in a new process")
]
Grid = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXTSxTOKENS",
        help="Shapes for the model without its tokenizer; repeatable [default: 1x16 1x32 1x64 1x128 16x32]",
    ),
]
ReportFolder = Annotated[Path | None, typer.Option(help="Folder for results.json, samples.json and the report")]


@commands.command(
    epilog=examples(
        "pocketbert bench models models/my-bert runs/reviews/bundles/fp32 --data dev.csv",
        "pocketbert bench models models/my-bert --data dev.csv --labels negative,positive",
        "pocketbert bench models runs/reviews/bundles/fp32 --load 50 --processes 2 --roofline --thread-sweep "
        "--output out",
    )
)
def models(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER",
            help="Hugging Face folders and bundles; speedups are relative to the first",
            autocompletion=completion.models_and_bundles,
        ),
    ],
    data: BenchData = None,
    text: TextColumns = None,
    label: LabelColumn = "label",
    labels: TableLabels = None,
    encoding: Encoding = "utf-8",
    metric: Annotated[
        str | None,
        typer.Option(help="accuracy, macro_f1, f1, matthews or pearson_spearman [default: that of the models' type]"),
    ] = None,
    positive: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Class whose F1 is the metric f1 [default: the second label]")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or both")] = "cpu",
    threads: Threads = None,
    effort: Annotated[
        Effort,
        typer.Option(help="How much to measure: rounds, texts, warm-up and shapes; the options below win over it"),
    ] = "thorough",
    rounds: Annotated[
        int | None, typer.Option(min=2, max=MOST_ROUNDS, help="Interleaved rounds [default: by effort]")
    ] = None,
    restart_every: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_ROUNDS, help="Rounds after which each model restarts in a new process [default: by effort]"
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXTSxTOKENS",
            help="Shapes for the model without its tokenizer; repeatable [default: by effort]",
        ),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Also time torch models with torch.compile")] = False,
    load: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            min=0.1,
            max=MOST_MS,
            help="Also find the highest rate at which 99% of texts finish within MS milliseconds",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, max=MOST_PROCESSES, help="Processes per model under --load; they share the cores")
    ] = 1,
    roofline: Annotated[
        bool,
        typer.Option("--roofline", help="Also compare bundles with the machine's roofline, and time each operator"),
    ] = False,
    thread_sweep: Annotated[
        bool,
        typer.Option(
            "--thread-sweep", help="Repeat with 1 thread, 2 threads and one per physical core, up to --threads"
        ),
    ] = False,
    output: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Compare the latency, throughput, accuracy and size of models and bundles."""
    from bench.results.measurements import LoadTest
    from pocketbert.standalone.bench_models import BenchRequest, bench_models

    request = BenchRequest(
        data=data,
        text=text or ["text"],
        label=label,
        labels=split_labels(labels),
        encoding=encoding,
        metric=metric,
        positive=positive,
        num_threads=threads,
        effort=effort,
        rounds=rounds,
        restart_every=restart_every,
        grid=grid or (),
        load=None if load is None else LoadTest(bound_ms=load, processes=processes),
        roofline=roofline,
        thread_sweep=thread_sweep,
    )
    results = bench_models(folders, request, device=device, compiled=compiled, output=output, console=stderr_console())
    _print_results(results, as_json, output)


@commands.command("self-check", epilog=examples("pocketbert bench self-check runs/reviews/bundles/fp32 --runs 20"))
def self_check(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="A Hugging Face folder or a bundle", autocompletion=completion.models_and_bundles
        ),
    ],
    runs: Annotated[
        int, typer.Option(min=2, max=MOST_ROUNDS, help="A/A runs; half as many compare the model with a slowed copy")
    ] = 20,
    data: Annotated[
        Path | None, typer.Option(help="Labelled table with the texts to time [default: generated sentences]")
    ] = None,
    text: TextColumns = None,
    label: LabelColumn = "label",
    labels: TableLabels = None,
    encoding: Encoding = "utf-8",
    threads: Threads = None,
    rounds: Rounds = 12,
    restart_every: RestartEvery = 2,
    output: Annotated[Path | None, typer.Option(help="Folder for self-check.json")] = None,
    as_json: AsJson = False,
) -> None:
    """Test whether speedups measured on this machine can be trusted.

    An A/A test compares a model with itself. The benchmark must find no difference there, and must detect a copy that
    is 10 % slower.
    """
    from pocketbert.cli_parts import bench_text
    from pocketbert.standalone.bench_models import BenchRequest
    from pocketbert.standalone.bench_self_check import bench_self_check

    request = BenchRequest(
        data=data,
        text=text or ["text"],
        label=label,
        labels=split_labels(labels),
        encoding=encoding,
        num_threads=threads,
        rounds=rounds,
        restart_every=restart_every,
    )
    result = bench_self_check(folder, request, runs=runs, output=output, console=stderr_console())
    print_result(result, as_json, bench_text.self_check)


@commands.command(
    epilog=examples(
        "pocketbert bench peers models/my-bert runs/reviews/bundles/fp32 --calibration train.csv --data dev.csv "
        "--output results"
    )
)
def peers(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A fine-tuned BERT: a Hugging Face folder", autocompletion=completion.models
        ),
    ],
    bundles: Annotated[
        list[Path],
        typer.Argument(metavar="BUNDLE", help="Our bundles of the model", autocompletion=completion.bundles),
    ],
    calibration: Annotated[Path, typer.Option(help="Labelled table of train rows, for the peers' calibration")],
    data: BenchData = None,
    text: TextColumns = None,
    label: LabelColumn = "label",
    labels: TableLabels = None,
    encoding: Encoding = "utf-8",
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="PEER", help="optimum-onnx, OpenVINO, CTranslate2 or Olive; repeatable [default: all]"),
    ] = None,
    environments: Annotated[
        Path | None, typer.Option(help="Folder for the peers' environments, 1.5 GB each [default: in the cache]")
    ] = None,
    threads: Threads = None,
    rounds: Rounds = 12,
    restart_every: RestartEvery = 2,
    grid: Grid = None,
    output: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Compare our bundles with the conversions of other toolkits, for the same model.

    Each peer runs in an environment of its own, which is built from the package index on first use.
    """
    from pocketbert.standalone.bench_models import BenchRequest
    from pocketbert.standalone.bench_peers import bench_peers

    request = BenchRequest(
        data=data,
        text=text or ["text"],
        label=label,
        labels=split_labels(labels),
        encoding=encoding,
        num_threads=threads,
        rounds=rounds,
        restart_every=restart_every,
        grid=grid or (),
    )
    results = bench_peers(
        model,
        bundles,
        request,
        calibration=calibration,
        names=peer or (),
        environments=environments,
        output=output,
        console=stderr_console(),
    )
    _print_results(results, as_json, output)


@commands.command(epilog=examples("pocketbert bench shapes --shape TinyBERT4 --grid 1x128 --output results"))
def shapes(
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHAPE",
            help="BERT-base, TinyBERT4, TinyBERT6, DistilBERT6 or MobileBERT-tiny; repeatable [default: all]",
        ),
    ] = None,
    threads: Threads = None,
    rounds: Rounds = 12,
    restart_every: RestartEvery = 2,
    grid: Grid = None,
    output: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Measure the sizes and speeds of TinyBERT's Table 1, with random weights."""
    from pocketbert.cli_parts import bench_text
    from pocketbert.standalone.bench_models import BenchRequest
    from pocketbert.standalone.bench_shapes import bench_shapes

    request = BenchRequest(num_threads=threads, rounds=rounds, restart_every=restart_every, grid=grid or ())
    results = bench_shapes(shape or (), request, output=output, console=stderr_console())
    _print_results(results, as_json, output)
    if not as_json:
        bench_text.published_shapes(results.shapes)


commands.add_typer(recipe_bench_commands.commands)


def _print_results(results: "Results", as_json: bool, output: Path | None) -> None:
    from pocketbert.cli_parts import printing, run_text

    print_result(results, as_json, run_text.benchmark)
    if output is not None and not as_json:
        printing.path("report", output / "report.html")
