"""Prints what was done with bundles."""

from pathlib import Path
from typing import TYPE_CHECKING

from compress.common.escaping import shell_path, shell_word
from pocketbert.cli_parts import printing

if TYPE_CHECKING:  # some of them load torch
    from export.bundle.verification import Verification
    from export.provenance.hub import Pushed
    from pocketbert.triton.repository import Written


def pushed(result: "Pushed") -> None:
    """Where a bundle is on the Hub."""
    deleted = f", {len(result.deleted)} others deleted" if result.deleted else ""
    signed = "with" if result.signed else "without"
    printing.print_line(f"{result.url}: {len(result.files)} files, {signed} a signature{deleted}")


def verified(bundle: Path, result: "Verification", *, signature: Path | None = None) -> None:
    """The hashed files and the replayed golden examples of a bundle. `signature`: the one that is valid."""
    changed = f"{result.num_changed} PREDICTIONS CHANGED" if result.num_changed else "no prediction changed"
    printing.print_line(
        f"{bundle}: {result.num_files} files unchanged; {result.num_golden} golden examples replayed, {changed}, "
        f"largest difference {result.largest_difference:.2g}"
    )
    for warning in result.warnings:
        printing.print_line(f"warning: {warning}")
    if signature is None:
        printing.print_line("checksums detect damage; they do not prove who made the bundle")
    else:
        printing.print_line(f"{signature}: valid; the signer has signed exactly these files")


def triton_models(written: "Written") -> None:
    """The models of a repository, and how to start a server on it."""
    printing.table(("model", "bundle"), list(written.models.items()))
    folder, image = shell_path(written.folder), shell_word(written.image)
    gpus = " --gpus 1" if written.gpu else ""
    printing.print_line(f"build:  docker build -t {image} {folder}")
    printing.print_line(f"start:  docker run --rm{gpus} --shm-size 1g -p 8000:8000 -p 8001:8001 {image}")
    printing.print_line(f"KServe: kubectl apply -f {shell_path(f'{written.folder}/{written.service_file}')}")
