"""Trainer callbacks: they seal complete checkpoints, stop the training and report progress."""

import math
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors import safe_open
from transformers import TrainerCallback
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState
from transformers.trainer_pt_utils import safe_globals

from compress.common import distributed
from compress.common.errors import Diverged, first_line
from compress.common.files import files_in, sync_folder
from compress.common.progress import ProgressBar
from compress.common.seals import damage_of, report_damage, seal

COMPLETE = "complete"  # the seal of a checkpoint
WEIGHTS = "model.safetensors"
NEEDED = (WEIGHTS, OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME)  # the trainer goes on without some of them


def latest_checkpoint(
    folder: Path, *, is_usable: Callable[[int], bool] = lambda step: True, console: Console | None = None
) -> str | None:
    """The newest intact checkpoint, or None. Removes all others.

    `is_usable`: whether training can resume at a step. `console`: for a line about each damaged checkpoint.
    """
    newest = None
    if distributed.is_main():
        paths = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
        for path in sorted(paths, key=_step, reverse=True):
            if newest is None and (path / COMPLETE).exists():
                damage = _damage_of(path)
                if damage is None and is_usable(_step(path)):
                    newest = str(path)
                    continue
                if damage is not None:
                    report_damage(f"  {path} is damaged ({damage}); training resumes from an earlier step", console)
            _remove(path)
    return distributed.broadcast_from_main(newest)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _damage_of(checkpoint: Path) -> str | None:
    """What is wrong with a completed checkpoint, in a few words; None if it can be loaded. No code of a pickle runs."""
    damage = damage_of(checkpoint / COMPLETE)
    if damage is not None:
        return damage
    missing = next((name for name in NEEDED if not (checkpoint / name).is_file()), None)
    if missing is not None:
        return f"{missing} is missing"
    file = checkpoint / WEIGHTS
    try:
        with safe_open(file, framework="pt"):
            pass
        file = checkpoint / TRAINER_STATE_NAME
        TrainerState.load_from_json(str(file))
        for file in sorted(checkpoint.glob("*.pt*")):
            with safe_globals():  # for the state of numpy's random numbers
                torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        return f"{file.name} cannot be loaded: {first_line(error)}"
    return None


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint. A kill leaves one that counts as interrupted, not as damaged."""
    if checkpoint.is_symlink() or not checkpoint.is_dir():
        checkpoint.unlink(missing_ok=True)
        return
    with suppress(OSError):
        (checkpoint / COMPLETE).unlink()
    shutil.rmtree(checkpoint, ignore_errors=True)


class Checkpoints(TrainerCallback):
    """Seals a checkpoint once every process has written its part, and then removes older checkpoints."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Seal the checkpoint that the trainer has just written. Until then, a kill leaves the previous one intact."""
        distributed.all_gather(None)  # wait for all
        if not distributed.is_main():
            return
        newest = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        seal(files_in(newest), newest / COMPLETE)
        sync_folder(newest.parent)
        for path in newest.parent.glob("checkpoint-*"):
            if path != newest:
                _remove(path)


class StopAt(TrainerCallback):
    """Stops training at a step, with a checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop at the step."""
        if state.global_step >= self.step:
            control.should_training_stop = control.should_save = True


class Progress(TrainerCallback):
    """Reports steps and losses. Raises Diverged if a loss is not finite."""

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
            raise Diverged(
                f"{self.title}: the loss is {losses['loss']} at step {state.global_step}", option="learning_rate"
            )
        parts = {name.removeprefix("loss_"): value for name, value in losses.items() if name != "loss"}
        if parts:
            self.losses = " ".join(f"{name} {value:.3g}" for name, value in parts.items())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Update the progress bar."""
        self.bar.update(state.global_step, state.max_steps, self.losses)
