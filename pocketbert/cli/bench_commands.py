"""The command line's benchmarks: of models, of a recipe's training and augmentation, of peers and of shapes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.common.errors import UserError
from pocketbert.cli.options import (
    AsJson,
    Changes,
    Encoding,
    Label,
    RecipeName,
    Texts,
    Threads,
    print_result,
    stderr_console,
)

if TYPE_CHECKING:
    from bench.results.document import Results

commands = typer.Typer()
Rounds = Annotated[int, typer.Option(min=2, help="Interleaved rounds")]
RestartEvery = Annotated[int, typer.Option(min=1, help="Rounds after which every model goes on in a new process")]
Grid = Annotated[
    list[str] | None,
    typer.Option(help="TEXTSxTOKENS for the model alone; several times [default: 1x16 1x32 1x64 1x128 16x32]"),
]
ReportFolder = Annotated[Path | None, typer.Option(help="Folder for results.json, samples.json and the report")]


@commands.command(
    epilog="Examples:\n\n    pocketbert bench models/teacher models/student\n\n"
    "    pocketbert bench models/teacher runs/quickstart/bundles/int8-static --data dev.tsv --text sentence\n\n"
    "    pocketbert bench runs/quickstart/bundles/int8-static --load 20 --processes 2\n\n"
    "    pocketbert bench runs/quickstart/bundles/int8-static --limits --thread-sweep --output out\n\n"
    "    pocketbert bench runs/quickstart/bundles/int8-static --check 20"
)
def bench(
    paths: Annotated[list[Path], typer.Argument(help="Hugging Face folders or bundles; ratios are against the first")],
    data: Annotated[Path | None, typer.Option(help="A labelled table, for accuracy and real text lengths")] = None,
    text: Texts = None,
    label: Label = "label",
    encoding: Encoding = "utf-8",
    device: Annotated[str, typer.Option(help="cpu, cuda or both")] = "cpu",
    threads: Threads = None,
    rounds: Rounds = 12,
    restart_every: RestartEvery = 2,
    grid: Grid = None,
    check_itself: Annotated[
        int | None,
        typer.Option(
            "--check",
            min=2,
            help="Instead: the first against itself so often, half as often against a slower copy",
        ),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Torch models also with torch.compile")] = False,
    load: Annotated[
        float | None,
        typer.Option(
            "--load",
            metavar="MS",
            min=0.1,
            help="Also under load: texts a second at which 99 of 100 answers come within so many milliseconds",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that serve each model under --load; they part the cores")
    ] = 1,
    limits: Annotated[
        bool, typer.Option("--limits", help="Also how near bundles come to this machine's limits, and by operator")
    ] = False,
    thread_sweep: Annotated[
        bool, typer.Option("--thread-sweep", help="Also with 1 thread, 2, one a physical core, up to --threads")
    ] = False,
    output: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Time models side by side; no recipe needed."""
    from bench.results.measurements import LoadTest
    from pocketbert.cli import printing
    from pocketbert.standalone.bench_folders import FolderBenchOptions, bench_folders, bench_self_check

    question = FolderBenchOptions(
        data=data,
        text=text or ["text"],
        label=label,
        encoding=encoding,
        num_threads=threads,
        rounds=rounds,
        restart_every=restart_every,
        grid=grid or (),
        load=None if load is None else LoadTest(bound_ms=load, processes=processes),
        limits=limits,
        thread_sweep=thread_sweep,
    )
    if check_itself is not None:
        if len(paths) > 1:
            raise UserError(f"--check {check_itself}: got {len(paths)} folders; expected one, to compare with itself")
        result = bench_self_check(paths[0], question, runs=check_itself, output=output, console=stderr_console())
        print_result(result, as_json, printing.validity)
        return
    results = bench_folders(paths, question, device=device, compiled=compiled, output=output, console=stderr_console())
    _print_results(results, as_json, output)


