"""How fast augmentation is: candidates and variants, against one word at a time and the method's first scripts."""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

from bench.children import Child
from bench.stats import speed_ratio


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to augment. `precision`: of ours; the other ways are in fp32."""

    name: str
    way: Literal["plain", "first written", "ours"]
    precision: Literal["fp32", "auto"] = "fp32"


PLAIN = Way(name="one word at a time, unpadded, all logits", way="plain")
FIRST_WRITTEN = Way(name="as first written", way="first written")
OURS = Way(name="PocketBERT, fp32", way="ours")
OURS_FASTEST = Way(name="PocketBERT, bf16 where there is", way="ours", precision="auto")
WAYS = [PLAIN, FIRST_WRITTEN, OURS, OURS_FASTEST]


@dataclass(kw_only=True)
class Measured:
    """Raw measurements of one way: what `augmentation_worker` told of each round's texts."""

    way: Way
    rounds: list[dict[str, Any]] = field(default_factory=list)
    peak_rss_bytes: int = 0

    def per_word(self) -> list[float]:
        """Seconds for the candidates of a word, in each round."""
        return [told["candidates_s"] / told["num_words"] for told in self.rounds]

    def per_variant(self) -> list[float]:
        """Seconds for a variant, its candidates included, in each round."""
        return [(told["candidates_s"] + told["variants_s"]) / told["num_variants"] for told in self.rounds]


def measure(
    texts: Sequence[str],
    spec: dict[str, Any],
    *,
    rounds: int,
    num_threads: int,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measured]:
    """Each text once in each way, a part of them a round, the ways in an order drawn anew; each in its own process.

    The first texts are gone over beforehand, uncounted. `spec`: models, vectors and numbers, as the worker reads them.
    """
    found = [Measured(way=way) for way in WAYS]
    parts = [list(texts[number::rounds]) for number in range(rounds)]
    children: list[Child] = []
    draw = random.Random(seed)
    try:
        for way in WAYS:
            child = Child("bench.augmentation_worker", way.name, num_threads=num_threads)
            children.append(child)
            child.ask("load", way=way.way, precision=way.precision, spec=spec, num_threads=num_threads)
            child.ask("vary", texts=parts[0][:20])
        for number, part in enumerate(parts):
            for index in draw.sample(range(len(WAYS)), len(WAYS)):
                found[index].rounds.append(children[index].ask("vary", texts=part))
            on_progress(number + 1, rounds)
        for each, child in zip(found, children, strict=True):
            each.peak_rss_bytes = child.ask("facts")["peak_rss_bytes"]
    finally:
        for child in children:
            child.close()
    return found


def measure_memory(
    texts: Sequence[str], sizes: Sequence[int], spec: dict[str, Any], *, num_threads: int
) -> list[dict[str, Any]]:
    """Peak memory of writing the variants of so many texts, each in a fresh process."""
    found = []
    for size in sizes:
        child = Child("bench.augmentation_worker", f"{size} texts", num_threads=num_threads)
        try:
            child.ask("load", way="ours", precision="fp32", spec=spec, num_threads=num_threads)
            found.append({"texts": size, **child.ask("write", texts=list(texts[:size]))})
        finally:
            child.close()
    return found


def rows_of(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """Milliseconds for a word and for a variant, and both against the plain way (a) and the first scripts (b).

    `other_candidates`: of how many words the candidates are others than the plain way's.
    """
    plain, first_written = found[0], found[1]
    expected = [_asked(told) for told in plain.rounds]
    lines = []
    for each in found:
        line: dict[str, Any] = {
            "name": each.way.name,
            "ms_per_word": median(each.per_word()) * 1e3,
            "ms_per_variant": median(each.per_variant()) * 1e3,
            "peak_rss_bytes": each.peak_rss_bytes,
        }
        for name, baseline in (("against_a", plain), ("against_b", first_written)):
            for what in ("per_word", "per_variant"):
                theirs, ours = getattr(baseline, what)(), getattr(each, what)()
                line[f"{name}_{what}"] = asdict(
                    speed_ratio(*([[[value] for value in values]] for values in (theirs, ours)))
                )
        if each.way.way == "ours":
            line["words"] = sum(map(len, expected))
            line["other_candidates"] = sum(
                theirs[place] != candidates
                for theirs, told in zip(expected, each.rounds, strict=True)
                for place, candidates in _asked(told).items()
            )
        lines.append(line)
    return lines


def _asked(told: dict[str, Any]) -> dict[tuple[int, int], list[str]]:
    return {(text, start): candidates for text, start, candidates in told["asked"]}
