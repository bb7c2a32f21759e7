#!/usr/bin/env python3
"""Runs a PocketBERT bundle. Needs numpy, onnxruntime and tokenizers, nothing else.

This file is `predict.py` inside every bundle:

    python predict.py "some text"                  label and probability (a regression: its value), as JSON
    python predict.py "a text" --pair "another"    for a task of two texts
    python predict.py < lines.txt                  a text per line (two texts: parted by a tab), a JSON line for each
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Encoding, Tokenizer

EXACT_BYTE_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8"}  # flags of processors that have them
TASK_TYPES = ("classification", "regression")
PROVIDER_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}  # fp32 means fp32, as in torch


class BundleError(ValueError):
    """The folder is no usable bundle, or the input does not fit it."""


class Classifier:
    """A bundle, loaded: texts in, labels and probabilities out.

    `labels`: names of the outputs, in the order of the logits. `task_type`: what the model answers with, one of
    TASK_TYPES. `batch_invariant`: whether a text's answer is independent of the
    other texts in its batch; where it is not, texts are run one by one, so that answers can be repeated.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        num_threads: int | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        profile: str | Path | None = None,
    ) -> None:
        """Load a bundle. `num_threads` is onnxruntime's intra-op count, by default one per physical core.

        `profile`: how the name of the file begins that `session.end_profiling()` then writes.
        """
        folder = Path(folder)
        try:
            manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
            self.labels: list[str] = manifest["labels"]
            self.task_type: str = manifest.get("task_type") or _task_type_of_0_1_0(self.labels)
            self.max_length: int = manifest["limits"]["max_length"]
            self.batch_invariant: bool = manifest["batch_invariant"]
            self.takes_pairs: bool = manifest["takes_pairs"]
            self.pad_token_id: int = manifest["pad_token_id"]
            self.saturates: bool = manifest.get("saturates", True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{folder}: no readable bundle.json ({type(error).__name__}: {error})") from error
        if self.task_type not in TASK_TYPES:
            raise BundleError(f"{folder}: its task type is {self.task_type!r}; expected {' or '.join(TASK_TYPES)}")
        options = onnxruntime.SessionOptions()
        for name, value in session_config(saturates=self.saturates).items():
            options.add_session_config_entry(name, value)
        if num_threads is not None:
            options.intra_op_num_threads = num_threads
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        if "CUDAExecutionProvider" in providers:
            onnxruntime.preload_dlls()  # CUDA and cuDNN from torch's packages, where there are any
        try:
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self.session = onnxruntime.InferenceSession(
                str(folder / "onnx" / "model.onnx"), options, providers=with_options(providers)
            )
        except Exception as error:  # both libraries raise bare Exceptions for a missing or broken file
            raise BundleError(f"{folder}: {error}") from error
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_length)
        self.input_names = [entry.name for entry in self.session.get_inputs()]

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]:
        """Tokenise, cut to `max_length`."""
        if self.takes_pairs != (pairs is not None):
            raise BundleError("this bundle takes " + ("two texts" if self.takes_pairs else "one text"))
        rows = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        return self.tokenizer.encode_batch(rows)

    def columns(self, encodings: Sequence[Encoding], *, length: int | None = None) -> dict[str, np.ndarray]:
        """The model's inputs, int64 (texts, positions), padded to the longest text, or to `length` if that is more."""
        longest = max(length or 0, *(len(encoding) for encoding in encodings))
        ids = np.full((len(encodings), longest), self.pad_token_id, dtype=np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
            types[row, : len(encoding)] = encoding.type_ids
        columns = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: columns[name] for name in self.input_names}

    def forward(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """One call of the model: (texts, classes) logits."""
        return self.session.run(["logits"], columns)[0]

    def run(self, encodings: Sequence[Encoding], *, length: int | None = None) -> np.ndarray:
        """One call of the model on one padded batch: (texts, classes) logits. `length` as in `columns`."""
        return self.forward(self.columns(encodings, length=length))

    def logits(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, batch_size: int = 32) -> np.ndarray:
        """(texts, classes) logits, in the order of the texts."""
        if not texts:
            return np.empty((0, len(self.labels)), dtype=np.float32)
        encodings = self.encode(texts, pairs)
        by_length = sorted(range(len(encodings)), key=lambda index: len(encodings[index]))
        step = batch_size if self.batch_invariant else 1
        found: list[np.ndarray] = [np.empty(0)] * len(encodings)
        for start in range(0, len(by_length), step):
            batch = by_length[start : start + step]
            for index, row in zip(batch, self.run([encodings[index] for index in batch]), strict=True):
                found[index] = row
        return np.stack(found)

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[dict[str, object]]:
        """For each text its most probable label: {"label": name, "probability": 0..1}; of a regression, its value."""
        answers = self.answers(self.logits(texts, pairs))
        if self.task_type == "regression":
            return [{self.labels[0]: round(float(row[0]), 6)} for row in answers]
        return [{"label": self.labels[int(row.argmax())], "probability": round(float(row.max()), 6)} for row in answers]

    def answers(self, logits: np.ndarray) -> np.ndarray:
        """(texts, classes) logits to probabilities; the values of a regression, (texts, 1), as they are."""
        return logits if self.task_type == "regression" else probabilities(logits)


def session_config(*, saturates: bool) -> dict[str, str]:
    """The entries of a session's configuration that make its answers the same on any processor.

    Products of bytes saturate on x86-64 processors without VNNI. There (and where it is not known) the runtime is told
    to compute them in 16 bits, which is exact and slower, unless the model's weights are too small to saturate.
    """
    if not saturates:
        return {}
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        flags = set()
    return {"session.x64quantprecision": "0" if flags & EXACT_BYTE_PRODUCTS else "1"}


def with_options(providers: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Providers by name, as onnxruntime takes them."""
    return [(name, PROVIDER_OPTIONS.get(name, {})) for name in providers]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """(rows, classes) logits to probabilities."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _task_type_of_0_1_0(labels: Sequence[str]) -> str:
    """The task type of a bundle that does not name it, as version 0.1.0 wrote them."""
    return "regression" if len(labels) == 1 else "classification"


def _rows(arguments: argparse.Namespace, takes_pairs: bool) -> Iterator[tuple[str, str | None]]:
    if arguments.text is not None:
        yield arguments.text, arguments.pair
        return
    for number, line in enumerate(sys.stdin, start=1):
        cells = line.rstrip("\n").split("\t") if takes_pairs else [line.rstrip("\n")]
        if len(cells) != 1 + takes_pairs:
            raise BundleError(f"line {number}: got {len(cells)} texts; expected two, parted by a tab")
        yield cells[0], cells[1] if takes_pairs else None


def main() -> int:
    """The command line of predict.py."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", help="the text; without it, lines are read from standard input")
    parser.add_argument("--pair", help="the second text, for a task of two")
    parser.add_argument("--bundle", default=Path(__file__).resolve().parent, help="the bundle folder (default: here)")
    parser.add_argument("--threads", type=int, help="threads (default: one per physical core)")
    arguments = parser.parse_args()
    try:
        classifier = Classifier(arguments.bundle, num_threads=arguments.threads)
        for text, pair in _rows(arguments, classifier.takes_pairs):
            answer = classifier.predict([text], None if pair is None else [pair])[0]
            print(json.dumps(answer, ensure_ascii=False), flush=True)
    except (BundleError, UnicodeError) as error:
        print(f"predict.py: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
