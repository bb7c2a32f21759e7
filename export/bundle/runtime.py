#!/usr/bin/env python3
"""Run a PocketBERT bundle. Requires only numpy, onnxruntime and tokenizers.

Every bundle contains this file as `predict.py`:

    python predict.py "some text"                  print the label and its probability as JSON
    python predict.py "a text" --pair "another"    the same for a model that takes two texts
    python predict.py < lines.txt                  read one text per line, print one JSON object per line

A regression model prints its value instead. In lines of two texts, a tab separates them.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 (a bundle runs outside PocketBERT; older versions fail below)
    reason = "needs Python 3.10 or newer; this is {}.{}.{}".format(*sys.version_info[:3])
    if __name__ != "__main__":
        raise ImportError("predict.py: " + reason)
    sys.stderr.write("predict.py: " + reason + "\n")
    sys.exit(2)

import argparse
import json
import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

try:
    with redirect_stderr(StringIO()):  # a numpy that does not fit the others prints pages before it raises
        import numpy as np
        import onnxruntime
        import tokenizers
        from tokenizers import Encoding, Tokenizer
    if np.__version__ >= "2" and tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 19):
        # together they end the process with a segmentation fault
        raise ImportError(f"onnxruntime {onnxruntime.__version__} does not work with numpy {np.__version__}")
except Exception as error:
    if __name__ != "__main__":
        raise
    if isinstance(error, ModuleNotFoundError) and error.name in ("numpy", "onnxruntime", "tokenizers"):
        reason = f"needs the package {error.name}, which is not installed; pip install numpy onnxruntime tokenizers"
    else:
        reason = (
            f"numpy, onnxruntime or tokenizers cannot be imported ({' '.join(str(error).split())}); "
            "pip install --upgrade numpy onnxruntime tokenizers"
        )
    sys.stderr.write(f"predict.py: {reason}\n")
    sys.exit(2)

FORMAT_VERSIONS = (1, 2)
EXACT_INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}  # x86-64 CPU flags; without them int8 products saturate
TASK_TYPES = ("classification", "regression")
TRUNCATION_SIDES = ("right", "left")
PROVIDER_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}  # compute in full fp32, as torch does
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")
MAX_THREADS = 1024
GIT_LFS_POINTER = b"version https://git-lfs"
COPY_AGAIN = "copy or export the bundle again"


class BundleError(ValueError):
    """The folder is not a usable bundle, or the input does not fit the model."""


class Classifier:
    """A loaded bundle, which predicts labels and probabilities for texts.

    `labels`: names of the model's outputs, in the order of the logits. `task_type`: one of TASK_TYPES.
    `batch_invariant`: whether the output for a text is independent of the other texts in its batch. If not, texts run
    one at a time, so that predictions are reproducible.

    Methods take texts as a list, an array, a column of a table, or any other iterable of str that has an order. A
    classifier can be pickled; it is then loaded from its folder again.
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
        if not isinstance(folder, (str, os.PathLike)):
            raise BundleError(f"folder: got {folder!r:.60}; expected a path")
        self.folder = Path(folder)
        self._options = {"num_threads": num_threads, "providers": providers, "profile": profile}
        manifest = _read_manifest(self.folder)
        try:
            limits = _value(manifest, "limits", dict)
            self.labels: list[str] = _labels(manifest)
            self.task_type: str = _one_of(manifest, "task_type", TASK_TYPES, _task_type_for_version_0_1_0(self.labels))
            self.max_length: int = _value(limits, "max_length", int)
            self.truncation_side: str = _one_of(limits, "truncation_side", TRUNCATION_SIDES, "right")
            self.split_special_tokens: bool = _value(manifest, "split_special_tokens", bool, False)
            self.batch_invariant: bool = _value(manifest, "batch_invariant", bool)
            self.takes_pairs: bool = _value(manifest, "takes_pairs", bool)
            self.pad_token_id: int = _value(manifest, "pad_token_id", int)
            self.saturates: bool = _value(manifest, "saturates", bool, True)
            versions = _value(manifest, "versions", dict, {})
            _check_requirements(_value(manifest, "requires", dict, {}))
            if self.pad_token_id < 0:
                raise BundleError(f"pad_token_id: got {self.pad_token_id}; expected 0 or more")
            if self.task_type == "regression" and len(self.labels) != 1:
                raise BundleError(f"labels: got {len(self.labels)} names; a regression has one")
        except BundleError as error:
            raise BundleError(f"{self.folder / 'bundle.json'}: {error}") from None
        options = _session_options(self.saturates, num_threads, profile)
        self.tokenizer = self._load_tokenizer(versions)
        self.session = self._load_session(options, providers, versions)
        self.input_names = [entry.name for entry in self.session.get_inputs()]
        self._check_graph()
        self._run_options = onnxruntime.RunOptions()
        self._run_options.log_severity_level = 4  # onnxruntime would also print the errors that it raises

    def __reduce__(self) -> tuple[object, ...]:
        return _load_again, (type(self), str(self.folder.absolute()), self._options, self.batch_invariant)

    def _load_tokenizer(self, versions: Mapping[str, object]) -> Tokenizer:
        path = self.folder / "tokenizer.json"
        _require_content(path)
        try:
            tokenizer = Tokenizer.from_file(_utf8(str(path)))
            tokenizer.no_padding()
            tokenizer.enable_truncation(self.max_length, direction=self.truncation_side)
            if self.split_special_tokens:
                tokenizer.encode_special_tokens = True
            num_special = tokenizer.num_special_tokens_to_add(self.takes_pairs)
        except Exception as error:  # the library raises a bare Exception for a file that it cannot read
            raise _load_error(path, "tokenizers", tokenizers.__version__, versions, error) from error
        if self.max_length < num_special:
            raise BundleError(
                f"{self.folder / 'bundle.json'}: limits.max_length: got {self.max_length}; expected at least "
                f"{num_special}, the number of special tokens"
            )
        return tokenizer

    def _load_session(
        self,
        options: onnxruntime.SessionOptions,
        providers: Sequence[str],
        versions: Mapping[str, object],
    ) -> onnxruntime.InferenceSession:
        _check_providers(providers)
        path = self.folder / "onnx" / "model.onnx"
        _require_content(path)
        if "CUDAExecutionProvider" in providers and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # uses CUDA and cuDNN from torch's packages if they are installed
        try:
            return onnxruntime.InferenceSession(_utf8(str(path)), options, providers=with_provider_options(providers))
        except Exception as error:  # onnxruntime's errors have no base class
            raise _load_error(path, "onnxruntime", onnxruntime.__version__, versions, error) from error

    def _check_graph(self) -> None:
        """Raise BundleError if the model does not belong to this bundle.json."""
        path = self.folder / "onnx" / "model.onnx"
        shapes = {entry.name: entry.shape for entry in self.session.get_outputs()}
        if not set(self.input_names) <= set(INPUT_NAMES) or "logits" not in shapes:
            raise BundleError(
                f"{path}: got the inputs {', '.join(self.input_names)} and the outputs {', '.join(shapes)}; expected "
                f"some of {', '.join(INPUT_NAMES)}, and logits; {COPY_AGAIN}"
            )
        num_outputs = shapes["logits"][-1]
        if isinstance(num_outputs, int) and num_outputs != len(self.labels):
            raise BundleError(f"{path}: got {num_outputs} outputs; bundle.json names {len(self.labels)}; {COPY_AGAIN}")

    def predict(self, texts: Iterable[str], pairs: Iterable[str] | None = None) -> list[dict[str, object]]:
        """Predict each text.

        Classification: {"label": name, "probability": 0..1} of the most probable label. Regression: {name: value}.
        `pairs`: the second texts of a model that takes two. Raises BundleError for anything but texts.
        """
        answers = self.answers(self.logits(texts, pairs))
        if self.task_type == "regression":
            return [{self.labels[0]: round(float(row[0]), 6)} for row in answers]
        return [{"label": self.labels[int(row.argmax())], "probability": round(float(row.max()), 6)} for row in answers]

    def logits(self, texts: Iterable[str], pairs: Iterable[str] | None = None, *, batch_size: int = 32) -> np.ndarray:
        """Logits (texts, classes), in the order of the texts. Batches hold texts of similar length."""
        if type(batch_size) is not int or batch_size < 1:
            raise BundleError(f"batch_size: got {batch_size!r:.60}; expected an integer of 1 or more")
        encodings = self.encode(texts, pairs)
        if not encodings:
            return np.empty((0, len(self.labels)), dtype=np.float32)
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

    def encode(self, texts: Iterable[str], pairs: Iterable[str] | None = None) -> list[Encoding]:
        """Tokenise the texts and truncate them to `max_length` tokens. Raises BundleError for anything but texts."""
        first = _checked_texts(texts, "texts")
        second = None if pairs is None else _checked_texts(pairs, "pairs")
        if not first and not second:
            return []
        if self.takes_pairs != (second is not None):
            raise BundleError("this bundle takes " + ("two texts" if self.takes_pairs else "one text"))
        if second is None:
            return self.tokenizer.encode_batch(first)
        if len(first) != len(second):
            raise BundleError(f"got {len(first)} texts and {len(second)} pairs; expected as many pairs as texts")
        return self.tokenizer.encode_batch(list(zip(first, second, strict=True)))

    def model_inputs(self, encodings: Sequence[Encoding], *, length: int | None = None) -> dict[str, np.ndarray]:
        """The model's inputs by name, int64 (texts, positions), padded to the longest text or to `length` if longer."""
        lengths = [len(encoding) for encoding in encodings]
        if not all(lengths):
            raise BundleError("a text has no tokens; the tokenizer of this bundle adds none to an empty text")
        longest = max(length or 0, *lengths)
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
        try:
            return self.session.run(["logits"], inputs, self._run_options)[0]
        except MemoryError:
            raise
        except Exception as error:  # onnxruntime's errors have no base class
            raise BundleError(f"{self.folder}: onnxruntime cannot run the model ({_one_line(error)})") from error

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


