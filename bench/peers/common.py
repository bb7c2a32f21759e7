"""What the peers share: the command that converts, and the predictor from texts to logits.

Runs in the peers' own environments, which hold numpy, tokenizers and little else in common.
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
    """What to convert. `rows`: to calibrate with. `scratch`: a folder for what variants have in common."""

    model: Path
    rows: list[list[str]]
    max_length: int
    scratch: Path


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of peer.json. `versions`: of the packages that converted; `settings`: that the session needs."""

    peer: str
    variant: str
    max_length: int
    labels: list[str]
    task_type: "TaskTypeName"
    pad_token_id: int
    versions: dict[str, str]
    settings: dict[str, str]


Make = Callable[[Job, Path], dict[str, str] | None]


def run_conversion(peer: str, variants: Mapping[str, Make], packages: Sequence[str]) -> None:
    """The command line of a peer's module: make each variant, and write to outcomes.json None or why there is none.

    A variant's folder holds the model's files, tokenizer.json and peer.json, a `Description`. A `Make` writes the
    model's files into an empty folder and returns the settings that its session needs.
    """
    parser = argparse.ArgumentParser(description=f"Convert a fine-tuned BERT with {peer}.")
    parser.add_argument("model", type=Path, help="a Hugging Face folder")
    parser.add_argument("output", type=Path, help="where a folder per variant goes")
    parser.add_argument("--calibration", type=Path, required=True, help="JSON: a list of rows, of one or two texts")
    parser.add_argument("--max-length", type=int, required=True, help="tokens that the model takes at most")
    arguments = parser.parse_args()
    output: Path = arguments.output.absolute()
    outcomes: dict[str, str | None] = {}
    with tempfile.TemporaryDirectory(dir=output) as scratch:
        rows = json.loads(arguments.calibration.read_text(encoding="utf-8"))
        job = Job(arguments.model.absolute(), rows, arguments.max_length, Path(scratch))
        for variant, make in variants.items():
            folder = output / folder_name(variant)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                settings = make(job, folder)
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
    from compress.data.task_types import type_of_model  # not with this module: its import would count as the peer's

    config = json.loads((job.model / "config.json").read_text(encoding="utf-8"))
    names = config.get("id2label", {})
    labels = [names[index] for index in sorted(names, key=int)]
    return Description(
        peer=peer,
        variant=variant,
        max_length=job.max_length,
        labels=labels,
        task_type=type_of_model(config.get("problem_type"), labels),
        pad_token_id=config.get("pad_token_id") or 0,  # BERT's, where the configuration names none
        versions=versions,
        settings=settings,
    )


class Texts:
    """A tokenizer, and the model's inputs that it makes."""

    def __init__(self, tokenizer: Path, *, max_length: int, pad_token_id: int, input_names: Sequence[str]) -> None:
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length)
        self.pad_token_id = pad_token_id
        self.input_names = input_names

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]:
        """Tokenise, cut to `max_length`."""
        return self.tokenizer.encode_batch(list(texts) if pairs is None else list(zip(texts, pairs, strict=True)))

    def columns(self, encodings: Sequence[Encoding]) -> dict[str, np.ndarray]:
        """The model's inputs, int64 (texts, positions), padded to the longest text."""
        shape = (len(encodings), max(len(encoding) for encoding in encodings))
        ids = np.full(shape, self.pad_token_id, dtype=np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
            types[row, : len(encoding)] = encoding.type_ids
        columns = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: columns[name] for name in self.input_names}


class Session(Protocol):
    """A peer's model, loaded."""

    input_names: Sequence[str]
    facts: ModelFacts

    def forward(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """One call of the model: (texts, classes) logits."""
        ...


class Predictor:
    """A variant's folder, loaded: texts in, logits out.

    `session` loads its model: from the folder, on that many threads, with the settings that its conversion left.
    `facts`: how many threads it has, what it ran on, the versions that converted it. `task_type`: what it answers with.
    """

    def __init__(
        self, folder: str | Path, *, num_threads: int, session: Callable[[Path, int, dict[str, str]], Session]
    ) -> None:
        folder = Path(folder)
        description = Description(**json.loads((folder / "peer.json").read_text(encoding="utf-8")))
        loaded = session(folder, num_threads, description.settings)
        self.facts = replace(loaded.facts, versions=description.versions)
        self.task_type = description.task_type
        self.forward = loaded.forward
        self.texts = Texts(
            folder / "tokenizer.json",
            max_length=description.max_length,
            pad_token_id=description.pad_token_id,
            input_names=loaded.input_names,
        )
        self.encode = self.texts.encode
        self.columns = self.texts.columns

    def run(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """One call of the model on one padded batch: (texts, classes) logits, good until the next call."""
        return self.forward(self.columns(encodings))

    def logits(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, batch_size: int = 32) -> np.ndarray:
        """(texts, classes) logits, in the order of the texts."""
        encodings = self.encode(texts, pairs)
        by_length = sorted(range(len(encodings)), key=lambda index: len(encodings[index]))
        logits: list[np.ndarray] = [np.empty(0)] * len(encodings)
        for start in range(0, len(by_length), batch_size):
            batch = by_length[start : start + batch_size]
            for index, row in zip(batch, self.run([encodings[index] for index in batch]), strict=True):
                logits[index] = row.copy()
        return np.stack(logits)
