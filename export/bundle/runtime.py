#!/usr/bin/env python3
"""Run a PocketBERT bundle. Requires only numpy, onnxruntime and tokenizers.

Every bundle contains this file as `predict.py`:

    python predict.py "some text"                  print the label and its probability as JSON
    python predict.py "a text" --pair "another"    the same for a model that takes two texts
    python predict.py < lines.txt                  read one text per line, print one JSON object per line

A regression model prints its value instead. In lines of two texts, a tab separates them.
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

EXACT_INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}  # x86-64 CPU flags; without them int8 products saturate
TASK_TYPES = ("classification", "regression")
PROVIDER_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}  # compute in full fp32, as torch does


class BundleError(ValueError):
    """The folder is not a usable bundle, or the input does not fit the model."""


class Classifier:
    """A loaded bundle, which predicts labels and probabilities for texts.

    `labels`: names of the model's outputs, in the order of the logits. `task_type`: one of TASK_TYPES.
    `batch_invariant`: whether the output for a text is independent of the other texts in its batch. If not, texts run
    one at a time, so that predictions are reproducible.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        num_threads: int | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        profile: str | Path | None = None,
    ) -> None:
        """Load a bundle. Raises BundleError if the folder is not one.

        `num_threads`: onnxruntime's intra-op threads; by default one per physical core. `providers`: execution
        providers in order of preference. `profile`: prefix of the profile that `session.end_profiling()` writes; None
        disables profiling.
        """
        folder = Path(folder)
        try:
            manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
            self.labels: list[str] = manifest["labels"]
            self.task_type: str = manifest.get("task_type") or _task_type_for_version_0_1_0(self.labels)
            self.max_length: int = manifest["limits"]["max_length"]
            self.batch_invariant: bool = manifest["batch_invariant"]
            self.takes_pairs: bool = manifest["takes_pairs"]
            self.pad_token_id: int = manifest["pad_token_id"]
            self.saturates: bool = manifest.get("saturates", True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{folder}: no readable bundle.json ({type(error).__name__}: {error})") from error
        if self.task_type not in TASK_TYPES:
            raise BundleError(f"{folder}: got task type {self.task_type!r}; expected {' or '.join(TASK_TYPES)}")
        options = onnxruntime.SessionOptions()
        for name, value in session_config(saturates=self.saturates).items():
            options.add_session_config_entry(name, value)
        if num_threads is not None:
            options.intra_op_num_threads = num_threads
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        if "CUDAExecutionProvider" in providers:
            onnxruntime.preload_dlls()  # uses CUDA and cuDNN from torch's packages if they are installed
        try:
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self.session = onnxruntime.InferenceSession(
                str(folder / "onnx" / "model.onnx"), options, providers=with_provider_options(providers)
            )
        except Exception as error:  # both libraries raise a bare Exception for a missing or broken file
            raise BundleError(f"{folder}: {error}") from error
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_length)
        self.input_names = [entry.name for entry in self.session.get_inputs()]

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[dict[str, object]]:
        """Predict each text.

        Classification: {"label": name, "probability": 0..1} of the most probable label. Regression: {name: value}.
        `pairs`: the second texts of a model that takes two.
        """
        answers = self.answers(self.logits(texts, pairs))
        if self.task_type == "regression":
            return [{self.labels[0]: round(float(row[0]), 6)} for row in answers]
        return [{"label": self.labels[int(row.argmax())], "probability": round(float(row.max()), 6)} for row in answers]

    def logits(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, batch_size: int = 32) -> np.ndarray:
        """Logits (texts, classes), in the order of the texts. Batches hold texts of similar length."""
        if not texts:
            return np.empty((0, len(self.labels)), dtype=np.float32)
        encodings = self.encode(texts, pairs)
        by_length = sorted(range(len(encodings)), key=lambda index: len(encodings[index]))
        step = batch_size if self.batch_invariant else 1
        rows: list[np.ndarray] = [np.empty(0)] * len(encodings)
        for start in range(0, len(by_length), step):
            batch = by_length[start : start + step]
            for index, row in zip(batch, self.run([encodings[index] for index in batch]), strict=True):
                rows[index] = row
        return np.stack(rows)

    def answers(self, logits: np.ndarray) -> np.ndarray:
        """Convert logits (texts, classes) to probabilities. Regression values (texts, 1) stay unchanged."""
        return logits if self.task_type == "regression" else probabilities(logits)

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]:
        """Tokenise the texts and truncate them to `max_length` tokens."""
        if self.takes_pairs != (pairs is not None):
            raise BundleError("this bundle takes " + ("two texts" if self.takes_pairs else "one text"))
        rows = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        return self.tokenizer.encode_batch(rows)

    def model_inputs(self, encodings: Sequence[Encoding], *, length: int | None = None) -> dict[str, np.ndarray]:
        """The model's inputs by name, int64 (texts, positions), padded to the longest text or to `length` if longer."""
        longest = max(length or 0, *(len(encoding) for encoding in encodings))
        ids = np.full((len(encodings), longest), self.pad_token_id, dtype=np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
            types[row, : len(encoding)] = encoding.type_ids
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: inputs[name] for name in self.input_names}

    def forward(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Run the model on `model_inputs`. Returns logits (texts, classes)."""
        return self.session.run(["logits"], inputs)[0]

    def run(self, encodings: Sequence[Encoding], *, length: int | None = None) -> np.ndarray:
        """Pad one batch and run the model on it. Returns logits (texts, classes). `length`: as in `model_inputs`."""
        return self.forward(self.model_inputs(encodings, length=length))


def session_config(*, saturates: bool) -> dict[str, str]:
    """Session configuration entries that make predictions independent of the processor.

    On x86-64 processors without VNNI, int8 products saturate at 16 bits. On these, and on processors that cannot be
    identified, onnxruntime is configured to avoid saturation; this is exact but slower. `saturates`: whether the
    model's weights are large enough to saturate; if not, no entry is needed.
    """
    if not saturates:
        return {}
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        flags = set()
    return {"session.x64quantprecision": "0" if flags & EXACT_INT8_FLAGS else "1"}


def with_provider_options(providers: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Provider names with their options, in the form that `InferenceSession` accepts."""
    return [(name, PROVIDER_OPTIONS.get(name, {})) for name in providers]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits (rows, classes) over the classes."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _task_type_for_version_0_1_0(labels: Sequence[str]) -> str:
    """The task type of a bundle from version 0.1.0, whose bundle.json does not contain it."""
    return "regression" if len(labels) == 1 else "classification"


def _input_rows(arguments: argparse.Namespace, takes_pairs: bool) -> Iterator[tuple[str, str | None]]:
    """The text from the command line, or else the texts on standard input. The second text is None without pairs."""
    if arguments.text is not None:
        yield arguments.text, arguments.pair
        return
    for number, line in enumerate(sys.stdin, start=1):
        cells = line.rstrip("\n").split("\t") if takes_pairs else [line.rstrip("\n")]
        if len(cells) != 1 + takes_pairs:
            raise BundleError(f"line {number}: got {len(cells)} texts; expected two, separated by a tab")
        yield cells[0], cells[1] if takes_pairs else None


def main() -> int:
    """Run the command line. Returns the exit code: 0, or 2 after bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", help="the text; if omitted, texts are read from standard input")
    parser.add_argument("--pair", help="the second text, for a model that takes two")
    parser.add_argument("--bundle", default=Path(__file__).resolve().parent, help="the bundle folder (default: here)")
    parser.add_argument("--threads", type=int, help="number of threads (default: one per physical core)")
    arguments = parser.parse_args()
    try:
        classifier = Classifier(arguments.bundle, num_threads=arguments.threads)
        for text, pair in _input_rows(arguments, classifier.takes_pairs):
            prediction = classifier.predict([text], None if pair is None else [pair])[0]
            print(json.dumps(prediction, ensure_ascii=False), flush=True)
    except (BundleError, UnicodeError) as error:
        print(f"predict.py: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
