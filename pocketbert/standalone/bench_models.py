"""`pocketbert bench models`: a benchmark of any Hugging Face folders and bundles, without a run."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from bench.benchmark import BenchOptions, run_benchmark
from bench.measurement import machine
from bench.report.render import write_reports
from bench.results.benchmark import BenchResult, Device
from bench.results.document import FILE as RESULTS_FILE
from bench.results.document import Reproduce, Results, StageResults, write_results
from bench.results.measurements import Effort, LoadTest, Protocol
from bench.timing.effort import EffortSettings, settings_of
from bench.timing.systems import Contender, Lineup, Workload, contenders_at, parse_shape
from compress.common.errors import UserError
from compress.common.escaping import one_line, shell_command
from compress.common.owned_files import open_output, require_writable
from compress.data.columns import Split
from compress.data.label_matching import comparable, has_default_names
from compress.data.label_order import QUESTION
from compress.data.metrics import Metric, Positive, positive_class
from compress.data.task_types import TaskTypeName, task_type
from compress.data.tasks import read_split
from compress.models import sources
from export.bundle.bundle_json import read_bundle_info
from pocketbert import __version__
from pocketbert.data.table_labels import joined_labels, print_remarks, print_warning, require_table_labels
from pocketbert.recipe.preflight import check_named_models
from pocketbert.store.run_folder import REPORTS

SAMPLES_FILE = "samples.json"
OUTPUT_FILES = (RESULTS_FILE, SAMPLES_FILE, *REPORTS)
MADE_UP_WORDS = "the of to and a in is it you that he was for on are with as his they be at one have this"
MOST_TOKENS = 512  # a model that takes fewer is not timed on longer shapes
DEVICES: dict[str, tuple[Device, ...]] = {"cpu": ("cpu",), "cuda": ("cuda",), "both": ("cpu", "cuda")}


@dataclass(frozen=True, kw_only=True)
class ModelOutputs:
    """The outputs of fine-tuned models: their names, in order, and the task type.

    `labels` is None if no model is fine-tuned. The labels of the table are then used.
    """

    labels: tuple[str, ...] | None = None
    task_type: TaskTypeName = "classification"


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """What to measure, for any models.

    `data`: a labelled table for accuracy and text lengths, with its columns and encoding; without it, sentences are
    generated. `labels`: the table's label for each output of the models; by default their names. `metric`: by default
    that of the task type; `positive`: the class of the metric f1, for two classes. `num_threads`: by
    default all usable cores, divided among the processes of `load`. `effort`: decides the rounds, the restarts and the
    grid if they are not given, and the texts and the warm-up; None: as thorough. `grid`: shapes as typed, such as 1x64.
    `load`: measure throughput under load. `roofline`: compare bundles with the machine's roofline. `thread_sweep`:
    measure with fewer threads.
    """

    data: Path | None = None
    text: Sequence[str] = ("text",)
    label: str = "label"
    labels: Sequence[str] | None = None
    encoding: str = "utf-8"
    metric: str | None = None
    positive: str | None = None
    num_threads: int | None = None
    effort: Effort | None = None
    rounds: int | None = None
    restart_every: int | None = None
    grid: Sequence[str] = ()
    load: LoadTest | None = None
    roofline: bool = False
    thread_sweep: bool = False

    def protocol(self) -> Protocol:
        """The number of threads, rounds and processes."""
        serving = 1 if self.load is None else self.load.processes
        num_threads = self.num_threads or machine.threads_for(serving, machine.usable_cores())
        return self._settings().protocol(self.effort, num_threads=num_threads)

    def _settings(self) -> EffortSettings:
        settings = settings_of(self.effort or "thorough")
        return replace(
            settings,
            rounds=self.rounds or settings.rounds,
            restart_every=self.restart_every or settings.restart_every,
        )

    def workload(self, outputs: ModelOutputs, *, takes_pairs: bool = False, console: Console | None = None) -> Workload:
        """Every row of the table, or generated sentences without labels. `outputs`: those of all models.

        `console`: prints how the table was read.
        """
        shapes = tuple(map(parse_shape, dict.fromkeys(self.grid))) or self._settings().grid(MOST_TOKENS)
        if self.data is None:
            texts = made_up_texts(200)
            return Workload(texts=texts, pairs=texts[::-1] if takes_pairs else None, grid=shapes)
        split = self.read(self.data, outputs, console)
        return Workload(
            texts=split.texts,
            pairs=split.pairs,
            labels=split.labels.tolist(),
            task_type=outputs.task_type,
            num_labels=len(outputs.labels or ()),
            positive=self.positive_of(outputs),
            grid=shapes,
        )

    def metric_of(self, outputs: ModelOutputs) -> Metric:
        """The metric. Raises UserError if the models do not have it, or if there is no table to score on."""
        kind = task_type(outputs.task_type)
        for option, value in (("--metric", self.metric), ("--positive", self.positive)):
            if value is not None and self.data is None:
                raise UserError(f"{option} {value}: expected --data too, a labelled table")
        if self.metric is None:
            return kind.default_metric
        for metric in kind.metrics:
            if metric == self.metric:
                return metric
        raise UserError(f"--metric {self.metric}: expected {', '.join(kind.metrics)}, for a {kind.name} model")

    def positive_of(self, outputs: ModelOutputs) -> Positive | None:
        """The class of the metric f1."""
        return positive_class(self.metric_of(outputs), self.positive, tuple(self.labels or outputs.labels or ()))

    def read(self, table: Path, outputs: ModelOutputs, console: Console | None = None) -> Split:
        """The rows of a table with the request's columns, labels and encoding. `console`: prints how it was read."""
        remarks = list[str]()
        split = read_split(
            table,
            text=list(self.text),
            label=self.label,
            labels=self.labels or outputs.labels,
            task_type=outputs.task_type,
            encoding=self.encoding,
            remarks=remarks,
        )
        if console is not None:
            print_remarks(remarks, console)
        return split

    def table_options(self) -> list[str]:
        """The columns, the encoding and the labels as command-line options."""
        columns = [part for column in self.text for part in ("--text", column)]
        labels = [] if self.labels is None else ["--labels", joined_labels(self.labels)]
        return ["--label", self.label, *columns, "--encoding", self.encoding, *labels]

    def options(self) -> list[str]:
        """The whole request as command-line options."""
        parts = [] if self.data is None else ["--data", str(self.data), *self.table_options()]
        parts += [] if self.metric is None else ["--metric", self.metric]
        parts += [] if self.positive is None else ["--positive", self.positive]
        parts += [part for shape in self.grid for part in ("--grid", shape)]
        if self.load is not None:
            parts += ["--load", f"{self.load.bound_ms:g}", "--processes", str(self.load.processes)]
        if self.roofline:
            parts.append("--roofline")
        if self.thread_sweep:
            parts.append("--thread-sweep")
        if self.effort is not None:
            parts += ["--effort", self.effort]
        protocol = self.protocol()
        parts += ["--threads", str(protocol.num_threads), "--rounds", str(protocol.rounds)]
        return [*parts, "--restart-every", str(protocol.restart_every)]


