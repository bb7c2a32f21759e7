"""Faults planted in a benchmark: each is told, in words, in the report."""

import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from transformers import AutoConfig, BertForSequenceClassification

from bench.analysis.operator_profile import operator_breakdown, profile_operators
from bench.analysis.sizes import size_breakdown
from bench.analysis.summary import benchmark_rows
from bench.report.caveats import caveats_of
from bench.results.benchmark import System
from bench.results.document import Results
from bench.results.measurements import Noise, Protocol
from bench.timing.latency import time_systems
from bench.timing.systems import Contender, Workload, contenders_at
from compress.common.files import size_bytes
from compress.models import sources
from example_results import BENCH, BUNDLE, RESULTS, ROWS, with_bench, with_row
from export.bundle.bundle_json import BundleInfo
from export.bundle.folder import write_bundle
from export.parity.profiling import NodeEvent
from interpreters import wrapper
from tiny_bert import LABELS, rows

QUICK = Protocol(
    num_threads=1, rounds=2, texts_per_round=3, texts_per_visit=3, repeats=2, throughput_texts=300,
    warm_up_s=0.1,
)  # fmt: skip
TEXTS = [text for text, _ in rows(30)]
GREEDY = """
from bench.timing.messages import ModelFacts
from export.bundle.runtime import Classifier

class Predictor(Classifier):
    '''Takes more threads than it is given.'''
    def __init__(self, folder, *, num_threads):
        super().__init__(folder, num_threads=num_threads + 1)
        threads = self.session.get_session_options().intra_op_num_threads
        self.facts = ModelFacts(num_threads=threads, ran_on="cpu")
"""


@pytest.fixture(scope="module")
def unfused(tmp_path_factory, teacher_folder, raw_graph, tokenizer) -> Path:
    """A bundle of a graph as it was exported, with nothing fused."""
    folder = tmp_path_factory.mktemp("bundles") / "unfused"
    info = BundleInfo(
        name="unfused", variant="fp32", task_type="classification", labels=list(LABELS), takes_pairs=False,
        max_length=32, pad_token_id=tokenizer.pad_token_id, saturates=False, batch_invariant=True,
    )  # fmt: skip
    config = BertForSequenceClassification.from_pretrained(teacher_folder).config
    write_bundle(folder, info, model_file=raw_graph, config=config, tokenizer=tokenizer)
    return folder


def labelled(contender: Contender, label: str) -> Contender:
    """The same under another name."""
    return replace(contender, system=replace(contender.system, label=label))


def told(contenders: list[Contender], protocol: Protocol = QUICK) -> str:
    """The cautions of a real benchmark of these."""
    workload = Workload(texts=TEXTS, grid=())
    samples = time_systems(contenders, workload, protocol)
    found = benchmark_rows(
        samples, sizes=[1] * len(samples), workload=workload, metric="accuracy",
        num_throughput_texts=protocol.throughput_texts,
    )  # fmt: skip
    return doubts(with_bench(rows=found, protocol=protocol, aa_control=None))


def doubts(results: Results) -> str:
    return "\n".join(caveats_of(results))


def test_the_precision_of_a_bundle_is_that_of_its_manifest_wherever_it_lies(unfused, tmp_path):
    """The ceiling that it is compared with depends on it."""
    for folder, variant, expected in (
        ("deployed", "int8-static", "int8"),
        ("int8-trials", "fp32-int8-embedding", "fp32"),
    ):
        copy = shutil.copytree(unfused, tmp_path / folder)
        content = json.loads((copy / "bundle.json").read_text())
        (copy / "bundle.json").write_text(json.dumps({**content, "variant": variant}))
        (contender,) = contenders_at(copy)
        assert (contender.system.variant, contender.system.precision) == (variant, expected)
        assert contender.name == f"{folder}, onnxruntime"


def test_a_missing_fusion_and_too_few_samples_are_told(unfused):
    found = told(contenders_at(unfused, label="ours"))
    assert "ours, onnxruntime: no attention of it is fused" in found
    assert "6 calls show no 99th percentile, for which 299 are needed" in found
    assert "UNFAIR" not in found


def test_a_provider_that_fell_back_is_told(unfused):
    (contender,) = contenders_at(unfused, label="ours", device="cuda")
    found = told([*contenders_at(unfused, label="ours"), contender])
    assert "ours, onnxruntime, CUDA was not measured" in found and "CUDAExecutionProvider was asked for" in found
    bundle = ROWS[BUNDLE]
    partly = with_row(
        BUNDLE,
        process=replace(bundle.process, ran_on="CUDAExecutionProvider"),
        session=replace(
            bundle.session,
            nodes={"CUDAExecutionProvider": 30, "CPUExecutionProvider": 12},
            fused={"Attention": 4},
        ),
    )
    assert "12 of 42 nodes did not run on CUDAExecutionProvider but on CPUExecutionProvider" in doubts(partly)


