"""The best epoch of a training: its weights in a file, and the scores of all epochs in another one."""

import json
import math
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from safetensors.torch import load_model, save_model
from transformers import PreTrainedModel, TrainerCallback

from compress.common import distributed
from compress.common.errors import UserError
from compress.common.files import replacing, write_json
from compress.common.seals import checksum, damage_of_file, report_damage
from compress.distillation.objective import TrainingModule


class BestEpoch(TrainerCallback):
    """Scores the student on dev after each epoch and keeps the weights of the best epoch in the file `path`.

    `epoch_steps`: steps per epoch. The last epoch may be shorter. `patience`: epochs without a better score after which
    training stops; None: never. `on_score` gets each epoch, counted from 1, and its score. `console`: for a line about
    damaged files.
    """

    def __init__(
        self,
        evaluate: Callable[[PreTrainedModel], float],
        path: Path,
        *,
        epoch_steps: int,
        patience: int | None = None,
        on_score: Callable[[int, float], None] = lambda epoch, score: None,
        console: Console | None = None,
    ) -> None:
        self.evaluate = evaluate
        self.path = path
        self.epoch_steps = epoch_steps
        self.patience = patience
        self.on_score = on_score
        self.console = console
        self.scores_file = path.with_suffix(".json")
        self.scores: list[float] = []

    @property
    def best_epoch(self) -> int:
        """The first epoch, counted from 1, with the highest score."""
        return self.scores.index(max(self.scores)) + 1

    def read_scores(self) -> None:
        """Read the scores of an interrupted run. All processes must call this.

        The file may contain scores of epochs after the checkpoint. They are kept, because training would repeat them
        exactly. If the weights of the best epoch are damaged, only the scores before that epoch are kept, so that
        training repeats the epoch.
        """
        self.scores = distributed.broadcast_from_main(self._intact_scores() if distributed.is_main() else [])

    def can_resume_at(self, step: int) -> bool:
        """Whether training can resume at a step: the scores of all earlier epochs are known.

        The score of an epoch that ends at the step may be missing, because `on_train_begin` computes it.
        """
        return (step - 1) // self.epoch_steps <= len(self.scores)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Score the epoch that ends at the checkpoint, if the interrupted run has not done so."""
        if state.global_step == 0:
            self.scores = []
        elif len(self.scores) < self._num_epochs(state):
            self._score(model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Score the epoch that ends with this step, unless an interrupted run has already scored it."""
        num_epochs = self._num_epochs(state)
        if len(self.scores) < num_epochs:
            self._score(model)
        if self._is_exhausted(num_epochs):
            control.should_training_stop = control.should_save = True

    def has_ended(self, state: Any) -> bool:
        """Whether patience had ended the training at the step of a checkpoint."""
        is_end_of_epoch = state.global_step % self.epoch_steps == 0
        return is_end_of_epoch and self._is_exhausted(self._num_epochs(state))

    def restore(self, student: PreTrainedModel) -> None:
        """Load the weights of the best epoch into the student. Raises UserError if they are damaged."""
        distributed.broadcast_from_main(None)  # wait until they are written
        damage = damage_of_file(self.path, self._read().get("best"))
        if damage is not None:
            raise UserError(f"{self.path} was damaged during the run ({damage}); start the run again")
        load_model(student, str(self.path))

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

    def _score(self, model: TrainingModule) -> None:
        self.scores.append(self.evaluate(model.student))
        if not distributed.is_main():
            return
        self.on_score(len(self.scores), self.scores[-1])
        if self.best_epoch < len(self.scores):
            self._write(self._read().get("best"))
            return
        with replacing(self.path) as partial:
            save_model(model.student, str(partial))
            # Scores first: after a kill in between, they do not fit the old weights, and training repeats this epoch.
            self._write(checksum(partial))

    def _write(self, best: Any) -> None:
        """Write the scores and `best`, the checksum of the weights."""
        write_json(self.scores_file, {"best": best, "checksum": _checksum_of(self.scores), "scores": self.scores})

    def _read(self) -> dict[str, Any]:
        """The content of the file with the scores; empty if it cannot be read."""
        if self.scores_file.is_file():
            with suppress(OSError, ValueError, RecursionError):
                content = json.loads(self.scores_file.read_bytes())
                if isinstance(content, dict) and content.get("checksum") == _checksum_of(content.get("scores")):
                    return content
        return {}

    def _intact_scores(self) -> list[float]:
        """The scores up to which training can be repeated. Reports damaged files."""
        if not self.scores_file.exists():
            return []
        content = self._read()
        scores: list[float] = content.get("scores", [])
        damage = damage_of_file(self.path, content.get("best")) if scores else f"{self.scores_file.name} cannot be read"
        if damage is None:
            return scores
        report_damage(
            f"  {self.path.parent}: the weights of the best epoch are damaged ({damage}); training resumes from an "
            "earlier step",
            self.console,
        )
        return scores[: scores.index(max(scores))] if scores else []


def _checksum_of(scores: object) -> int:
    """A checksum of the scores, which detects changed numbers."""
    return zlib.crc32(json.dumps(scores).encode())
