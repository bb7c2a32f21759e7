from dataclasses import replace

import psutil
import pytest

from bench.report.sections import sections
from bench.results.benchmark import System
from bench.results.measurements import ProcessFacts, Protocol
from bench.timing import thread_sweep
from bench.timing.latency import Samples
from bench.timing.systems import Contender, Workload, contenders_at
from bench.timing.thread_sweep import measure_threads, thread_counts_up_to
from example_results import BENCH
from interpreters import wrapper
from tiny_bert import rows

QUICK = Protocol(num_threads=2, rounds=2, texts_per_round=3, texts_per_visit=3, throughput_texts=8, warm_up_s=0.1)
WORKLOAD = Workload(texts=[text for text, _ in rows(30)], grid=())
STUBBORN = """
from bench.timing.messages import ModelFacts
from export.parity.predictors import TorchPredictor

class StubbornPredictor(TorchPredictor):
    facts = ModelFacts(num_threads=1, ran_on="cpu")
    def __init__(self, folder, *, num_threads):
        super().__init__(folder, max_length=32)

load_predictor = StubbornPredictor
"""


def test_the_thread_counts_are_one_two_the_physical_cores_and_the_maximum(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 6)
    assert thread_counts_up_to(12) == [1, 2, 6, 12]
    assert thread_counts_up_to(4) == [1, 2, 4]
    assert thread_counts_up_to(1) == [1]
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: None)
    assert thread_counts_up_to(3) == [1, 2, 3]


def test_every_model_runs_with_each_number_of_threads(teacher_folder):
    """A model that fails has an error instead of figures."""
    contenders = contenders_at(teacher_folder, label="first", max_length=32)
    contenders += contenders_at(teacher_folder, label="second", max_length=32)
    system = System(label="missing", role="model", engine="onnxruntime")
    contenders.append(Contender(system=system, path="/nowhere"))
    steps = []
    first, second, missing = measure_threads(
        contenders, WORKLOAD, QUICK, [1, 2], on_progress=lambda done, total: steps.append((done, total))
    )
    assert steps[-1][0] == steps[-1][1], "the progress bar ends full"
    assert missing.by_count == {} and "no such folder; expected a bundle" in missing.error
    for sweep in (first, second):
        assert list(sweep.by_count) == ["1", "2"] and sweep.error is None
        assert sweep.by_count["1"].speedup_over_fewest.value == 1
        assert all(point.texts_per_s > 0 and point.latency.n == 6 for point in sweep.by_count.values())
    assert all(point.speedup_over_first.value == 1 for point in first.by_count.values())


def test_speedups_are_over_the_fewest_threads_and_over_the_first_model(monkeypatch):
    """Uses fixed times in seconds."""
    seconds = {("first", 1): 1.0, ("first", 2): 0.5, ("second", 1): 0.25, ("second", 2): 0.2}
    contenders = [
        Contender(system=System(label=name, role="model", engine="torch"), path=name) for name in ("first", "second")
    ]

    def fixed_times(contenders, workload, protocol, *, threads, on_progress) -> list[Samples]:
        return [
            Samples(
                contender=contender,
                process=ProcessFacts(num_threads=count, ran_on="cpu", priority=0, cores=2, peak_rss_bytes=1),
                texts_s=[[[seconds[contender.path, count]] * 3] * 4],
                throughput_s=[seconds[contender.path, count]] * 4,
            )
            for count in threads
            for contender in contenders
        ]

    monkeypatch.setattr(thread_sweep, "time_systems", fixed_times)
    sweeps = dict(zip(("first", "second"), measure_threads(contenders, WORKLOAD, QUICK, [1, 2]), strict=True))
    ratios = {
        (name, count): (point.speedup_over_fewest.value, point.speedup_over_first.value)
        for name, sweep in sweeps.items()
        for count, point in sweep.by_count.items()
    }
    assert ratios == {
        ("first", "1"): pytest.approx((1, 1)), ("first", "2"): pytest.approx((2, 1)),
        ("second", "1"): pytest.approx((1, 4)), ("second", "2"): pytest.approx((1.25, 2.5)),
    }  # fmt: skip
    assert sweeps["second"].by_count["2"].texts_per_s == pytest.approx(QUICK.throughput_texts / 0.2)


def test_a_model_with_the_wrong_number_of_threads_has_an_error(teacher_folder, tmp_path):
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    python = wrapper(tmp_path / "python", f'exec env PYTHONPATH="$PYTHONPATH:{tmp_path}"')
    system = System(label="stubborn", role="peer", engine="torch")
    peer = Contender(system=system, path=str(teacher_folder), module="stubborn", python=python)
    (sweep,) = measure_threads([peer], WORKLOAD, QUICK, [1, 2])
    assert sweep.error == "ran with 1 threads instead of 2" and sweep.by_count == {}


def test_the_report_has_a_section_on_threads():
    (section,) = (each for each in sections(BENCH, None) if each.title == "Thread scaling")
    (latency, throughput, _) = section.tables
    assert latency.header == ("model", "1 thread", "2 threads")
    teacher, bundle = latency.cells
    assert bundle[1:] == ("0.80 ms, x1.00 (0.90-1.10)", "0.50 ms, x1.60 (1.44-1.76)")
    assert teacher == ("teacher, torch fp32", "not measured: its process ended", "-")
    assert throughput.cells[1][1:] == ("1250 texts/s", "2000 texts/s")
    assert len(section.plots) == 1
    assert not any(each.title == section.title for each in sections(replace(BENCH, thread_counts=None), None))
