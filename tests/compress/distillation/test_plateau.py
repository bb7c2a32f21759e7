from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, TrainerCallback

from compress.distillation import plateau, training_loop
from compress.distillation.objective import DistillationModel, Objective
from compress.distillation.plateau import DecayAtPlateau, StableThenDecay
from compress.distillation.training_loop import Schedule, TrainContext, train
from tiny_bert import config, encode_texts, rows

ARGS = SimpleNamespace(logging_steps=20)


def test_the_rate_is_constant_and_then_falls_to_zero():
    schedule = StableThenDecay(warmup_steps=100, max_steps=1000)
    assert [schedule(step) for step in (0, 50, 100, 800)] == [0.0, 0.5, 1.0, 1.0]
    assert schedule(900) == pytest.approx(0.5) and schedule(1000) == 0.0 and schedule.last_step == 1000
    schedule.decay_start = 400
    assert (schedule(400), schedule(450), schedule(500), schedule(600)) == (1.0, 0.5, 0.0, 0.0)


def steps_of(losses: list[float], *, max_steps: int) -> int:
    """The step at which training stops, with these losses at steps 20, 40, ..."""
    schedule = StableThenDecay(warmup_steps=max_steps // 10, max_steps=max_steps)
    callback = DecayAtPlateau(schedule, max_steps=max_steps)
    state, control = SimpleNamespace(global_step=0, log_history=[]), SimpleNamespace(should_training_stop=False)
    for step in range(1, max_steps + 1):
        state.global_step = step
        callback.on_step_end(ARGS, state, control)
        if control.should_training_stop:
            return step
        if step % 20 == 0:
            state.log_history.append({"step": step, "loss": losses[step // 20 - 1]})
            callback.on_log(ARGS, state, control)
    return max_steps


def test_a_falling_loss_uses_all_steps():
    assert steps_of([0.97**step for step in range(100)], max_steps=2000) == 2000


def test_a_flat_loss_ends_the_stage_early():
    flat_from_the_start = steps_of([1.0] * 100, max_steps=2000)
    later = steps_of([0.9 ** min(step, 50) for step in range(100)], max_steps=2000)
    assert 500 < flat_from_the_start < 1000 < later < 2000
    assert steps_of([1.0 + 0.1 * step for step in range(100)], max_steps=2000) == flat_from_the_start  # rising


def test_a_resumed_training_decays_and_stops_where_the_interrupted_one_would_have(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(plateau, "SMALLEST_WINDOW", 6)
    monkeypatch.setattr(plateau, "WINDOWS", 1000)
    monkeypatch.setattr(plateau, "FLAT_BELOW", 0.5)  # always flat
    monkeypatch.setattr(training_loop, "LOG_EVERY_STEPS", 3)

    class Kill(TrainerCallback):
        def __init__(self, step: int) -> None:
            self.step = step

        def on_step_begin(self, args, state, control, **_):
            if state.global_step == self.step:
                raise InterruptedError

    def trained(folder, *callbacks):
        torch.manual_seed(3)
        model = BertForSequenceClassification(config(num_hidden_layers=1, hidden_size=16, intermediate_size=16))
        data = encode_texts([text for text, _ in rows(64)], tokenizer, max_length=32)
        data = data.with_column("labels", np.arange(64) % 2)
        schedule = Schedule(
            epochs=10, batch_size=16, learning_rate=1e-3, decay="after_plateau", checkpoint_steps=4, warmup=0.05
        )
        context = TrainContext(title="labels", seed=0, checkpoints=folder, precision="fp32")
        objective = Objective(labels=1.0, task_type="classification")
        result = train(DistillationModel(model, None, objective), data, schedule, context, callbacks=callbacks)
        return result, model.state_dict()

    straight, weights = trained(tmp_path / "straight")
    assert 15 < straight.num_steps < 30
    for step in (9, straight.num_steps - 1):  # before and in the decay
        folder = tmp_path / f"killed-{step}"
        with pytest.raises(InterruptedError):
            trained(folder, Kill(step))
        resumed, resumed_weights = trained(folder)
        assert resumed.resumed_at_step > 0 and resumed.num_steps == straight.num_steps
        assert [entry.learning_rate for entry in resumed.history] == [entry.learning_rate for entry in straight.history]
        assert all(torch.equal(value, resumed_weights[name]) for name, value in weights.items())
