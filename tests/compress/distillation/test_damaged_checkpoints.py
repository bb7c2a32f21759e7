"""A training whose files were damaged while it was interrupted ends with the weights of an undisturbed one."""

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import BertForSequenceClassification, TrainerCallback

from compress.common.seals import seal
from compress.data.columns import Split
from compress.data.tokenization import encode_split
from compress.distillation.callbacks import COMPLETE, latest_checkpoint
from compress.distillation.objective import DistillationModel, Objective
from compress.distillation.training_loop import Schedule, TrainContext, train
from spoilt_models import Harm
from tiny_bert import config, rows

SCORES = (0.5, 0.9, 0.7, 0.6)  # of the epochs: the second one is the best
EPOCHS: list[bytes] = []  # the weights at the end of each
SCHEDULE = Schedule(epochs=4, batch_size=8, learning_rate=1e-2, checkpoint_steps=1, decay="cosine")
Weights = dict[str, torch.Tensor]


class Killed(Exception):  # noqa: N818
    pass


class KillAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args, state, control, **_) -> None:
        if state.global_step == self.step:
            raise Killed


def do_training(folder: Path, tokenizer, *, kill_at: int | None = None) -> tuple[Weights, str, list[float]]:
    """Train on 16 rows with dropout. Returns the weights, the messages and the scores. Raises Killed."""
    torch.manual_seed(3)
    model = BertForSequenceClassification(config(num_hidden_layers=1, hidden_size=16, intermediate_size=32))
    lines = rows(16)
    labels = np.array([int(name == "positive") for _, name in lines])
    data = encode_split(Split(texts=[text for text, _ in lines], pairs=None, labels=labels), tokenizer, max_length=32)
    console = Console(file=io.StringIO(), width=1000)

    def evaluate(student) -> float:
        """The score of the epoch that ends with these weights."""
        weights = b"".join(tensor.numpy().tobytes() for tensor in student.state_dict().values())
        if weights not in EPOCHS:
            EPOCHS.append(weights)
        return SCORES[EPOCHS.index(weights)]

    result = train(
        DistillationModel(model, None, Objective(labels=1.0, task_type="classification")),
        data,
        SCHEDULE,
        TrainContext(title="labels", seed=0, checkpoints=folder, precision="fp32", console=console),
        evaluate=evaluate,
        callbacks=[] if kill_at is None else [KillAt(kill_at)],
    )
    return model.state_dict(), console.file.getvalue(), result.dev_scores


@pytest.fixture(scope="module")
def straight(tmp_path_factory, tokenizer) -> tuple[Weights, list[float], Path]:
    """The weights and scores of an undisturbed training, and its root."""
    root = tmp_path_factory.mktemp("straight")
    weights, _, scores = do_training(root / "run", tokenizer)
    return weights, scores, root


@pytest.fixture(scope="module")
def interrupted(straight, tokenizer) -> dict[int, Path]:
    """Interrupted trainings, by the step after which they were killed."""
    folders = {step: straight[2] / f"killed-{step}" for step in (3, 4, 5, 7)}
    for step, folder in folders.items():
        with pytest.raises(Killed):
            do_training(folder, tokenizer, kill_at=step)
    return folders