def _load_again(
    bundle_class: type[Classifier], folder: str, options: dict[str, Any], batch_invariant: bool
) -> Classifier:
    """Load a pickled classifier."""
    classifier = bundle_class(folder, **options)
    classifier.batch_invariant = batch_invariant
    return classifier


# -- the input


def _checked_texts(values: Iterable[str], name: str) -> list[str]:
    """The texts as a list of str. Raises BundleError for an argument that is no ordered collection of texts."""
    if isinstance(values, str):
        raise BundleError(f"{name}: got one text; put it in a list")
    if isinstance(values, (bytes, bytearray)):
        raise BundleError(f"{name}: got bytes; decode them, and put the text in a list")
    if isinstance(values, (Mapping, set, frozenset)):
        raise BundleError(f"{name}: got {type(values).__name__}; expected texts in a fixed order, such as a list")
    num_dimensions = getattr(values, "ndim", 1)
    if num_dimensions != 1:
        raise BundleError(
            f"{name}: got {type(values).__name__} of {num_dimensions} dimensions; expected one column of texts"
        )
    if hasattr(values, "to_pylist"):  # a column of pyarrow, whose elements are no str
        values = values.to_pylist()
    try:
        texts = list(values)
    except TypeError as error:
        raise BundleError(f"{name}: got {type(values).__name__}; expected a list of texts") from error
    return [_checked_text(text, f"{name}[{index}]") for index, text in enumerate(texts)]


