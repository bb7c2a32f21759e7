"""Commands that write what other machines install: triton, package."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.common.errors import UserError
from pocketbert.cli_parts import completion
from pocketbert.cli_parts.options import AsJson, examples, print_result, stderr_console

if TYPE_CHECKING:
    from pocketbert.edge.package_bundle import Packaged

PANEL = "Deploy"
commands = typer.Typer()


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert package runs/reviews/bundles/fp32 --target aarch64",
        "pocketbert package runs/reviews/bundles/fp32 --target x86_64 --python 3.12 --output reviews.tar.gz",
    ),
)
def package(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle folder", autocompletion=completion.bundles)
    ],
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
