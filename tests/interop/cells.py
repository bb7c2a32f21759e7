"""Runs one consumer on one bundle, and compares its outputs with those of the bundle's own predict.py."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.bundle.runtime import probabilities
from tests.interop.consumers import Consumer
from tests.interop.environments import Unavailable, folder_of

DRIVERS = Path(__file__).resolve().parent / "drivers"
BATCH_SIZE = 16
LONGEST_S = 1200
# How far a probability may move because another runtime rounds differently. Rounding in int8 is not accidental: one
# step of an activation is 1/255 of its range.
TOLERANCES = {"fp32": 1e-4, "fp16": 0.01}
TOLERANCE_INT = 0.1
BATCH_DEPENDENT = ("int8-dynamic", "int8-weight", "int4-weight")  # the activations of a batch share a scale, or may


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """One bundle with the outputs of its predict.py. `job`: what drivers read. `logits`: (texts, classes)."""

    variant: str
    job: dict[str, Any]
    logits: np.ndarray
    is_regression: bool


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What a consumer gives for a bundle, compared with predict.py.

    `changed`, `changed_batched`: numbers of texts with another label, one at a time and in padded batches; None where
    the consumer takes no batches. `difference`: the largest of a probability, or of a regression's value. `shift`: the
    largest of a logit; None if the consumer gives only probabilities. `message`: the error, on one line.
    """

    consumer: str
    variant: str
    promised: bool
    num_texts: int = 0
    changed: int = 0
    difference: float = 0.0
    shift: float | None = None
    changed_batched: int | None = None
    difference_batched: float | None = None
    version: str = ""
    message: str = ""
    failures: tuple[str, ...] = ()

    @property
    def is_broken(self) -> bool:
        """Whether a promise is broken."""
        return self.promised and bool(self.failures or self.message)


def read_inputs(bundle: Path, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Inputs:
    """Run the bundle's own predict.py, in the Python of this process. Raises Unavailable if it fails."""
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    job = {
        "bundle": str(bundle.resolve()),
        "texts": list(texts),
        "pairs": None if pairs is None else list(pairs),
        "batch_size": BATCH_SIZE,
        "max_length": manifest["limits"]["max_length"],
        "labels": manifest["labels"],
        "is_regression": manifest["task_type"] == "regression",
    }
    result = _run([sys.executable, str(DRIVERS / "reference.py")], job, Path.cwd())
    if "error" in result:
        raise Unavailable(f"{bundle}: {result['error']}")
    further = {name: result[name] for name in ("tokens", "inputs", "pad")}
    return Inputs(
        variant=manifest["variant"],
        job={**job, **further},
        logits=np.array(result["unbatched"]),
        is_regression=job["is_regression"],
    )


def run_cell(consumer: Consumer, inputs: Inputs, root: Path) -> Cell:
    """Load the bundle in the consumer and compare. A consumer that cannot run gives a message."""
    start = Cell(
        consumer=consumer.name, variant=inputs.variant, promised=inputs.variant in consumer.promised
    )
    try:
        folders = {
            each.name: str(folder_of(each, root)) for each in (consumer.environment, *consumer.further)
        }
    except Unavailable as error:
        return _with(start, message=f"not tried: {error}")
    values = {
        "driver": str(DRIVERS / consumer.driver),
        "environment": folders[consumer.environment.name],
        **folders,
    }
    command = [part.format_map(values) for part in consumer.command]
    num_texts = consumer.num_texts or len(inputs.job["texts"])
    shortened = {
        name: value[:num_texts] if name in ("texts", "pairs", "tokens") and value is not None else value
        for name, value in inputs.job.items()
    }
    result = _run(command, {**shortened, **consumer.options, **values}, root)
    if "error" in result:
        return _with(start, message=result["error"])
    return _compared(start, consumer, inputs, result, num_texts)


def _compared(start: Cell, consumer: Consumer, inputs: Inputs, result: Mapping[str, Any], num_texts: int) -> Cell:
    expected = inputs.logits[:num_texts]
    cell = _with(start, num_texts=num_texts, version=str(result.get("version", "")))
    for suffix in ("", "_batched"):
        rows = result["unbatched" if not suffix else "batched"]
        if rows is None:
            continue
        actual = np.array(rows, dtype=float)
        if actual.shape != expected.shape:
            return _with(cell, message=f"outputs of shape {actual.shape}; expected {expected.shape}")
        if inputs.is_regression:
            difference, changed = np.abs(actual - expected).max(), 0
        else:
            outputs = probabilities(actual) if consumer.reports == "logits" else actual
            difference = np.abs(outputs - probabilities(expected)).max()
            changed = int((actual.argmax(axis=1) != expected.argmax(axis=1)).sum())
        cell = _with(cell, **{f"changed{suffix}": changed, f"difference{suffix}": float(difference)})
        if consumer.reports == "logits" and not suffix:
            cell = _with(cell, shift=float(np.abs(actual - expected).max()))
    return _with(cell, failures=tuple(_failures(cell, consumer)))


def _failures(cell: Cell, consumer: Consumer) -> list[str]:
    """The promises that a cell breaks."""
    failures = []
    tolerance = TOLERANCES.get(cell.variant, TOLERANCE_INT)
    depends_on_batch = cell.variant in BATCH_DEPENDENT
    if cell.changed and not depends_on_batch:
        failures.append(f"{cell.changed} of {cell.num_texts} labels change")
    if cell.changed_batched and not depends_on_batch:
        failures.append(f"{cell.changed_batched} of {cell.num_texts} labels change in batches")
    differences = {"": cell.difference, " in batches": 0.0 if depends_on_batch else cell.difference_batched or 0.0}
    failures += [
        f"a probability moves by {value:.2g}{where}; the tolerance is {tolerance:.2g}"
        for where, value in differences.items()
        if not value <= tolerance
    ]
    if consumer.max_logit_shift is not None and not (cell.shift or 0.0) <= consumer.max_logit_shift:
        failures.append(f"a logit moves by {cell.shift:.2g}; the limit is {consumer.max_logit_shift:.2g}")
    return failures


def _with(cell: Cell, **changes: Any) -> Cell:
    return Cell(**{**asdict(cell), **changes})


def _run(command: Sequence[str], job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run a driver. Returns its result, or {"error": message}."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment.pop("PYTHONPATH", None)
    try:
        finished = subprocess.run(
            command,
            input=json.dumps(job),
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            timeout=LONGEST_S,
        )
    except FileNotFoundError as error:
        return {"error": f"not tried: {error.filename} is not installed"}
    except subprocess.TimeoutExpired:
        return {"error": f"no result after {LONGEST_S} s"}
    lines = finished.stdout.strip().splitlines()
    if finished.returncode == 0 and lines:
        try:
            return dict(json.loads(lines[-1]))
        except ValueError:
            pass
    if finished.returncode < 0:
        return {"error": f"ended by {signal.Signals(-finished.returncode).name}"}
    return {"error": _message(finished.stderr) or f"exit code {finished.returncode}"}


def _message(text: str) -> str:
    """The last line of an error that is not indented, shortened."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip() and not line[0].isspace()]
    return lines[-1][:300] if lines else ""
