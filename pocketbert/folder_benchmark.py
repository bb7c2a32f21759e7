"""A benchmark of any Hugging Face folders and bundles, without a run; and one of a model against itself."""

import random
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import machine
from bench.contenders import GRID, Contender, Device, Workload, contenders_at, shape_of
from bench.latency import Protocol
from bench.load import Load
from bench.report import write_reports
from bench.schema import FORMAT_VERSION
from bench.validity import check
from compress import locations
from compress.errors import UserError
from compress.files import write_json
from compress.metrics import Metric
from compress.progress import progress_bar
from compress.tasks import read_split
from export.manifest import read_manifest
from pocketbert import __version__
from pocketbert.benchmark import run_benchmark

MADE_UP_WORDS = "the of to and a in is it you that he was for on are with as his they be at one have this"


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is measured, of whichever models.

    `data`: a labelled table, for accuracy and real lengths, with its columns; without one, sentences are made up.
    `num_threads`: by default all usable cores, parted among the load's processes. `grid`: shapes as the command line
    has them. `load`: also under load. `limits`: also how near bundles come to this machine's limits. `thread_sweep`:
    also with fewer threads.
    """

    data: Path | None = None
    text: Sequence[str] = ("text",)
    label: str = "label"
    num_threads: int | None = None
    rounds: int = 12
    restart_every: int = 2
    grid: Sequence[str] = ()
    load: Load | None = None
    limits: bool = False
    thread_sweep: bool = False

    def protocol(self) -> Protocol:
        """How much of it."""
        serving = 1 if self.load is None else self.load.processes
        return Protocol(
            num_threads=self.num_threads or machine.threads_for(serving, machine.usable_cores()),
            rounds=self.rounds,
            restart_every=self.restart_every,
        )

    def workload(self, labels: tuple[str, ...] | None, *, takes_pairs: bool = False) -> Workload:
        """On what: every row of the table, or made up sentences and no score."""
        shapes = tuple(map(shape_of, dict.fromkeys(self.grid))) or GRID
        if self.data is None:
            texts = made_up_texts(200)
            return Workload(texts=texts, pairs=texts[::-1] if takes_pairs else None, grid=shapes)
        split = read_split(self.data, text=list(self.text), label=self.label, labels=labels)
        return Workload(
            texts=split.texts,
            pairs=split.pairs,
            labels=split.labels.tolist(),
            num_classes=len(labels or ()),
            grid=shapes,
        )

    def options(self) -> list[str]:
        """The same as options of the command line."""
        parts = [] if self.data is None else ["--data", str(self.data), "--label", self.label]
        if self.data is not None:
            parts += [part for column in self.text for part in ("--text", column)]
        parts += [part for shape in self.grid for part in ("--grid", shape)]
        if self.load is not None:
            parts += ["--load", f"{self.load.bound_ms:g}", "--processes", str(self.load.processes)]
        if self.limits:
            parts.append("--limits")
        if self.thread_sweep:
            parts.append("--thread-sweep")
        protocol = self.protocol()
        parts += ["--threads", str(protocol.num_threads), "--rounds", str(protocol.rounds)]
        return [*parts, "--restart-every", str(protocol.restart_every)]


def of_folders(
    paths: Sequence[Path],
    question: Question,
    *,
    device: str,
    compiled: bool,
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
    contenders = [
        contender
        for path in existing(paths)
        for where in devices
        for contender in contenders_at(path, device=where, name=_short_name(path, paths), compiled=compiled)
    ]
    return of_contenders(
        contenders,
        question,
        name=" against ".join(_short_name(path, paths) for path in paths),
        command=["bench", *map(str, paths), "--device", device, *(["--compile"] if compiled else [])],
        output=output,
        console=console,
    )


def of_contenders(
    contenders: Sequence[Contender],
    question: Question,
    *,
    name: str,
    command: Sequence[str],
    output: Path | None,
    console: Console,
    words: str = "on the same folders",
    **how: Any,
) -> dict[str, Any]:
    """Measure, and make it results.json's content; with `output` also that file, the samples and the report.

    `command`, `words`: how to measure it again. `how`: more for `run_benchmark`.
    """
    labels = None if question.data is None else _common_labels(contenders)
    metric: Metric = "pearson_spearman" if labels is not None and len(labels) == 1 else "accuracy"
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    found = run_benchmark(
        contenders,
        question.workload(labels, takes_pairs=any(map(_takes_pairs, contenders))),
        question.protocol(),
        metric,
        samples_file=None if output is None else output / "samples.json",
        console=console,
        load=question.load,
        limits=question.limits,
        thread_sweep=question.thread_sweep,
        **how,
    )
    results = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "metric": metric,
        "reproduce": {
            "words": f"With PocketBERT {__version__} and the packages named below, {words}.",
            "command": shlex.join(["pocketbert", *command, *question.options()]),
            "recipe": None,
        },
        "stages": {"bench": found},
    }
    if output is not None:
        write_json(output / "results.json", results)
        write_reports(results, output)
    return results


def of_itself(path: Path, question: Question, *, runs: int, output: Path | None, console: Console) -> dict[str, Any]:
    """Whether this machine's figures can be trusted: a model against itself `runs` times, and half as often against a
    slower copy. What was found goes to output/validity.json too.
    """
    (contender, *_) = contenders_at(path)
    labels = None if question.data is None else _common_labels([contender])
    workload = question.workload(labels, takes_pairs=_takes_pairs(contender))
    with progress_bar("against itself", console) as on_progress:
        found = check(
            contender, workload, question.protocol(), runs=runs, planted_runs=runs // 2, on_progress=on_progress
        )
    found["machine"] = machine.describe()
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / "validity.json", found)
    return found


def existing(paths: Sequence[Path]) -> Sequence[Path]:
    """The folders, all of which are there. Raises UserError."""
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such folder")
    return paths


def _short_name(path: Path, paths: Sequence[Path]) -> str:
    """The folder's own name, with its parent's where that is not enough."""
    path = path.absolute()
    alike = [other for other in paths if other.absolute().name == path.name]
    return path.name if len(alike) == 1 else f"{path.parent.name}/{path.name}"


def made_up_texts(count: int) -> list[str]:
    """Sentences of 4 to 60 words."""
    words = MADE_UP_WORDS.split()
    draw = random.Random(0)
    return [" ".join(draw.choices(words, k=draw.randint(4, 60))) for _ in range(count)]


def _takes_pairs(contender: Contender) -> bool:
    return contender.kind == "onnxruntime" and bool(read_manifest(Path(contender.path))["takes_pairs"])


def _common_labels(contenders: Sequence[Contender]) -> tuple[str, ...] | None:
    """The class names that all scored models share; UserError where they differ in names or order."""
    found = {
        contender.path: _labels_of(contender)
        for contender in contenders
        if contender.scored and contender.kind != "peer"
    }
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
