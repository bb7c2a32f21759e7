"""What happens beside the steps of a training: the best epoch is kept, checkpoints are marked, progress is shown."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save_model
from transformers import PreTrainedModel, TrainerCallback

from compress.common import distributed
from compress.common.errors import UserError
from compress.common.files import write_json
from compress.common.progress import ProgressBar
from compress.distillation.objective import TrainingModule

COMPLETE = "complete"


def latest_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; those whose save was cut off are removed."""
    found = None
    if distributed.is_main():
        paths = sorted(folder.glob("checkpoint-*"), key=_step)
        complete = [path for path in paths if (path / COMPLETE).exists()]
        for path in paths:
            if path not in complete:
                shutil.rmtree(path, ignore_errors=True)
        found = str(complete[-1]) if complete else None
    return distributed.broadcast_from_main(found)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


class Checkpoints(TrainerCallback):
    """Marks a checkpoint when every process has written its part, and removes the older ones."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called when the trainer has written one."""
        distributed.all_gather(None)  # wait for all
        if not distributed.is_main():
            return
        newest = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (newest / COMPLETE).touch()
        for path in newest.parent.glob("checkpoint-*"):
            if path != newest:
                shutil.rmtree(path, ignore_errors=True)


class BestEpoch(TrainerCallback):
    """Scores the student on dev after each epoch and keeps the best epoch's weights beside the checkpoints.

    `epoch_steps`: of what counts as an epoch here; the last may be shorter.
    """

    def __init__(self, evaluate: Callable[[PreTrainedModel], float], path: Path, *, epoch_steps: int) -> None:
        self.evaluate = evaluate
        self.path = path
        self.epoch_steps = epoch_steps
        self.record = path.with_suffix(".json")
        self.scores: list[float] = []

    @property
    def best_epoch(self) -> int:
        """The first epoch, counted from 1, with the highest score."""
        return self.scores.index(max(self.scores)) + 1

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Take up the scores of the run that was cut off.

        Epochs after the checkpoint, scored already, would be scored to the same figures: they are kept. The epoch
        that ended with the checkpoint is scored now when the kill came in between.
        """
        if state.global_step == 0:
            return
        self.scores = distributed.broadcast_from_main(
            json.loads(self.record.read_text()) if self.record.exists() else []
        )
        if len(self.scores) < self._ended(state):
            self._score(model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Score the epoch that ends with this step, unless that was done before a kill."""
        if len(self.scores) < self._ended(state):
            self._score(model)

    def _ended(self, state: Any) -> int:
        """How many epochs have ended."""
        last = state.global_step == state.max_steps
        return math.ceil(state.global_step / self.epoch_steps) if last else state.global_step // self.epoch_steps

    def restore(self, student: PreTrainedModel) -> None:
        """Load the best epoch's weights back into the student."""
        distributed.broadcast_from_main(None)  # wait until they are written
        load_model(student, str(self.path))

    def _score(self, model: TrainingModule) -> None:
        self.scores.append(self.evaluate(model.student))
        if not distributed.is_main():
            return
        if self.best_epoch == len(self.scores):
            partial = self.path.with_suffix(".partial")
            save_model(model.student, str(partial))
            partial.replace(self.path)
        write_json(self.record, self.scores)


class Progress(TrainerCallback):
    """Shows steps and losses, and stops the training when a loss is no longer finite."""

    def __init__(self, title: str, bar: ProgressBar) -> None:
        self.title = title
        self.bar = bar
        self.losses = ""
        self.first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say where training goes on from, if it was cut off."""
        self.first_step = state.global_step
        if state.global_step:
            self.bar.console.print(f"  {self.title}: resumes at step {state.global_step}")
        self.bar.update(state.global_step, state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Take up the latest losses."""
        losses = {name: value for name, value in (logs or {}).items() if name.startswith("loss")}
        if not all(math.isfinite(value) for value in losses.values()):
            raise UserError(
                f"{self.title}: the loss is {losses['loss']} at step {state.global_step}", option="learning_rate"
            )
        parts = {name.removeprefix("loss_"): value for name, value in losses.items() if name != "loss"}
        if parts:
            self.losses = " ".join(f"{name} {value:.3g}" for name, value in parts.items())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar."""
        self.bar.update(state.global_step, state.max_steps, self.losses)