def _checked_text(text: object, where: str) -> str:
    if not isinstance(text, str):
        hint = "; the second texts are a list of their own, `pairs`" if isinstance(text, (tuple, list)) else ""
        described = " ".join(reprlib.repr(text).split())
        raise BundleError(f"{where}: got {described} ({type(text).__name__}); expected a str{hint}")
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise BundleError(
            f"{where}: got {text[error.start]!a}, half of a surrogate pair, at character {error.start}; expected "
            "Unicode text; the text was decoded wrongly"
        ) from None
    return text


# -- the files of the bundle


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "bundle.json"
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; expected a bundle")
    _require_content(path)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not readable ({_one_line(error)}); {COPY_AGAIN}") from error
    if not isinstance(manifest, dict):
        raise BundleError(f"{path}: got a {type(manifest).__name__}; expected an object; {COPY_AGAIN}")
    version = manifest.get("format_version")
    if version not in FORMAT_VERSIONS:
        expected = " or ".join(map(str, FORMAT_VERSIONS))
        raise BundleError(
            f"{path}: got format version {version!r}; expected {expected}; use the predict.py of the bundle itself"
        )
    return manifest


def _value(record: Mapping[str, Any], key: str, expected: type, default: Any = None) -> Any:
    """A value of bundle.json. Raises BundleError unless it has the expected type; an absent one has the default."""
    value = record.get(key, default)
    if type(value) is not expected:  # not isinstance: True is an int
        got = "nothing" if key not in record else f"{value!r:.60}"
        raise BundleError(f"{key}: got {got}; expected {expected.__name__}; {COPY_AGAIN}")
    return value


