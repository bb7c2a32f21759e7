"""Prints the machine, the installation and the cache."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.report import table as bench_table
from pocketbert.cli_parts import printing

if TYPE_CHECKING:  # some of them load torch
    from pocketbert.standalone.doctor import DoctorReport
    from pocketbert.store.cache_contents import CacheContents, CachedItem


def machine(report: "DoctorReport") -> None:
    """The machine, the installation, and their problems."""
    from bench.report.page import machine_lines

    for name, value in machine_lines(report.machine):
        printing.print_line(f"{name + ':':<14}{value}")
    printing.print_line(f"{'int8:':<14}{'in hardware' if report.int8_in_hardware else 'no dot product in hardware'}")
    if report.torch_threads is None:
        printing.print_line(f"{'torch:':<14}not installed; only training and export need it")
    else:
        printing.print_line(
            f"{'torch:':<14}{report.torch_threads} threads, CUDA {'yes' if report.torch_cuda else 'no'}"
        )
    printing.print_line(f"{'onnxruntime:':<14}{', '.join(report.providers) or 'not installed'}")
    for folder, free in report.free_disk_bytes.items():
        printing.print_line(f"{'free disk:':<14}{free / 1e9:.0f} GB at {folder}")
    printing.print_line(f"{'pocketbert:':<14}{report.pocketbert}")
    for problem in report.problems:
        printing.print_line(f"problem: {problem}")
    if not report.problems:
        printing.print_line("no problems")


def cache_contents(contents: "CacheContents") -> None:
    """The entries of the cache, the largest first."""
    lines = [
        (item.name, bench_table.megabytes(item.size_bytes), f"{item.age_days:.0f} days ago", item.state)
        for item in contents.items
    ]
    if lines:
        printing.table(("entry", "size", "last used", "state"), lines)
    printing.print_line(f"{contents.folder}: {total_of(contents.items)}")


def total_of(items: "Sequence[CachedItem]") -> str:
    """The number of cache entries and their total size."""
    count = "1 entry" if len(items) == 1 else f"{len(items)} entries"
    return f"{count}, {bench_table.megabytes(sum(item.size_bytes for item in items))}"
