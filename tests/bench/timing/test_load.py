from collections.abc import Callable

import pytest

from bench.measurement import machine
from bench.results.benchmark import System
from bench.results.measurements import LoadTest, Probe, Protocol, Summary
from bench.timing import open_loop
from bench.timing.load import highest_rate_within_bound, measure_load, rates_to_probe
from bench.timing.systems import Contender, Workload, contenders_at
from pocketbert.standalone.bench_models import BenchRequest
from tiny_bert import rows

QUICK = Protocol(num_threads=1, warm_up_s=0.1)


class Clock:
    """A clock that only sleeping and calls advance. The times in the tests are binary fractions, so sums are exact."""

    def __init__(self) -> None:
        self.now = 64.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def call_of(self, seconds: float, called: list[str], name: str) -> Callable[[], None]:
        def call() -> None:
            called.append(name)
            self.now += seconds

        return call


def test_latency_counts_from_the_arrival():
    """Two texts arrive together, and one much later. The second waits for the first; the third does not wait."""
    clock, called = Clock(), []
    calls = [clock.call_of(0.25, called, name) for name in "abc"]
    latencies = open_loop.answer_arrivals(calls, [0.0, 0.0, 2.0], clock.now + 1, clock=clock, sleep=clock.sleep)
    assert latencies == [0.25, 0.5, 0.25] and called == ["a", "b", "c"]
    assert clock.slept == [1.0, 1.5], "until the first arrival, and between the second call and the third arrival"


def test_overdue_texts_run_without_sleep():
    """The command arrived after its start time. The delay counts as latency."""
    clock, called = Clock(), []
    calls = [clock.call_of(0.25, called, name) for name in "ab"]
    assert open_loop.answer_arrivals(calls, [0.0, 0.5], clock.now - 4, clock=clock, sleep=clock.sleep) == [4.25, 4.0]
    assert clock.slept == []


def test_a_closed_loop_cycles_through_the_calls_until_the_time_is_up():
    clock, called = Clock(), []
    calls = [clock.call_of(seconds, called, name) for seconds, name in ((0.125, "a"), (0.125, "b"), (0.5, "c"))]
    latencies = open_loop.closed_loop(calls, 2.0, clock.now + 1, clock=clock, sleep=clock.sleep)
    assert "".join(called) == "abcabcabc" and latencies == [0.125, 0.125, 0.5] * 3
    assert clock.slept == [1.0], "the last call started in time and finishes: 2.25 s in total"


def probe(rate: float, holds: bool) -> Probe:
    latency = Summary(n=300, min_ms=1, median_ms=1, mad_ms=0, p90_ms=1, p95_ms=1, p99_ms=1)
    return Probe(rate=rate, holds=holds, latency=latency)


def test_probing_converges_to_the_highest_rate_within_the_bound():
    probes: list[Probe] = []
    for rate in rates_to_probe(100.0, probes, LoadTest(bound_ms=10, probes=8)):
        probes.append(probe(rate, rate <= 60))
    assert len(probes) < 8, "it stops at indistinguishable rates"
    assert highest_rate_within_bound(probes) == pytest.approx(60, rel=0.05)
    assert highest_rate_within_bound([probe(10.0, False)]) is None
    assert highest_rate_within_bound([probe(10.0, True), probe(20.0, False), probe(30.0, True)]) == 10.0


def test_the_processes_of_a_load_test_share_the_cores(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    load = LoadTest(bound_ms=10, processes=3)
    assert BenchRequest().protocol().num_threads == 8 and BenchRequest(load=load).protocol().num_threads == 2
    assert BenchRequest(load=load, num_threads=5).protocol().num_threads == 5
    assert BenchRequest(load=LoadTest(bound_ms=10, processes=20)).protocol().num_threads == 1


def test_models_are_measured_under_load(teacher_folder):
    """Two processes with a bound that every rate meets, then one process with a bound that no rate meets."""
    contenders = contenders_at(teacher_folder, max_length=32)
    workload = Workload(texts=[text for text, _ in rows(30)])
    steps = []
    load = LoadTest(bound_ms=5000, processes=2, probe_s=0.1, probe_texts=300, probes=2, closed_s=0.2, offline_texts=16)
    (result,) = measure_load(
        contenders, workload, QUICK, load, on_progress=lambda done, total: steps.append((done, total))
    )
    assert result.error is None and steps[-1] == (4, 4)
    assert result.closed > 0 and result.offline > 0 and len(result.probes) == 2
    assert all(probe.holds and probe.latency.n >= 300 for probe in result.probes)
    assert result.highest == max(probe.rate for probe in result.probes) < result.closed
    impossible = LoadTest(bound_ms=0.001, probe_s=0.1, probe_texts=300, probes=1, closed_s=0.2, offline_texts=16)
    (result,) = measure_load(contenders, workload, QUICK, impossible)
    assert result.highest is None and not result.probes[0].holds


def test_the_result_of_a_missing_model_has_the_error():
    missing = Contender(system=System(label="missing", role="model", engine="onnxruntime"), path="/nowhere")
    (result,) = measure_load([missing], Workload(texts=["good"]), QUICK, LoadTest(bound_ms=1))
    assert "no such folder; expected a bundle" in result.error and result.closed is None
