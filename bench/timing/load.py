"""Models under load: how many texts a second, and how many with an answer in time."""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from bench.measurement.stats import summarise
from bench.measurement.worker_process import WorkerError, WorkerProcess
from bench.results.measurements import LoadResult, LoadTest, Probe, Protocol
from bench.timing.latency import loading, start_worker
from bench.timing.systems import Contender, Workload, select_texts

HEAD_START_S = 0.05  # from the command until all processes wait for it
LEAST_RISE = 1.05  # rates nearer than that make no difference


def measure_load(
    contenders: Sequence[Contender],
    workload: Workload,
    protocol: Protocol,
    load: LoadTest,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[LoadResult]:
    """Closed loop, offline, and the highest rate within the bound, of each contender by itself."""
    results: list[LoadResult] = []
    steps = load.probes + 2

    def on_step(done: int) -> None:
        on_progress(len(results) * steps + done, len(contenders) * steps)

    for contender in contenders:
        results.append(_under_load(_Server(contender, workload, protocol, load), load, on_step=on_step))
    return results


def _under_load(server: "_Server", load: LoadTest, *, on_step: Callable[[int], None]) -> LoadResult:
    """One contender. What was measured before it failed counts. `on_step`: called with the steps that are done."""
    result, probes = LoadResult(), list[Probe]()
    try:
        server.start()
        closed = server.closed_loop()
        result = replace(result, closed=closed)
        on_step(1)
        result = replace(result, offline=server.offline())
        on_step(2)
        for rate in rates(closed, probes, load):
            probes.append(server.probe(rate))
            on_step(2 + len(probes))
        result = replace(result, highest=highest(probes))
    except WorkerError as error:
        result = replace(result, error=str(error))
    finally:
        server.stop()
    on_step(load.probes + 2)
    return replace(result, probes=probes)


def rates(closed: float, probes: Sequence[Probe], load: LoadTest) -> Iterator[float]:
    """The rates to try: bisection, by ratio, between a tenth of and all the closed loop's, which no queue can bear."""
    low, high = closed / 10, closed
    for _ in range(load.probes):
        if high / low < LEAST_RISE:
            return
        rate = math.sqrt(low * high)
        yield rate
        low, high = (rate, high) if probes[-1].holds else (low, rate)


def highest(probes: Sequence[Probe]) -> float | None:
    """The highest rate at which the bound held, below all at which it did not; None where there is none."""
    broken = min((probe.rate for probe in probes if not probe.holds), default=math.inf)
    return max((probe.rate for probe in probes if probe.holds and probe.rate < broken), default=None)


class _Server:
    """The processes that serve one contender."""

    def __init__(self, contender: Contender, workload: Workload, protocol: Protocol, load: LoadTest) -> None:
        self.contender, self.workload, self.protocol, self.load = contender, workload, protocol, load
        self.workers: list[WorkerProcess] = []
        self.draw = random.Random(protocol.seed)

    def start(self) -> None:
        """Load and warm up every process."""
        for _ in range(self.load.processes):
            worker = start_worker(self.contender, self.protocol)
            self.workers.append(worker)
            worker.send("load", **loading(self.contender, self.workload, self.protocol))
        self._answers()
        rows = select_texts(self.workload, self._drawn(32))
        for worker in self.workers:
            worker.ask("texts", **rows, warm=True)

    def stop(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.close()

    def closed_loop(self) -> float:
        """Texts a second, each process with one at a time."""
        begin = time.monotonic() + HEAD_START_S
        for worker in self.workers:
            worker.send(
                "closed_loop", **select_texts(self.workload, self._drawn(256)), seconds=self.load.closed_s, begin=begin
            )
        return sum(len(latencies) for latencies in self._answers()) / self.load.closed_s

    def offline(self) -> float:
        """Texts a second, all at hand, parted evenly among the processes."""
        drawn = self._drawn(self.load.offline_texts)
        started = time.monotonic()
        for number, worker in enumerate(self.workers):
            worker.send("throughput", **select_texts(self.workload, drawn[number :: len(self.workers)]))
        self._answers()
        return len(drawn) / (time.monotonic() - started)

    def probe(self, rate: float) -> Probe:
        """Poisson arrivals at `rate` texts a second: the latencies, and whether the bound held."""
        count = max(self.load.probe_texts, int(rate * self.load.probe_s))
        due, now = [], 0.0
        for _ in range(count):
            now += self.draw.expovariate(rate)
            due.append(now)
        dealt = [self.draw.randrange(len(self.workers)) for _ in range(count)]
        drawn = self._drawn(count)
        begin = time.monotonic() + HEAD_START_S * (1 + count / 10_000)
        for number, worker in enumerate(self.workers):
            mine = [index for index in range(count) if dealt[index] == number]
            rows = select_texts(self.workload, [drawn[index] for index in mine])
            worker.send("serve", **rows, due_s=[due[index] for index in mine], begin=begin)
        latency = summarise([self._answers()])
        assert latency.p99_ms is not None
        return Probe(rate=rate, holds=latency.p99_ms <= self.load.bound_ms, latency=latency)

    def _drawn(self, count: int) -> list[int]:
        return self.draw.choices(range(len(self.workload.texts)), k=count)

    def _answers(self) -> list[Any]:
        return [worker.receive() for worker in self.workers]