def test_a_contender_with_another_priority_is_told(unfused, tmp_path):
    (contender,) = contenders_at(unfused, label="ours")
    polite = replace(labelled(contender, "polite"), python=wrapper(tmp_path / "polite", "exec nice -n 7"))
    found = told([contender, polite, labelled(contender, "third")])
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert f"UNFAIR: polite, onnxruntime ran with the priority {usual + 7}, the others with {usual}" in found


def test_a_contender_with_more_threads_is_told(unfused, tmp_path):
    (contender,) = contenders_at(unfused, label="ours")
    (tmp_path / "greedy.py").write_text(GREEDY)
    python = wrapper(tmp_path / "greedy", f'exec env PYTHONPATH="$PYTHONPATH:{tmp_path}"')
    system = System(label="greedy", role="peer", engine="onnxruntime")
    greedy = replace(contender, system=system, module="greedy", python=python)
    found = told([contender, greedy, labelled(contender, "third")])
    assert "UNFAIR: greedy ran with threads 2, the others with 1" in found


def test_a_contender_that_keeps_more_cores_busy_than_it_has_threads_is_told():
    assert f"UNFAIR: {ROWS[BUNDLE].name} kept 2.4 cores busy, and was given 2 threads" in doubts(
        with_row(BUNDLE, cores_used=2.4)
    )


def test_threads_that_the_environment_asks_for_do_not_count(unfused, monkeypatch):
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(variable, "7")
    samples = time_systems([*contenders_at(unfused)], Workload(texts=TEXTS, grid=()), QUICK)
    process = samples[0].process
    assert process.num_threads == 1 and process.priority == os.getpriority(os.PRIO_PROCESS, 0)


def test_processes_with_more_threads_than_there_are_cores_are_told():
    assert "waited for one another" not in doubts(RESULTS)
    found = doubts(with_bench(load=replace(BENCH.load, processes=2)))
    assert "2 processes of 2 threads each shared 2 cores" in found and "with --threads 1 they" in found


def test_a_busy_machine_is_told():
    assert "Other work ran" not in doubts(RESULTS)
    busy = with_bench(noise=Noise(busy_cores=0.5, stolen=0.0, throttled=None))
    assert "Other work ran on this machine" in doubts(busy)
    found = doubts(with_bench(noise=Noise(busy_cores=0.0, stolen=0.08, throttled=3)))
    assert "gave 8% of the cores' time to others" in found and "held back 3 times" in found


def test_a_profile_tells_where_the_time_goes(unfused):
    (found,) = profile_operators(unfused, [(2, 16)], 1)
    assert found.shape == "2x16" and found.ms > 0
    by_name = {part.name: part for part in found.parts}
    hidden, ffn, layers = 32, 64, 4
    config = AutoConfig.from_pretrained(unfused)
    assert (config.hidden_size, config.intermediate_size, config.num_hidden_layers) == (hidden, ffn, layers)
    tokens = 2 * 16
    of_layers = 2 * tokens * layers * (4 * hidden * hidden + 2 * hidden * ffn) + 4 * tokens * 16 * hidden * layers
    assert by_name["products"].operations == pytest.approx(of_layers + 2 * 2 * hidden * (hidden + 2), rel=1e-6)


def test_the_parts_of_a_size_add_up_to_the_size(unfused, teacher_folder):
    of_bundle, of_folder = asdict(size_breakdown(unfused)), asdict(size_breakdown(teacher_folder))
    assert sum(of_bundle.values()) == size_bytes(unfused)
    assert sum(of_folder.values()) == sum(file.stat().st_size for file in sources.model_files(teacher_folder))
    config = AutoConfig.from_pretrained(teacher_folder)
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    tables = 4 * config.hidden_size * rows
    for parts in (of_bundle, of_folder):  # the LayerNorm behind them counts or does not
        assert tables <= parts["embedding"] <= tables + 4 * config.hidden_size * 2 + 400
        assert min(parts.values()) >= 0 and parts["tokenizer"] > 0
    assert size_breakdown(unfused / "onnx") is None


def test_an_attention_counts_its_projections_and_its_two_products():
    event = NodeEvent(
        name="attention_kernel_time",
        operator="Attention",
        provider="CPUExecutionProvider",
        duration_us=100,
        inputs=[[2, 8, 32], [32, 96], [96]],
        outputs=[[2, 8, 32]],
    )
    (part,) = operator_breakdown([event], last=1)
    assert part.ms == 0.1 and part.operations == 2 * 2 * 8 * 32 * 96 + 4 * 2 * 8 * 8 * 32
