"""The bench stage of a run; and what it shares with a benchmark of folders: measure, and tell as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from bench import machine, noise, sizes
from bench.ceiling import ceilings
from bench.children import ChildError
from bench.contenders import Contender, Device, Shape, Workload, contenders_at, files_of, shape_name, with_one_again
from bench.floor import fit_floor, floor_name
from bench.hashes import digests
from bench.latency import Protocol, Samples, measure
from bench.load import Load, measure_load
from bench.profile import profiles
from bench.results import TEXTS, Row, against, lengths_of, rows, same_twice, speed_up
from bench.threads import counts_up_to, measure_threads
from compress.files import write_json
from compress.metrics import Metric
from compress.progress import progress_bar
from compress.tasks import Task
from export.variants import FOR_GPU, VARIANTS
from pocketbert.recipe import Recipe, grid_of

LIMIT_SHAPES: tuple[Shape, ...] = ((1, 128), (32, 128))  # on which the distance to the machine's limits is taken
NO_CUDA = "no CUDA device"


def of_run(
    recipe: Recipe,
    task: Task,
    *,
    teacher: Path,
    student: Path,
    bundles: Sequence[Path],
    teacher_bundles: Sequence[Path],
    teacher_not_exported: str | None,
    student_parameters: int,
    output: Path,
    console: Console,
) -> dict[str, Any]:
    """Teacher, student, bundles and the floor, on the task's test rows; the samples go to `output`."""
    floor = output / "tfidf.joblib"
    fit_floor(task, floor)
    has_gpu = machine.cuda_device() is not None
    devices: list[Device] = ["cpu", "cuda"] if has_gpu else ["cpu"]
    contenders = []
    for device in devices:
        contenders += contenders_at(
            teacher,
            name="teacher",
            device=device,
            max_length=task.max_length,
            compiled=recipe.bench.compiled_teacher,
        )
    for bundle in teacher_bundles:
        contenders += contenders_at(bundle, name=f"teacher {bundle.name}")
    teachers = [each.name for each in contenders if each.device == "cpu"]
    for device in devices:
        contenders += contenders_at(student, name="student", device=device, max_length=task.max_length)
    for bundle in bundles:
        for device in devices if VARIANTS[bundle.name].weights in FOR_GPU else devices[:1]:
            contenders += contenders_at(bundle, name=f"student {bundle.name}", device=device)
    contenders.append(Contender(name=floor_name(task), kind="tfidf", path=str(floor)))
    workload = Workload(
        texts=task.test.texts,
        pairs=task.test.pairs,
        labels=task.test.labels.tolist(),
        num_classes=len(task.labels),
        grid=grid_of(recipe),
    )
    protocol = Protocol(
        num_threads=num_threads_of(recipe),
        rounds=recipe.bench.rounds,
        warm_up_s=recipe.bench.warm_up_s,
        restart_every=recipe.bench.restart_every,
        seed=recipe.seed,
    )
    steps = {
        bundle.name: [
            ("", "teacher, torch fp32"),
            ("distillation", "student, torch fp32"),
            ("runtime", "student fp32, onnxruntime"),
            *([] if bundle.name == "fp32" else [(bundle.name, f"student {bundle.name}, onnxruntime")]),
        ]
        for bundle in bundles
    }
    bound = recipe.bench.latency_bound_ms
    not_run = {} if teacher_not_exported is None else {"teacher, onnxruntime": teacher_not_exported}
    return run_benchmark(
        contenders,
        workload,
        protocol,
        recipe.task.metric,
        samples_file=output / "samples.json",
        console=console,
        num_parameters={str(bundle): student_parameters for bundle in bundles},
        steps=steps,
        others={f"student {bundle.name}, onnxruntime": teachers for bundle in bundles},
        not_run=not_run,
        load=None if bound is None else Load(bound_ms=bound, processes=recipe.bench.processes),
        limits=recipe.bench.limits,
        thread_sweep=recipe.bench.thread_sweep,
    )


def num_threads_of(recipe: Recipe) -> int:
    """Threads of every contender: the recipe's, else all cores, parted among the processes that serve under load."""
    serving = recipe.bench.processes if recipe.bench.latency_bound_ms is not None else 1
    return recipe.bench.threads or machine.threads_for(serving, machine.usable_cores())


