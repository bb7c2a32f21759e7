"""Faults planted in a benchmark: each is told, in words, in the report."""

import os
import stat
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from conftest import LABELS, rows
from test_bench import fixed_results
from transformers import AutoConfig, BertForSequenceClassification

from bench.cautions import cautions
from bench.contenders import Contender, Workload, contenders_at
from bench.latency import Protocol, loading, measure
from bench.noise import Noise, Watch
from bench.profile import parts_of, profiles
from bench.results import rows as rows_of
from bench.sizes import parts_of as parts_of_size
from compress import locations
from compress.files import size_bytes
from export.bundle import write_bundle

QUICK = Protocol(
    num_threads=1, rounds=2, texts_per_round=3, texts_per_visit=3, repeats=2, throughput_texts=300,
    warm_up_s=0.1,
)  # fmt: skip
TEXTS = [text for text, _ in rows(30)]
GREEDY = """
from export.runtime import Classifier

class Predictor(Classifier):
    '''Takes more threads than it is given.'''
    def __init__(self, folder, *, num_threads):
        super().__init__(folder, num_threads=num_threads + 1)
        self.facts = {"num_threads": self.session.get_session_options().intra_op_num_threads, "ran_on": "cpu"}
"""


@pytest.fixture(scope="module")
def unfused(tmp_path_factory, teacher_folder, raw_graph, tokenizer) -> Path:
    """A bundle of a graph as it was exported, with nothing fused."""
    folder = tmp_path_factory.mktemp("bundles") / "unfused"
    write_bundle(
        folder, model_file=raw_graph, config=BertForSequenceClassification.from_pretrained(teacher_folder).config,
        tokenizer=tokenizer, labels=LABELS, max_length=32, takes_pairs=False, variant="fp32", saturates=False,
        facts={"batch_invariant": True},
    )  # fmt: skip
    return folder


