"""Steps are timed by a fake clock."""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

from compress.distillation.objective import DistillationModel, Objective
from pocketbert.timing import step_timing
from pocketbert.timing.measure import _train
from pocketbert.timing.step_timing import Stopwatch, time_forward, time_steps
from tiny_bert import encode_texts


@dataclass
class FakeTime:
    """Seconds that pass with each forward pass: a fixed part, and a part per token."""

    fixed: float = 0.5
    per_token: float = 0.01
    cpu_share: float = 1.0
    now: float = 0.0
    cpu_now: float = 0.0
    num_passes: int = 0
    slow_passes: int = 0

    def real(self) -> float:
        return self.now

    def cpu(self) -> float:
        return self.cpu_now

    def on_forward(self, module, args, kwargs):
        rows, length = kwargs["input_ids"].shape
        seconds = self.fixed + self.per_token * rows * length
        self.num_passes += 1
        self.now += seconds * (20 if self.num_passes <= self.slow_passes else 1)
        self.cpu_now += seconds * self.cpu_share

    def stopwatch(self, **options) -> Stopwatch:
        return Stopwatch(clock=self.real, cpu=self.cpu, **options)


@pytest.fixture
def data(tokenizer):
    texts = [" ".join(["film"] * (3 + number % 20)) for number in range(400)]
    rows = encode_texts(texts, tokenizer, max_length=64)
    return rows.with_column("labels", np.arange(400) % 2)


def timed_cost(teacher, data, fake, **options):
    teacher.register_forward_pre_hook(fake.on_forward, with_kwargs=True)
    model = DistillationModel(teacher, None, Objective(labels=1.0, task_type="classification"))
    arguments = {"batch_size": 16, "forward_s": 1e-6, "limit_s": 100.0, "deadline": 1e9, "stopwatch": fake.stopwatch()}
    return time_steps(partial(_train, model, None, "fp32", nullcontext), data, **{**arguments, **options})


def test_slow_first_steps_do_not_count(teacher, data, monkeypatch):
    monkeypatch.setattr(step_timing, "LARGEST_PASSES", 2)
    cost = timed_cost(teacher, data, FakeTime(slow_passes=3))
    assert cost.timed_rows == 16
    assert cost.fixed_s == pytest.approx(0.5, rel=0.01)
    assert cost.per_token_s == pytest.approx(0.01, rel=0.01)


def test_micro_batches_are_parts_of_one_step(teacher, data):
    fake = FakeTime(fixed=0.0)
    cost = timed_cost(teacher, data, fake, micro_batch_size=4)
    assert cost.per_token_s == pytest.approx(0.01, rel=0.05)


def test_a_large_model_is_timed_on_few_rows(teacher, data):
    fake = FakeTime(fixed=0.1)
    cost = timed_cost(teacher, data, fake, forward_s=0.01, limit_s=2.0)
    assert cost.timed_rows < 8
    assert cost.mean_step(np.full(64, 10), 16).expected_s == pytest.approx(0.1 + 1.6, rel=0.1)


def test_after_the_deadline_three_steps_are_timed(teacher, data):
    fake = FakeTime()
    timed_cost(teacher, data, fake, deadline=0.0)
    assert fake.num_passes == 3


def test_no_checkpoint_is_written(teacher, data, tmp_path, monkeypatch):
    monkeypatch.setattr(step_timing, "TemporaryDirectory", lambda: _Folder(tmp_path))
    timed_cost(teacher, data, FakeTime())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@dataclass
class _Folder:
    path: object

    def __enter__(self):
        return str(self.path)

    def __exit__(self, *_):
        pass


def test_the_time_of_a_busy_machine_is_corrected(teacher, data):
    quiet, busy = FakeTime(), FakeTime(cpu_share=1 / 3)
    expected = timed_cost(teacher, data, quiet).fixed_s
    teacher._forward_pre_hooks.clear()
    stopwatch = busy.stopwatch(is_busy=True)
    assert timed_cost(teacher, data, busy, stopwatch=stopwatch).fixed_s == pytest.approx(expected / 3, rel=0.01)
    assert stopwatch.slowdown == pytest.approx(3.0)


def test_a_busy_machine_is_timed_with_one_thread():
    fake, before = FakeTime(), torch.get_num_threads()
    stopwatch = fake.stopwatch(is_busy=True, num_threads=before)
    with stopwatch.undisturbed():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    stopwatch = fake.stopwatch(is_busy=True, num_threads=4)
    fake.now, fake.cpu_now = 12.0, 4**0.8
    assert stopwatch.lap() == pytest.approx(1.0)
    assert stopwatch.slowdown == pytest.approx(12.0)


def test_threads_that_wait_for_one_another_raise_the_slowdown():
    fake, before = FakeTime(), torch.get_num_threads()
    stopwatch = fake.stopwatch(is_busy=True, num_threads=2)
    stopwatch.disturbed(lambda: setattr(fake, "now", fake.now + 9.0), quiet_s=1.5)
    torch.set_num_threads(before)
    assert stopwatch.slowdown == pytest.approx(6.0)
    quiet = fake.stopwatch(is_busy=False, num_threads=2)
    quiet.disturbed(lambda: pytest.fail("nothing to measure"), quiet_s=1.5)
    assert quiet.slowdown == 1.0


def test_forward_passes_are_timed_single_and_in_batches(teacher, data):
    fake = FakeTime()
    teacher.register_forward_pre_hook(fake.on_forward, with_kwargs=True)
    with torch.no_grad():
        cost = time_forward(teacher, data.without_column("labels"), limit_s=50.0, stopwatch=fake.stopwatch())
    assert cost.single_s == pytest.approx(0.5 + 0.01 * np.sort(data.lengths)[200])
    assert cost.per_token_s < cost.single_s / 15
    assert fake.now < 100


def test_a_batch_is_timed_even_if_single_rows_take_all_the_time(teacher, data):
    fake = FakeTime()
    teacher.register_forward_pre_hook(fake.on_forward, with_kwargs=True)
    cost = time_forward(teacher, data.without_column("labels"), limit_s=0.1, stopwatch=fake.stopwatch())
    assert cost.per_token_s < cost.single_s / float(np.median(data.lengths)) / 2


def test_passes_in_low_precision_are_timed_on_one_copy(teacher, data, monkeypatch):
    seen = []
    monkeypatch.setattr(
        step_timing, "predict_logits", lambda model, rows, *, precision: seen.append((model, precision))
    )
    fake = FakeTime()
    time_forward(teacher, data.without_column("labels"), precision="bf16", limit_s=9.0, stopwatch=fake.stopwatch())
    copies = {id(model) for model, precision in seen if precision == "bf16"}
    assert len(copies) == 1 and id(teacher) not in copies
    assert {id(model) for model, precision in seen if precision == "fp32"} == {id(teacher)}
