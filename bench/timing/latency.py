"""The benchmark itself: one child process per contender, short visits in random order, raw samples kept."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from bench.measurement.worker_process import WorkerError, WorkerProcess, as_record
from bench.results.measurements import ColdStart, ProcessFacts, Protocol
from bench.timing.engines import BOUNDARIES
from bench.timing.messages import WorkerFacts
from bench.timing.systems import Contender, Shape, Workload, select_texts, shape_name
from export.results import SessionReport

SETTLE_S = 0.005  # until the threads of the one before have stopped to spin


@dataclass(kw_only=True)
class Samples:
    """One contender's raw measurements. Times in seconds: of processes, of visits, of calls; `error` where it could not
    run.

    `texts_s`: from text to label; `boundaries_s`: of the same calls, what lies within the narrower boundaries.
    `shapes_s`: by the name of the grid's shape. `computed_s`: of all cores together, for each of `throughput_s`.
    `cold_starts`: of each process. `lengths`: tokens of each of the workload's texts.
    """

    contender: Contender
    process: ProcessFacts | None = None
    session: SessionReport | None = None
    num_parameters: int | None = None
    texts_s: list[list[list[float]]] = field(default_factory=list)
    boundaries_s: dict[str, list[list[list[float]]]] = field(default_factory=dict)
    shapes_s: dict[str, list[list[list[float]]]] = field(default_factory=dict)
    throughput_s: list[float] = field(default_factory=list)
    computed_s: list[float] = field(default_factory=list)
    cold_starts: list[ColdStart] = field(default_factory=list)
    lengths: list[int] | None = None
    predictions: list[float] | None = None
    error: str | None = None

    def add_visit(self, processes: list[list[list[float]]], seconds: list[float]) -> None:
        """Add a visit's calls, to the process that was started last."""
        if len(processes) < len(self.cold_starts):
            processes.append([])
        processes[-1].append(seconds)


def start_worker(contender: Contender, protocol: Protocol) -> WorkerProcess:
    """A worker process for one contender."""
    return WorkerProcess(
        "bench.timing.worker", contender.name, num_threads=protocol.num_threads, python=contender.python
    )


def loading(contender: Contender, workload: Workload, protocol: Protocol) -> dict[str, Any]:
    """What that worker is asked to load: of the contender its own, all else alike for all."""
    return {
        "spec": contender.spec(),
        "num_threads": protocol.num_threads,
        "warm_up_s": protocol.warm_up_s,
        "text": workload.texts[0],
        "pair": None if workload.pairs is None else workload.pairs[0],
    }


def time_systems(
    contenders: Sequence[Contender],
    workload: Workload,
    protocol: Protocol,
    *,
    threads: Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Samples]:
    """Time all contenders against one another. `on_progress(done, total)` is called after each contender's part of a
    round.

    `threads`: numbers of threads, in place of the protocol's one: every contender takes part once with each of them.
    First come the samples of all with the first number, then those with the next.

    A contender that cannot be loaded, or dies, has its reason in `error`; the others go on.
    """
    counts = threads or [protocol.num_threads]
    entries = [
        _Entry(contender, workload, replace(protocol, num_threads=count))
        for count in counts
        for contender in contenders
    ]
    starts = range(0, protocol.rounds, protocol.restart_every)
    draw = random.Random(protocol.seed)
    tour = _Tour(entries, draw, total=len(entries) * (len(starts) + protocol.rounds + 2), on_progress=on_progress)
    try:
        for number in range(protocol.rounds):
            if number in starts:
                tour.visit(_Entry.start, reports_each=True)
            if number == 0:
                tour.visit(_Entry.predict, reports_each=True)
            for part in _parts_of_a_round(workload, protocol, draw, is_first=number in starts):
                tour.visit(part)
            tour.report(len(entries))
        tour.visit(_Entry.finish)
        tour.report(len(entries))
    finally:
        for entry in entries:
            entry.close()
    return [entry.samples for entry in entries]


