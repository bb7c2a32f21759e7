import time

import pytest
from conftest import rows

from bench import arrivals, machine
from bench.contenders import Workload, contenders_at
from bench.latency import Protocol
from bench.load import Load, highest, measure_load, rates
from pocketbert.folder_benchmark import Question

QUICK = Protocol(num_threads=1, warm_up_s=0.1)


def test_latency_counts_from_when_a_text_was_due_not_from_when_its_turn_came():
    """Two come at once, then one much later: the second waits for the first, the third for none."""
    latencies = arrivals.serve([lambda: time.sleep(0.05)] * 3, [0.0, 0.0, 0.3], time.monotonic() + 0.01)
    assert latencies[0] >= 0.05 and latencies[1] >= 0.1 and 0.05 <= latencies[2] < latencies[1]


def test_a_closed_loop_answers_one_after_the_other_until_time_is_up():
    asked = []
    calls = [lambda: asked.append("a"), lambda: asked.append("b"), lambda: time.sleep(0.02)]
    latencies = arrivals.closed_loop(calls, 0.1, time.monotonic())
    assert asked[:4] == ["a", "b", "a", "b"] and 5 < len(latencies) < 20


def test_the_rates_close_in_on_the_highest_that_holds():
    probes: list[dict] = []
    for rate in rates(100.0, probes, Load(bound_ms=10, probes=8)):
        probes.append({"rate": rate, "holds": rate <= 60})
    assert len(probes) < 8, "no nearer than can be told apart"
    assert highest(probes) == pytest.approx(60, rel=0.05)
    assert highest([{"rate": 10.0, "holds": False}]) is None
    assert (
        highest([{"rate": 10.0, "holds": True}, {"rate": 20.0, "holds": False}, {"rate": 30.0, "holds": True}]) == 10.0
    )


def test_the_processes_of_a_load_part_the_cores(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    load = Load(bound_ms=10, processes=3)
    assert Question().protocol().num_threads == 8 and Question(load=load).protocol().num_threads == 2
    assert Question(load=load, num_threads=5).protocol().num_threads == 5
    assert Question(load=Load(bound_ms=10, processes=20)).protocol().num_threads == 1


def test_models_are_measured_under_load(teacher_folder):
    """Two processes with a bound that any holds, and one that none does."""
    contenders = contenders_at(teacher_folder, max_length=32)
    workload = Workload(texts=[text for text, _ in rows(30)])
    steps = []
    load = Load(bound_ms=5000, processes=2, probe_s=0.1, probe_texts=300, probes=2, closed_s=0.2, offline_texts=16)
    (found,) = measure_load(
        contenders, workload, QUICK, load, on_progress=lambda done, total: steps.append((done, total))
    )
    assert found["error"] is None and steps[-1] == (4, 4)
    assert found["closed"] > 0 and found["offline"] > 0 and len(found["probes"]) == 2
    assert all(probe["holds"] and probe["n"] >= 300 for probe in found["probes"])
    assert found["highest"] == max(probe["rate"] for probe in found["probes"]) < found["closed"]
    none = Load(bound_ms=0.001, probe_s=0.1, probe_texts=300, probes=1, closed_s=0.2, offline_texts=16)
    (found,) = measure_load(contenders, workload, QUICK, none)
    assert found["highest"] is None and not found["probes"][0]["holds"]


def test_a_model_that_cannot_be_loaded_says_why(teacher_folder):
    (contender,) = contenders_at(teacher_folder)
    (found,) = measure_load(
        [type(contender)(name="gone", kind="onnxruntime", path="/nowhere")],
        Workload(texts=["good"]),
        QUICK,
        Load(bound_ms=1),
    )
    assert "no readable bundle" in found["error"] and found["closed"] is None
