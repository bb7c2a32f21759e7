"""The bench stage of a run, and the benchmark of folders without one."""

import random
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from bench import machine
from bench.contenders import GRID, Contender, Device, Workload, contenders_at, shape_name, shape_of, with_one_again
from bench.floor import fit_floor, floor_name
from bench.latency import Protocol, Samples, measure
from bench.report import write_reports
from bench.results import rows, same_twice, speed_up
from bench.schema import FORMAT_VERSION
from bench.validity import check
from compress import locations
from compress.errors import UserError
from compress.files import size_bytes, write_json
from compress.metrics import Metric
from compress.progress import progress_bar
from compress.tasks import Task, read_split
from export.manifest import read_manifest
from export.variants import FOR_GPU, VARIANTS
from pocketbert import __version__
from pocketbert.recipe import Recipe, grid_of

MADE_UP_WORDS = "the of to and a in is it you that he was for on are with as his they be at one have this"


def of_run(
    recipe: Recipe,
    task: Task,
    *,
    teacher: Path,
    student: Path,
    bundles: Sequence[Path],
    student_parameters: int,
    output: Path,
    console: Console,
) -> dict[str, Any]:
    """Teacher, student, bundles and the floor, on the task's test rows; the samples go to `output`."""
    floor = output / "tfidf.joblib"
    fit_floor(task, floor)
    devices: list[Device] = ["cpu", "cuda"] if machine.cuda_device() is not None else ["cpu"]
    contenders = []
    for path, name in ((teacher, "teacher"), (student, "student")):
        for device in devices:
            contenders += contenders_at(path, name=name, device=device, max_length=task.max_length)
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
        num_threads=recipe.bench.threads or machine.usable_cores(),
        rounds=recipe.bench.rounds,
        warm_up_s=recipe.bench.warm_up_s,
        seed=recipe.seed,
    )
    known = {str(bundle): student_parameters for bundle in bundles}
    steps = {
        bundle.name: [
            ("", "teacher, torch fp32"),
            ("distillation", "student, torch fp32"),
            ("runtime", "student fp32, onnxruntime"),
            (bundle.name, f"student {bundle.name}, onnxruntime"),
        ]
        for bundle in bundles
    }
    samples = output / "samples.json"
    return run_benchmark(contenders, workload, protocol, recipe.task.metric, known, samples, console, steps=steps)


