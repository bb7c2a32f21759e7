"""A recipe whose run takes seconds, and a function that kills a run at a given moment."""

import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from ruamel.yaml import YAML

from tiny_bert import words_with_vectors

STAGES = ("teacher", "general", "masked_lm", "intermediate", "prediction")  # those with training
VARIANTS = ["fp32", "int8-dynamic", "int8-static"]
QUICK_BENCH = {
    "threads": 1, "rounds": 2, "fixed_lengths": [8], "fixed_batches": [2], "warm_up_s": 0.1,
    "compiled_teacher": False, "roofline": False,
}  # fmt: skip
ANY = {"label_flips": 1.0, "logit_error": 9.0}


def recipe(tmp_path: Path, base: Path, data: Path, **changes: object) -> Path:
    """Write the recipe. `changes`: sections that replace its own."""
    (tmp_path / "corpus.txt").write_text("\n".join(["the plot of the film and a very warm story"] * 150))
    quick = {"epochs": 4, "batch_size": 16, "learning_rate": 5e-3, "checkpoint_steps": 7}
    content = {
        "name": "tiny",
        "task": {"data": str(data), "max_length": 32},
        "teacher": {"base": str(base), "fine_tune": quick},
        "student": {"layers": 2, "width": 16, "ffn_width": 32, "heads": 4, "dropout": 0.1},
        "augment": {
            "masked_lm": {"train_head": {**quick, "corpus": ["task"], "max_length": 32}},
            "vectors": str(words_with_vectors(tmp_path / "words.txt")),
            "copies_per_text": 1,
        },
        "distill": {
            "general": {**quick, "corpus": [str(tmp_path / "corpus.txt"), "task"], "max_length": 32},
            "intermediate": quick,
            "prediction": quick,
        },
        "export": {"variants": VARIANTS, "tolerance": dict.fromkeys(VARIANTS[1:], ANY)},
        "gate": {"student_share": 0.5},
        "bench": QUICK_BENCH,
        **changes,
    }
    path = tmp_path / "tiny.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(content, file)
    return path


def weights(folder: Path) -> dict[str, str]:
    return {name: weights_of(folder / name) for name in STAGES}


def weights_of(stage_folder: Path) -> str:
    return hashlib.sha256((stage_folder / "model" / "model.safetensors").read_bytes()).hexdigest()


def kill_at(moment: str, stage: str, process: subprocess.Popen, root: Path) -> None:
    """Send SIGKILL when the stage reaches that moment. With several processes, the main one gets it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        epochs = checkpointed_epochs(root, stage)
        reached = {
            "before any checkpoint": any(
                (partial / name).exists()
                for partial in partials(root, stage)
                for name in ("teacher_logits.npy", "blocks/blocks.json")
            ),
            "between shards": any((partial / "tokens").exists() for partial in partials(root, stage)),
            "first epoch": any(epoch < 1 for epoch in epochs),
            "later epoch": any(1 < epoch < 4 for epoch in epochs),
        }
        if reached[moment]:
            os.kill(int((root / "runs" / "tiny" / ".pid").read_text()), signal.SIGKILL)
            assert process.wait(timeout=120) != 0
            return
        assert process.poll() is None, f"{stage} ended before it could be killed: {process.stderr.read()}"
        time.sleep(0.002)
    raise AssertionError(f"{stage} never reached: {moment}")


def partials(root: Path, stage: str) -> list[Path]:
    """The working folders of a stage: in the run folder and in the cache."""
    return [root / "runs" / "tiny" / ".partial" / stage, *(root / "cache" / "stages").glob(f"{stage}-*.partial")]


def checkpointed_epochs(root: Path, stage: str) -> list[float]:
    """The epochs of the stage's complete checkpoints, while its process writes and removes them."""
    epochs = []
    for partial in partials(root, stage):
        try:
            for checkpoint in (partial / "checkpoints").iterdir():
                state = checkpoint / "trainer_state.json"
                if state.exists():
                    epochs.append(json.loads(state.read_text())["epoch"])
        except (OSError, ValueError):
            continue
    return epochs
