"""Benchmarks augmentation speed, compared with one word at a time and with the method's original scripts."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal

from bench.measurement.stats import speed_ratio
from bench.measurement.worker_process import WorkerProcess, as_record
from bench.results.measurements import Machine, Ratio


@dataclass(frozen=True, kw_only=True)
class AugmentationMethod:
    """One implementation of augmentation. `kind`: which one. `precision`: of ours; the others compute in fp32."""

    name: str
    kind: Literal["plain", "first written", "ours"]
    precision: Literal["fp32", "auto"] = "fp32"


PLAIN = AugmentationMethod(name="one word at a time, unpadded, all logits", kind="plain")
FIRST_WRITTEN = AugmentationMethod(name="as first written", kind="first written")
OURS = AugmentationMethod(name="PocketBERT, fp32", kind="ours")
OURS_FASTEST = AugmentationMethod(name="PocketBERT, bf16 where there is", kind="ours", precision="auto")
METHODS = [PLAIN, FIRST_WRITTEN, OURS, OURS_FASTEST]


@dataclass(frozen=True, kw_only=True)
class AugmentationOptions:
    """The augmentation options of a recipe.

    `masked_lm`: the masked language model. `vectors`: the word vectors, of which the first `max_vectors` are used; None
    for no vectors. `variants`: augmented texts per text. `probability`: probability of replacing a word. `candidates`:
    number of words to sample a replacement from. `max_length`: tokens per text that the model reads.
    """

    masked_lm: str
    vectors: str | None
    max_vectors: int
    stop_words: str
    variants: int
    probability: float
    candidates: int
    max_length: int


@dataclass(frozen=True, kw_only=True)
class AugmentationWorkerSpec:
    """The task of one worker. `cache`: the folder of word vectors converted to a fast format."""

    method: AugmentationMethod
    options: AugmentationOptions
    cache: str
    num_threads: int


@dataclass(frozen=True, kw_only=True)
class RoundTiming:
    """One method on the texts of one round.

    `candidates_s`: seconds to look up the candidates of `num_words` words. `variants_s`: seconds to sample
    `num_variants` augmented texts.
    """

    candidates_s: float
    variants_s: float
    num_words: int
    num_variants: int


@dataclass(frozen=True, kw_only=True)
class WordCandidates:
    """The masked language model's candidates for the word that starts at character `start` of text number `text`."""

    text: int
    start: int
    candidates: list[str]


@dataclass(frozen=True, kw_only=True)
class RoundReply:
    """A worker's reply for one round. `candidates`: empty for the original scripts, whose model input differs."""

    timing: RoundTiming
    candidates: list[WordCandidates]


@dataclass(frozen=True, kw_only=True)
class CandidateComparison:
    """Comparison of candidates with those of PLAIN.

    `num_words`: words with candidates from the masked language model. `num_different`: words with different candidates.
    """

    num_words: int = 0
    num_different: int = 0


@dataclass(frozen=True, kw_only=True)
class AugmentationTiming:
    """Raw measurements of one method. `comparison`: None for methods other than ours."""

    method: AugmentationMethod
    rounds: list[RoundTiming] = field(default_factory=list)
    comparison: CandidateComparison | None = None
    peak_rss_bytes: int = 0

    def per_word(self) -> list[float]:
        """Seconds per word for its candidates, in each round."""
        return [timing.candidates_s / timing.num_words for timing in self.rounds]

    def per_variant(self) -> list[float]:
        """Seconds per augmented text including its candidates, in each round."""
        return [(timing.candidates_s + timing.variants_s) / timing.num_variants for timing in self.rounds]


@dataclass(frozen=True, kw_only=True)
class AugmentationSpeedup:
    """The speedup over another method, by the time per word and per augmented text."""

    per_word: Ratio
    per_variant: Ratio


@dataclass(frozen=True, kw_only=True)
class AugmentationRow:
    """The speed of one method: medians over rounds in milliseconds, and speedups over PLAIN and FIRST_WRITTEN."""

    name: str
    ms_per_word: float
    ms_per_variant: float
    peak_rss_bytes: int
    over_plain: AugmentationSpeedup
    over_first_written: AugmentationSpeedup
    comparison: CandidateComparison | None


@dataclass(frozen=True, kw_only=True)
class AugmentationMemory:
    """Peak memory of a new process that writes the `num_rows` augmented rows of `num_texts` texts.

    `before_bytes`: peak memory before it writes.
    """

    num_texts: int
    num_rows: int
    before_bytes: int
    peak_rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class AugmentationLadder:
    """The result of `bench augmentation`. `samples`: the raw measurements."""

    machine: Machine
    num_texts: int
    rounds: int
    num_threads: int
    options: AugmentationOptions
    rows: list[AugmentationRow]
    memory: list[AugmentationMemory]
    samples: list[AugmentationTiming]


