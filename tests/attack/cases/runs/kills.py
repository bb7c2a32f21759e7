"""A run is killed at a moment and started again. Its weights and ONNX models must equal those of the sound run."""

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.attack.attack import Attack, Case, Command, Finished, Running, Scratch
from tests.attack.material import Material

TYPE = "kills"
MOMENTS = {  # by stage, the shares of its duration in the sound run after which it is killed
    "baseline": (0.5,),
    "teacher": (0.3, 0.8),
    "general": (0.3, 0.8),
    "masked_lm": (0.4, 0.9),
    "augment": (0.0, 0.6),
    "intermediate": (0.2, 0.5, 0.9),
    "prediction": (0.2, 0.6, 0.95),
    "export": (0.1, 0.5, 0.9),
    "bench": (0.3, 0.9),
}
SURE_CODES = frozenset({-signal.SIGKILL, 0})
ANNOUNCED = 120  # seconds until a stage must have begun


def attacks(seed: int) -> list[Attack]:
    """One attack per stage and moment."""
    return [
        Attack(name=f"kill/{stage}/{share}", type=TYPE, prepare=partial(_prepare, stage, share), seconds=45)
        for stage, shares in MOMENTS.items()
        for share in shares
    ]


def _prepare(stage: str, share: float, scratch: Scratch) -> Case:
    duration = seconds_of_stages(scratch.material)[stage]
    run = ["run", scratch.material.recipe, "--output", "run"]
    killed = Command(words=run, limit_s=300, codes=SURE_CODES, during=kill_after(stage, share * duration))
    return Case(
        commands=[killed, Command(words=run, limit_s=300)],
        must_succeed=True,
        check=partial(differences, scratch.material.run, scratch.root / "run"),
    )


def seconds_of_stages(material: Material) -> dict[str, float]:
    """How long each stage of the sound run took, as it printed."""
    printed = (material.root / "logs" / "run.err").read_text(encoding="utf-8")
    return {name: float(seconds) for name, seconds in re.findall(r"^(\w+): took (\d+) s$", printed, re.MULTILINE)}


def kill_after(stage: str, seconds: float, *, number: signal.Signals = signal.SIGKILL) -> Callable[[Running], None]:
    """Send a signal that many seconds after the stage has begun, or at once if the command has ended."""

    def during(running: Running) -> None:
        deadline = time.monotonic() + ANNOUNCED
        while time.monotonic() < deadline and not _has_begun(running, stage):
            if os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.02)
        time.sleep(seconds)
        os.kill(running.pid, number)  # a process that has ended is still there: nobody has waited for it

    return during


def _has_begun(running: Running, stage: str) -> bool:
    return f"\n{stage}\n".encode() in b"\n" + running.stderr.read_bytes()


def differences(expected: Path, actual: Path, ended: Sequence[Finished]) -> list[str]:
    """The weights and ONNX models that differ between two runs, or are missing."""
    names = model_files(expected)
    missing = [name for name in names if not (actual / name).is_file()]
    changed = [
        name for name in names if name not in missing and (actual / name).read_bytes() != (expected / name).read_bytes()
    ]
    assert len(names) >= 8, f"the sound run has only {len(names)} models"
    return [*[f"{name}: missing" for name in missing], *[f"{name}: differs from the sound run" for name in changed]]


def model_files(run: Path) -> list[str]:
    """The weights and ONNX models of a run."""
    paths = [Path(folder, name) for folder, _, names in os.walk(run, followlinks=True) for name in names]
    return sorted(
        path.relative_to(run).as_posix()
        for path in paths
        if path.suffix in (".safetensors", ".onnx") and not path.relative_to(run).parts[0].startswith(".")
    )
