"""Other toolkits in the benchmark. `make peers` tests their conversions, which need the package index."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.peers.common import Description
from bench.peers.environments import PEERS, PeerError, convert_in_environment, environment
from bench.results.benchmark import System
from bench.results.measurements import Protocol
from bench.timing.latency import time_systems
from bench.timing.systems import Contender, Workload
from pocketbert.standalone.bench_shapes import PAPER, shape
from tiny_bert import LABELS, rows


def test_an_environment_that_cannot_be_built_reports_the_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    peer = replace(PEERS["OpenVINO"], requirements=("no-such-package-as-this==1.0",))
    with pytest.raises(PeerError, match=r"OpenVINO: ERROR: .*no-such-package-as-this==1\.0"):
        environment(peer, tmp_path)
    assert not (tmp_path / "OpenVINO" / "requirements.txt").exists(), "so that the next call builds it again"


@pytest.mark.parametrize("name", PEERS)
def test_a_failed_conversion_reports_the_reason_for_every_variant(name, tmp_path, teacher_folder):
    """The environment lacks the peer's toolkit."""
    peer = PEERS[name]
    outcomes = convert_in_environment(peer, Path(sys.executable), teacher_folder, [("good",)], tmp_path, 32)
    assert set(outcomes) == {variant.label for variant in peer.variants}
    assert all(isinstance(reason, str) and "Error" in reason for reason in outcomes.values()), outcomes
    assert json.loads((tmp_path / "calibration.json").read_text()) == [["good"]]


def test_a_worker_in_a_peers_environment_needs_only_numpy_and_tokenizers():
    """The environments share nothing else, and every further import would count as the peer's start time."""
    modules = "bench.timing.worker, bench.peers.common, compress.data.task_types"
    ours = ("bench", "compress", "export")
    code = f"import sys; before = set(sys.modules); import {modules}; print(*set(sys.modules) - before)"
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    packages = {name.partition(".")[0] for name in loaded.stdout.split()}
    others = {name for name in packages - set(sys.stdlib_module_names) - set(ours) if not name.startswith("_")}
    assert others == {"numpy", "tokenizers"}


def test_a_peers_model_is_timed_and_scored_in_its_own_process(tmp_path, teacher_folder, raw_graph):
    """Uses an ONNX model, which is what two of the peers produce."""
    shutil.copyfile(raw_graph, tmp_path / "model.onnx")
    shutil.copyfile(teacher_folder / "tokenizer.json", tmp_path / "tokenizer.json")
    description = Description(
        peer="optimum-onnx", variant="O3", max_length=32, labels=list(LABELS), task_type="classification",
        pad_token_id=0, versions={"onnx": "1.0"}, settings={},
    )  # fmt: skip
    (tmp_path / "peer.json").write_text(json.dumps(asdict(description)))
    system = System(label="optimum-onnx O3", role="peer", engine="onnxruntime", variant="O3")
    peer = Contender(system=system, path=str(tmp_path), module="bench.peers.optimum_onnx", python=sys.executable)
    plain = Contender(
        system=System(label="torch", role="model", engine="torch"), path=str(teacher_folder), max_length=32
    )
    workload = Workload(texts=[text for text, _ in rows(10)], labels=[0] * 10, num_labels=2, grid=[(2, 8)])
    protocol = Protocol(num_threads=1, rounds=1, texts_per_round=3, throughput_texts=4, warm_up_s=0.1)
    ours, theirs = time_systems([plain, peer], workload, protocol)
    assert theirs.error is None and theirs.predictions == ours.predictions and theirs.lengths == ours.lengths
    assert theirs.process.num_threads == 1 and theirs.process.ran_on == "CPUExecutionProvider"
    assert theirs.process.versions == {"onnx": "1.0"} and theirs.session is None and list(theirs.shapes_s) == ["2x8"]


@pytest.mark.parametrize("name", PAPER)
def test_the_shapes_have_as_many_parameters_as_in_the_paper(name):
    count = sum(parameter.numel() for parameter in shape(name).parameters()) / 1e6
    assert count == pytest.approx(PAPER[name].parameters, rel=0.05)
