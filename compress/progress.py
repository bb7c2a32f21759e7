"""Live progress of a training stage: a bar with each loss and the time left; on a pipe, a line every few seconds."""

import math
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback

from compress.errors import UserError

PLAIN_LINE_EVERY_S = 15.0


class ProgressLines(TrainerCallback):
    """Shows the progress, and stops the training when a loss is no longer finite. Use it as a context manager."""

    def __init__(self, title: str, console: Console) -> None:
        self.title = title
        self.console = console
        self.bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.losses = ""
        self.first_step = 0
        self.last_line_s = self.started_s = time.monotonic()

    def __enter__(self) -> "ProgressLines":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say where training goes on from, if it was cut off."""
        self.started_s = self.last_line_s = time.monotonic()
        self.first_step = state.global_step
        if state.global_step:
            self.console.print(f"  {self.title}: resumes at step {state.global_step}")
        self.task = self.bar.add_task(self.title, total=state.max_steps, completed=state.global_step, losses="")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Take up the latest losses."""
        losses = {name: value for name, value in (logs or {}).items() if name.startswith("loss")}
        if not all(math.isfinite(value) for value in losses.values()):
            raise UserError(
                f"{self.title}: the loss is {losses['loss']} at step {state.global_step}; lower its learning_rate"
            )
        parts = {name.removeprefix("loss_"): value for name, value in losses.items() if name != "loss"}
        if parts:
            self.losses = " ".join(f"{name} {value:.3g}" for name, value in parts.items())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar, or print a line when it is time for one."""
        self.bar.update(self.task, completed=state.global_step, losses=self.losses)
        now = time.monotonic()
        if self.console.is_terminal or now - self.last_line_s < PLAIN_LINE_EVERY_S:
            return
        self.last_line_s = now
        left_s = (now - self.started_s) / (state.global_step - self.first_step) * (state.max_steps - state.global_step)
        self.console.print(
            f"  {self.title}: step {state.global_step}/{state.max_steps}, {left_s:.0f} s left, {self.losses}",
            soft_wrap=True,
        )
