import psutil
from conftest import rows
from test_bench import fixed_results
from test_bench_faults import wrapper

from bench.contenders import Contender, Workload, contenders_at
from bench.latency import Protocol
from bench.sections import sections
from bench.threads import counts_up_to, measure_threads

QUICK = Protocol(num_threads=2, rounds=2, texts_per_round=3, texts_per_visit=3, throughput_texts=8, warm_up_s=0.1)
WORKLOAD = Workload(texts=[text for text, _ in rows(30)], grid=())
STUBBORN = """
from export.predictors import TorchPredictor

class Predictor(TorchPredictor):
    facts = {"num_threads": 1, "ran_on": "cpu"}
    def __init__(self, folder, *, num_threads):
        super().__init__(folder, max_length=32)
"""


def test_the_counts_are_one_two_the_physical_cores_and_the_most(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 6)
    assert counts_up_to(12) == [1, 2, 6, 12]
    assert counts_up_to(4) == [1, 2, 4]
    assert counts_up_to(1) == [1]
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: None)
    assert counts_up_to(3) == [1, 2, 3]


def test_every_model_runs_with_each_number_of_threads(teacher_folder):
    """Against itself with the fewest, and against the first model with as many; one that fails says why."""
    contenders = contenders_at(teacher_folder, name="first", max_length=32)
    contenders += contenders_at(teacher_folder, name="second", max_length=32)
    contenders.append(Contender(name="gone", kind="onnxruntime", path="/nowhere"))
    steps = []
    first, second, gone = measure_threads(
        contenders, WORKLOAD, QUICK, [1, 2], on_progress=lambda done, total: steps.append((done, total))
    )
    assert steps[-1][0] == steps[-1][1], "the bar ends full"
    assert gone["by_count"] == {} and "no readable bundle" in gone["error"]
    for row in (first, second):
        assert list(row["by_count"]) == ["1", "2"] and row["error"] is None
        assert row["by_count"]["1"]["times_fewest"]["value"] == 1
        assert all(found["throughput"] > 0 and found["texts"]["n"] == 6 for found in row["by_count"].values())
    assert all(found["times_first"]["value"] == 1 for found in first["by_count"].values())
    assert second["by_count"]["2"]["times_first"]["value"] != 1
    assert second["by_count"]["2"]["times_fewest"]["value"] != 1


def test_a_model_that_takes_other_threads_than_it_was_given_is_no_row(teacher_folder, tmp_path):
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    python = wrapper(tmp_path / "python", f'exec env PYTHONPATH="$PYTHONPATH:{tmp_path}"')
    peer = Contender(name="stubborn", kind="peer", path=str(teacher_folder), module="stubborn", python=python)
    (row,) = measure_threads([peer], WORKLOAD, QUICK, [1, 2])
    assert row["error"] == "ran with 1 threads where 2 were given" and row["by_count"] == {}


def test_the_report_tells_what_threads_are_worth():
    results = fixed_results()
    bench = results["stages"]["bench"]
    (section,) = (each for each in sections(bench, None) if each.title == "What more threads are worth")
    (latency, throughput, _) = section.tables
    assert latency[0] == ("model", "1 thread", "2 threads")
    assert latency[1][0][1:] == ("0.80 ms, x1.00 (0.90-1.10)", "0.50 ms, x1.60 (1.44-1.76)")
    assert latency[1][1] == ("teacher, torch fp32", "not measured: its process ended", "-")
    assert throughput[1][0][1:] == ("1250 texts/s", "2000 texts/s")
    assert len(section.plots) == 1
    assert not any(each.title == section.title for each in sections({**bench, "threads": None}, None))