class _Entry:
    """A contender with its process, and what was measured of it so far."""

    def __init__(self, contender: Contender, workload: Workload, protocol: Protocol) -> None:
        self.contender, self.workload, self.protocol = contender, workload, protocol
        self.samples = Samples(contender=contender)
        self.running: WorkerProcess | None = None

    @property
    def worker(self) -> WorkerProcess:
        assert self.running is not None, "started before it is visited"
        return self.running

    def close(self) -> None:
        if self.running is not None:
            self.running.close()

    def start(self) -> None:
        """Go on in a new process."""
        self.close()
        started = time.perf_counter()
        self.running = start_worker(self.contender, self.protocol)
        answer = self.worker.ask("load", **loading(self.contender, self.workload, self.protocol))
        seconds = time.perf_counter() - started
        facts = self._note(answer)
        self.samples.cold_starts.append(
            ColdStart(
                python_s=seconds - (facts.import_s + facts.load_s + facts.first_answer_s),
                import_s=facts.import_s,
                load_s=facts.load_s,
                first_answer_s=facts.first_answer_s,
            )
        )

    def predict(self) -> None:
        """The length of every text, and its answer where answers are scored."""
        rows = {"texts": self.workload.texts, "pairs": self.workload.pairs}
        self.samples.lengths = self.worker.ask("lengths", **rows)
        if self.workload.labels is not None and self.contender.is_scored:
            self.samples.predictions = self.worker.ask("predict", **rows)

    def finish(self) -> None:
        """Read back how it really ran."""
        self._note(self.worker.ask("facts"))
        try:
            session = self.worker.ask("diagnose")
        except WorkerError:
            return  # what was measured counts all the same
        self.samples.session = None if session is None else as_record(SessionReport, session)

    def texts(self, rows: dict[str, list[str] | None], warm: bool) -> None:
        """Some texts, one by one."""
        *narrower, whole = zip(*self.worker.ask("texts", **rows, warm=warm), strict=True)
        self.samples.add_visit(self.samples.texts_s, list(whole))
        for boundary, seconds in zip(BOUNDARIES, narrower, strict=False):
            self.samples.add_visit(self.samples.boundaries_s.setdefault(boundary, []), list(seconds))

    def shape(self, shape: Shape) -> None:
        """The model alone on a shape of the grid."""
        repeats = self.protocol.repeats if shape[0] == 1 else self.protocol.batch_repeats
        seconds = self.worker.ask("tokens", batch=shape[0], length=shape[1], repeats=repeats)
        if seconds is not None:
            self.samples.add_visit(self.samples.shapes_s.setdefault(shape_name(shape), []), seconds)

    def throughput(self, rows: dict[str, list[str] | None]) -> None:
        """Some texts, all at hand."""
        seconds, computed = self.worker.ask("throughput", **rows)
        self.samples.throughput_s.append(seconds)
        self.samples.computed_s.append(computed)

    def _note(self, answer: object) -> WorkerFacts:
        facts = as_record(WorkerFacts, answer)
        self.samples.num_parameters = facts.model.num_parameters
        self.samples.process = ProcessFacts(
            num_threads=facts.model.num_threads,
            ran_on=facts.model.ran_on,
            priority=facts.priority,
            cores=facts.cores,
            peak_rss_bytes=facts.peak_rss_bytes,
            num_streams=facts.model.num_streams,
            versions=facts.model.versions,
        )
        return facts


class _Tour:
    """Visits to all entries, in an order drawn anew for each part; and how many visits are done."""

    def __init__(
        self, entries: Sequence[_Entry], draw: random.Random, *, total: int, on_progress: Callable[[int, int], None]
    ) -> None:
        self.entries, self.draw, self.total, self.on_progress = entries, draw, total, on_progress
        self.done = 0

    def visit(self, part: Callable[[_Entry], None], *, reports_each: bool = False) -> None:
        """Do a part with each entry that has not failed."""
        for index in self.draw.sample(range(len(self.entries)), len(self.entries)):
            entry = self.entries[index]
            try:
                if entry.samples.error is None:
                    time.sleep(SETTLE_S)
                    part(entry)
            except WorkerError as error:
                entry.samples.error = str(error)
            if reports_each:
                self.report(1)

    def report(self, count: int) -> None:
        """Count visits as done."""
        self.done += count
        self.on_progress(self.done, self.total)


def _parts_of_a_round(
    workload: Workload, protocol: Protocol, draw: random.Random, *, is_first: bool
) -> list[Callable[[_Entry], None]]:
    """What every contender is asked in turn: some texts, some more, each shape of the grid, texts in bulk."""
    size = protocol.texts_per_visit
    sample = draw.sample(range(len(workload.texts)), min(protocol.texts_per_round, len(workload.texts)))
    bulk = select_texts(workload, draw.choices(range(len(workload.texts)), k=protocol.throughput_texts))
    visits = [sample[start : start + size] for start in range(0, len(sample), size)]
    return [
        *(
            partial(_Entry.texts, rows=select_texts(workload, chosen), warm=is_first and number == 0)
            for number, chosen in enumerate(visits)
        ),
        *(partial(_Entry.shape, shape=shape) for shape in workload.grid),
        partial(_Entry.throughput, rows=bulk),
    ]