def time_augmentation(
    texts: Sequence[str],
    options: AugmentationOptions,
    *,
    cache: str,
    rounds: int,
    num_threads: int,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[AugmentationTiming]:
    """Augment each text once with each method. Returns timings in the order of METHODS.

    The texts are split into rounds. In each round all methods run in random order, each in its own worker process. A
    warm-up on the first texts does not count.
    """
    timings = [AugmentationTiming(method=method) for method in METHODS]
    texts_by_round = [list(texts[number::rounds]) for number in range(rounds)]
    workers: list[WorkerProcess] = []
    generator = random.Random(seed)
    try:
        for method in METHODS:
            worker = WorkerProcess("bench.augmentation_speed.worker", method.name, num_threads=num_threads)
            workers.append(worker)
            spec = AugmentationWorkerSpec(method=method, options=options, cache=cache, num_threads=num_threads)
            worker.ask("load", spec=spec)
            worker.ask("augment", texts=texts_by_round[0][:20])
        for number, round_texts in enumerate(texts_by_round):
            replies = {}
            for index in generator.sample(range(len(METHODS)), len(METHODS)):
                replies[index] = as_record(RoundReply, workers[index].ask("augment", texts=round_texts))
            expected = replies[METHODS.index(PLAIN)].candidates
            timings = [_with_round(timing, replies[index], expected) for index, timing in enumerate(timings)]
            on_progress(number + 1, rounds)
        peaks = [worker.ask("facts") for worker in workers]
    finally:
        for worker in workers:
            worker.close()
    return [replace(timing, peak_rss_bytes=peak) for timing, peak in zip(timings, peaks, strict=True)]


def _with_round(
    timing: AugmentationTiming, reply: RoundReply, expected: Sequence[WordCandidates]
) -> AugmentationTiming:
    rounds = [*timing.rounds, reply.timing]
    if timing.method.kind != "ours":
        return replace(timing, rounds=rounds)
    total = timing.comparison or CandidateComparison()
    theirs, ours = _by_position(expected), _by_position(reply.candidates)
    num_different = sum(theirs.get(position) != ours.get(position) for position in theirs.keys() | ours.keys())
    comparison = CandidateComparison(
        num_words=total.num_words + len(theirs), num_different=total.num_different + num_different
    )
    return replace(timing, rounds=rounds, comparison=comparison)


def _by_position(words: Sequence[WordCandidates]) -> dict[tuple[int, int], list[str]]:
    return {(word.text, word.start): word.candidates for word in words}


def measure_memory(
    texts: Sequence[str], sizes: Sequence[int], options: AugmentationOptions, *, cache: str, num_threads: int
) -> list[AugmentationMemory]:
    """Peak memory of writing the augmented rows of the first texts, for each number in `sizes`, in new processes."""
    measurements = []
    for size in sizes:
        worker = WorkerProcess("bench.augmentation_speed.worker", f"{size} texts", num_threads=num_threads)
        spec = AugmentationWorkerSpec(method=OURS, options=options, cache=cache, num_threads=num_threads)
        try:
            worker.ask("load", spec=spec)
            measurements.append(as_record(AugmentationMemory, worker.ask("write", texts=list(texts[:size]))))
        finally:
            worker.close()
    return measurements


def augmentation_rows(timings: Sequence[AugmentationTiming]) -> list[AugmentationRow]:
    """The rows of the methods. `timings`: from `time_augmentation`, in the order of METHODS."""
    plain, first_written = (timings[METHODS.index(baseline)] for baseline in (PLAIN, FIRST_WRITTEN))
    return [
        AugmentationRow(
            name=timing.method.name,
            ms_per_word=median(timing.per_word()) * 1e3,
            ms_per_variant=median(timing.per_variant()) * 1e3,
            peak_rss_bytes=timing.peak_rss_bytes,
            over_plain=_speedup(plain, timing),
            over_first_written=_speedup(first_written, timing),
            comparison=timing.comparison,
        )
        for timing in timings
    ]


def _speedup(baseline: AugmentationTiming, other: AugmentationTiming) -> AugmentationSpeedup:
    return AugmentationSpeedup(
        per_word=_ratio(baseline.per_word(), other.per_word()),
        per_variant=_ratio(baseline.per_variant(), other.per_variant()),
    )


def _ratio(baseline: list[float], seconds: list[float]) -> Ratio:
    """The speedup over a baseline, paired by round."""
    return speed_ratio([[[value] for value in baseline]], [[[value] for value in seconds]])
