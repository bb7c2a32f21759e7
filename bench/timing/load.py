"""Load tests: maximum throughput, and the highest arrival rate whose latency stays within a bound."""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from bench.measurement.stats import summarise
from bench.measurement.worker_process import WorkerError, WorkerProcess
from bench.results.measurements import LoadResult, LoadTest, Probe, Protocol
from bench.timing.latency import load_arguments, start_worker
from bench.timing.systems import Contender, Workload, select_texts

HEAD_START_S = 0.05  # delay before the test, so that all processes have received the command
MIN_RATE_RATIO = 1.05  # the bisection ends below this ratio of rates


def measure_load(
    contenders: Sequence[Contender],
    workload: Workload,
    protocol: Protocol,
    load: LoadTest,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[LoadResult]:
    """Test each contender on its own: closed loop, offline, and the highest rate within the bound."""
    results: list[LoadResult] = []
    steps = load.probes + 2

    def on_step(done: int) -> None:
        on_progress(len(results) * steps + done, len(contenders) * steps)

    for contender in contenders:
        results.append(_under_load(_Server(contender, workload, protocol, load), load, on_step=on_step))
    return results


def _under_load(server: "_Server", load: LoadTest, *, on_step: Callable[[int], None]) -> LoadResult:
    """Test one contender. Keeps what was measured before a failure. `on_step`: called with the number of steps done."""
    result, probes = LoadResult(), list[Probe]()
    try:
        server.start()
        closed = server.closed_loop()
        result = replace(result, closed=closed)
        on_step(1)
        result = replace(result, offline=server.offline())
        on_step(2)
        for rate in rates_to_probe(closed, probes, load):
            probes.append(server.probe(rate))
            on_step(2 + len(probes))
        result = replace(result, highest=highest_rate_within_bound(probes))
    except WorkerError as error:
        result = replace(result, error=str(error))
    finally:
        server.stop()
    on_step(load.probes + 2)
    return replace(result, probes=probes)


def rates_to_probe(closed: float, probes: Sequence[Probe], load: LoadTest) -> Iterator[float]:
    """The rates to probe: geometric bisection between 10 % and 100 % of the closed loop's rate.

    No queue is stable at 100 %. The caller appends the result of each rate to `probes` before it takes the next.
    """
    low, high = closed / 10, closed
    for _ in range(load.probes):
        if high / low < MIN_RATE_RATIO:
            return
        rate = math.sqrt(low * high)
        yield rate
        low, high = (rate, high) if probes[-1].holds else (low, rate)


def highest_rate_within_bound(probes: Sequence[Probe]) -> float | None:
    """The highest rate within the bound that is below every rate that exceeded it; None if there is none."""
    lowest_exceeding = min((probe.rate for probe in probes if not probe.holds), default=math.inf)
    return max((probe.rate for probe in probes if probe.holds and probe.rate < lowest_exceeding), default=None)


class _Server:
    """The processes that serve one contender."""

    def __init__(self, contender: Contender, workload: Workload, protocol: Protocol, load: LoadTest) -> None:
        self.contender, self.workload, self.protocol, self.load = contender, workload, protocol, load
        self.workers: list[WorkerProcess] = []
        self.generator = random.Random(protocol.seed)

    def start(self) -> None:
        """Load and warm up every process."""
        for _ in range(self.load.processes):
            worker = start_worker(self.contender, self.protocol)
            self.workers.append(worker)
            worker.send("load", **load_arguments(self.contender, self.workload, self.protocol))
        self._replies()
        rows = select_texts(self.workload, self._sample(32))
        for worker in self.workers:
            worker.ask("texts", **rows, warm=True)

    def stop(self) -> None:
        """Stop all processes."""
        for worker in self.workers:
            worker.close()

    def closed_loop(self) -> float:
        """Texts per second with one text per process at a time."""
        begin = time.monotonic() + HEAD_START_S
        for worker in self.workers:
            worker.send(
                "closed_loop", **select_texts(self.workload, self._sample(256)), seconds=self.load.closed_s, begin=begin
            )
        return sum(len(latencies) for latencies in self._replies()) / self.load.closed_s

    def offline(self) -> float:
        """Texts per second with all texts available at once, split evenly between the processes."""
        indices = self._sample(self.load.offline_texts)
        started = time.monotonic()
        for number, worker in enumerate(self.workers):
            worker.send("throughput", **select_texts(self.workload, indices[number :: len(self.workers)]))
        self._replies()
        return len(indices) / (time.monotonic() - started)

    def probe(self, rate: float) -> Probe:
        """Test Poisson arrivals at `rate` texts per second."""
        count = max(self.load.probe_texts, int(rate * self.load.probe_s))
        due_s, now = [], 0.0
        for _ in range(count):
            now += self.generator.expovariate(rate)
            due_s.append(now)
        worker_of_arrival = [self.generator.randrange(len(self.workers)) for _ in range(count)]
        indices = self._sample(count)
        begin = time.monotonic() + HEAD_START_S * (1 + count / 10_000)
        for number, worker in enumerate(self.workers):
            arrivals = [arrival for arrival in range(count) if worker_of_arrival[arrival] == number]
            rows = select_texts(self.workload, [indices[arrival] for arrival in arrivals])
            worker.send("serve", **rows, due_s=[due_s[arrival] for arrival in arrivals], begin=begin)
        latency = summarise([self._replies()])
        assert latency.p99_ms is not None
        return Probe(rate=rate, holds=latency.p99_ms <= self.load.bound_ms, latency=latency)

    def _sample(self, count: int) -> list[int]:
        return self.generator.choices(range(len(self.workload.texts)), k=count)

    def _replies(self) -> list[Any]:
        return [worker.receive() for worker in self.workers]