def newest(folder: Path) -> Path:
    return max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def truncate(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def zero(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    file.write_bytes(content)


def change_a_number(file: Path) -> None:
    file.write_text(file.read_text().replace("0.5", "0.95"))


def become_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", COMPLETE)
DAMAGES: list[tuple[str, Callable[[Path], None]]] = [
    *((name, damage) for name in FILES for damage in (truncate, zero, Path.unlink)),
    ("model.safetensors", flip),
    ("optimizer.pt", flip),
    ("optimizer.pt", become_folder),
    (COMPLETE, empty),
    (COMPLETE, lambda file: file.write_text("{}")),
    (COMPLETE, lambda file: file.write_text("[" * 100_000)),
    (COMPLETE, lambda file: file.write_text(json.dumps({"model.safetensors": "yes"}))),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_checkpoint_is_named_and_not_used(interrupted, tmp_path, name, damage):
    folder, console = tmp_path / "run", Console(file=io.StringIO(), width=1000)
    shutil.copytree(interrupted[5], folder)
    damage(newest(folder) / name)
    assert latest_checkpoint(folder, console=console) is None
    assert not any(folder.glob("checkpoint-*"))
    lines = console.file.getvalue().splitlines()
    if (name, damage) == (COMPLETE, Path.unlink):  # such a checkpoint was not finished
        assert not lines
    else:
        assert len(lines) == 1 and "checkpoint-5 is damaged (" in lines[0], lines
        assert name in lines[0] or "record of model.safetensors" in lines[0]


@pytest.mark.parametrize(("name", "damage"), [("optimizer.pt", truncate), ("rng_state.pth", Path.unlink)])
def test_after_damage_the_weights_are_those_of_an_undisturbed_training(straight, interrupted, tokenizer, name, damage):
    weights, scores, root = straight
    folder = root / f"damaged-{name}"
    shutil.copytree(interrupted[5], folder)
    damage(newest(folder) / name)
    after, _, scores_after = do_training(folder, tokenizer)
    assert_equal(after, weights)
    assert scores_after == scores


def test_the_previous_checkpoint_serves_until_the_next_one_is_sealed(straight, interrupted, tokenizer):
    weights, _, root = straight
    folder = root / "two-checkpoints"
    shutil.copytree(interrupted[3], folder)
    shutil.copytree(newest(interrupted[5]), folder / "checkpoint-5")
    truncate(folder / "checkpoint-5" / "optimizer.pt")
    after, messages, _ = do_training(folder, tokenizer)
    assert_equal(after, weights)
    assert "checkpoint-5 is damaged (optimizer.pt has" in messages and "resumes at step 3" in messages


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt"])
def test_a_planted_pickle_is_not_run(interrupted, tmp_path, capsys, name):
    """The attacker also renews the seal."""
    folder, harm = tmp_path / "run", tmp_path / "harm"
    shutil.copytree(interrupted[5], folder)
    checkpoint = newest(folder)
    torch.save({"state": Harm(harm)}, checkpoint / name)
    (checkpoint / COMPLETE).unlink()
    seal([path for path in checkpoint.iterdir() if path.is_file()], checkpoint / COMPLETE)
    assert latest_checkpoint(folder) is None
    assert not harm.exists()
    assert f"damaged ({name} cannot be loaded: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("step", "name", "damage", "resumes"),
    [
        (3, "best.safetensors", zero, []),
        (4, "best.safetensors", Path.unlink, ["4"]),
        (5, "best.safetensors", truncate, ["4"]),  # the end of epoch 2, whose weights are made again
        (7, "best.safetensors", flip, []),
        (5, "best.json", truncate, []),
        (7, "best.json", zero, []),
        (5, "best.json", change_a_number, []),
        (5, "best.json", Path.unlink, []),
    ],
)
def test_damaged_weights_and_scores_of_the_best_epoch_are_made_again(
    straight, interrupted, tokenizer, step, name, damage, resumes
):
    weights, scores, root = straight
    folder = root / f"best-{step}-{name}-{damage.__name__}"
    shutil.copytree(interrupted[step], folder)
    if step == 5:
        shutil.copytree(newest(interrupted[4]), folder / "checkpoint-4")
    damage(folder / name)
    after, messages, scores_after = do_training(folder, tokenizer)
    assert_equal(after, weights)
    assert scores_after == scores
    is_missing = (name, damage) == ("best.json", Path.unlink)
    assert ("the weights of the best epoch are damaged (" in messages) != is_missing
    assert re.findall(r"resumes at step (\d+)", messages) == resumes


def test_a_kill_between_the_scores_and_the_weights_of_the_best_epoch_costs_no_epoch(straight, interrupted, tokenizer):
    weights, scores, root = straight
    folder = root / "between"
    shutil.copytree(interrupted[3], folder)
    with pytest.raises(OSError, match="no space"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", full_disk_for("best.safetensors"))
        do_training(folder, tokenizer)
    after, messages, scores_after = do_training(folder, tokenizer)
    assert_equal(after, weights)
    assert scores_after == scores and "resumes at step 3" in messages


def full_disk_for(name: str) -> Callable[[Path, Path], Path]:
    replace = Path.replace

    def fail(path: Path, target: Path) -> Path:
        if Path(target).name == name:
            raise OSError(28, "no space")
        return replace(path, target)

    return fail


def test_foreign_entries_next_to_checkpoints_do_no_harm(straight, interrupted, tokenizer):
    weights, _, root = straight
    folder = root / "foreign"
    shutil.copytree(interrupted[5], folder)
    (folder / "checkpoint-8").symlink_to(newest(folder))
    (folder / "checkpoint-9").write_text("a file")
    (folder / "checkpoint-notes").mkdir()
    after, messages, _ = do_training(folder, tokenizer)
    assert_equal(after, weights)
    assert "resumes at step" in messages


def test_a_checkpoint_after_the_requested_step_is_not_used(interrupted, tmp_path):
    shutil.copytree(interrupted[5], tmp_path / "run")
    assert latest_checkpoint(tmp_path / "run", is_usable=lambda step: step <= 4) is None
    assert not any((tmp_path / "run").glob("checkpoint-*"))


def assert_equal(weights: Weights, expected: Weights) -> None:
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
