"""Commands that write what other machines install: triton, package."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.timing.limits import MOST_THREADS
from compress.common.errors import UserError
from pocketbert.cli_parts import completion
from pocketbert.cli_parts.options import AsJson, BundleFolder, examples, print_result, stderr_console

if TYPE_CHECKING:
    from pocketbert.edge.package_bundle import Packaged

PANEL = "Deploy"
MOST_INSTANCES = 64
commands = typer.Typer()


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert package runs/reviews/bundles/fp32 --target aarch64",
        "pocketbert package runs/reviews/bundles/fp32 --target x86_64 --python 3.12 --output reviews.tar.gz",
    ),
)
def package(
    bundle: BundleFolder,
    target: Annotated[str, typer.Option(metavar="TARGET", help="Processor of the other machine: aarch64 or x86_64")],
    python: Annotated[str, typer.Option(help="Version of CPython on the other machine, 3.10 or newer")] = "3.11",
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The archive [default: NAME-VARIANT-TARGET-pythonVERSION.tar.gz]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Package a bundle and its libraries for a Linux machine without network, with a script that installs them.

    pip downloads the wheels; its settings apply, such as PIP_FIND_LINKS and PIP_CONSTRAINT.
    """
    from pocketbert.edge.package_bundle import package_bundle
    from pocketbert.edge.wheels import TARGETS

    chosen = next((each for each in TARGETS if each == target), None)
    if chosen is None:
        raise UserError(f"--target {target}: expected {' or '.join(TARGETS)}")
    packaged = package_bundle(bundle, target=chosen, python=python, output=output, console=stderr_console())
    print_result(packaged, as_json, _print_packaged)


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
    from pocketbert.cli_parts import bundle_text
    from pocketbert.triton.repository import TritonRequest, write_repository

    request = TritonRequest(
        names=name or [], gpu=gpu, instances=instances, threads=threads, image=image, storage_uri=storage_uri
    )
    written = write_repository(bundles, request, output=output, console=stderr_console())
    print_result(written, as_json, bundle_text.triton_models)


def _print_packaged(packaged: "Packaged") -> None:
    from pocketbert.cli_parts import printing

    versions = ", ".join(f"{name} {version}" for name, version in packaged.packages.items())
    printing.path("archive", Path(packaged.archive))
    printing.print_line(
        f"{'for':<11}{packaged.target} Linux, glibc {packaged.glibc} or newer, CPython {packaged.python}"
    )
    printing.print_line(f"{'contains':<11}{versions}")
    printing.print_line(
        f"{'size':<11}{packaged.size_bytes / 1e6:.1f} MB; installed: {packaged.installed_bytes / 1e6:.0f} MB"
    )
    printing.print_line(f"{'sha256':<11}{packaged.sha256}")
    printing.print_line("on the other machine: unpack it, then run: sh install.sh FOLDER")
