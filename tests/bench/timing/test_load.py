from collections.abc import Callable

import pytest

from bench.measurement import machine
from bench.results.benchmark import System
from bench.results.measurements import LoadTest, Probe, Protocol, Summary
from bench.timing import open_loop
from bench.timing.load import highest, measure_load, rates
from bench.timing.systems import Contender, Workload, contenders_at
from pocketbert.standalone.bench_folders import FolderBenchOptions
from tiny_bert import rows

QUICK = Protocol(num_threads=1, warm_up_s=0.1)


class Clock:
    """A clock that moves by sleeping and by answering alone. Its times are powers of two, so sums are exact."""

    def __init__(self) -> None:
        self.now = 64.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def answering(self, seconds: float, answered: list[str], name: str) -> Callable[[], None]:
        def call() -> None:
            answered.append(name)
            self.now += seconds

        return call


def test_latency_counts_from_when_a_text_was_due_not_from_when_its_turn_came():
    """Two come at once, then one much later: the second waits for the first, the third for none."""
    clock, answered = Clock(), []
    calls = [clock.answering(0.25, answered, name) for name in "abc"]
    latencies = open_loop.answer_arrivals(calls, [0.0, 0.0, 2.0], clock.now + 1, clock=clock, sleep=clock.sleep)
    assert latencies == [0.25, 0.5, 0.25] and answered == ["a", "b", "c"]
    assert clock.slept == [1.0, 1.5], "until the first is due, and from the second's answer until the third is"


def test_texts_that_come_after_their_time_are_not_waited_for():
    """The processes were told too late to begin: what was due before they read it has waited all the same."""
    clock, answered = Clock(), []
    calls = [clock.answering(0.25, answered, name) for name in "ab"]
    assert open_loop.answer_arrivals(calls, [0.0, 0.5], clock.now - 4, clock=clock, sleep=clock.sleep) == [4.25, 4.0]
    assert clock.slept == []


def test_a_closed_loop_answers_one_after_the_other_until_time_is_up():
    clock, answered = Clock(), []
    calls = [clock.answering(seconds, answered, name) for seconds, name in ((0.125, "a"), (0.125, "b"), (0.5, "c"))]
    latencies = open_loop.closed_loop(calls, 2.0, clock.now + 1, clock=clock, sleep=clock.sleep)
    assert "".join(answered) == "abcabcabc" and latencies == [0.125, 0.125, 0.5] * 3
    assert clock.slept == [1.0], "the one that has begun when time is up is answered: 2.25 s in all"


def probe(rate: float, holds: bool) -> Probe:
    latency = Summary(n=300, min_ms=1, median_ms=1, mad_ms=0, p90_ms=1, p95_ms=1, p99_ms=1)
    return Probe(rate=rate, holds=holds, latency=latency)


def test_the_rates_close_in_on_the_highest_that_holds():
    probes: list[Probe] = []
    for rate in rates(100.0, probes, LoadTest(bound_ms=10, probes=8)):
        probes.append(probe(rate, rate <= 60))
    assert len(probes) < 8, "no nearer than can be told apart"
    assert highest(probes) == pytest.approx(60, rel=0.05)
    assert highest([probe(10.0, False)]) is None
    assert highest([probe(10.0, True), probe(20.0, False), probe(30.0, True)]) == 10.0


def test_the_processes_of_a_load_part_the_cores(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    load = LoadTest(bound_ms=10, processes=3)
    assert (
        FolderBenchOptions().protocol().num_threads == 8 and FolderBenchOptions(load=load).protocol().num_threads == 2
    )
    assert FolderBenchOptions(load=load, num_threads=5).protocol().num_threads == 5
    assert FolderBenchOptions(load=LoadTest(bound_ms=10, processes=20)).protocol().num_threads == 1


def test_models_are_measured_under_load(teacher_folder):
    """Two processes with a bound that any holds, and one that none does."""
    contenders = contenders_at(teacher_folder, max_length=32)
    workload = Workload(texts=[text for text, _ in rows(30)])
    steps = []
    load = LoadTest(bound_ms=5000, processes=2, probe_s=0.1, probe_texts=300, probes=2, closed_s=0.2, offline_texts=16)
    (found,) = measure_load(
        contenders, workload, QUICK, load, on_progress=lambda done, total: steps.append((done, total))
    )
    assert found.error is None and steps[-1] == (4, 4)
    assert found.closed > 0 and found.offline > 0 and len(found.probes) == 2
    assert all(probe.holds and probe.latency.n >= 300 for probe in found.probes)
    assert found.highest == max(probe.rate for probe in found.probes) < found.closed
    none = LoadTest(bound_ms=0.001, probe_s=0.1, probe_texts=300, probes=1, closed_s=0.2, offline_texts=16)
    (found,) = measure_load(contenders, workload, QUICK, none)
    assert found.highest is None and not found.probes[0].holds


def test_a_model_that_cannot_be_loaded_says_why():
    gone = Contender(system=System(label="gone", role="model", engine="onnxruntime"), path="/nowhere")
    (found,) = measure_load([gone], Workload(texts=["good"]), QUICK, LoadTest(bound_ms=1))
    assert "no readable bundle" in found.error and found.closed is None