@commands.command(
    name="bench-training",
    epilog="Examples:\n\n    pocketbert bench-training sst2\n\n"
    "    pip install --no-deps --target peers textbrewer==0.2.1.post1\n\n"
    "    pocketbert bench-training sst2 --textbrewer peers --output results",
)
def bench_training(
    recipe: RecipeName,
    changes: Changes = None,
    rows: Annotated[int, typer.Option(min=16, help="Train rows, drawn by the seed")] = 256,
    rounds: Annotated[int, typer.Option(min=2, help="Interleaved rounds")] = 6,
    threads: Threads = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Also with torch.compile")] = False,
    textbrewer: Annotated[Path | None, typer.Option(help="A folder with TextBrewer in it")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for training.json")] = None,
    as_json: AsJson = False,
) -> None:
    """Time a recipe's training, step by step from the plain procedure to ours, on the same rows in one run."""
    from pocketbert.cli import printing
    from pocketbert.pipeline.flow import prepare
    from pocketbert.recipe.loading import load_recipe
    from pocketbert.standalone.bench_training import bench_training as time_recipe

    console = stderr_console()
    loaded = load_recipe(recipe, changes=changes or ())
    ladder = time_recipe(
        loaded,
        prepare(loaded, console),
        num_rows=rows,
        rounds=rounds,
        num_threads=threads,
        peer_path=textbrewer,
        compiled=compiled,
        output=output,
        console=console,
    )
    print_result(ladder, as_json, printing.training)


@commands.command(
    name="bench-augment",
    epilog="Example:\n\n    pocketbert bench-augment sst2 --set augment.masked_lm.model=runs/sst2/masked_lm/model "
    "--output results",
)
def bench_augment(
    recipe: RecipeName,
    changes: Changes = None,
    rows: Annotated[int, typer.Option(min=16, help="Train texts, drawn by the seed")] = 1000,
    rounds: Annotated[int, typer.Option(min=2, help="Interleaved rounds, over which the texts are divided")] = 4,
    threads: Threads = None,
    output: Annotated[Path | None, typer.Option(help="Folder for augmentation.json")] = None,
    as_json: AsJson = False,
) -> None:
    """Time a recipe's augmentation beside one word at a time and the method's first scripts; its memory too."""
    from pocketbert.cli import printing
    from pocketbert.pipeline.flow import prepare
    from pocketbert.recipe.loading import load_recipe
    from pocketbert.standalone.bench_augmentation import bench_augmentation

    console = stderr_console()
    loaded = load_recipe(recipe, changes=changes or ())
    ladder = bench_augmentation(
        loaded,
        prepare(loaded, console),
        num_rows=rows,
        rounds=rounds,
        num_threads=threads,
        output=output,
        console=console,
    )
    print_result(ladder, as_json, printing.augmentation)


@commands.command(
    name="bench-peers",
    epilog="Example:\n\n    pocketbert bench-peers models/my-bert bundles/fp32 bundles/int8-static "
    "--calibration train.csv --data dev.csv --output results",
)
def bench_peers(
    model: Annotated[Path, typer.Argument(help="A fine-tuned BERT: a Hugging Face folder")],
    bundles: Annotated[list[Path], typer.Argument(help="Our bundles of it")],
    calibration: Annotated[Path, typer.Option(help="A labelled table of train rows, which peers calibrate with")],
    data: Annotated[Path | None, typer.Option(help="A labelled table, for accuracy and real text lengths")] = None,
    text: Texts = None,
    label: Label = "label",
    encoding: Encoding = "utf-8",
    peer: Annotated[
        list[str] | None, typer.Option(help="optimum-onnx, OpenVINO or Olive; several times [default: all]")
    ] = None,
    environments: Annotated[
        Path | None, typer.Option(help="Folder of the peers' environments, 1.5 GB each [default: in the cache]")
    ] = None,
    threads: Threads = None,
    rounds: Rounds = 12,
    restart_every: RestartEvery = 2,
    grid: Grid = None,
    output: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Time our bundles beside what other toolkits make of the same model, each in an environment of its own.

    The environments are made from the package index when they are first needed.
    """
    from pocketbert.standalone.bench_folders import FolderBenchOptions
    from pocketbert.standalone.bench_peers import bench_peers

    question = FolderBenchOptions(
        data=data,
        text=text or ["text"],
        label=label,
        encoding=encoding,
        num_threads=threads,
        rounds=rounds,
        restart_every=restart_every,
        grid=grid or (),
    )
    results = bench_peers(
        model,
        bundles,
        question,
        calibration=calibration,
        names=peer or (),
        environments=environments,
        output=output,
        console=stderr_console(),
    )
    _print_results(results, as_json, output)


@commands.command(
    name="bench-shapes",
    epilog="Examples:\n\n    pocketbert bench-shapes --output results\n\n"
    "    pocketbert bench-shapes --shape BERT-base --shape TinyBERT4 --grid 1x128",
)
def bench_shapes(
    shape: Annotated[
        list[str] | None,
        typer.Option(help="BERT-base, TinyBERT4, TinyBERT6, DistilBERT6, MobileBERT-tiny; several times; default: all"),
    ] = None,
    threads: Threads = None,
    rounds: Rounds = 12,
    restart_every: RestartEvery = 2,
    grid: Grid = None,
    output: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Size and speed of the shapes in TinyBERT's Table 1, beside the paper's figures; weights are random."""
    from pocketbert.cli import printing
    from pocketbert.standalone.bench_folders import FolderBenchOptions
    from pocketbert.standalone.bench_shapes import bench_shapes

    question = FolderBenchOptions(num_threads=threads, rounds=rounds, restart_every=restart_every, grid=grid or ())
    results = bench_shapes(shape or (), question, output=output, console=stderr_console())
    _print_results(results, as_json, output)
    if not as_json:
        printing.published_shapes(results.shapes)


def _print_results(results: "Results", as_json: bool, output: Path | None) -> None:
    from pocketbert.cli import printing

    print_result(results, as_json, printing.table)
    if output is not None and not as_json:
        printing.path("report", output / "report.html")