def wrapper(path: Path, command: str) -> str:
    """An interpreter that is this one, started otherwise."""
    path.write_text(f'#!/bin/sh\n{command} "{sys.executable}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def told(contenders: list[Contender], protocol: Protocol = QUICK) -> str:
    """The cautions of a real benchmark of these."""
    samples = measure(contenders, Workload(texts=TEXTS, grid=()), protocol)
    found = rows_of(
        samples, sizes=[1] * len(samples), labels=None, num_classes=2, metric="accuracy",
        num_throughput_texts=protocol.throughput_texts, num_parameters={},
    )  # fmt: skip
    results = fixed_results()
    results["stages"]["bench"] |= {"rows": [row.to_json() for row in found], "protocol": asdict(protocol)}
    return "\n".join(cautions(results))


def test_a_missing_fusion_and_too_few_samples_are_told(unfused):
    found = told(contenders_at(unfused, name="ours"))
    assert "ours, onnxruntime: no attention of it is fused" in found
    assert "6 calls show no 99th percentile, for which 299 are needed" in found
    assert "UNFAIR" not in found


def test_a_provider_that_fell_back_is_told(unfused):
    (contender,) = contenders_at(unfused, name="ours", device="cuda")
    found = told([*contenders_at(unfused, name="ours"), contender])
    assert "ours, onnxruntime, CUDA was not measured" in found and "CUDAExecutionProvider was asked for" in found
    results = fixed_results()
    results["stages"]["bench"]["rows"][1]["facts"] |= {
        "ran_on": "CUDAExecutionProvider",
        "ran": {"nodes": {"CUDAExecutionProvider": 30, "CPUExecutionProvider": 12}, "fused": {"Attention": 4}},
    }
    assert "12 of 42 nodes did not run on CUDAExecutionProvider but on CPUExecutionProvider" in "\n".join(
        cautions(results)
    )


def test_a_contender_with_another_priority_is_told(unfused, tmp_path):
    (contender,) = contenders_at(unfused, name="ours")
    polite = replace(contender, name="polite", python=wrapper(tmp_path / "polite", "exec nice -n 7"))
    found = told([contender, polite, replace(contender, name="third")])
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert f"UNFAIR: polite ran with the priority {usual + 7}, the others with {usual}" in found


def test_a_contender_with_more_threads_is_told(unfused, tmp_path):
    (contender,) = contenders_at(unfused, name="ours")
    (tmp_path / "greedy.py").write_text(GREEDY)
    python = wrapper(tmp_path / "greedy", f'exec env PYTHONPATH="$PYTHONPATH:{tmp_path}"')
    greedy = replace(contender, name="greedy", kind="peer", module="greedy", python=python)
    found = told([contender, greedy, replace(contender, name="third")])
    assert "UNFAIR: greedy ran with threads 2, the others with 1" in found


def test_a_contender_that_keeps_more_cores_busy_than_it_has_threads_is_told():
    results = fixed_results()
    row = results["stages"]["bench"]["rows"][1]
    row["cores_used"] = 2.4
    assert f"UNFAIR: {row['name']} kept 2.4 cores busy, and was given 2 threads" in "\n".join(cautions(results))


def test_nothing_can_be_set_for_one_side_alone(unfused, monkeypatch):
    """What a contender is has no word of threads, priority or warm-up; what its process is told of them is the
    protocol's; and what the environment says does not count.
    """
    known = {field.name for field in fields(Contender)}
    assert not {name for name in known if any(word in name for word in ("thread", "prior", "warm", "round"))}
    for setting in ("num_threads", "priority", "warm_up_s"):
        with pytest.raises(TypeError):
            Contender(name="favoured", kind="torch", path="-", **{setting: 4})
    first = Contender(name="first", kind="torch", path="a")
    second = replace(first, name="second", path="b", compiled=True)
    workload = Workload(texts=TEXTS)
    one, other = (loading(contender, workload, QUICK) for contender in (first, second))
    assert {**one, "spec": None} == {**other, "spec": None}
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(variable, "7")
    samples = measure([*contenders_at(unfused)], Workload(texts=TEXTS, grid=()), QUICK)
    assert samples[0].facts["num_threads"] == 1 and samples[0].facts["priority"] == os.getpriority(os.PRIO_PROCESS, 0)


def test_processes_with_more_threads_than_there_are_cores_are_told():
    results = fixed_results()
    assert "waited for one another" not in "\n".join(cautions(results))
    results["stages"]["bench"]["load"]["num_threads"] = 2
    found = "\n".join(cautions(results))
    assert "2 processes of 2 threads each shared 2 cores" in found and "with --threads 1 they" in found


def test_a_busy_machine_is_told():
    quiet = fixed_results()
    assert "Other work ran" not in "\n".join(cautions(quiet))
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        heard = Watch(listen_s=0.5).told()
    finally:
        busy.kill()
        busy.wait()
    assert heard.busy_cores > 0.5
    quiet["stages"]["bench"]["noise"] = asdict(heard)
    assert "Other work ran on this machine" in "\n".join(cautions(quiet))
    stolen = asdict(Noise(busy_cores=0.0, stolen=0.08, throttled=3))
    quiet["stages"]["bench"]["noise"] = stolen
    found = "\n".join(cautions(quiet))
    assert "gave 8% of the cores' time to others" in found and "held back 3 times" in found


def test_a_profile_tells_where_the_time_goes(unfused):
    (found,) = profiles(unfused, [(2, 16)], 1)
    assert found["shape"] == "2x16" and found["ms"] > 0
    by_name = {part["name"]: part for part in found["parts"]}
    hidden, ffn, layers = 32, 64, 4
    config = AutoConfig.from_pretrained(unfused)
    assert (config.hidden_size, config.intermediate_size, config.num_hidden_layers) == (hidden, ffn, layers)
    tokens = 2 * 16
    of_layers = 2 * tokens * layers * (4 * hidden * hidden + 2 * hidden * ffn) + 4 * tokens * 16 * hidden * layers
    assert by_name["products"]["operations"] == pytest.approx(of_layers + 2 * 2 * hidden * (hidden + 2), rel=1e-6)


def test_the_parts_of_a_size_add_up_to_the_size(unfused, teacher_folder):
    of_bundle, of_folder = parts_of_size(unfused), parts_of_size(teacher_folder)
    assert sum(of_bundle.values()) == size_bytes(unfused)
    assert sum(of_folder.values()) == sum(file.stat().st_size for file in locations.model_files(teacher_folder))
    config = AutoConfig.from_pretrained(teacher_folder)
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    tables = 4 * config.hidden_size * rows
    for parts in (of_bundle, of_folder):  # the LayerNorm behind them counts or does not
        assert tables <= parts["embedding"] <= tables + 4 * config.hidden_size * 2 + 400
        assert min(parts.values()) >= 0 and parts["tokenizer"] > 0
    assert parts_of_size(unfused / "onnx") == {}


def test_an_attention_counts_its_projections_and_its_two_products():
    event = {"cat": "Node", "name": "attention_kernel_time", "dur": 100}
    arguments = {
        "op_name": "Attention",
        "input_type_shape": [{"float": [2, 8, 32]}, {"float": [32, 96]}, {"float": [96]}],
        "output_type_shape": [{"float": [2, 8, 32]}],
    }
    (part,) = parts_of([{**event, "args": arguments}], last=1)
    assert part.ms == 0.1 and part.operations == 2 * 2 * 8 * 32 * 96 + 4 * 2 * 8 * 8 * 32
