"""The queue before a bundle: which requests it accepts, and which texts the next round takes.

A round takes the texts that have waited longest, up to the number of tokens that the model computes in a quarter of the
latency budget. A request with more texts goes to the end of the queue with the rest, so that it delays others by one
round only. No text waits for others to arrive: rounds grow with the load.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from export.bundle.runtime import Classifier
from pocketbert.serving.core.limits import Limits, RefusedError, overloaded

ROUND_SHARE = 0.25  # of the latency budget; a text waits for the rest of one round, and then for its own
QUEUE_SHARE = 0.75  # of the latency budget: the rounds in the queue; the rest is for the text itself and the network
TOKENISATION_SHARE = 0.1  # of the time per token
SPECIAL_TOKENS = 2  # of each text, in the estimate
SMOOTHING = 0.1  # weight of the newest round in averages


@dataclass(frozen=True)
class Answer:
    """The result of a request.

    `logits`: (texts, labels). `classifier`: the model that has computed them; another may be loaded meanwhile.
    `tokens`: of all texts, without padding. `truncated`: texts that were cut. `queue_s`: seconds until the first text
    was taken. `model_s`: seconds from then to the end.
    """

    logits: np.ndarray
    classifier: Classifier
    tokens: int
    truncated: int
    queue_s: float
    model_s: float


@dataclass(eq=False)
class Job:
    """A request in the queue.

    `classifier`: answers all texts of the request. `rows`: the logits of each text, when they are known. `next_text`:
    the first text that no round has taken. `num_open`: texts that rounds have taken and not answered yet. `error`: why
    the request gets no answer.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None
    may_truncate: bool
    classifier: Classifier
    future: "asyncio.Future[Answer]"
    arrived: float = field(default_factory=time.perf_counter)
    begun: float = 0.0
    rows: list[np.ndarray | None] = field(default_factory=list)
    next_text: int = 0
    num_open: int = 0
    tokens: int = 0
    truncated: int = 0
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.rows = [None] * len(self.texts)

    def characters(self, index: int) -> int:
        """Characters of one text, with its pair."""
        return len(self.texts[index]) + (len(self.pairs[index]) if self.pairs is not None else 0)

    @property
    def is_done(self) -> bool:
        """Whether no round has to do anything more for this request."""
        return not self.num_open and self.next_text == len(self.texts)

    def fail(self, error: Exception) -> None:
        """Record the first error. Its other texts need no answer."""
        self.error = self.error or error
        self.next_text = len(self.texts)

    def answer(self, end: float) -> Answer:
        """The answer to a request whose rows are all known. `end`: the time of `time.perf_counter`."""
        logits = np.stack([row for row in self.rows if row is not None])
        times = self.begun - self.arrived, end - self.begun
        return Answer(logits, self.classifier, self.tokens, self.truncated, *times)


@dataclass
class Speed:
    """What the model computes per second, measured by its rounds.

    `tokens_per_s`: of one worker. `tokens_per_character`: of the texts that come.
    """

    tokens_per_s: float
    tokens_per_character: float = 0.3

    def learn(self, *, characters: int, tokens: int, seconds: float) -> None:
        """Update the averages with a round."""
        self.tokens_per_s += SMOOTHING * (tokens / max(seconds, 1e-6) - self.tokens_per_s)
        self.tokens_per_character += SMOOTHING * (tokens / max(characters, 1) - self.tokens_per_character)


class WaitingTexts:
    """The jobs of one bundle in the order of their arrival. The caller holds a lock.

    `num_workers`: rounds that run at the same time. `rounds_of_one`: each round takes a single text.
    """

    def __init__(self, limits: Limits, speed: Speed, *, num_workers: int, rounds_of_one: bool = False) -> None:
        self.speed = speed
        self._limits, self._num_workers, self._rounds_of_one = limits, num_workers, rounds_of_one
        self._jobs: deque[tuple[Job, int, float]] = deque()  # with their texts, and the tokens that others wait for
        self._tokens = 0.0
        self.num_texts = 0

    def __bool__(self) -> bool:
        return bool(self._jobs)

    @property
    def wait_s(self) -> float:
        """Seconds until a text that comes now is taken."""
        return self._tokens / (self.speed.tokens_per_s * self._num_workers)

    def add(self, job: Job) -> None:
        """Put a job into the queue. Raises RefusedError if others wait and it would wait too long."""
        is_full = self.num_texts + len(job.texts) > self._limits.waiting_texts
        if self._jobs and (is_full or self.wait_s > QUEUE_SHARE * self._limits.latency_ms / 1000):
            raise overloaded(f"{self.num_texts} texts wait already; try again later")
        self._append(job)

    def take(self) -> list[tuple[Job, int]]:
        """The texts of the next round, as jobs with the numbers of their texts. Empty if all jobs were cancelled."""
        taken: list[tuple[Job, int]] = []
        tokens, most = 0.0, 0.0 if self._rounds_of_one else self._round_tokens()
        unfinished = []
        while self._jobs and (not taken or tokens < most):
            job, num_texts, share = self._jobs.popleft()
            self._tokens -= share
            self.num_texts -= num_texts
            if job.future.cancelled():
                job.next_text = len(job.texts)
            while job.next_text < len(job.texts) and (not taken or tokens < most):
                tokens += self._tokens_of(job, job.next_text)
                taken.append((job, job.next_text))
                job.next_text += 1
                job.num_open += 1
            if job.next_text < len(job.texts):
                unfinished.append(job)
        for job in unfinished:
            self._append(job)
        return taken

    def _append(self, job: Job) -> None:
        most, tokens = self._round_tokens(), 0.0
        for index in range(job.next_text, len(job.texts)):
            tokens += self._tokens_of(job, index)
            if tokens > most:
                break
        share = min(tokens, most)
        num_texts = len(job.texts) - job.next_text
        self._jobs.append((job, num_texts, share))
        self._tokens += share
        self.num_texts += num_texts

    def _round_tokens(self) -> float:
        return self.speed.tokens_per_s * self._limits.latency_ms / 1000 * ROUND_SHARE

    def _tokens_of(self, job: Job, index: int) -> float:
        """What a text costs: the tokens that the model reads, and the tokenisation of those that truncation removes."""
        tokens = SPECIAL_TOKENS + job.characters(index) * self.speed.tokens_per_character
        most = job.classifier.max_length
        return min(tokens, most) + TOKENISATION_SHARE * max(0.0, tokens - most)


def too_long(index: int, most: int) -> RefusedError:
    """The refusal of a request that allows no truncation."""
    return RefusedError(422, f"text {index} has more than {most} tokens, and the request allows no truncation")
