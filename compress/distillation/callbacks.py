"""Trainer callbacks: they keep the best epoch, mark complete checkpoints and report progress."""

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
    """The newest complete checkpoint, or None. Removes incomplete checkpoints."""
    newest = None
    if distributed.is_main():
        paths = sorted(folder.glob("checkpoint-*"), key=_step)
        complete = [path for path in paths if (path / COMPLETE).exists()]
        for path in paths:
            if path not in complete:
                shutil.rmtree(path, ignore_errors=True)
        newest = str(complete[-1]) if complete else None
    return distributed.broadcast_from_main(newest)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


class Checkpoints(TrainerCallback):
    """Marks a checkpoint as complete once every process has written its part, and removes older checkpoints."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint that the trainer has just written."""
        distributed.all_gather(None)  # wait for all
        if not distributed.is_main():
            return
        newest = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (newest / COMPLETE).touch()
        for path in newest.parent.glob("checkpoint-*"):
            if path != newest:
                shutil.rmtree(path, ignore_errors=True)


class BestEpoch(TrainerCallback):
    """Scores the student on dev after each epoch and keeps the weights of the best epoch in the file `path`.

    `epoch_steps`: steps per epoch. The last epoch may be shorter. `patience`: epochs without a better score after which
    training stops; None: never. `on_score` gets each epoch, counted from 1, and its score.
    """

    def __init__(
        self,
        evaluate: Callable[[PreTrainedModel], float],
        path: Path,
        *,
        epoch_steps: int,
        patience: int | None = None,
        on_score: Callable[[int, float], None] = lambda epoch, score: None,
    ) -> None:
        self.evaluate = evaluate
        self.path = path
        self.epoch_steps = epoch_steps
        self.patience = patience
        self.on_score = on_score
        self.scores_file = path.with_suffix(".json")
        self.scores: list[float] = []

    @property
    def best_epoch(self) -> int:
        """The first epoch, counted from 1, with the highest score."""
        return self.scores.index(max(self.scores)) + 1

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Read the scores of an interrupted run.

        The file may contain scores of epochs after the checkpoint. They are kept, because training would repeat them
        exactly. If the run was killed before it scored the epoch of the checkpoint, this scores it now.
        """
        if state.global_step == 0:
            return
        self.scores = distributed.broadcast_from_main(
            json.loads(self.scores_file.read_text()) if self.scores_file.exists() else []
        )
        if len(self.scores) < self._num_epochs(state):
            self._score(model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Score the epoch that ends with this step, unless an interrupted run has already scored it."""
        num_epochs = self._num_epochs(state)
        if len(self.scores) < num_epochs:
            self._score(model)
        if self._is_exhausted(num_epochs):
            control.should_training_stop = control.should_save = True

    def has_ended(self, state: Any) -> bool:
        """Whether patience had ended the training at the step of a checkpoint, by the scores of its process."""
        if self.scores_file.exists():
            self.scores = json.loads(self.scores_file.read_text())
        is_end_of_epoch = state.global_step % self.epoch_steps == 0
        return distributed.broadcast_from_main(is_end_of_epoch and self._is_exhausted(self._num_epochs(state)))

    def _is_exhausted(self, num_epochs: int) -> bool:
        """Whether too many of these epochs brought no better score. Scores of later epochs are left out."""
        scores = self.scores[:num_epochs]
        return self.patience is not None and bool(scores) and num_epochs - scores.index(max(scores)) > self.patience

    def _num_epochs(self, state: Any) -> int:
        """The number of epochs that have ended."""
        is_last_step = state.global_step == state.max_steps
        if is_last_step:
            return math.ceil(state.global_step / self.epoch_steps)
        return state.global_step // self.epoch_steps

    def restore(self, student: PreTrainedModel) -> None:
        """Load the weights of the best epoch into the student."""
        distributed.broadcast_from_main(None)  # wait until they are written
        load_model(student, str(self.path))

    def _score(self, model: TrainingModule) -> None:
        self.scores.append(self.evaluate(model.student))
        if not distributed.is_main():
            return
        self.on_score(len(self.scores), self.scores[-1])
        if self.best_epoch == len(self.scores):
            partial = self.path.with_suffix(".partial")
            save_model(model.student, str(partial))
            partial.replace(self.path)
        write_json(self.scores_file, self.scores)


class StopAt(TrainerCallback):
    """Stops training at a step, with a checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop at the step."""
        if state.global_step >= self.step:
            control.should_training_stop = control.should_save = True


class Progress(TrainerCallback):
    """Reports steps and losses. Raises UserError if a loss is not finite."""

    def __init__(self, title: str, bar: ProgressBar) -> None:
        self.title = title
        self.bar = bar
        self.losses = ""
        self.first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report the first step if the run resumes."""
        self.first_step = state.global_step
        if state.global_step:
            self.bar.console.print(f"  {self.title}: resumes at step {state.global_step}")
        self.bar.update(state.global_step, state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Store the latest losses for the progress bar, and check that they are finite."""
        losses = {name: value for name, value in (logs or {}).items() if name.startswith("loss")}
        if not all(math.isfinite(value) for value in losses.values()):
            raise UserError(
                f"{self.title}: the loss is {losses['loss']} at step {state.global_step}", option="learning_rate"
            )
        parts = {name.removeprefix("loss_"): value for name, value in losses.items() if name != "loss"}
        if parts:
            self.losses = " ".join(f"{name} {value:.3g}" for name, value in parts.items())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Update the progress bar."""
        self.bar.update(state.global_step, state.max_steps, self.losses)
