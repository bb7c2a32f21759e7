"""The child process that holds one contender and times it; started as `python -P -m bench.worker`."""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, repeat
from pathlib import Path
from typing import Any, Protocol

from bench.children import serve
from compress.metrics import decide

WARM_UP_WINDOW = 15
WAKE_S = 0.1  # after which the second core of a virtual machine is there; at most a tenth of the warm-up
STABLE_WITHIN = 0.05


class _Runner(Protocol):
    facts: dict[str, Any]

    def answer(self, text: str, pair: str | None) -> None: ...
    def run_tokens(self, batch: int, length: int) -> Callable[[], object] | None: ...
    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[float]: ...


class _Encoder:
    """A torch model or a bundle."""

    def __init__(self, spec: dict[str, Any], num_threads: int) -> None:
        if spec["kind"] == "torch":
            import torch

            from compress import models
            from export.predictors import TorchPredictor

            torch.set_num_threads(num_threads)
            predictor = TorchPredictor(
                spec["path"],
                device=spec["device"],
                precision=spec["precision"],
                max_length=spec["max_length"],
                random_head=not spec["scored"],
            )
            self.facts = {
                "num_threads": torch.get_num_threads(),
                "num_parameters": models.num_parameters(predictor.model),
                "ran_on": torch.cuda.get_device_name() if spec["device"] == "cuda" else "cpu",
            }
            self.predictor: Any = predictor
        else:
            from export.runtime import Classifier

            wanted = f"{spec['device'].upper()}ExecutionProvider"
            bundle = Classifier(spec["path"], num_threads=num_threads, providers=[wanted])
            ran_on = bundle.session.get_providers()[0]
            if ran_on != wanted:
                raise RuntimeError(f"{wanted} was asked for; onnxruntime runs {ran_on}")
            self.facts = {
                "num_threads": bundle.session.get_session_options().intra_op_num_threads,
                "num_parameters": None,
                "ran_on": ran_on,
            }
            self.predictor = bundle
        self.slowed_by: float = spec["slowed_by"]

    def answer(self, text: str, pair: str | None) -> None:
        started = time.perf_counter()
        self.predictor.run(self.predictor.encode([text], None if pair is None else [pair])).argmax()
        if self.slowed_by:
            until = started + (1 + self.slowed_by) * (time.perf_counter() - started)
            while time.perf_counter() < until:
                pass

    def run_tokens(self, batch: int, length: int) -> Callable[[], object] | None:
        words = self.predictor.encode(["the quick fox of " * length], ["" for _ in range(self._pairs())] or None)[0]
        if len(words) < length:
            return None  # more than the model takes
        words.truncate(length)
        return partial(self.predictor.forward, self.predictor.columns([words] * batch))

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[float]:
        return decide(self.predictor.logits(texts, pairs)).tolist()

    def _pairs(self) -> int:
        return int(getattr(self.predictor, "takes_pairs", False))


class _Floor:
    """TF-IDF and logistic regression."""

    def __init__(self, spec: dict[str, Any], num_threads: int) -> None:
        import joblib

        self.model = joblib.load(spec["path"])
        weights = self.model[-1]
        self.facts = {
            "num_threads": num_threads,
            "num_parameters": int(weights.coef_.size + weights.intercept_.size),
            "ran_on": "cpu",
        }

    def answer(self, text: str, pair: str | None) -> None:
        self.model.predict([text if pair is None else f"{text} {pair}"])

    def run_tokens(self, batch: int, length: int) -> None:
        return None

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[float]:
        rows = texts if pairs is None else [f"{a} {b}" for a, b in zip(texts, pairs, strict=True)]
        return self.model.predict(list(rows)).tolist()


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

    def __init__(self, spec: dict[str, Any], num_threads: int, warm_up_s: float) -> None:
        self.warm_up_s = warm_up_s
        self.wake_s = min(WAKE_S, warm_up_s / 10)
        started = time.perf_counter()
        self.runner: _Runner = _Floor(spec, num_threads) if spec["kind"] == "tfidf" else _Encoder(spec, num_threads)
        self.load_s = time.perf_counter() - started
        self.token_calls: dict[tuple[int, int], Callable[[], object]] = {}

    def facts(self) -> dict[str, Any]:
        """What was loaded and where it really runs."""
        return {**self.runner.facts, "load_s": self.load_s, "peak_rss_bytes": peak_rss_bytes()}

    def texts(self, texts: list[str], pairs: list[str] | None, *, warm: bool) -> list[float]:
        """Text to label at batch 1: seconds for each text, after calls that wake the machine."""
        calls = [
            partial(self.runner.answer, text, pair) for text, pair in zip(texts, pairs or repeat(None), strict=False)
        ]
        if warm:
            turn = cycle(calls)
            warm_up(lambda: next(turn)(), self.warm_up_s)
        wake(calls[0], self.wake_s)
        return [timed(call) for call in calls]

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

    def throughput(self, texts: list[str], pairs: list[str] | None) -> float:
        """Texts to labels, all at hand at once: seconds for all."""
        return timed(lambda: self.runner.predict(texts, pairs))

    def predict(self, texts: list[str], pairs: list[str] | None) -> list[float]:
        """The class (or value) of each text."""
        return self.runner.predict(texts, pairs)


if __name__ == "__main__":
    serve(Worker)
