"""Commands that write what other machines install: triton, package."""

from pathlib import Path
from typing import Annotated

import typer

from bench.timing.limits import MOST_THREADS
from pocketbert.cli_parts import completion
from pocketbert.cli_parts.options import AsJson, examples, print_result, stderr_console

PANEL = "Deploy"
MOST_INSTANCES = 64
commands = typer.Typer()


@commands.command(
    "triton",
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert triton runs/reviews/bundles/fp32 --output triton",
        "pocketbert triton runs/reviews/bundles/fp32 --name reviews --storage-uri gs://my-bucket/models --output "
        "kubernetes",
        "pocketbert triton runs/reviews/bundles/fp32 --gpu --output triton-gpu",
    ),
)
def write_triton_repository(
    bundles: Annotated[
        list[Path], typer.Argument(metavar="BUNDLE...", help="Bundle folders", autocompletion=completion.bundles)
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the model repository and its image")],
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Name of a model in Triton, one per BUNDLE [default: the bundle's, with its variant]"
        ),
    ] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Run the models in Triton's onnxruntime backend, on a GPU; fp32 and fp16 only")
    ] = False,
    instances: Annotated[int, typer.Option(min=1, max=MOST_INSTANCES, help="Processes per model")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=MOST_THREADS, help="Threads per process")] = 2,
    image: Annotated[str, typer.Option(help="Name of the image, for KServe")] = "pocketbert-triton",
    storage_uri: Annotated[
        str, typer.Option(metavar="URI", help="Where KServe finds the folder models/")
    ] = "s3://BUCKET/models",
    as_json: AsJson = False,
) -> None:
    """Write a model repository for Triton Inference Server, with a Dockerfile and a service for KServe.

    Answers equal those of predict.py, alone and in batches.
    """
    from pocketbert.cli_parts import printing
    from pocketbert.triton.repository import TritonRequest, write_repository

    request = TritonRequest(
        names=name or [], gpu=gpu, instances=instances, threads=threads, image=image, storage_uri=storage_uri
    )
    written = write_repository(bundles, request, output=output, console=stderr_console())
    print_result(written, as_json, printing.triton_models)