def run_benchmark(
    contenders: Sequence[Contender],
    workload: Workload,
    protocol: Protocol,
    metric: Metric,
    *,
    samples_file: Path | None,
    console: Console,
    num_parameters: Mapping[str, int] = MappingProxyType({}),
    steps: Mapping[str, Sequence[tuple[str, str]]] = MappingProxyType({}),
    others: Mapping[str, Sequence[str]] = MappingProxyType({}),
    not_run: Mapping[str, str] = MappingProxyType({}),
    load: Load | None = None,
    limits: bool = False,
    thread_sweep: bool = False,
) -> dict[str, Any]:
    """Measure with a progress bar, keep the raw samples, return the rows as plain values.

    `num_parameters`: by path, of those who can't count their own. `steps`: by variant, those of its speed-up, as
    `results.speed_up` takes them. `others`: by contender, those that it is held against. `not_run`: who else would have
    taken part, and why not. `load`: also under load. `limits`: also this machine's ceilings, and how near the bundles
    come to them. `thread_sweep`: also with fewer threads.
    """
    facts, watch = machine.describe(), noise.Watch()
    timed = with_one_again(contenders)
    with progress_bar("benchmark", console) as on_progress:
        samples = measure(timed, workload, protocol, on_progress=on_progress)
    heard = watch.told()
    if samples_file is not None:
        write_json(samples_file, [_plain(sample) for sample in samples])
    shown = [sample for sample in samples if not sample.contender.again]
    absent = {**not_run, **({} if facts["gpu"] else {"CUDA": NO_CUDA})}
    grid = [shape_name(shape) for shape in workload.grid]
    found = rows(
        shown,
        sizes=[sum(file.stat().st_size for file in files_of(sample.contender)) for sample in shown],
        labels=workload.labels,
        num_classes=workload.num_classes,
        metric=metric,
        num_throughput_texts=protocol.throughput_texts,
        num_parameters=num_parameters,
    )
    found += [Row(name=name, kind="torch", device="cpu", size_bytes=0, error=why) for name, why in absent.items()]
    return {
        "machine": facts,
        "noise": asdict(heard),
        "protocol": asdict(protocol),
        "metric": metric,
        "grid": grid,
        "lengths": lengths_of(samples),
        "same_twice": same_twice(samples),
        "speed_up": {
            name: {where: speed_up(samples, each, where=where) for where in (TEXTS, *grid)}
            for name, each in steps.items()
        },
        "against": {
            name: {where: against(samples, name, each, where=where) for where in (TEXTS, *grid)}
            for name, each in others.items()
        },
        "sizes": {each.name: sizes.parts_of(Path(each.path)) for each in contenders if each.device == "cpu"},
        "rows": [row.to_json() for row in found],
        "limits": _limits(contenders, protocol, console) if limits else None,
        "load": None if load is None else _under_load(contenders, workload, protocol, load, console),
        "threads": _by_threads(contenders, workload, protocol, console) if thread_sweep else None,
        "hashes": digests(contenders, workload),
    }


def _limits(contenders: Sequence[Contender], protocol: Protocol, console: Console) -> dict[str, Any] | None:
    """This machine's ceilings, and the profile of every bundle on the CPU."""
    bundles = [each for each in contenders if each.kind == "onnxruntime" and each.device == "cpu"]
    told: dict[str, Any] = {"profiles": {}}
    with progress_bar("limits", console) as on_progress:
        try:
            told["ceilings"] = ceilings(protocol.num_threads)
        except ChildError as error:
            console.print(f"  this machine's limits are left out: {error}")
            return None
        on_progress(1, 1 + len(bundles))
        for done, bundle in enumerate(bundles, start=2):
            try:
                told["profiles"][bundle.name] = profiles(Path(bundle.path), LIMIT_SHAPES, protocol.num_threads)
            except ChildError:
                continue  # the bundle's row says why it can't run
            finally:
                on_progress(done, 1 + len(bundles))
    return told


def _under_load(
    contenders: Sequence[Contender], workload: Workload, protocol: Protocol, load: Load, console: Console
) -> dict[str, Any]:
    served = _encoders_on_cpu(contenders)
    with progress_bar("under load", console) as on_progress:
        found = measure_load(served, workload, protocol, load, on_progress=on_progress)
    return {**asdict(load), "num_threads": protocol.num_threads, "rows": found}


def _by_threads(
    contenders: Sequence[Contender], workload: Workload, protocol: Protocol, console: Console
) -> dict[str, Any]:
    counts = counts_up_to(protocol.num_threads)
    with progress_bar("by threads", console) as on_progress:
        found = measure_threads(_encoders_on_cpu(contenders), workload, protocol, counts, on_progress=on_progress)
    return {"counts": counts, "rows": found}


def _encoders_on_cpu(contenders: Sequence[Contender]) -> list[Contender]:
    return [each for each in contenders if each.device == "cpu" and each.kind != "tfidf"]


def _plain(sample: Samples) -> dict[str, Any]:
    return {**vars(sample), "contender": sample.contender.to_json()}