def _one_of(record: Mapping[str, Any], key: str, choices: Sequence[str], default: str) -> str:
    value = record.get(key, default)
    if value not in choices:
        raise BundleError(f"got {key.replace('_', ' ')} {value!r:.60}; expected {' or '.join(choices)}")
    return str(value)


def _labels(manifest: Mapping[str, Any]) -> list[str]:
    labels = _value(manifest, "labels", list)
    if not labels or not all(type(label) is str for label in labels):
        raise BundleError(f"labels: got {labels!r:.60}; expected a list of names; {COPY_AGAIN}")
    return [_checked_text(label, f"labels[{index}]") for index, label in enumerate(labels)]


def _task_type_for_version_0_1_0(labels: Sequence[str]) -> str:
    """The task type of a bundle from version 0.1.0, whose bundle.json does not contain it."""
    return "regression" if len(labels) == 1 else "classification"


def _check_requirements(requires: Mapping[str, object]) -> None:
    """Raise BundleError if a package is older than bundle.json requires."""
    installed = {"onnxruntime": onnxruntime.__version__, "tokenizers": tokenizers.__version__, "numpy": np.__version__}
    for package, needed in requires.items():
        if package in installed and _version(installed[package]) < _version(str(needed)):
            raise BundleError(
                f"needs {package} {needed} or newer; got {installed[package]}; pip install --upgrade {package}"
            )


def _version(text: str) -> tuple[int, ...]:
    """The numbers at the start of a version, such as (1, 23, 0) for 1.23.0.dev5."""
    numbers = re.match(r"[0-9.]*", text)
    return tuple(int(number) for number in (numbers.group() if numbers else "").split(".") if number)


def _require_content(path: Path) -> None:
    """Raise BundleError if a file of the bundle is missing, empty or a Git LFS pointer."""
    try:
        with path.open("rb") as file:
            start = file.read(len(GIT_LFS_POINTER))
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; {COPY_AGAIN}") from error
    if not start:
        raise BundleError(f"{path}: the file is empty; {COPY_AGAIN}")
    if start == GIT_LFS_POINTER:
        raise BundleError(f"{path}: got a Git LFS pointer, not the file itself; run git lfs pull")


def _load_error(
    path: Path, package: str, installed: str, versions: Mapping[str, object], error: Exception
) -> BundleError:
    """The error for a file that its library cannot load. `versions`: of the packages that wrote the bundle."""
    written_by = str(versions.get(package) or versions.get(f"{package}-gpu") or "")
    if _version(written_by) > _version(installed):
        advice = f"it was written with {package} {written_by}; pip install --upgrade {package}"
    else:
        advice = COPY_AGAIN
    return BundleError(f"{path}: {package} {installed} cannot load it ({_one_line(error)}); {advice}")


def _session_options(saturates: bool, num_threads: int | None, profile: str | Path | None) -> Any:
    options = onnxruntime.SessionOptions()
    for name, value in session_config(saturates=saturates).items():
        options.add_session_config_entry(name, value)
    if num_threads is not None:
        if type(num_threads) is not int or not 1 <= num_threads <= MAX_THREADS:
            raise BundleError(f"num_threads: got {num_threads!r}; expected an integer from 1 to {MAX_THREADS}")
        options.intra_op_num_threads = num_threads
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return options


