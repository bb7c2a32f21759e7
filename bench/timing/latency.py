"""The latency benchmark: one worker process per contender, short interleaved visits in random order, raw samples."""

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

SETTLE_S = 0.005  # until the threads of the previous contender stop spinning


@dataclass(kw_only=True)
class Samples:
    """Raw measurements of one contender. Seconds are nested lists by process, visit and call.

    `texts_s`: from text to label. `boundaries_s`: the inner parts of the same calls, by boundary. `shapes_s`: by name
    of the shape. `computed_s`: CPU seconds over all cores, one per item of `throughput_s`. `cold_starts`: one per
    process. `lengths`: number of tokens of each text of the workload. `error`: the reason if it could not run.
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
        """Add the calls of a visit to the latest process."""
        if len(processes) < len(self.cold_starts):
            processes.append([])
        processes[-1].append(seconds)


def start_worker(contender: Contender, protocol: Protocol) -> WorkerProcess:
    """Start the worker process of a contender."""
    return WorkerProcess(
        "bench.timing.worker", contender.name, num_threads=protocol.num_threads, python=contender.python
    )


def load_arguments(contender: Contender, workload: Workload, protocol: Protocol) -> dict[str, Any]:
    """The arguments of the worker's command `load`. Only `spec` depends on the contender."""
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
    """Time all contenders, interleaved. Returns their samples in the same order.

    `threads`: numbers of threads that replace the protocol's. Every contender runs once with each number; samples are
    ordered by number, then by contender. `on_progress(done, total)`: called after each part of a round. A contender
    that fails has the reason in `error`; the others continue.
    """
    counts = threads or [protocol.num_threads]
    entries = [
        _Entry(contender, workload, replace(protocol, num_threads=count))
        for count in counts
        for contender in contenders
    ]
    starts = range(0, protocol.rounds, protocol.restart_every)
    generator = random.Random(protocol.seed)
    schedule = _Schedule(
        entries, generator, total=len(entries) * (len(starts) + protocol.rounds + 2), on_progress=on_progress
    )
    try:
        for number in range(protocol.rounds):
            if number in starts:
                schedule.visit(_Entry.start, reports_each=True)
            if number == 0:
                schedule.visit(_Entry.predict, reports_each=True)
            for part in _parts_of_a_round(workload, protocol, generator, is_first=number in starts):
                schedule.visit(part)
            schedule.report(len(entries))
        schedule.visit(_Entry.finish)
        schedule.report(len(entries))
    finally:
        for entry in entries:
            entry.close()
    return [entry.samples for entry in entries]


class _Entry:
    """A contender with its current process and its samples so far."""

    def __init__(self, contender: Contender, workload: Workload, protocol: Protocol) -> None:
        self.contender, self.workload, self.protocol = contender, workload, protocol
        self.samples = Samples(contender=contender)
        self.running: WorkerProcess | None = None

    @property
    def worker(self) -> WorkerProcess:
        assert self.running is not None, "start() must come first"
        return self.running

    def close(self) -> None:
        if self.running is not None:
            self.running.close()

    def start(self) -> None:
        """Continue in a new process."""
        self.close()
        started = time.perf_counter()
        self.running = start_worker(self.contender, self.protocol)
        reply = self.worker.ask("load", **load_arguments(self.contender, self.workload, self.protocol))
        seconds = time.perf_counter() - started
        facts = self._record_facts(reply)
        self.samples.cold_starts.append(
            ColdStart(
                python_s=seconds - (facts.import_s + facts.load_s + facts.first_answer_s),
                import_s=facts.import_s,
                load_s=facts.load_s,
                first_answer_s=facts.first_answer_s,
            )
        )

    def predict(self) -> None:
        """Record the length of every text, and its prediction if predictions are scored."""
        rows = {"texts": self.workload.texts, "pairs": self.workload.pairs}
        self.samples.lengths = self.worker.ask("lengths", **rows)
        if self.workload.labels is not None and self.contender.is_scored:
            self.samples.predictions = self.worker.ask("predict", **rows)

    def finish(self) -> None:
        """Record how the contender actually ran."""
        self._record_facts(self.worker.ask("facts"))
        try:
            session = self.worker.ask("diagnose")
        except WorkerError:
            return  # the samples are valid without a report
        self.samples.session = None if session is None else as_record(SessionReport, session)

    def texts(self, rows: dict[str, list[str] | None], warm: bool) -> None:
        """Time texts one at a time."""
        *inner, whole = zip(*self.worker.ask("texts", **rows, warm=warm), strict=True)
        self.samples.add_visit(self.samples.texts_s, list(whole))
        for boundary, seconds in zip(BOUNDARIES, inner, strict=False):
            self.samples.add_visit(self.samples.boundaries_s.setdefault(boundary, []), list(seconds))

    def shape(self, shape: Shape) -> None:
        """Time the model on a shape of the grid."""
        repeats = self.protocol.repeats if shape[0] == 1 else self.protocol.batch_repeats
        seconds = self.worker.ask("tokens", batch=shape[0], length=shape[1], repeats=repeats)
        if seconds is not None:
            self.samples.add_visit(self.samples.shapes_s.setdefault(shape_name(shape), []), seconds)

    def throughput(self, rows: dict[str, list[str] | None]) -> None:
        """Time texts that are all available at once."""
        seconds, computed = self.worker.ask("throughput", **rows)
        self.samples.throughput_s.append(seconds)
        self.samples.computed_s.append(computed)

    def _record_facts(self, reply: object) -> WorkerFacts:
        facts = as_record(WorkerFacts, reply)
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


class _Schedule:
    """Visits all entries in random order, and reports progress."""

    def __init__(
        self,
        entries: Sequence[_Entry],
        generator: random.Random,
        *,
        total: int,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self.entries, self.generator, self.total, self.on_progress = entries, generator, total, on_progress
        self.done = 0

    def visit(self, part: Callable[[_Entry], None], *, reports_each: bool = False) -> None:
        """Run a part of the round with each entry that has not failed, in a new random order."""
        for index in self.generator.sample(range(len(self.entries)), len(self.entries)):
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
        """Report further visits as done."""
        self.done += count
        self.on_progress(self.done, self.total)


def _parts_of_a_round(
    workload: Workload, protocol: Protocol, generator: random.Random, *, is_first: bool
) -> list[Callable[[_Entry], None]]:
    """The visits of a round: several with single texts, one per shape of the grid, one with texts in bulk."""
    size = protocol.texts_per_visit
    sample = generator.sample(range(len(workload.texts)), min(protocol.texts_per_round, len(workload.texts)))
    bulk = select_texts(workload, generator.choices(range(len(workload.texts)), k=protocol.throughput_texts))
    visits = [sample[start : start + size] for start in range(0, len(sample), size)]
    return [
        *(
            partial(_Entry.texts, rows=select_texts(workload, indices), warm=is_first and number == 0)
            for number, indices in enumerate(visits)
        ),
        *(partial(_Entry.shape, shape=shape) for shape in workload.grid),
        partial(_Entry.throughput, rows=bulk),
    ]
