"""The problems that `doctor` reports."""

import json
import sys
from dataclasses import replace

import pytest

from bench.measurement import machine
from pocketbert.cli import app
from pocketbert.standalone import doctor


def test_without_torch_nothing_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    report = doctor.examine_machine(tmp_path)
    assert report.torch_threads is None and not report.torch_cuda
    assert not any("torch" in problem for problem in report.problems)


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    report = doctor.examine_machine(tmp_path)
    assert report.providers == [] and any("install the extra bundles" in problem for problem in report.problems)


def test_an_old_processor_a_full_disk_and_little_memory(monkeypatch, tmp_path, capsys):
    small = replace(machine.describe(), instructions=["avx2"], memory_bytes=2_000_000_000)
    monkeypatch.setattr(machine, "describe", lambda: small)
    monkeypatch.setattr(doctor, "_free_bytes", lambda path: 1e9)
    monkeypatch.chdir(tmp_path)
    assert app.main(["doctor"]) == 0
    page = capsys.readouterr().out
    for part in ("no int8 dot product", "1.0 GB free", "2.0 GB of memory"):
        assert part in page
    assert app.main(["doctor", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["problems"]) >= 4


@pytest.mark.parametrize("torch_cuda", [True, False])
def test_a_gpu_that_torch_cannot_use(torch_cuda):
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    problems = doctor._package_problems(providers, has_gpu=True, has_torch=True, torch_cuda=torch_cuda)
    assert bool(problems) is not torch_cuda
    assert not doctor._package_problems(providers, has_gpu=True, has_torch=False, torch_cuda=False)
