"""The benchmark itself: one child process per contender, short visits in random order, raw samples kept."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from bench.children import Child, ChildError
from bench.contenders import Contender, Workload, rows_of, shape_name
from bench.runners import BOUNDARIES

SETTLE_S = 0.005  # until the threads of the one before have stopped to spin


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How much is measured.

    Contenders are visited in turn, in an order drawn anew each time, and each visit is short: what slows the machine
    for a second slows all of them. A round has `texts_per_round` single texts, `texts_per_visit` in a visit; `repeats`
    calls for each shape of the grid (of batches, `batch_repeats`), a visit each; and a visit with `throughput_texts`
    texts at hand at once. A visit begins with calls that are not counted. `warm_up_s`: at most, before a model's first
    texts and before each shape; it ends when the median is stable. `restart_every`: rounds, after which each model goes
    on in a new process, because a process is a little faster or slower than another for as long as it lives.
    """

    num_threads: int
    rounds: int = 12
    texts_per_round: int = 30
    texts_per_visit: int = 5
    repeats: int = 10
    batch_repeats: int = 3
    throughput_texts: int = 128
    warm_up_s: float = 5.0
    restart_every: int = 2
    seed: int = 0


@dataclass(kw_only=True)
class Samples:
    """One contender's raw measurements. Times in seconds: of processes, of visits, of calls; `error` where it could not
    run.

    `texts_s`: from text to label; `within_s`: of the same calls, what lies within the narrower boundaries. `tokens_s`:
    by the name of the grid's shape. `computed_s`: of all cores together, for each of `throughput_s`. `cold_s`: of each
    process's start, its parts, first what Python itself took. `lengths`: tokens of each of the workload's texts.
    """

    contender: Contender
    facts: dict[str, Any] = field(default_factory=dict)
    texts_s: list[list[list[float]]] = field(default_factory=list)
    within_s: dict[str, list[list[list[float]]]] = field(default_factory=dict)
    tokens_s: dict[str, list[list[list[float]]]] = field(default_factory=dict)
    throughput_s: list[float] = field(default_factory=list)
    computed_s: list[float] = field(default_factory=list)
    cold_s: list[dict[str, float]] = field(default_factory=list)
    lengths: list[int] | None = None
    predictions: list[float] | None = None
    error: str | None = None


def child_for(contender: Contender, protocol: Protocol) -> Child:
    """A worker process for one contender."""
    return Child("bench.worker", contender.name, num_threads=protocol.num_threads, python=contender.python)


def loading(contender: Contender, workload: Workload, protocol: Protocol) -> dict[str, Any]:
    """What that worker is told to load: of the contender its own, all else alike for all."""
    return {
        "spec": contender.to_json(),
        "num_threads": protocol.num_threads,
        "warm_up_s": protocol.warm_up_s,
        "text": workload.texts[0],
        "pair": None if workload.pairs is None else workload.pairs[0],
    }


