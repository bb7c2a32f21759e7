"""A benchmark of any Hugging Face folders and bundles, without a run; and one of a model against itself."""

import random
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic_core import to_jsonable_python
from rich.console import Console

from bench.benchmark import BenchOptions, run_benchmark
from bench.measurement import machine
from bench.report.render import write_reports
from bench.results.benchmark import Device
from bench.results.document import Reproduce, Results, StageResults, write_results
from bench.results.measurements import LoadTest, Protocol
from bench.self_check import SelfCheck, run_self_check
from bench.timing.systems import GRID, Contender, Lineup, Workload, contenders_at, parse_shape
from compress.common.errors import UserError
from compress.common.files import write_json
from compress.common.progress import progress_bar
from compress.data.columns import Split
from compress.data.task_types import TaskTypeName, task_type
from compress.data.tasks import read_split
from compress.models import sources
from export.bundle.bundle_json import read_bundle_info
from pocketbert import __version__

MADE_UP_WORDS = "the of to and a in is it you that he was for on are with as his they be at one have this"


@dataclass(frozen=True, kw_only=True)
class ModelOutputs:
    """What fine-tuned models answer: the names of their outputs, in their order, and of which kind they are.

    `labels` is None where no model says, because none is fine-tuned; a table's own labels then stand.
    """

    labels: tuple[str, ...] | None = None
    task_type: TaskTypeName = "classification"


@dataclass(frozen=True, kw_only=True)
class FolderBenchOptions:
    """What is measured, of whichever models.

    `data`: a labelled table, for accuracy and real lengths, with its columns and its text encoding; without one,
    sentences are made up.
    `num_threads`: by default all usable cores, divided among the load's processes. `grid`: shapes as the command line
    has them. `load`: also under load. `limits`: also how near bundles come to this machine's limits. `thread_sweep`:
    also with fewer threads.
    """

    data: Path | None = None
    text: Sequence[str] = ("text",)
    label: str = "label"
    encoding: str = "utf-8"
    num_threads: int | None = None
    rounds: int = 12
    restart_every: int = 2
    grid: Sequence[str] = ()
    load: LoadTest | None = None
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

    def workload(self, outputs: ModelOutputs, *, takes_pairs: bool = False) -> Workload:
        """On what: every row of the table, or made up sentences and no score. `outputs`: those of all models."""
        shapes = tuple(map(parse_shape, dict.fromkeys(self.grid))) or GRID
        if self.data is None:
            texts = made_up_texts(200)
            return Workload(texts=texts, pairs=texts[::-1] if takes_pairs else None, grid=shapes)
        split = self.read(self.data, outputs)
        return Workload(
            texts=split.texts,
            pairs=split.pairs,
            labels=split.labels.tolist(),
            task_type=outputs.task_type,
            num_labels=len(outputs.labels or ()),
            grid=shapes,
        )

    def read(self, table: Path, outputs: ModelOutputs) -> Split:
        """The rows of a table that has the question's columns and encoding."""
        return read_split(
            table,
            text=list(self.text),
            label=self.label,
            labels=outputs.labels,
            task_type=outputs.task_type,
            encoding=self.encoding,
        )

    def table_options(self) -> list[str]:
        """How its tables are read, as options of the command line."""
        columns = [part for column in self.text for part in ("--text", column)]
        return ["--label", self.label, *columns, "--encoding", self.encoding]

    def options(self) -> list[str]:
        """The same as options of the command line."""
        parts = [] if self.data is None else ["--data", str(self.data), *self.table_options()]
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


def bench_folders(
    paths: Sequence[Path],
    question: FolderBenchOptions,
    *,
    device: str,
    compiled: bool,
    output: Path | None,
    console: Console,
) -> Results:
    """Any Hugging Face folders and bundles, without a run."""
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
        for contender in contenders_at(path, device=where, label=_short_name(path, paths), compiled=compiled)
    ]
    return bench_contenders(
        Lineup(contenders=contenders),
        question,
        name=" against ".join(_short_name(path, paths) for path in paths),
        command=["bench", *map(str, paths), "--device", device, *(["--compile"] if compiled else [])],
        output=output,
        console=console,
    )


def bench_contenders(
    lineup: Lineup,
    question: FolderBenchOptions,
    *,
    name: str,
    command: Sequence[str],
    output: Path | None,
    console: Console,
    words: str = "on the same folders",
) -> Results:
    """Measure; with `output` also write results.json, the samples and the report into that folder.

    `command`, `words`: how to measure it again.
    """
    outputs = ModelOutputs() if question.data is None else _common_outputs(lineup.contenders)
    kind = task_type(outputs.task_type)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    bench = run_benchmark(
        lineup,
        question.workload(outputs, takes_pairs=any(map(_takes_pairs, lineup.contenders))),
        question.protocol(),
        kind.default_metric,
        BenchOptions(load=question.load, limits=question.limits, thread_sweep=question.thread_sweep),
        samples_file=None if output is None else output / "samples.json",
        console=console,
    )
    results = Results(
        name=name,
        metric=kind.default_metric,
        task_type=kind.name,
        stages=StageResults(bench=bench),
        reproduce=Reproduce(
            words=f"With PocketBERT {__version__} and the packages named below, {words}.",
            command=shlex.join(["pocketbert", *command, *question.options()]),
        ),
    )
    if output is not None:
        write_results(results, output)
        write_reports(results, output)
    return results


def bench_self_check(
    path: Path, question: FolderBenchOptions, *, runs: int, output: Path | None, console: Console
) -> SelfCheck:
    """Whether this machine's figures can be trusted: a model against itself `runs` times, and half as often against a
    slower copy. The result goes to output/validity.json too.
    """
    (contender, *_) = contenders_at(path)
    outputs = ModelOutputs() if question.data is None else _common_outputs([contender])
    workload = question.workload(outputs, takes_pairs=_takes_pairs(contender))
    with progress_bar("against itself", console) as on_progress:
        measured = run_self_check(
            contender, workload, question.protocol(), runs=runs, slowed_runs=runs // 2, on_progress=on_progress
        )
    result = replace(measured, machine=machine.describe())
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / "validity.json", to_jsonable_python(result))
    return result


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


def outputs_of(model: str) -> ModelOutputs:
    """Those of a Hugging Face folder."""
    return ModelOutputs(labels=sources.label_names_in_config(model), task_type=sources.task_type_of(model))


def _takes_pairs(contender: Contender) -> bool:
    return contender.is_bundle and read_bundle_info(Path(contender.path)).takes_pairs


def _common_outputs(contenders: Sequence[Contender]) -> ModelOutputs:
    """Those that all scored models share; UserError where they differ in names or order."""
    by_path = {
        contender.path: _outputs_of(contender)
        for contender in contenders
        if contender.is_scored and contender.system.role != "peer"
    }
    if len(set(by_path.values())) > 1:
        (one, expected), *rest = by_path.items()
        other, actual = next((path, outputs) for path, outputs in rest if outputs != expected)
        raise UserError(
            f"the models' labels differ: {one} has {', '.join(expected.labels or ())}; {other} has "
            f"{', '.join(actual.labels or ())}; leave --data out to time them without accuracy"
        )
    return next(iter(by_path.values()), ModelOutputs())


def _outputs_of(contender: Contender) -> ModelOutputs:
    if contender.is_bundle:
        info = read_bundle_info(Path(contender.path))
        return ModelOutputs(labels=tuple(info.labels), task_type=info.task_type)
    return outputs_of(contender.path)