def bench_models(
    paths: Sequence[Path],
    request: BenchRequest,
    *,
    device: str,
    compiled: bool,
    output: Path | None,
    console: Console,
) -> Results:
    """Benchmark Hugging Face folders and bundles. Raises UserError."""
    devices = DEVICES.get(device)
    if devices is None:
        raise UserError(f"--device {device}: expected {', '.join(DEVICES)}")
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
        request,
        name=" against ".join(_short_name(path, paths) for path in paths),
        command=["bench", "models", *map(str, paths), "--device", device, *(["--compile"] if compiled else [])],
        output=output,
        console=console,
    )


def bench_contenders(
    lineup: Lineup,
    request: BenchRequest,
    *,
    name: str,
    command: Sequence[str],
    output: Path | None,
    console: Console,
    words: str = "on the same folders",
) -> Results:
    """Measure. With `output`, also write results.json, the samples and the report to that folder.

    `command`, `words`: how to repeat the benchmark.
    """
    if output is not None:
        require_writable(output, OUTPUT_FILES)
    folders = [each.path for each in lineup.contenders if not each.is_bundle and each.system.role != "peer"]
    has_pairs = len(request.text) == 2 or any(map(takes_pairs, lineup.contenders))
    print_remarks(check_named_models(folders, takes_pairs=has_pairs), console)
    outputs = ModelOutputs() if request.data is None else common_outputs(lineup.contenders, request.labels)
    kind = task_type(outputs.task_type)
    metric = request.metric_of(outputs)
    workload = request.workload(outputs, takes_pairs=any(map(takes_pairs, lineup.contenders)), console=console)
    owned = None if output is None else open_output(output, OUTPUT_FILES)
    if owned is not None:
        owned.make_way(SAMPLES_FILE)
    bench = run_benchmark(
        lineup,
        workload,
        request.protocol(),
        metric,
        BenchOptions(load=request.load, roofline=request.roofline, thread_sweep=request.thread_sweep),
        samples_file=None if output is None else output / SAMPLES_FILE,
        console=console,
    )
    results = Results(
        name=name,
        metric=metric,
        positive=bench.positive,
        task_type=kind.name,
        stages=StageResults(bench=bench),
        reproduce=Reproduce(
            words=f"With PocketBERT {__version__} and the packages named below, {words}.",
            command=shell_command(["pocketbert", *command, *request.options()]),
        ),
    )
    for caution in _cautions(bench, workload, request.labels or outputs.labels or ()):
        print_warning(caution, console)
    if owned is not None:
        owned.add(SAMPLES_FILE)
        with owned.writing(RESULTS_FILE, *REPORTS) as folder:
            write_results(results, folder)
            write_reports(results, folder)
    return results