def measure(
    contenders: Sequence[Contender],
    workload: Workload,
    protocol: Protocol,
    *,
    threads: Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Samples]:
    """Time all contenders against one another. `on_progress(done, total)` is called after each contender's part of a
    round.

    `threads`: numbers of threads, in place of the protocol's one: every contender takes part once with each of them.
    First come the samples of all with the first number, then those with the next.

    A contender that cannot be loaded, or dies, has its reason in `error`; the others go on.
    """
    counts = threads or [protocol.num_threads]
    protocols = [replace(protocol, num_threads=count) for count in counts for _ in contenders]
    contenders = list(contenders) * len(counts)
    results = [Samples(contender=contender) for contender in contenders]
    workers: dict[int, Child] = {}
    starts = range(0, protocol.rounds, protocol.restart_every)
    total, done = len(contenders) * (len(starts) + protocol.rounds + 2), 0
    draw = random.Random(protocol.seed)

    def start(index: int) -> None:
        if index in workers:
            workers.pop(index).close()
        started = time.perf_counter()
        workers[index] = child_for(contenders[index], protocols[index])
        facts = workers[index].ask("load", **loading(contenders[index], workload, protocols[index]))
        results[index].facts = facts
        parts = facts["cold_start"]
        python_s = time.perf_counter() - started - sum(parts.values())
        results[index].cold_s.append({"python_s": python_s, **parts})

    def predict(index: int) -> None:
        rows: dict[str, Any] = {"texts": workload.texts, "pairs": workload.pairs}
        results[index].lengths = workers[index].ask("lengths", **rows)
        if workload.labels is not None and contenders[index].scored:
            results[index].predictions = workers[index].ask("predict", **rows)

    def last_facts(index: int) -> None:
        results[index].facts |= workers[index].ask("facts")
        try:
            results[index].facts["ran"] = workers[index].ask("diagnose")
        except ChildError:
            results[index].facts["ran"] = None  # what was measured counts all the same

    def visit(part: Callable[[int], None], *, counts: bool = False) -> None:
        for index in draw.sample(everyone, len(everyone)):
            try:
                if results[index].error is None:
                    time.sleep(SETTLE_S)
                    part(index)
            except ChildError as error:
                results[index].error = str(error)
            if counts:
                told(1)

    def told(count: int) -> None:
        nonlocal done
        done += count
        on_progress(done, total)

    everyone = range(len(contenders))
    try:
        for number in range(protocol.rounds):
            if number in starts:
                visit(start, counts=True)
            if number == 0:
                visit(predict, counts=True)
            for part in _parts_of_a_round(workers, results, workload, protocol, draw, first=number in starts):
                visit(part)
            told(len(contenders))
        visit(last_facts)
        told(len(contenders))
    finally:
        for worker in workers.values():
            worker.close()
    return results


def _parts_of_a_round(
    workers: dict[int, Child],
    results: list[Samples],
    workload: Workload,
    protocol: Protocol,
    draw: random.Random,
    *,
    first: bool,
) -> list[Callable[[int], None]]:
    """What every contender is asked in turn: some texts, some more, each shape of the grid, texts in bulk."""
    size = protocol.texts_per_visit
    sample = draw.sample(range(len(workload.texts)), min(protocol.texts_per_round, len(workload.texts)))
    bulk = rows_of(workload, draw.choices(range(len(workload.texts)), k=protocol.throughput_texts))

    def texts(index: int, *, rows: dict[str, list[str] | None], warm: bool) -> None:
        calls = list(zip(*workers[index].ask("texts", **rows, warm=warm), strict=True))
        _add(results[index].texts_s, list(calls.pop()), results[index])
        for boundary, seconds in zip(BOUNDARIES, calls, strict=False):
            _add(results[index].within_s.setdefault(boundary, []), list(seconds), results[index])

    def shape_of_grid(index: int, *, shape: tuple[int, int]) -> None:
        repeats = protocol.repeats if shape[0] == 1 else protocol.batch_repeats
        seconds = workers[index].ask("tokens", batch=shape[0], length=shape[1], repeats=repeats)
        if seconds is not None:
            _add(results[index].tokens_s.setdefault(shape_name(shape), []), seconds, results[index])

    def throughput(index: int) -> None:
        seconds, computed = workers[index].ask("throughput", **bulk)
        results[index].throughput_s.append(seconds)
        results[index].computed_s.append(computed)

    visits = [sample[start : start + size] for start in range(0, len(sample), size)]
    return [
        *(
            partial(texts, rows=rows_of(workload, chosen), warm=first and number == 0)
            for number, chosen in enumerate(visits)
        ),
        *(partial(shape_of_grid, shape=shape) for shape in workload.grid),
        throughput,
    ]


def _add(processes: list[list[list[float]]], visit: list[float], sample: Samples) -> None:
    """A visit to the process that was started last."""
    if len(processes) < len(sample.cold_s):
        processes.append([])
    processes[-1].append(visit)
