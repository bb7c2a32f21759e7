"""The worker process that loads and times one contender. Started as `python -P -m bench.timing.worker`."""

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.measurement.worker_process import serve_requests
from bench.timing import engines, open_loop
from bench.timing.messages import ModelSpec, WorkerFacts

if TYPE_CHECKING:
    from export.results import SessionReport

WARM_UP_WINDOW = 15  # calls per median
BRIEF_WARM_UP_S = 0.1  # enough for a virtual machine to schedule a second core; at most a tenth of the warm-up
STABLE_WITHIN = 0.05  # relative change of the median


def peak_rss_bytes() -> int:
    """Peak resident memory of this process in bytes.

    Linux's ru_maxrss includes the memory of the parent at the fork; VmHWM does not.
    """
    try:
        with Path("/proc/self/status").open() as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def warm_up_briefly(call: Callable[[], object], seconds: float) -> None:
    """Repeat a call for a moment. After a sleep, cores are in a low-power state and caches are cold."""
    deadline = time.perf_counter() + seconds
    call()
    while time.perf_counter() < deadline:
        call()


def warm_up(call: Callable[[], object], max_seconds: float) -> None:
    """Repeat a call until the medians of two consecutive windows agree, or until the time is up."""
    deadline = time.perf_counter() + max_seconds
    previous = statistics.median(timed(call) for _ in range(WARM_UP_WINDOW))
    while time.perf_counter() < deadline:
        median = statistics.median(timed(call) for _ in range(WARM_UP_WINDOW))
        if abs(median / previous - 1) < STABLE_WITHIN:
            return
        previous = median


class TimingWorker:
    """Times one contender. Each command is a method."""

    def __init__(self, spec: dict[str, Any], num_threads: int, warm_up_s: float, text: str, pair: str | None) -> None:
        """Load the model and predict one text, as a cold start.

        The parent times the start of the interpreter. Reading from disk is not included, as files are in the page
        cache. `spec`: the fields of a ModelSpec.
        """
        self.warm_up_s = warm_up_s
        self.brief_warm_up_s = min(BRIEF_WARM_UP_S, warm_up_s / 10)
        started = time.perf_counter()
        self.runner = engines.load_runner(ModelSpec(**spec), num_threads)
        self.load_s = time.perf_counter() - started - self.runner.import_s
        self.first_answer_s = timed(lambda: self.runner.time_answer(text, pair))
        self.token_calls: dict[tuple[int, int], Callable[[], object]] = {}

    def facts(self) -> WorkerFacts:
        """The loaded model, how it actually runs, and the duration of its start."""
        return WorkerFacts(
            model=self.runner.facts,
            priority=os.getpriority(os.PRIO_PROCESS, 0),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            peak_rss_bytes=peak_rss_bytes(),
            import_s=self.runner.import_s,
            load_s=self.load_s,
            first_answer_s=self.first_answer_s,
        )

    def diagnose(self) -> "SessionReport | None":
        """A report of a bundle's onnxruntime session; None for other models."""
        return self.runner.diagnose()

    def texts(self, texts: list[str], pairs: list[str] | None, *, warm: bool) -> list[tuple[float, ...]]:
        """Predict single texts after a brief warm-up. Returns the seconds of each by `engines.BOUNDARIES`.

        `warm`: do a full warm-up first.
        """
        calls = self._calls(texts, pairs)
        if warm:
            endless_calls = cycle(calls)
            warm_up(lambda: next(endless_calls)(), self.warm_up_s)
        warm_up_briefly(calls[0], self.brief_warm_up_s)
        return [call() for call in calls]

    def tokens(self, batch: int, length: int, repeats: int) -> list[float] | None:
        """Run the model on `batch` texts of `length` tokens, without tokenisation. Returns the seconds of each call.

        None if the model has no tokens or cannot take this length.
        """
        shape = (batch, length)
        if shape not in self.token_calls:
            call = self.runner.run_tokens(batch, length)
            if call is None:
                return None
            warm_up(call, self.warm_up_s)
            self.token_calls[shape] = call
        warm_up_briefly(self.token_calls[shape], self.brief_warm_up_s)
        return [timed(self.token_calls[shape]) for _ in range(repeats)]

    def throughput(self, texts: list[str], pairs: list[str] | None) -> tuple[float, float]:
        """Predict all texts at once. Returns wall-clock seconds, and CPU seconds summed over cores."""
        cpu_started = time.process_time()
        seconds = timed(lambda: self.runner.predict(texts, pairs))
        return seconds, time.process_time() - cpu_started

    def lengths(self, texts: list[str], pairs: list[str] | None) -> list[int] | None:
        """Number of tokens of each text; None if the model has no tokens."""
        return self.runner.lengths(texts, pairs)

    def predict(self, texts: list[str], pairs: list[str] | None) -> list[float]:
        """The class or value of each text."""
        return self.runner.predict(texts, pairs)

    def serve(self, texts: list[str], pairs: list[str] | None, due_s: list[float], begin: float) -> list[float]:
        """Predict texts that arrive `due_s` seconds after `begin`. Returns the latency of each from its arrival."""
        return open_loop.answer_arrivals(self._calls(texts, pairs), due_s, begin)

    def closed_loop(self, texts: list[str], pairs: list[str] | None, seconds: float, begin: float) -> list[float]:
        """Predict one text after another for `seconds` from `begin` on. Returns the latency of each."""
        return open_loop.closed_loop(self._calls(texts, pairs), seconds, begin)

    def _calls(self, texts: list[str], pairs: list[str] | None) -> list[Callable[[], tuple[float, ...]]]:
        """One call per text, which predicts it."""
        rows = zip(texts, pairs or repeat(None), strict=False)
        return [partial(self.runner.time_answer, text, pair) for text, pair in rows]


if __name__ == "__main__":
    serve_requests(TimingWorker)
