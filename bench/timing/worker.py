"""The child process that holds one contender and times it; started as `python -P -m bench.timing.worker`."""

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

WARM_UP_WINDOW = 15
WAKE_S = 0.1  # after which the second core of a virtual machine is there; at most a tenth of the warm-up
STABLE_WITHIN = 0.05


def peak_rss_bytes() -> int:
    """The most memory that this process has had resident.

    Linux's ru_maxrss begins with what the parent had when it forked; VmHWM is this program's own.
    """
    try:
        with Path("/proc/self/status").open() as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def timed(call: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def wake(call: Callable[[], object], seconds: float) -> None:
    """Call for a moment: a process that has slept finds its cores asleep too, and its data gone from the caches."""
    until = time.perf_counter() + seconds
    call()
    while time.perf_counter() < until:
        call()


def warm_up(call: Callable[[], object], at_most_s: float) -> None:
    """Call until the median of the last window is near that of the window before, or time is up."""
    deadline = time.perf_counter() + at_most_s
    before = statistics.median(timed(call) for _ in range(WARM_UP_WINDOW))
    while time.perf_counter() < deadline:
        now = statistics.median(timed(call) for _ in range(WARM_UP_WINDOW))
        if abs(now / before - 1) < STABLE_WITHIN:
            return
        before = now


class Worker:
    """Answers the commands, one method each."""

    def __init__(self, spec: dict[str, Any], num_threads: int, warm_up_s: float, text: str, pair: str | None) -> None:
        """Load, and answer one text: a cold start, but for the interpreter's, which the parent times, and the disk's.

        `spec`: the fields of a ModelSpec.
        """
        self.warm_up_s = warm_up_s
        self.wake_s = min(WAKE_S, warm_up_s / 10)
        started = time.perf_counter()
        self.runner = engines.load(ModelSpec(**spec), num_threads)
        self.load_s = time.perf_counter() - started - self.runner.import_s
        self.first_answer_s = timed(lambda: self.runner.answer(text, pair))
        self.token_calls: dict[tuple[int, int], Callable[[], object]] = {}

    def facts(self) -> WorkerFacts:
        """What was loaded, where and how it really runs, and what it took to start."""
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
        """Of a bundle, what onnxruntime made of it: nodes by provider, fused operators, products in low precision."""
        return self.runner.diagnose()

    def texts(self, texts: list[str], pairs: list[str] | None, *, warm: bool) -> list[tuple[float, ...]]:
        """Single texts: seconds of each by `runners.BOUNDARIES`, after calls that wake the machine."""
        calls = self._answers(texts, pairs)
        if warm:
            turn = cycle(calls)
            warm_up(lambda: next(turn)(), self.warm_up_s)
        wake(calls[0], self.wake_s)
        return [call() for call in calls]

    def tokens(self, batch: int, length: int, repeats: int) -> list[float] | None:
        """The model alone on `batch` texts of `length` tokens, its inputs ready: seconds for each call; None where it
        has no tokens, or takes fewer.
        """
        shape = (batch, length)
        if shape not in self.token_calls:
            call = self.runner.run_tokens(batch, length)
            if call is None:
                return None
            warm_up(call, self.warm_up_s)
            self.token_calls[shape] = call
        wake(self.token_calls[shape], self.wake_s)
        return [timed(self.token_calls[shape]) for _ in range(repeats)]

    def throughput(self, texts: list[str], pairs: list[str] | None) -> tuple[float, float]:
        """Texts to labels, all at hand at once: seconds for all, and seconds of computing on all cores together."""
        computed = time.process_time()
        seconds = timed(lambda: self.runner.predict(texts, pairs))
        return seconds, time.process_time() - computed

    def lengths(self, texts: list[str], pairs: list[str] | None) -> list[int] | None:
        """Tokens of each text; None where there are none."""
        return self.runner.lengths(texts, pairs)

    def predict(self, texts: list[str], pairs: list[str] | None) -> list[float]:
        """The class (or value) of each text."""
        return self.runner.predict(texts, pairs)

    def serve(self, texts: list[str], pairs: list[str] | None, due_s: list[float], begin: float) -> list[float]:
        """Answer texts that arrive at `due_s` after `begin`: the latency of each, from when it was due."""
        return open_loop.answer_arrivals(self._answers(texts, pairs), due_s, begin)

    def closed_loop(self, texts: list[str], pairs: list[str] | None, seconds: float, begin: float) -> list[float]:
        """Answer one text after the other from `begin` on: the latency of each."""
        return open_loop.closed_loop(self._answers(texts, pairs), seconds, begin)

    def _answers(self, texts: list[str], pairs: list[str] | None) -> list[Callable[[], tuple[float, ...]]]:
        """A call for each text, which answers it."""
        return [
            partial(self.runner.answer, text, pair) for text, pair in zip(texts, pairs or repeat(None), strict=False)
        ]


if __name__ == "__main__":
    serve_requests(Worker)
