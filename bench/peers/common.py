"""Shared code of the peers: the conversion command, and the predictor from texts to logits.

It runs in the peers' own environments, which have only numpy and tokenizers in common.
"""

import argparse
import json
import shutil
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from tokenizers import Encoding, Tokenizer

from bench.peers.environments import OUTCOMES, folder_name
from bench.timing.messages import ModelFacts

if TYPE_CHECKING:
    from compress.data.task_types import TaskTypeName


@dataclass(frozen=True)
class Job:
    """A model to convert. `rows`: calibration texts. `scratch`: a folder for files that variants share."""

    model: Path
    rows: list[list[str]]
    max_length: int
    scratch: Path


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of peer.json. `versions`: of the packages used for conversion. `settings`: options of the session."""

    peer: str
    variant: str
    max_length: int
    labels: list[str]
    task_type: "TaskTypeName"
    pad_token_id: int
    versions: dict[str, str]
    settings: dict[str, str]


Conversion = Callable[[Job, Path], dict[str, str] | None]


def run_conversion(peer: str, conversions: Mapping[str, Conversion], packages: Sequence[str]) -> None:
    """The command line of a peer's module: convert every variant, and write the error or null of each to outcomes.json.

    A conversion writes the model's files into an empty folder, and returns the settings of its session. The folder of a
    variant also gets tokenizer.json and peer.json, which contains a `Description`.
    """
    parser = argparse.ArgumentParser(description=f"Convert a fine-tuned BERT with {peer}.")
    parser.add_argument("model", type=Path, help="a Hugging Face folder")
    parser.add_argument("output", type=Path, help="the target folder; each variant gets a folder in it")
    parser.add_argument("--calibration", type=Path, required=True, help="JSON: a list of rows, one or two texts each")
    parser.add_argument("--max-length", type=int, required=True, help="the model's maximum number of tokens")
    arguments = parser.parse_args()
    output: Path = arguments.output.absolute()
    outcomes: dict[str, str | None] = {}
    with tempfile.TemporaryDirectory(dir=output) as scratch:
        rows = json.loads(arguments.calibration.read_text(encoding="utf-8"))
        job = Job(arguments.model.absolute(), rows, arguments.max_length, Path(scratch))
        for variant, convert in conversions.items():
            folder = output / folder_name(variant)
            folder.mkdir()  # which fails if there is one, as it may be the user's
            try:
                settings = convert(job, folder)
            except Exception as error:
                traceback.print_exc()
                shutil.rmtree(folder)
                outcomes[variant] = f"{type(error).__name__}: {error}".splitlines()[0]
                continue
            shutil.copyfile(job.model / "tokenizer.json", folder / "tokenizer.json")
            versions = {package: version(package) for package in packages}
            description = _describe(job, peer, variant, versions, settings or {})
            (folder / "peer.json").write_text(json.dumps(asdict(description), indent=2) + "\n", encoding="utf-8")
            outcomes[variant] = None
    (output / OUTCOMES).write_text(json.dumps(outcomes, indent=2) + "\n", encoding="utf-8")


def _describe(job: Job, peer: str, variant: str, versions: dict[str, str], settings: dict[str, str]) -> Description:
    from compress.data.task_types import type_of_model  # imported here to keep it out of the measured import time

    config = json.loads((job.model / "config.json").read_text(encoding="utf-8"))
    names = config.get("id2label", {})
    labels = [names[index] for index in sorted(names, key=int)]
    return Description(
        peer=peer,
        variant=variant,
        max_length=job.max_length,
        labels=labels,
        task_type=type_of_model(config.get("problem_type"), labels),
        pad_token_id=config.get("pad_token_id") or 0,  # BERT's default
        versions=versions,
        settings=settings,
    )


class TextEncoder:
    """Tokenises texts and builds the model's inputs."""

    def __init__(self, tokenizer: Path, *, max_length: int, pad_token_id: int, input_names: Sequence[str]) -> None:
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length)
        self.pad_token_id = pad_token_id
        self.input_names = input_names

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]:
        """Tokenise the texts and truncate them to `max_length`."""
        return self.tokenizer.encode_batch(list(texts) if pairs is None else list(zip(texts, pairs, strict=True)))

    def model_inputs(self, encodings: Sequence[Encoding]) -> dict[str, np.ndarray]:
        """The model's inputs by name, int64 (texts, positions), padded to the longest text."""
        shape = (len(encodings), max(len(encoding) for encoding in encodings))
        ids = np.full(shape, self.pad_token_id, dtype=np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
            types[row, : len(encoding)] = encoding.type_ids
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: inputs[name] for name in self.input_names}


class PeerSession(Protocol):
    """A loaded model of a peer."""

    input_names: Sequence[str]
    facts: ModelFacts

    def forward(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Run the model. Returns logits (texts, classes)."""
        ...


class PeerPredictor:
    """Computes logits for texts with a variant of a peer. Implements `export.parity.predictors.Predictor`.

    `session`: loads the model from the folder, number of threads and settings. `facts`: threads, device, and versions
    of the packages used for conversion. `task_type`: the type of its output.
    """

    def __init__(
        self, folder: str | Path, *, num_threads: int, session: Callable[[Path, int, dict[str, str]], PeerSession]
    ) -> None:
        folder = Path(folder)
        description = Description(**json.loads((folder / "peer.json").read_text(encoding="utf-8")))
        loaded = session(folder, num_threads, description.settings)
        self.facts = replace(loaded.facts, versions=description.versions)
        self.task_type = description.task_type
        self.forward = loaded.forward
        encoder = TextEncoder(
            folder / "tokenizer.json",
            max_length=description.max_length,
            pad_token_id=description.pad_token_id,
            input_names=loaded.input_names,
        )
        self.encode = encoder.encode
        self.model_inputs = encoder.model_inputs

    def run(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Pad one batch and run the model on it. Returns logits (texts, classes), valid until the next call."""
        return self.forward(self.model_inputs(encodings))

    def logits(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, batch_size: int = 32) -> np.ndarray:
        """Logits (texts, classes), in the order of the texts."""
        encodings = self.encode(texts, pairs)
        by_length = sorted(range(len(encodings)), key=lambda index: len(encodings[index]))
        logits: list[np.ndarray] = [np.empty(0)] * len(encodings)
        for start in range(0, len(by_length), batch_size):
            batch = by_length[start : start + batch_size]
            for index, row in zip(batch, self.run([encodings[index] for index in batch]), strict=True):
                logits[index] = row.copy()
        return np.stack(logits)
