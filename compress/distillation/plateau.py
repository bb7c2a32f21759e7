"""A schedule that ends by the slope of the loss: a constant learning rate until the loss is flat, then a linear decay.

The shape is "warmup-stable-decay" (Hu et al. 2024, "MiniCPM", section 4). Only steps and losses decide when the decay
starts, so a resumed training decides as an uninterrupted one.
"""

import math
from typing import Any

from transformers import TrainerCallback

WINDOWS = 12  # of the largest number of steps; the mean losses of two neighbouring windows are compared
SMALLEST_WINDOW = 100  # steps
FLAT_BELOW = 0.02  # relative fall of the loss from one window to the next
DECAY_SHARE = 0.25  # length of the decay, as a share of the steps before it


class StableThenDecay:
    """The factor of the learning rate at each step, for torch's LambdaLR, which saves the attributes of this object."""

    def __init__(self, *, warmup_steps: int, max_steps: int) -> None:
        self.warmup_steps = warmup_steps
        self.decay_start = math.ceil(max_steps / (1 + DECAY_SHARE))

    @property
    def last_step(self) -> int:
        """The step at which the learning rate reaches 0."""
        return self.decay_start + math.ceil(DECAY_SHARE * self.decay_start)

    def __call__(self, step: int) -> float:
        """The factor at a step."""
        if step < self.warmup_steps:
            return step / self.warmup_steps
        if step <= self.decay_start:
            return 1.0
        return max(0.0, (self.last_step - step) / (self.last_step - self.decay_start))


class DecayAtPlateau(TrainerCallback):
    """Starts the decay of a schedule when the loss has become flat, and stops training at the end of the decay."""

    def __init__(self, schedule: StableThenDecay, *, max_steps: int) -> None:
        self.schedule = schedule
        self.window = max(SMALLEST_WINDOW, math.ceil(max_steps / WINDOWS))

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Compare the last two windows, unless the decay has begun or the warm-up is still in one of them."""
        step, schedule = state.global_step, self.schedule
        if step >= schedule.decay_start or step - 2 * self.window < schedule.warmup_steps:
            return
        if (step - schedule.warmup_steps) % self.window >= args.logging_steps:  # once per window
            return
        before = self._mean_loss(state, step - 2 * self.window, step - self.window)
        if before - self._mean_loss(state, step - self.window, step) < FLAT_BELOW * abs(before):
            schedule.decay_start = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop at the end of the decay."""
        if state.global_step >= self.schedule.last_step:
            control.should_training_stop = True

    @staticmethod
    def _mean_loss(state: Any, after: int, until: int) -> float:
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry and after < entry["step"] <= until]
        return sum(losses) / len(losses)
