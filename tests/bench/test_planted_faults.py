"""Planted faults in a benchmark. The report must contain a caveat for each."""

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

class GreedyPredictor(Classifier):
    '''Uses one thread more than requested.'''
    def __init__(self, folder, *, num_threads):
        super().__init__(folder, num_threads=num_threads + 1)
        threads = self.session.get_session_options().intra_op_num_threads
        self.facts = ModelFacts(num_threads=threads, ran_on="cpu")

load_predictor = GreedyPredictor
"""


@pytest.fixture(scope="module")
def unfused(tmp_path_factory, teacher_folder, raw_graph, tokenizer) -> Path:
    """A bundle of the exported graph without fusion."""
    folder = tmp_path_factory.mktemp("bundles") / "unfused"
    info = BundleInfo(
        name="unfused", variant="fp32", task_type="classification", labels=list(LABELS), takes_pairs=False,
        max_length=32, pad_token_id=tokenizer.pad_token_id, saturates=False, batch_invariant=True,
    )  # fmt: skip
    config = BertForSequenceClassification.from_pretrained(teacher_folder).config
    write_bundle(folder, info, model_file=raw_graph, config=config, tokenizer=tokenizer)
    return folder


def labelled(contender: Contender, label: str) -> Contender:
    """The same contender with another label."""
    return replace(contender, system=replace(contender.system, label=label))


def caveats_of_benchmark(contenders: list[Contender], protocol: Protocol = QUICK) -> str:
    """The caveats of a real benchmark."""
    workload = Workload(texts=TEXTS, grid=())
    samples = time_systems(contenders, workload, protocol)
    rows = benchmark_rows(
        samples, sizes=[1] * len(samples), workload=workload, metric="accuracy",
        num_throughput_texts=protocol.throughput_texts,
    )  # fmt: skip
    return caveats_text(with_bench(rows=rows, protocol=protocol, aa_control=None))


def caveats_text(results: Results) -> str:
    return "\n".join(caveats_of(results))


def test_the_precision_of_a_bundle_comes_from_bundle_json_not_from_its_path(unfused, tmp_path):
    """The precision selects the roofline."""
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


def test_a_missing_fusion_and_too_few_samples_cause_caveats(unfused):
    caveats = caveats_of_benchmark(contenders_at(unfused, label="ours"))
    assert "nodes is a fused attention" in caveats and "ours, onnxruntime: none of its" in caveats
    assert "6 calls are too few for a 99th percentile, which needs 299" in caveats
    assert "UNFAIR" not in caveats


def test_a_provider_fallback_causes_a_caveat(unfused):
    (contender,) = contenders_at(unfused, label="ours", device="cuda")
    caveats = caveats_of_benchmark([*contenders_at(unfused, label="ours"), contender])
    assert "ours, onnxruntime, CUDA was not measured" in caveats and "CUDAExecutionProvider was requested" in caveats
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
    assert "12 of 42 nodes did not run on CUDAExecutionProvider but on CPUExecutionProvider" in caveats_text(partly)


def test_a_contender_with_another_priority_causes_a_caveat(unfused, tmp_path):
    (contender,) = contenders_at(unfused, label="ours")
    polite = replace(labelled(contender, "polite"), python=wrapper(tmp_path / "polite", "exec nice -n 7"))
    caveats = caveats_of_benchmark([contender, polite, labelled(contender, "third")])
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    expected = f"UNFAIR: polite, onnxruntime ran with a different priority ({usual + 7}) than the others ({usual})"
    assert expected in caveats


def test_a_contender_with_more_threads_causes_a_caveat(unfused, tmp_path):
    (contender,) = contenders_at(unfused, label="ours")
    (tmp_path / "greedy.py").write_text(GREEDY)
    python = wrapper(tmp_path / "greedy", f'exec env PYTHONPATH="$PYTHONPATH:{tmp_path}"')
    system = System(label="greedy", role="peer", engine="onnxruntime")
    greedy = replace(contender, system=system, module="greedy", python=python)
    caveats = caveats_of_benchmark([contender, greedy, labelled(contender, "third")])
    assert "UNFAIR: greedy ran with a different number of threads (2) than the others (1)" in caveats


def test_more_busy_cores_than_threads_cause_a_caveat():
    assert f"UNFAIR: {ROWS[BUNDLE].name} kept 2.4 cores busy with 2 threads allowed" in caveats_text(
        with_row(BUNDLE, cores_used=2.4)
    )


def test_thread_variables_of_the_environment_have_no_effect(unfused, monkeypatch):
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(variable, "7")
    samples = time_systems([*contenders_at(unfused)], Workload(texts=TEXTS, grid=()), QUICK)
    process = samples[0].process
    assert process.num_threads == 1 and process.priority == os.getpriority(os.PRIO_PROCESS, 0)


def test_more_threads_than_cores_cause_a_caveat():
    assert "waited for one another" not in caveats_text(RESULTS)
    caveats = caveats_text(with_bench(load=replace(BENCH.load, processes=2)))
    assert "2 processes of 2 threads each shared 2 cores" in caveats and "With --threads 1 they" in caveats


def test_a_busy_machine_causes_a_caveat():
    assert "Other programs ran" not in caveats_text(RESULTS)
    busy = with_bench(noise=Noise(busy_cores=0.5, stolen=0.0, throttled=None))
    assert "Other programs ran on this machine" in caveats_text(busy)
    caveats = caveats_text(with_bench(noise=Noise(busy_cores=0.0, stolen=0.08, throttled=3)))
    assert "gave 8% of the cores' time to other guests" in caveats and "throttled 3 times" in caveats


def test_a_profile_counts_the_operations(unfused):
    (profile,) = profile_operators(unfused, [(2, 16)], 1)
    assert profile.shape == "2x16" and profile.ms > 0
    by_name = {part.name: part for part in profile.parts}
    hidden, ffn, layers = 32, 64, 4
    config = AutoConfig.from_pretrained(unfused)
    assert (config.hidden_size, config.intermediate_size, config.num_hidden_layers) == (hidden, ffn, layers)
    tokens = 2 * 16
    in_layers = 2 * tokens * layers * (4 * hidden * hidden + 2 * hidden * ffn) + 4 * tokens * 16 * hidden * layers
    assert by_name["products"].operations == pytest.approx(in_layers + 2 * 2 * hidden * (hidden + 2), rel=1e-6)


def test_the_parts_of_a_size_add_up_to_the_total(unfused, teacher_folder):
    bundle_parts, folder_parts = asdict(size_breakdown(unfused)), asdict(size_breakdown(teacher_folder))
    assert sum(bundle_parts.values()) == size_bytes(unfused)
    assert sum(folder_parts.values()) == sum(file.stat().st_size for file in sources.model_files(teacher_folder))
    config = AutoConfig.from_pretrained(teacher_folder)
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    tables = 4 * config.hidden_size * rows
    for parts in (bundle_parts, folder_parts):  # with or without the LayerNorm after the embeddings
        assert tables <= parts["embedding"] <= tables + 4 * config.hidden_size * 2 + 400
        assert min(parts.values()) >= 0 and parts["tokenizer"] > 0
    assert size_breakdown(unfused / "onnx") is None


def test_the_operations_of_an_attention_include_projections_and_both_products():
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
