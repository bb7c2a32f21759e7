"""Models under load: how many texts a second, and how many with an answer in time."""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.children import Child, ChildError
from bench.contenders import Contender, Workload, rows_of
from bench.latency import Protocol, child_for, loading
from bench.stats import summarise

HEAD_START_S = 0.05  # from the command until all processes wait for it
LEAST_RISE = 1.05  # rates nearer than that are not told apart


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is asked for. `bound_ms`: that 99 of 100 answers must come within, from when the text arrived.

    `processes`: that serve a model, with the protocol's threads each; texts are dealt to them at random, as by a
    balancer that knows nothing of them. `probe_s`, `probe_texts`: how long a rate is held at least, and for how many
    texts; their arrivals are a Poisson process. `probes`: how many rates are tried.
    """

    bound_ms: float
    processes: int = 1
    probe_s: float = 3.0
    probe_texts: int = 320
    probes: int = 6
    closed_s: float = 2.0
    offline_texts: int = 512


@dataclass(kw_only=True)
class Loaded:
    """What one model bore. Rates in texts a second: `closed` with one text in each process at a time, `offline` with
    all at hand, `highest` of those tried at which the bound held, with all below it; None where it held at none.
    """

    name: str
    closed: float | None = None
    offline: float | None = None
    probes: list[dict[str, Any]] = field(default_factory=list)
    highest: float | None = None
    error: str | None = None


def measure_load(
    contenders: Sequence[Contender],
    workload: Workload,
    protocol: Protocol,
    load: Load,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Closed loop, offline, and the highest rate within the bound, of each contender by itself; as plain values."""
    found, total = [], len(contenders) * (load.probes + 2)
    for number, contender in enumerate(contenders):
        told = Loaded(name=contender.name)
        server = _Server(contender, workload, protocol, load)
        done = number * (load.probes + 2)
        try:
            server.start()
            told.closed = server.closed_loop()
            on_progress(done + 1, total)
            told.offline = server.offline()
            on_progress(done + 2, total)
            for rate in rates(told.closed, told.probes, load):
                told.probes.append(server.probe(rate))
                on_progress(done + 2 + len(told.probes), total)
            told.highest = highest(told.probes)
        except ChildError as error:
            told.error = str(error)
        finally:
            server.stop()
        on_progress((number + 1) * (load.probes + 2), total)
        found.append(asdict(told))
    return found


def rates(closed: float, probes: Sequence[dict[str, Any]], load: Load) -> Iterator[float]:
    """The rates to try: bisection, by ratio, between a tenth of and all the closed loop's, which no queue can bear."""
    low, high = closed / 10, closed
    for _ in range(load.probes):
        if high / low < LEAST_RISE:
            return
        rate = math.sqrt(low * high)
        yield rate
        low, high = (rate, high) if probes[-1]["holds"] else (low, rate)


def highest(probes: Sequence[dict[str, Any]]) -> float | None:
    """The highest rate at which the bound held, below all at which it did not; None where there is none."""
    broken = min((probe["rate"] for probe in probes if not probe["holds"]), default=math.inf)
    return max((probe["rate"] for probe in probes if probe["holds"] and probe["rate"] < broken), default=None)


class _Server:
    """The processes that serve one contender."""

    def __init__(self, contender: Contender, workload: Workload, protocol: Protocol, load: Load) -> None:
        self.contender, self.workload, self.protocol, self.load = contender, workload, protocol, load
        self.workers: list[Child] = []
        self.draw = random.Random(protocol.seed)

    def start(self) -> None:
        """Load and warm up every process."""
        for _ in range(self.load.processes):
            worker = child_for(self.contender, self.protocol)
            self.workers.append(worker)
            worker.send("load", **loading(self.contender, self.workload, self.protocol))
        self._answers()
        rows = rows_of(self.workload, self._drawn(32))
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
                "closed_loop", **rows_of(self.workload, self._drawn(256)), seconds=self.load.closed_s, begin=begin
            )
        return sum(len(latencies) for latencies in self._answers()) / self.load.closed_s

    def offline(self) -> float:
        """Texts a second, all at hand, parted evenly among the processes."""
        drawn = self._drawn(self.load.offline_texts)
        started = time.monotonic()
        for number, worker in enumerate(self.workers):
            worker.send("throughput", **rows_of(self.workload, drawn[number :: len(self.workers)]))
        self._answers()
        return len(drawn) / (time.monotonic() - started)

    def probe(self, rate: float) -> dict[str, Any]:
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
            rows = rows_of(self.workload, [drawn[index] for index in mine])
            worker.send("serve", **rows, due_s=[due[index] for index in mine], begin=begin)
        told = summarise([self._answers()])
        assert told.p99_ms is not None
        return {"rate": rate, "holds": told.p99_ms <= self.load.bound_ms, **asdict(told)}

    def _drawn(self, count: int) -> list[int]:
        return self.draw.choices(range(len(self.workload.texts)), k=count)

    def _answers(self) -> list[Any]:
        return [worker.receive() for worker in self.workers]
