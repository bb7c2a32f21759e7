"""The benchmark itself: one child process per contender, interleaved rounds in random order, raw samples kept."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.children import Child, ChildError
from bench.contenders import Contender, Workload, shape_name


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How much is measured. Each round times every contender once, in an order drawn anew.

    `texts_per_round`: single texts, text to label. `repeats`: calls per shape of the grid; of batches, `batch_repeats`.
    `throughput_texts`: texts that are all at hand at once. `warm_up_s`: at most, before a model's first texts and
    before each shape; it ends when the median is stable.
    """

    num_threads: int
    rounds: int = 12
    texts_per_round: int = 30
    repeats: int = 10
    batch_repeats: int = 3
    throughput_texts: int = 128
    warm_up_s: float = 5.0
    seed: int = 0


@dataclass(kw_only=True)
class Samples:
    """One contender's raw measurements. Times in seconds, a list per round; `error` where it could not run.

    `tokens_s`: by the name of the grid's shape.
    """

    contender: Contender
    facts: dict[str, Any] = field(default_factory=dict)
    texts_s: list[list[float]] = field(default_factory=list)
    tokens_s: dict[str, list[list[float]]] = field(default_factory=dict)
    throughput_s: list[float] = field(default_factory=list)
    predictions: list[float] | None = None
    error: str | None = None


def measure(
    contenders: Sequence[Contender],
    workload: Workload,
    protocol: Protocol,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Samples]:
    """Time all contenders against one another. `on_progress(done, total)` is called after each part of a round.

    A contender that cannot be loaded has its reason in `error`; the others go on.
    """
    results = [Samples(contender=contender) for contender in contenders]
    workers: dict[int, Child] = {}
    total, done = len(contenders) * (protocol.rounds + 3), 0
    draw = random.Random(protocol.seed)

    def start(index: int) -> None:
        contender = contenders[index]
        child = Child("bench.worker", contender.name, num_threads=protocol.num_threads)
        workers[index] = child
        results[index].facts = child.ask(
            "load", spec=contender.to_json(), num_threads=protocol.num_threads, warm_up_s=protocol.warm_up_s
        )

    def predict(index: int) -> None:
        if workload.labels is not None and contenders[index].scored:
            results[index].predictions = workers[index].ask("predict", texts=workload.texts, pairs=workload.pairs)

    def last_facts(index: int) -> None:
        results[index].facts |= workers[index].ask("facts")

    def for_each(indices: Sequence[int], part: Callable[[int], None]) -> None:
        nonlocal done
        for index in indices:
            try:
                if results[index].error is None:
                    part(index)
            except ChildError as error:
                results[index].error = str(error)
            on_progress(done := done + 1, total)

    everyone = range(len(contenders))
    try:
        for_each(everyone, start)
        for_each(everyone, predict)
        for number in range(protocol.rounds):
            sample = draw.sample(range(len(workload.texts)), min(protocol.texts_per_round, len(workload.texts)))
            bulk = draw.choices(range(len(workload.texts)), k=protocol.throughput_texts)
            round_of = partial(_one_round, workers, results, workload, protocol, sample, bulk, number == 0)
            for_each(draw.sample(everyone, len(everyone)), round_of)
        for_each(everyone, last_facts)
    finally:
        for worker in workers.values():
            worker.close()
    return results


def _one_round(
    workers: dict[int, Child],
    results: list[Samples],
    workload: Workload,
    protocol: Protocol,
    sample: list[int],
    bulk: list[int],
    first: bool,
    index: int,
) -> None:
    """One contender's part of a round: single texts, the grid, and texts in bulk."""
    worker, result = workers[index], results[index]
    result.texts_s.append(worker.ask("texts", **_rows(workload, sample), warm=first))
    for shape in workload.grid:
        batch, length = shape
        repeats = protocol.repeats if batch == 1 else protocol.batch_repeats
        seconds = worker.ask("tokens", batch=batch, length=length, repeats=repeats)
        if seconds is not None:
            result.tokens_s.setdefault(shape_name(shape), []).append(seconds)
    result.throughput_s.append(worker.ask("throughput", **_rows(workload, bulk)))


def _rows(workload: Workload, index: Sequence[int]) -> dict[str, list[str] | None]:
    return {
        "texts": [workload.texts[i] for i in index],
        "pairs": None if workload.pairs is None else [workload.pairs[i] for i in index],
    }