def existing(paths: Sequence[Path]) -> Sequence[Path]:
    """The same folders. Raises UserError if one does not exist."""
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such folder")
    return paths


def made_up_texts(count: int) -> list[str]:
    """Sentences of 4 to 60 words."""
    words = MADE_UP_WORDS.split()
    generator = random.Random(0)
    return [" ".join(generator.choices(words, k=generator.randint(4, 60))) for _ in range(count)]


def outputs_of_model(model: str) -> ModelOutputs:
    """The outputs of a Hugging Face folder."""
    return ModelOutputs(labels=sources.label_names_in_config(model), task_type=sources.task_type_of(model))


def takes_pairs(contender: Contender) -> bool:
    """Whether it is a bundle for pairs of texts."""
    return contender.is_bundle and read_bundle_info(Path(contender.path)).takes_pairs


def common_outputs(contenders: Sequence[Contender], labels: Sequence[str] | None = None) -> ModelOutputs:
    """The outputs that all scored models share. Raises UserError if they differ in names or order.

    `labels`: the table's label for each output. They also stand for the outputs of models without names.
    """
    by_path = {
        contender.path: _outputs_of(contender)
        for contender in contenders
        if contender.is_scored and contender.system.role != "peer"
    }
    for path, outputs in by_path.items():
        if labels is not None:
            require_table_labels(labels, outputs.labels or (), outputs.task_type, model=path)
    named = {
        path: outputs
        for path, outputs in by_path.items()
        if labels is None or not has_default_names(outputs.labels or ())
    }
    keys = {path: (outputs.task_type, *map(comparable, outputs.labels or ())) for path, outputs in named.items()}
    one = next(iter(keys), "")
    other = next((path for path, key in keys.items() if key != keys[one]), None)
    if other is not None:
        has_names = not any(has_default_names(named[path].labels or ()) for path in (one, other))
        raise UserError(
            f"the models' labels differ: {one} has {', '.join(named[one].labels or ())}; {other} has "
            f"{', '.join(named[other].labels or ())}; leave --data out to time them without accuracy",
            option=None if has_names else "labels",
        )
    return next(iter(by_path.values()), ModelOutputs())


def _cautions(bench: BenchResult, workload: Workload, names: Sequence[str]) -> list[str]:
    """A line for each row whose score suggests that the labels of the table are not those of its model."""
    if workload.labels is None or bench.metric != task_type(workload.task_type).default_metric:
        return []
    kind, labels = task_type(workload.task_type), np.asarray(workload.labels)
    doubts = {row.label: kind.doubt_of_score(labels, row.score, names) for row in bench.rows if row.score is not None}
    return [f"{label}: {doubt}; {QUESTION}" for label, doubt in doubts.items() if doubt is not None]


def _outputs_of(contender: Contender) -> ModelOutputs:
    if contender.is_bundle:
        info = read_bundle_info(Path(contender.path))
        return ModelOutputs(labels=tuple(info.labels), task_type=info.task_type)
    return outputs_of_model(contender.path)


def _short_name(path: Path, paths: Sequence[Path]) -> str:
    """The name of the folder, with that of its parent if two folders have the same name."""
    path = path.absolute()
    alike = [other for other in paths if other.absolute().name == path.name]
    return one_line(path.name if len(alike) == 1 else f"{path.parent.name}/{path.name}")
