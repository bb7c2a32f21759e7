"""`pocketbert bench self-check`: whether speedups measured on this machine can be trusted."""

from dataclasses import replace
from pathlib import Path

from pydantic_core import to_jsonable_python
from rich.console import Console

from bench.measurement import machine
from bench.self_check import SelfCheck, run_self_check
from bench.timing.systems import contenders_at
from compress.common.files import write_json
from compress.common.owned_files import open_output, require_writable
from compress.common.progress import progress_bar
from pocketbert.standalone.bench_models import BenchRequest, ModelOutputs, common_outputs, existing, takes_pairs

FILE = "self-check.json"


def bench_self_check(
    path: Path, request: BenchRequest, *, runs: int, output: Path | None, console: Console
) -> SelfCheck:
    """An A/A test of one model with `runs` runs, then half as many against an artificially slowed copy.

    `output`: a folder for self-check.json, which holds the result. Raises UserError if `path` is no model.
    """
    if output is not None:
        require_writable(output, [FILE])
    (contender, *_) = contenders_at(*existing([path]))
    outputs = ModelOutputs() if request.data is None else common_outputs([contender], request.labels)
    workload = request.workload(outputs, takes_pairs=takes_pairs(contender), console=console)
    with progress_bar("self-check", console) as on_progress:
        measured = run_self_check(
            contender, workload, request.protocol(), runs=runs, slowed_runs=runs // 2, on_progress=on_progress
        )
    result = replace(measured, machine=machine.describe())
    if output is not None:
        with open_output(output, [FILE]).writing(FILE):
            write_json(output / FILE, to_jsonable_python(result))
    return result
