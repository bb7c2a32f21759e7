"""Runs one consumer on one bundle, and compares its outputs with those of the bundle's own predict.py."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.common.files import sha256_of_all
from export.bundle.folder import SUMS_FILE
from export.bundle.runtime import probabilities
from tests.interop.consumers import SAME_LABELS, Consumer
from tests.interop.environments import UnavailableError, folder_of

DRIVERS = Path(__file__).resolve().parent / "drivers"
BATCH_SIZE = 16
LONGEST_S = 1200
LONGEST_MESSAGE = 200
NOT_TRIED = "not tried: "
# Without a tolerance in bundle.json: how far a logit may move because another runtime or processor rounds differently.
# In int8, a value near the border of two integers moves by a whole step, 1/255 of its range.
LOGIT_TOLERANCES = {"fp32": 1e-4, "fp16": 0.02}
LOGIT_TOLERANCE_INT = 0.4


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """One bundle with the outputs of its predict.py. `job`: what drivers read. `logits`: (texts, classes).

    `variant`: the name of the bundle's folder. `promise`: which promise of a consumer holds, a variant or one of TASKS.
    `logit_tolerance`: how far a logit may move. `is_batch_invariant`:
    whether promises hold in batches. `digest`: changes with the bundle and the texts.
    """

    variant: str
    promise: str
    job: dict[str, Any]
    logits: np.ndarray
    logit_tolerance: float
    is_batch_invariant: bool
    is_regression: bool
    digest: str

    @property
    def num_texts(self) -> int:
        """The number of texts."""
        return len(self.logits)

    @property
    def tolerance(self) -> float:
        """How far a probability may move, or a regression's value. The slope of softmax is a quarter at most."""
        return self.logit_tolerance if self.is_regression else self.logit_tolerance / 2


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What a consumer gives for a bundle, compared with predict.py.

    `changed`, `changed_batched`: numbers of texts with another label, one at a time and in padded batches; None where
    the consumer takes no batches. `difference`: the largest of a probability, or of a regression's value. `shift`: the
    largest of a logit; None if the consumer gives only probabilities. `message`: the error, on one line.
    """

    consumer: str
    variant: str
    promised: bool = False
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
    def largest_difference(self) -> float:
        """That of both ways to run the texts; NaN if one has NaN."""
        return float(np.max([self.difference, self.difference_batched or 0.0]))

    @property
    def is_broken(self) -> bool:
        """Whether a promise is broken."""
        return self.promised and bool(self.failures or self.message)

    @property
    def was_not_tried(self) -> bool:
        """Whether something that the consumer needs is missing on this machine."""
        return self.message.startswith(NOT_TRIED)


def read_inputs(bundle: Path, texts: Sequence[str] | None, *, promise: str | None = None) -> Inputs:
    """Run the bundle's own predict.py, in the Python of this process.

    `texts`: None for the golden examples of the bundle, which a bundle for pairs always gets. `promise`: by default the
    variant. Raises SystemExit if predict.py fails.
    """
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    golden = manifest["golden"]
    if texts is None or manifest["takes_pairs"]:
        texts = [example["text"] for example in golden]
    job = {
        "bundle": str(bundle.resolve()),
        "texts": list(texts),
        "pairs": [example["pair"] for example in golden] if manifest["takes_pairs"] else None,
        "batch_size": BATCH_SIZE,
        "max_length": manifest["limits"]["max_length"],
        "labels": manifest["labels"],
        "is_regression": manifest["task_type"] == "regression",
    }
    result = _run([sys.executable, str(DRIVERS / "reference.py")], job, Path.cwd())
    if "error" in result:
        raise SystemExit(f"{bundle}: predict.py: {result['error']}")
    usual = LOGIT_TOLERANCES.get(manifest["variant"], LOGIT_TOLERANCE_INT)
    return Inputs(
        variant=bundle.resolve().name,
        promise=promise or manifest["variant"],
        job={**job, **{name: result[name] for name in ("tokens", "inputs", "pad")}},
        logits=np.array(result["unbatched"]),
        logit_tolerance=(manifest.get("golden_terms") or {}).get("logit_tolerance", usual),
        is_batch_invariant=manifest["batch_invariant"],
        is_regression=job["is_regression"],
        digest=sha256_of_all([bundle / SUMS_FILE]) + hashlib.sha256(json.dumps(job).encode()).hexdigest(),
    )


def run_cell(consumer: Consumer, inputs: Inputs, root: Path) -> Cell:
    """Load the bundle in the consumer and compare. A consumer that cannot run gives a message."""
    start = Cell(consumer=consumer.name, variant=inputs.variant)
    try:
        folders = {each.name: str(folder_of(each, root)) for each in (consumer.environment, *consumer.further)}
    except UnavailableError as error:
        return judged(_with(start, message=f"{NOT_TRIED}{error}"), consumer, inputs)
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
        message = _shortened(result["error"], inputs.job["bundle"])
        return judged(_with(start, message=message), consumer, inputs)
    return judged(_compared(start, consumer, inputs, result, num_texts), consumer, inputs)


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
    return cell


def judged(cell: Cell, consumer: Consumer, inputs: Inputs) -> Cell:
    """The cell, with whether it was promised and which promises it breaks."""
    failures = () if cell.message else tuple(_failures(cell, consumer, inputs))
    return _with(cell, promised=inputs.promise in consumer.promised, failures=failures)


def _failures(cell: Cell, consumer: Consumer, inputs: Inputs) -> list[str]:
    """The promises that a cell breaks."""
    failures = []
    measured = [("", cell.changed, cell.difference)]
    if inputs.is_batch_invariant and cell.changed_batched is not None:
        measured.append((" in batches", cell.changed_batched, cell.difference_batched or 0.0))
    for where, changed, difference in measured:
        if changed and inputs.promise in SAME_LABELS:
            failures.append(f"{changed} of {cell.num_texts} labels change{where}")
        if not difference <= inputs.tolerance:  # NaN exceeds every limit
            failures.append(f"an output moves by {difference:.2g}{where}; the tolerance is {inputs.tolerance:.2g}")
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
        return {"error": f"{NOT_TRIED}{error.filename} is not installed"}
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
    """The last line of an error that is not indented. Node.js ends with its version."""
    lines = [line for line in text.splitlines() if line.strip() and not line[0].isspace()]
    lines = [line for line in lines if not line.startswith("Node.js v")]
    return lines[-1] if lines else ""


def _shortened(message: str, bundle: str) -> str:
    """A message on one line, without names of classes, codes and the bundle's path."""
    line = " ".join(message.replace(f"{bundle}/", "").split())
    line = re.sub(r"^[\w.]*(Error|Exception|Fail|NotImplemented|InvalidGraph|RuntimeException): ", "", line)
    line = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", line)
    return line[:LONGEST_MESSAGE]
