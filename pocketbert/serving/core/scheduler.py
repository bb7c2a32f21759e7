"""Answers the texts of many requests in common batches. Worker threads tokenise and run them in rounds."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding

from export.bundle.listed_files import BundleError
from export.bundle.runtime import BATCH_SIZE, Classifier
from pocketbert.serving.core.limits import Limits, RefusedError, fault, overloaded
from pocketbert.serving.core.waiting import Answer, Job, Speed, WaitingTexts, too_long

Texts = list[tuple[Job, int]]  # of a round: each a job and the number of one of its texts


@dataclass(frozen=True)
class Round:
    """What a round consisted of. `calls`: of the model. `seconds`: with tokenisation."""

    texts: int
    tokens: int
    calls: int
    seconds: float


class Scheduler:
    """The queue and the worker threads of one bundle.

    `batching`: False gives each text a round of its own. `on_round`, `on_fault`: called by a worker, after each
    round and after an error of ours.
    """

    def __init__(
        self,
        classifier: Classifier,
        limits: Limits,
        *,
        num_workers: int = 1,
        batching: bool = True,
        on_round: Callable[[Round], None] = lambda done: None,
        on_fault: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self.classifier = classifier
        self._on_round, self._on_fault = on_round, on_fault
        self._waiting = WaitingTexts(
            limits,
            Speed(_tokens_per_s(classifier)),
            num_workers=num_workers,
            rounds_of_one=not batching,
        )
        self._lock = threading.Condition()
        self._is_stopping = False
        self._workers = [threading.Thread(target=self._work, daemon=True) for _ in range(num_workers)]
        for worker in self._workers:
            worker.start()

    def replace(self, classifier: Classifier) -> None:
        """Let another model answer the next requests. Those in the queue get the model that they came for."""
        self.classifier = classifier

    @property
    def num_waiting(self) -> int:
        """Texts that no round has taken yet."""
        return self._waiting.num_texts

    async def answer(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, may_truncate: bool = True
    ) -> Answer:
        """Answer a request of one or more checked texts.

        Raises RefusedError if the queue is full, if a text is too long although `may_truncate` is False, if the
        tokenizer cannot encode a text, and if the model fails.
        """
        job = Job(texts, pairs, may_truncate, self.classifier, asyncio.get_running_loop().create_future())
        with self._lock:
            if self._is_stopping:
                raise overloaded("the server is stopping")
            self._waiting.add(job)
            self._lock.notify()
        return await job.future

    def stop(self) -> None:
        """Answer what waits, then end the worker threads."""
        with self._lock:
            self._is_stopping = True
            self._lock.notify_all()
        for worker in self._workers:
            worker.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._waiting and not self._is_stopping:
                    self._lock.wait()
                if not self._waiting:
                    return
                taken = self._waiting.take()
            by_classifier: dict[Classifier, Texts] = {}
            for job, index in taken:
                by_classifier.setdefault(job.classifier, []).append((job, index))
            for classifier, texts in by_classifier.items():
                try:
                    self._run(classifier, texts)
                except Exception as error:  # a fault of ours must not end the worker
                    self._fail(texts, error)

    def _fail(self, taken: Texts, error: Exception) -> None:
        """Answer the requests of a round with an error that nobody expected."""
        jobs = list({job for job, _ in taken})
        with self._lock:
            for job in jobs:
                job.fail(fault())
        jobs[0].future.get_loop().call_soon_threadsafe(_answer_all, jobs, time.perf_counter())
        self._on_fault(error)

    def _run(self, classifier: Classifier, taken: Texts) -> None:
        begin = time.perf_counter()
        encodings, kept = self._encode(classifier, taken)
        num_calls = 0
        for batch in classifier.batches(encodings) if encodings else ():
            num_calls += 1
            rows = _rows(classifier, [encodings[index] for index in batch])
            self._settle(((*kept[index], row) for index, row in zip(batch, rows, strict=True)), begin)
        seconds, tokens = time.perf_counter() - begin, sum(map(len, encodings))
        if tokens:
            characters = sum(job.characters(index) for job, index in kept)
            self._waiting.speed.learn(characters=characters, tokens=tokens, seconds=seconds)
        self._on_round(Round(len(taken), tokens, num_calls, seconds))

    def _encode(self, classifier: Classifier, taken: Texts) -> tuple[list[Encoding], Texts]:
        """The encodings of the texts that can be answered, and these texts."""
        encodings, kept, refused = [], [], []
        for (job, index), encoding in zip(taken, _encodings(classifier, taken), strict=True):
            if isinstance(encoding, Exception):
                refused.append((job, index, encoding))
            elif not job.may_truncate and classifier.is_truncated(encoding):
                refused.append((job, index, too_long(index, classifier.max_length)))
            else:
                encodings.append(encoding)
                kept.append((job, index))
        with self._lock:
            for (job, _), encoding in zip(kept, encodings, strict=True):
                job.tokens += len(encoding)
                job.truncated += classifier.is_truncated(encoding)
        self._settle(refused, time.perf_counter())
        return encodings, kept

    def _settle(self, results: Iterable[tuple[Job, int, np.ndarray | Exception]], begin: float) -> None:
        """Store the logits or the error of each text, and answer the jobs of which it was the last one."""
        done = []
        with self._lock:
            for job, index, result in results:
                job.num_open -= 1
                job.begun = job.begun or begin
                if isinstance(result, Exception):
                    job.fail(result)
                else:
                    job.rows[index] = result
                if job.is_done:
                    done.append(job)
        if done:
            loop = done[0].future.get_loop()
            loop.call_soon_threadsafe(_answer_all, done, time.perf_counter())


def _answer_all(jobs: Sequence[Job], end: float) -> None:
    """Set the results. A client that has gone away has cancelled its own."""
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.answer(end))


def _encodings(classifier: Classifier, taken: Texts) -> list[Encoding | Exception]:
    """The encoding of each text, or its error: one that the tokenizer cannot encode fails only its own request."""
    try:
        return _encode(classifier, taken)
    except (BundleError, MemoryError) as error:
        if len(taken) == 1:
            return [RefusedError(422, str(error) or "not enough memory", kind="tokenizer")]
    return [encoding for text in taken for encoding in _encodings(classifier, [text])]


def _encode(classifier: Classifier, taken: Texts) -> list[Encoding | Exception]:
    pairs = [job.pairs[index] for job, index in taken if job.pairs is not None]
    return list(
        classifier.encode([job.texts[index] for job, index in taken], pairs if classifier.takes_pairs else None)
    )


def _rows(classifier: Classifier, encodings: list[Encoding]) -> list[np.ndarray | Exception]:
    """The logits (labels) of each text of a batch, or its error."""
    try:
        logits = classifier.run(encodings)
    except (BundleError, MemoryError) as error:
        return [RefusedError(500, str(error) or "not enough memory", kind="backend")] * len(encodings)
    failure = RefusedError(500, "the model computes NaN or an infinite number for a text", kind="backend")
    return [
        row if is_finite else failure for row, is_finite in zip(logits, np.isfinite(logits).all(axis=1), strict=True)
    ]


def _tokens_per_s(classifier: Classifier) -> float:
    """Tokens per second of a first batch, whose rows are one word."""
    encodings = classifier.encode(["word"] * BATCH_SIZE, ["word"] * BATCH_SIZE if classifier.takes_pairs else None)
    classifier.run(encodings[:1])
    begin = time.perf_counter()
    classifier.run(encodings)
    return sum(map(len, encodings)) / max(time.perf_counter() - begin, 1e-6)