def _check_providers(providers: Sequence[str]) -> None:
    """Raise BundleError for names that onnxruntime does not know. It only warns of them, and uses the CPU."""
    known = onnxruntime.get_all_providers()
    is_list = isinstance(providers, Sequence) and not isinstance(providers, str)
    if not is_list or not all(isinstance(name, str) and name in known for name in providers):
        available = ", ".join(onnxruntime.get_available_providers())
        raise BundleError(f"providers: got {providers!r}; expected a list of onnxruntime's names, such as {available}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _utf8(text: str) -> str:
    """A path or an argument of the command line, whose bytes Python decoded in a locale without UTF-8."""
    return text if text.isascii() else os.fsencode(text).decode("utf-8", errors="surrogateescape")


# -- the command line


def _input_rows(arguments: argparse.Namespace, takes_pairs: bool) -> Iterator[tuple[str, str | None]]:
    """The text from the command line, or else the texts on standard input. The second text is None without pairs."""
    if arguments.text is not None:
        pair = None if arguments.pair is None else decoded_argument(arguments.pair, "--pair")
        yield decoded_argument(arguments.text, "the text"), pair
        return
    if arguments.pair is not None:
        raise BundleError("--pair: give the first text too; in lines of standard input, a tab separates two texts")
    if sys.stdin is None:
        raise BundleError("standard input is closed; give a text")
    sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape", newline=None)  # type: ignore[union-attr]
    for number, line in enumerate(sys.stdin, start=1):
        text = line.rstrip("\n")
        _check_decoded(text, number)
        cells = text.split("\t") if takes_pairs else [text]
        if len(cells) != 1 + takes_pairs:
            raise BundleError(f"line {number}: got {len(cells)} texts; expected two, separated by a tab")
        yield cells[0], cells[1] if takes_pairs else None


def decoded_argument(argument: str, name: str) -> str:
    """An argument of the command line, in whatever locale. Raises BundleError if its bytes are no UTF-8."""
    text = argument if _first_undecoded(argument) is None else _utf8(argument)
    byte = _first_undecoded(text)
    if byte is not None:
        raise BundleError(f"{name}: not utf-8 text (byte {byte:#04x})")
    return text


def _check_decoded(text: str, number: int) -> None:
    """Raise BundleError for a line of standard input that is not UTF-8."""
    if number == 1 and looks_like_utf16(text):
        raise BundleError("line 1: got UTF-16 text; expected UTF-8; convert it first: iconv -f utf-16 -t utf-8")
    byte = _first_undecoded(text)
    if byte is not None:
        raise BundleError(
            f"line {number}: not utf-8 text (byte {byte:#04x}); convert it first: iconv -f ENCODING -t utf-8"
        )


def _first_undecoded(text: str) -> int | None:
    """The first byte that Python could not decode and replaced by a surrogate."""
    return next((ord(character) - 0xDC00 for character in text if "\udc80" <= character <= "\udcff"), None)


def looks_like_utf16(first_line: str) -> bool:
    """Whether text that was read as UTF-8 starts with the byte-order mark of UTF-16, or has NUL as every other byte."""
    if first_line.startswith(("\udcff\udcfe", "\udcfe\udcff")):
        return True
    return len(first_line) >= 4 and any(not first_line[start::2].strip("\0") for start in (0, 1))


def main() -> int:
    """Run the command line. Returns the exit code: 0, 2 after bad input, 130 after an interrupt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", help="the text; if omitted, texts are read from standard input")
    parser.add_argument("--pair", help="the second text, for a model that takes two")
    parser.add_argument("--bundle", default=Path(__file__).resolve().parent, help="the bundle folder (default: here)")
    parser.add_argument("--threads", type=int, help="number of threads (default: one per physical core)")
    arguments = parser.parse_args()
    if sys.stdout is not None:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # JSON is UTF-8 in every locale
    try:
        classifier = Classifier(arguments.bundle, num_threads=arguments.threads)
        for text, pair in _input_rows(arguments, classifier.takes_pairs):
            prediction = classifier.predict([text], None if pair is None else [pair])[0]
            print(json.dumps(prediction, ensure_ascii=False), flush=True)
    except BundleError as error:
        print(f"predict.py: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # such as a full disk
        print(f"predict.py: {error.strerror or error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it at exit
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
