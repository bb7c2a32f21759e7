"""How fast augmentation is: candidates and variants, against one word at a time and the method's first scripts."""

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
    """One way to augment. `kind`: whose code. `precision`: of ours; the others compute in fp32."""

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
    """The recipe's augmentation: the masked language model, the word vectors (None: without) and how many of them.

    `variants`: of each text. `probability`: of a word's replacement. `candidates`: words that one is drawn from.
    `max_length`: tokens of a text that are looked at.
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
class WorkerSpec:
    """What one process augments with, and how. `cache`: the folder where word vectors are kept in a fast format."""

    method: AugmentationMethod
    options: AugmentationOptions
    cache: str
    num_threads: int


@dataclass(frozen=True, kw_only=True)
class RoundTiming:
    """One method on the texts of one round: seconds for the candidates and for the variants, and how many words were
    looked up and variants made in them.
    """

    candidates_s: float
    variants_s: float
    num_words: int
    num_variants: int


@dataclass(frozen=True, kw_only=True)
class WordCandidates:
    """What the masked language model offers for the word that begins at `start` in text number `text`."""

    text: int
    start: int
    candidates: list[str]


@dataclass(frozen=True, kw_only=True)
class RoundReply:
    """What a worker reports of a round. `candidates`: empty for the first scripts, which ask another question."""

    timing: RoundTiming
    candidates: list[WordCandidates]


@dataclass(frozen=True, kw_only=True)
class CandidateComparison:
    """Of `num_words` words that the masked language model was asked about, how many get other candidates than from
    PLAIN.
    """

    num_words: int = 0
    num_different: int = 0


@dataclass(frozen=True, kw_only=True)
class AugmentationTiming:
    """Raw measurements of one method. `comparison`: of ours; the others have none."""

    method: AugmentationMethod
    rounds: list[RoundTiming] = field(default_factory=list)
    comparison: CandidateComparison | None = None
    peak_rss_bytes: int = 0

    def per_word(self) -> list[float]:
        """Seconds for the candidates of a word, in each round."""
        return [each.candidates_s / each.num_words for each in self.rounds]

    def per_variant(self) -> list[float]:
        """Seconds for a variant, its candidates included, in each round."""
        return [(each.candidates_s + each.variants_s) / each.num_variants for each in self.rounds]


@dataclass(frozen=True, kw_only=True)
class AugmentationSpeedup:
    """How many times as fast as another method, by the time for a word and for a variant."""

    per_word: Ratio
    per_variant: Ratio


@dataclass(frozen=True, kw_only=True)
class AugmentationRow:
    """The speed of one method, over PLAIN and over FIRST_WRITTEN. Medians over the rounds, in milliseconds."""

    name: str
    ms_per_word: float
    ms_per_variant: float
    peak_rss_bytes: int
    over_plain: AugmentationSpeedup
    over_first_written: AugmentationSpeedup
    comparison: CandidateComparison | None


@dataclass(frozen=True, kw_only=True)
class AugmentationMemory:
    """Peak memory of a fresh process that writes `num_rows` rows of `num_texts` texts; `before_bytes`: of it, before
    the writing.
    """

    num_texts: int
    num_rows: int
    before_bytes: int
    peak_rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class AugmentationLadder:
    """The document of `bench-augment`. `samples`: the raw measurements behind the rows."""

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
    """Each text once by each method, a part of them a round, the methods in an order drawn anew, each in a process of
    its own; in the order of METHODS.

    The first texts are gone over beforehand, uncounted.
    """
    timings = [AugmentationTiming(method=method) for method in METHODS]
    parts = [list(texts[number::rounds]) for number in range(rounds)]
    children: list[WorkerProcess] = []
    draw = random.Random(seed)
    try:
        for method in METHODS:
            child = WorkerProcess("bench.augmentation.worker", method.name, num_threads=num_threads)
            children.append(child)
            spec = WorkerSpec(method=method, options=options, cache=cache, num_threads=num_threads)
            child.ask("load", spec=spec)
            child.ask("vary", texts=parts[0][:20])
        for number, part in enumerate(parts):
            replies = {}
            for index in draw.sample(range(len(METHODS)), len(METHODS)):
                replies[index] = as_record(RoundReply, children[index].ask("vary", texts=part))
            expected = replies[METHODS.index(PLAIN)].candidates
            timings = [_with_round(timing, replies[index], expected) for index, timing in enumerate(timings)]
            on_progress(number + 1, rounds)
        peaks = [child.ask("facts") for child in children]
    finally:
        for child in children:
            child.close()
    return [replace(timing, peak_rss_bytes=peak) for timing, peak in zip(timings, peaks, strict=True)]


def _with_round(
    timing: AugmentationTiming, reply: RoundReply, expected: Sequence[WordCandidates]
) -> AugmentationTiming:
    rounds = [*timing.rounds, reply.timing]
    if timing.method.kind != "ours":
        return replace(timing, rounds=rounds)
    before = timing.comparison or CandidateComparison()
    theirs, ours = _by_place(expected), _by_place(reply.candidates)
    different = sum(theirs.get(place) != ours.get(place) for place in theirs.keys() | ours.keys())
    comparison = CandidateComparison(
        num_words=before.num_words + len(theirs), num_different=before.num_different + different
    )
    return replace(timing, rounds=rounds, comparison=comparison)


def _by_place(words: Sequence[WordCandidates]) -> dict[tuple[int, int], list[str]]:
    return {(word.text, word.start): word.candidates for word in words}


def measure_memory(
    texts: Sequence[str], sizes: Sequence[int], options: AugmentationOptions, *, cache: str, num_threads: int
) -> list[AugmentationMemory]:
    """Peak memory of writing the variants of so many texts, each in a fresh process."""
    measured = []
    for size in sizes:
        child = WorkerProcess("bench.augmentation.worker", f"{size} texts", num_threads=num_threads)
        try:
            child.ask("load", spec=WorkerSpec(method=OURS, options=options, cache=cache, num_threads=num_threads))
            measured.append(as_record(AugmentationMemory, child.ask("write", texts=list(texts[:size]))))
        finally:
            child.close()
    return measured


def augmentation_rows(timings: Sequence[AugmentationTiming]) -> list[AugmentationRow]:
    """The figures of each method. `timings`: from `time_augmentation`, in the order of METHODS."""
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
    """Paired by round."""
    return speed_ratio([[[value] for value in baseline]], [[[value] for value in seconds]])
