"""Every contender is treated the same: no field of it changes its processes, commands, texts or threads."""

import json
from dataclasses import asdict, fields, replace
from io import StringIO
from types import SimpleNamespace

import pytest
import torch

from bench.measurement import worker_process
from bench.results.benchmark import System
from bench.results.measurements import Protocol
from bench.timing import engines, latency
from bench.timing.latency import time_systems
from bench.timing.messages import ModelFacts, WorkerFacts
from bench.timing.systems import Contender, Workload
from tiny_bert import rows

PROTOCOL = Protocol(
    num_threads=3, rounds=3, texts_per_round=6, texts_per_visit=3, throughput_texts=8, warm_up_s=0.25, restart_every=2
)
WORKLOAD = Workload(texts=[text for text, _ in rows(20)], grid=[(1, 8), (2, 8)])
PLAIN = Contender(system=System(label="plain", role="model", engine="torch"), path="a")
OTHER_CONTENDER = {
    "path": "b", "max_length": 16, "num_parameters": 7, "is_aa_control": True, "slowed_by": 0.5,
    "module": "bench.peers.openvino", "python": "/another/python",
}  # fmt: skip
OTHER_SYSTEM = {
    "label": "other", "role": "peer", "engine": "onnxruntime", "device": "cuda", "precision": "bf16",
    "variant": "int8-static", "compiled": True, "random_head": True,
}  # fmt: skip
CONTENDERS = {
    **{name: replace(PLAIN, **{name: value}) for name, value in OTHER_CONTENDER.items()},
    **{name: replace(PLAIN, system=replace(PLAIN.system, **{name: value})) for name, value in OTHER_SYSTEM.items()},
}
FACTS = WorkerFacts(
    model=ModelFacts(num_threads=3, ran_on="cpu"), priority=0, cores=2, peak_rss_bytes=1, import_s=0.1, load_s=0.1,
    first_answer_s=0.1,
)  # fmt: skip
REPLIES = {
    "load": lambda command: asdict(FACTS),
    "facts": lambda command: asdict(FACTS),
    "diagnose": lambda command: None,
    "lengths": lambda command: [5] * len(command["texts"]),
    "texts": lambda command: [(0.1, 0.1, 0.1)] * len(command["texts"]),
    "tokens": lambda command: [0.1] * command["repeats"],
    "throughput": lambda command: (0.1, 0.1),
}


class FakeProcess:
    """Replies at once, and records its start options and commands."""

    def __init__(
        self, started: list["FakeProcess"], command: list[str], *, env: dict[str, str], **options: object
    ) -> None:
        started.append(self)
        self.command, self.env, self.options = command, env, {name: options[name] for name in sorted(options)}
        self.stdin, self.stdout = self, StringIO()
        self.commands: list[dict] = []

    def write(self, line: str) -> None:
        command = json.loads(line)
        self.commands.append(command)
        reply = REPLIES[command["op"]](command)
        self.stdout = StringIO(json.dumps({"ok": reply}) + "\n")

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def kill(self) -> None: ...

    def wait(self) -> int:
        return 0


def treatment(monkeypatch, contenders: list[Contender]) -> list[str]:
    """The start options and commands of each contender's processes as JSON, without the contender itself."""
    started: list[FakeProcess] = []
    fake_subprocess = SimpleNamespace(
        PIPE=-1, DEVNULL=-3, Popen=lambda *command, **options: FakeProcess(started, *command, **options)
    )
    monkeypatch.setattr(worker_process, "subprocess", fake_subprocess)
    monkeypatch.setattr(latency.time, "sleep", lambda seconds: None)
    numbered = [replace(contender, path=str(number)) for number, contender in enumerate(contenders)]
    samples = time_systems(numbered, WORKLOAD, PROTOCOL)
    assert [sample.error for sample in samples] == [None] * len(contenders)
    treatments: list[list[object]] = [[] for _ in contenders]
    for process in started:
        load, *others = process.commands
        number = int(load.pop("spec")["path"])
        treatments[number].append([process.command[1:], process.env, process.options, load, others])
    assert all(len(processes) == 2 and len(processes[0][4]) > 10 for processes in treatments)
    return [json.dumps(processes) for processes in treatments]


def test_there_is_a_case_for_every_field():
    for plain, other_values in ((PLAIN, OTHER_CONTENDER), (PLAIN.system, OTHER_SYSTEM)):
        names = {field.name for field in fields(plain)} - {"system"}
        assert set(other_values) == names, "add a case for the new field"
        assert all(getattr(plain, name) != value for name, value in other_values.items())


def test_every_contender_gets_the_same_processes_commands_and_texts(monkeypatch):
    plain, *others = treatment(monkeypatch, [PLAIN, *CONTENDERS.values()])
    assert len(others) == len(OTHER_CONTENDER) + len(OTHER_SYSTEM)
    for name, other in zip(CONTENDERS, others, strict=True):
        assert other == plain, f"{name} changes the protocol"


@pytest.mark.parametrize("favour", [{"num_threads": 4}, {"warm_up_s": 9.0}, {"text": "short"}])
def test_a_favour_in_the_load_arguments_would_be_detected(monkeypatch, favour):
    load_arguments = latency.load_arguments
    monkeypatch.setattr(
        latency,
        "load_arguments",
        lambda contender, *rest: load_arguments(contender, *rest) | (favour if contender.system.compiled else {}),
    )
    assert len(set(treatment(monkeypatch, [PLAIN, *CONTENDERS.values()]))) == 2


def test_a_favour_in_the_process_would_be_detected(monkeypatch):
    start_worker = latency.start_worker
    monkeypatch.setattr(
        latency,
        "start_worker",
        lambda contender, protocol: start_worker(
            contender, replace(protocol, num_threads=protocol.num_threads + (contender.system.engine == "onnxruntime"))
        ),
    )
    assert len(set(treatment(monkeypatch, [PLAIN, *CONTENDERS.values()]))) == 2


@pytest.mark.parametrize(
    "name",
    [
        "label", "role", "precision", "variant", "max_length", "num_parameters", "compiled", "random_head",
        "is_aa_control", "slowed_by",
    ],
)  # fmt: skip
def test_a_loaded_model_has_the_protocols_threads(name, teacher_folder):
    """Loads a real model, for every field that needs neither a GPU nor another toolkit."""
    original_threads = torch.get_num_threads()
    contender = replace(CONTENDERS[name], path=str(teacher_folder))
    try:
        torch.set_num_threads(2)
        assert engines.load_runner(contender.spec(), 1).facts.num_threads == torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(original_threads)