def run_benchmark(
    contenders: Sequence[Contender],
    workload: Workload,
    protocol: Protocol,
    metric: Metric,
    num_parameters: dict[str, int],
    samples_file: Path | None,
    console: Console,
    *,
    steps: Mapping[str, Sequence[tuple[str, str]]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Measure with a progress bar, keep the raw samples, return the rows as plain values.

    `steps`: for each variant those of its speed-up, as `results.speed_up` takes them.
    """
    before = machine.describe()
    contenders = with_one_again(contenders)
    with progress_bar("benchmark", console) as on_progress:
        samples = measure(contenders, workload, protocol, on_progress=on_progress)
    if samples_file is not None:
        write_json(samples_file, [_plain(sample) for sample in samples])
    shown = [sample for sample in samples if not sample.contender.again]
    found = rows(
        shown,
        sizes=[_size_bytes(sample.contender) for sample in shown],
        labels=workload.labels,
        num_classes=workload.num_classes,
        metric=metric,
        num_throughput_texts=protocol.throughput_texts,
        num_parameters=num_parameters,
    )
    return {
        "machine": before,
        "protocol": asdict(protocol),
        "metric": metric,
        "grid": [shape_name(shape) for shape in workload.grid],
        "same_twice": same_twice(samples),
        "speed_up": {name: speed_up(samples, each) for name, each in steps.items()},
        "rows": [row.to_json() for row in found],
    }


def _size_bytes(contender: Contender) -> int:
    path = Path(contender.path)
    if contender.kind == "torch":
        return sum(file.stat().st_size for file in locations.model_files(path))
    return size_bytes(path)


def _plain(sample: Samples) -> dict[str, Any]:
    return {**vars(sample), "contender": sample.contender.to_json()}


def of_folders(
    paths: Sequence[Path],
    *,
    data: Path | None,
    text: list[str],
    label: str,
    device: str,
    num_threads: int | None,
    rounds: int,
    grid: Sequence[str] | None,
    output: Path | None,
    console: Console,
) -> dict[str, Any]:
    """Any Hugging Face folders and bundles, without a run; returns the content of results.json."""
    choices: dict[str, list[Device]] = {"cpu": ["cpu"], "cuda": ["cuda"], "both": ["cpu", "cuda"]}
    devices = choices.get(device)
    if devices is None:
        raise UserError(f"--device {device}: expected {', '.join(choices)}")
    if "cuda" in devices and machine.cuda_device() is None:
        raise UserError(f"--device {device}: no CUDA device here (nvidia-smi finds none)")
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such folder")
    contenders = [
        contender
        for path in paths
        for where in devices
        for contender in contenders_at(path, device=where, name=_short_name(path, paths))
    ]
    labels = None if data is None else _common_labels(contenders)
    metric: Metric = "pearson_spearman" if labels is not None and len(labels) == 1 else "accuracy"
    shapes = tuple(map(shape_of, dict.fromkeys(grid))) if grid else GRID
    workload = _made_up(contenders) if data is None else _read(data, text, label, labels)
    workload = replace(workload, grid=shapes)
    protocol = Protocol(num_threads=num_threads or machine.usable_cores(), rounds=rounds)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    samples_file = output / "samples.json" if output is not None else None
    found = run_benchmark(contenders, workload, protocol, metric, {}, samples_file, console)
    results = {
        "format_version": FORMAT_VERSION,
        "name": " against ".join(_short_name(path, paths) for path in paths),
        "metric": metric,
        "reproduce": {
            "words": f"With PocketBERT {__version__} and the packages named below, on the same folders.",
            "command": _command(paths, data, text, label, device, grid, protocol),
            "recipe": None,
        },
        "stages": {"bench": found},
    }
    if output is not None:
        write_json(output / "results.json", results)
        write_reports(results, output)
    return results


def of_itself(
    path: Path,
    *,
    data: Path | None,
    text: list[str],
    label: str,
    num_threads: int | None,
    rounds: int,
    runs: int,
    output: Path | None,
    console: Console,
) -> dict[str, Any]:
    """Whether this machine's figures can be trusted: a model against itself `runs` times, and half as often against a
    slower copy. What was found goes to output/validity.json too.
    """
    (contender, *_) = contenders_at(path)
    labels = None if data is None else _common_labels([contender])
    workload = _made_up([contender]) if data is None else _read(data, text, label, labels)
    protocol = Protocol(num_threads=num_threads or machine.usable_cores(), rounds=rounds)
    with progress_bar("against itself", console) as on_progress:
        found = check(contender, workload, protocol, runs=runs, planted_runs=runs // 2, on_progress=on_progress)
    found["machine"] = machine.describe()
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / "validity.json", found)
    return found


def _short_name(path: Path, paths: Sequence[Path]) -> str:
    """The folder's own name, with its parent's where that is not enough."""
    path = path.absolute()
    alike = [other for other in paths if other.absolute().name == path.name]
    return path.name if len(alike) == 1 else f"{path.parent.name}/{path.name}"


def _command(
    paths: Sequence[Path],
    data: Path | None,
    text: list[str],
    label: str,
    device: str,
    grid: Sequence[str] | None,
    protocol: Protocol,
) -> str:
    """The command line that measures the same again."""
    parts = ["pocketbert", "bench", *map(str, paths), "--device", device]
    if data is not None:
        parts += ["--data", str(data), *(part for column in text for part in ("--text", column)), "--label", label]
    parts += [part for shape in grid or () for part in ("--grid", shape)]
    return shlex.join([*parts, "--threads", str(protocol.num_threads), "--rounds", str(protocol.rounds)])


def _made_up(contenders: Sequence[Contender]) -> Workload:
    """Sentences of 4 to 60 words, and no score."""
    words = MADE_UP_WORDS.split()
    draw = random.Random(0)
    texts = [" ".join(draw.choices(words, k=draw.randint(4, 60))) for _ in range(200)]
    bundles = [Path(contender.path) for contender in contenders if contender.kind == "onnxruntime"]
    takes_pairs = any(read_manifest(path)["takes_pairs"] for path in bundles)
    return Workload(texts=texts, pairs=texts[::-1] if takes_pairs else None)


def _read(data: Path, text: list[str], label: str, labels: tuple[str, ...] | None) -> Workload:
    """The given table, every row of it."""
    split = read_split(data, text=text, label=label, labels=labels)
    return Workload(texts=split.texts, pairs=split.pairs, labels=split.labels.tolist(), num_classes=len(labels or ()))


def _common_labels(contenders: Sequence[Contender]) -> tuple[str, ...] | None:
    """The class names that all scored models share; UserError where they differ in names or order."""
    found = {contender.path: _labels_of(contender) for contender in contenders if contender.scored}
    if len(set(found.values())) > 1:
        (one, names), *rest = found.items()
        other, others = next((path, theirs) for path, theirs in rest if theirs != names)
        raise UserError(
            f"the models' labels differ: {one} has {', '.join(names)}; {other} has {', '.join(others)}; "
            "leave --data out to time them without accuracy"
        )
    return next(iter(found.values()), None)


def _labels_of(contender: Contender) -> tuple[str, ...]:
    if contender.kind == "onnxruntime":
        return tuple(read_manifest(Path(contender.path))["labels"])
    return locations.label_names(contender.path)
