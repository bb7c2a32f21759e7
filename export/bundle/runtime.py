"""Runs a bundle. Needs only numpy, onnxruntime and tokenizers. This module is part of every bundle's predict.py."""

import os
import re
import reprlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from export.bundle.golden_check import advice, golden_failure, processor_name
from export.bundle.listed_files import (
    BUNDLE_FILE,
    COPY_AGAIN,
    BundleError,
    check_files,
    one_line,
    read_sums,
    require_bundle,
    require_content,
)
from export.bundle.settings import Settings, check_length, checked_text, read_settings

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # the wheels of onnxruntime 1.29 and newer send usage data
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
    if sys.stderr is not None:
        sys.stderr.write(f"predict.py: {reason}\n")
    sys.exit(2)

EXACT_INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}  # x86-64 CPU flags; without them int8 products saturate
PROVIDER_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}  # compute in full fp32, as torch does
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")
LOGITS = {("tensor(float)", 2), ("tensor(float16)", 2)}  # types and numbers of dimensions
MAX_THREADS = 1024
BATCH_SIZE = 32
CALL_IN_TOKENS = 16  # a call of the model takes as long as this much padding, roughly, on any processor
TOKENS_PER_THREAD = 512  # of one call: with more, intermediate results leave the caches of the processor


class Classifier:
    """A loaded bundle, which predicts labels and probabilities for texts.

    `labels`: names of the model's outputs, in the order of the logits. `task_type`: one of TASK_TYPES.
    `batch_invariant`: whether the output for a text is independent of the other texts in its batch. If not, texts run
    one at a time, so that predictions are reproducible. `num_truncated`: number of texts that were longer than
    `max_length` tokens, since the bundle was loaded.

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
        golden_check: bool = True,
    ) -> None:
        """Load a bundle, after a check of its files. Raises BundleError if the folder is not one.

        Then repeat some golden examples. Raises BundleError if a logit differs by more than the bundle's tolerance, so
        that this processor, or this version of onnxruntime, computes something else. Only CPUs are checked.

        `num_threads`: onnxruntime's intra-op threads; by default one per physical core. `providers`: execution
        providers in order of preference. `profile`: prefix of the profile that `session.end_profiling()` writes; None
        disables profiling. `golden_check`: False skips the golden examples.
        """
        if not isinstance(folder, (str, os.PathLike)):
            raise BundleError(f"folder: got {folder!r:.60}; expected a path")
        self.folder = Path(folder)
        self._options = {
            "num_threads": num_threads,
            "providers": providers,
            "profile": profile,
            "golden_check": golden_check,
        }
        require_bundle(self.folder)
        require_content(self.folder / BUNDLE_FILE)
        check_files(self.folder)
        settings = read_settings(self.folder)
        if settings.model_sha256 not in (None, read_sums(self.folder).get("onnx/model.onnx")):
            raise BundleError(f"{self.folder}: onnx/model.onnx is another model than that of bundle.json; {COPY_AGAIN}")
        self.labels = settings.labels
        self.task_type = settings.task_type
        self.max_length = settings.max_length
        self.truncation_side = settings.truncation_side
        self.split_special_tokens = settings.split_special_tokens
        self.batch_invariant = settings.batch_invariant
        self.takes_pairs = settings.takes_pairs
        self.pad_token_id = settings.pad_token_id
        self.saturates = settings.saturates
        self.vocabulary_size = settings.vocabulary_size
        versions = settings.versions
        try:
            _check_requirements(settings.requires)
        except BundleError as error:
            raise BundleError(f"{self.folder / 'bundle.json'}: {error}") from None
        options = _session_options(self.saturates, num_threads, profile)
        self.tokenizer = self._load_tokenizer(versions)
        self.session = self._load_session(options, providers, versions)
        self.input_names = [entry.name for entry in self.session.get_inputs()]
        self._check_graph()
        self._run_options = onnxruntime.RunOptions()
        self._run_options.log_severity_level = 4  # onnxruntime would also print the errors that it raises
        if golden_check and profile is None and list(providers) == ["CPUExecutionProvider"]:
            self._check_golden(settings)
        self.num_truncated = 0

    def __reduce__(self) -> tuple[object, ...]:
        return _load_again, (type(self), str(self.folder.absolute()), self._options, self.batch_invariant)

    def _load_tokenizer(self, versions: Mapping[str, object]) -> Tokenizer:
        path = self.folder / "tokenizer.json"
        require_content(path)
        try:
            tokenizer = Tokenizer.from_file(utf8_path(str(path)))
            tokenizer.no_padding()
            tokenizer.enable_truncation(self.max_length, direction=self.truncation_side)
            if self.split_special_tokens:
                tokenizer.encode_special_tokens = True
            num_special = tokenizer.num_special_tokens_to_add(self.takes_pairs)
            has_pad_token = tokenizer.id_to_token(self.pad_token_id) is not None
        except (
            BaseException
        ) as error:  # the library raises a bare Exception, or a panic, for a file that it cannot read
            _require_library_error(error)
            raise _load_error(path, "tokenizers", tokenizers.__version__, versions, error) from error
        if self.max_length < num_special:
            raise BundleError(
                f"{self.folder / 'bundle.json'}: limits.max_length: got {self.max_length}; expected at least "
                f"{num_special}, the number of special tokens"
            )
        if not has_pad_token:
            raise BundleError(
                f"{self.folder / 'bundle.json'}: pad_token_id: got {self.pad_token_id}, which is no token of "
                f"{path.name}; {COPY_AGAIN}"
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
        require_content(path)
        if "CUDAExecutionProvider" in providers and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # uses CUDA and cuDNN from torch's packages if they are installed
        try:
            return onnxruntime.InferenceSession(
                utf8_path(str(path)), options, providers=with_provider_options(providers)
            )
        except Exception as error:  # onnxruntime's errors have no base class
            raise _load_error(path, "onnxruntime", onnxruntime.__version__, versions, error) from error

    def _check_graph(self) -> None:
        """Raise BundleError if the model does not belong to this bundle.json."""
        path = self.folder / "onnx" / "model.onnx"
        inputs = {entry.name: (entry.type, len(entry.shape)) for entry in self.session.get_inputs()}
        outputs = {entry.name: (entry.type, len(entry.shape)) for entry in self.session.get_outputs()}
        if not {"input_ids"} <= set(inputs) <= set(INPUT_NAMES) or "logits" not in outputs:
            raise BundleError(
                f"{path}: got the inputs {', '.join(inputs):.200} and the outputs {', '.join(outputs):.200}; expected "
                f"some of {', '.join(INPUT_NAMES)}, and logits; {COPY_AGAIN}"
            )
        if set(inputs.values()) != {("tensor(int64)", 2)} or outputs["logits"] not in LOGITS:
            raise BundleError(
                f"{path}: got inputs and outputs of other types or numbers of dimensions; expected integers (texts, "
                f"positions) and logits (texts, labels); {COPY_AGAIN}"
            )
        num_outputs = {entry.name: entry.shape[-1] for entry in self.session.get_outputs()}["logits"]
        if isinstance(num_outputs, int) and num_outputs != len(self.labels):
            raise BundleError(f"{path}: got {num_outputs} outputs; bundle.json names {len(self.labels)}; {COPY_AGAIN}")

    def _check_golden(self, settings: Settings) -> None:
        """Raise BundleError if a golden example has other logits here."""
        self.num_truncated = 0

        def logits_of(text: str, pair: str | None) -> list[float]:
            return self.unchecked_logits([text], None if pair is None else [pair])[0].tolist()

        failure = golden_failure(settings.golden, settings.logit_tolerance or 0, logits_of)
        if failure is not None:
            written_by = settings.versions.get("onnxruntime") or settings.versions.get("onnxruntime-gpu") or "unknown"
            raise BundleError(
                f"{self.folder}: the processor {processor_name()} with onnxruntime {onnxruntime.__version__} and "
                f"tokenizers {tokenizers.__version__} computes something else than the bundle's own model ({failure}); "
                f"{advice(onnxruntime.__version__, written_by)}"
            )

    def predict(
        self, texts: Iterable[str], pairs: Iterable[str] | None = None, *, top_k: int | None = None
    ) -> list[dict[str, object]]:
        """Predict each text.

        Classification: {"label": name, "probability": 0..1} of the most probable label. Regression: {name: value}.
        `pairs`: the second texts of a model that takes two. `top_k`: adds "top", a list of such records for the `top_k`
        most probable labels, or for all if the model has fewer. Raises BundleError for anything but texts.
        """
        self.check_top_k(top_k)
        answers = self.answers(self.logits(texts, pairs))
        if self.task_type == "regression":
            return [{self.labels[0]: round(float(row[0]), 6)} for row in answers]
        predictions: list[dict[str, object]] = []
        for row, best in zip(answers, most_probable(answers, top_k or 1), strict=True):
            top = [{"label": self.labels[index], "probability": round(float(row[index]), 6)} for index in best]
            predictions.append(dict(top[0]) if top_k is None else {**top[0], "top": top})
        return predictions

    def check_top_k(self, top_k: int | None) -> None:
        """Raise BundleError if this is no number of labels."""
        if top_k is not None and self.task_type == "regression":
            raise BundleError("top_k: this bundle predicts a value, not labels")
        if top_k is not None and (type(top_k) is not int or top_k < 1):
            raise BundleError(f"top_k: got {top_k!r:.60}; expected an integer of 1 or more")

    def logits(
        self, texts: Iterable[str], pairs: Iterable[str] | None = None, *, batch_size: int = BATCH_SIZE
    ) -> np.ndarray:
        """Logits (texts, classes), in the order of the texts. Batches hold texts of similar length.

        Raises BundleError if one is NaN or infinite.
        """
        return _require_finite(self.unchecked_logits(texts, pairs, batch_size=batch_size))

    def unchecked_logits(
        self, texts: Iterable[str], pairs: Iterable[str] | None = None, *, batch_size: int = BATCH_SIZE
    ) -> np.ndarray:
        """The same as `logits`, which may be NaN or infinite."""
        if type(batch_size) is not int or batch_size < 1:
            raise BundleError(f"batch_size: got {batch_size!r:.60}; expected an integer of 1 or more")
        return self._in_batches(self.encode(texts, pairs), batch_size)

    def logits_of(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """The same as `logits`, of texts that `encode` has tokenised."""
        return _require_finite(self._in_batches(encodings, BATCH_SIZE))

    def _in_batches(self, encodings: Sequence[Encoding], batch_size: int) -> np.ndarray:
        if not encodings:
            return np.empty((0, len(self.labels)), dtype=np.float32)
        rows: list[np.ndarray] = [np.empty(0)] * len(encodings)
        for batch in self.batches(encodings, batch_size):
            for index, row in zip(batch, self.run([encodings[index] for index in batch]), strict=True):
                rows[index] = row
        return np.stack(rows)

    @property
    def tokens_per_call(self) -> float:
        """The most tokens that `logits` gives to one call of the model, unless a single text has more."""
        if self.session.get_providers()[0] != "CPUExecutionProvider":
            return float("inf")
        return TOKENS_PER_THREAD * (self.session.get_session_options().intra_op_num_threads or os.cpu_count() or 1)

    def batches(self, encodings: Sequence[Encoding], batch_size: int = BATCH_SIZE) -> Iterator[list[int]]:
        """Texts of similar length, by number: at most `batch_size`, and on a CPU at most TOKENS_PER_THREAD or one.

        A longer text begins a new batch if padding the others to its length would take longer than a call.
        """
        most_texts, most_tokens = batch_size if self.batch_invariant else 1, self.tokens_per_call
        batch: list[int] = []
        longest = 0
        for index in sorted(range(len(encodings)), key=lambda index: len(encodings[index])):
            length = len(encodings[index])
            is_full = len(batch) == most_texts or (len(batch) + 1) * length > most_tokens
            if batch and (is_full or len(batch) * (length - longest) > CALL_IN_TOKENS):
                yield batch
                batch = []
            batch.append(index)
            longest = length
        yield batch

    def answers(self, logits: np.ndarray) -> np.ndarray:
        """Convert logits (texts, classes) to probabilities. Regression values (texts, 1) stay unchanged."""
        return logits if self.task_type == "regression" else probabilities(logits)

    def encode(self, texts: Iterable[str], pairs: Iterable[str] | None = None) -> list[Encoding]:
        """Tokenise the texts and truncate them to `max_length` tokens. Raises BundleError for anything but texts."""
        first = checked_texts(texts, "texts")
        second = None if pairs is None else checked_texts(pairs, "pairs")
        if not first and not second:
            return []
        if self.takes_pairs != (second is not None):
            raise BundleError("this bundle takes " + ("two texts" if self.takes_pairs else "one text"))
        if second is not None and len(first) != len(second):
            raise BundleError(f"got {len(first)} texts and {len(second)} pairs; expected as many pairs as texts")
        try:
            encodings = self.tokenizer.encode_batch(first if second is None else list(zip(first, second, strict=True)))
        except BaseException as error:  # the library raises a bare Exception, or a panic
            _require_library_error(error)
            raise BundleError(f"{self.folder}: tokenizers cannot encode the texts ({one_line(error)})") from error
        self.num_truncated += sum(map(self.is_truncated, encodings))
        return encodings

    def is_truncated(self, encoding: Encoding) -> bool:
        """Whether the text was longer than `max_length` tokens."""
        # tokenizers 0.23.1 leaves out most of `overflowing`, but not all of it if there are special tokens
        return len(encoding) >= self.max_length and bool(encoding.overflowing)

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
        if self.vocabulary_size is not None and ids.max() >= self.vocabulary_size:  # onnxruntime may read beyond it
            raise BundleError(
                f"{self.folder}: tokenizer.json gives token id {ids.max()}; the model has {self.vocabulary_size} ids; "
                f"{COPY_AGAIN}"
            )
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: inputs[name] for name in self.input_names}

    def forward(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Run the model on `model_inputs`. Returns logits (texts, classes)."""
        try:
            logits = self.session.run(["logits"], inputs, self._run_options)[0]
        except MemoryError:
            raise
        except Exception as error:  # onnxruntime's errors have no base class
            raise BundleError(f"{self.folder}: onnxruntime cannot run the model ({one_line(error)})") from error
        expected_shape = (len(inputs["input_ids"]), len(self.labels))
        if logits.shape != expected_shape:
            raise BundleError(f"{self.folder}: the model's output has the shape {logits.shape}; not {expected_shape}")
        return logits

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


def _require_finite(logits: np.ndarray) -> np.ndarray:
    """The logits (texts, classes). Raises BundleError if one is NaN or infinite."""
    if not np.isfinite(logits).all():
        row = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise BundleError(f"texts[{row}]: the model computes {logits[row].tolist()!r:.60}; expected finite numbers")
    return logits


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits (rows, classes) over the classes."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def most_probable(answers: np.ndarray, top_k: int) -> np.ndarray:
    """The labels (rows, top_k or fewer) with the highest probabilities (rows, classes), the most probable one first."""
    return np.argsort(-answers, axis=1, kind="stable")[:, :top_k]


def _load_again(
    bundle_class: type[Classifier], folder: str, options: dict[str, Any], batch_invariant: bool
) -> Classifier:
    """Load a pickled classifier."""
    classifier = bundle_class(folder, **options)
    classifier.batch_invariant = batch_invariant
    return classifier


# -- the input


def checked_texts(values: Iterable[str], name: str) -> list[str]:
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
    check_length(text, where)
    return checked_text(text, where)


# -- the files of the bundle


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
    return tuple(int(number[:9]) for number in (numbers.group() if numbers else "").split(".") if number)


def _require_library_error(error: BaseException) -> None:
    """Raise the exception again unless it comes from a library. A panic of tokenizers is no Exception."""
    if isinstance(error, MemoryError) or not (isinstance(error, Exception) or type(error).__name__ == "PanicException"):
        raise error


def _load_error(
    path: Path, package: str, installed: str, versions: Mapping[str, object], error: BaseException
) -> BundleError:
    """The error for a file that its library cannot load. `versions`: of the packages that wrote the bundle."""
    written_by = str(versions.get(package) or versions.get(f"{package}-gpu") or "")
    if _version(written_by) > _version(installed):
        advice = f"it was written with {package} {written_by}; pip install --upgrade {package}"
    else:
        advice = COPY_AGAIN
    return BundleError(f"{path}: {package} {installed} cannot load it ({one_line(error)}); {advice}")


def _session_options(saturates: bool, num_threads: int | None, profile: str | Path | None) -> Any:
    options = onnxruntime.SessionOptions()
    for name, value in session_config(saturates=saturates).items():
        options.add_session_config_entry(name, value)
    if num_threads is not None:
        if type(num_threads) is not int or not 1 <= num_threads <= MAX_THREADS:
            raise BundleError(f"num_threads: got {num_threads!r:.60}; expected an integer from 1 to {MAX_THREADS}")
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
        raise BundleError(
            f"providers: got {providers!r:.200}; expected a list of onnxruntime's names, such as {available}"
        )


def utf8_path(text: str) -> str:
    """A path or an argument of the command line, whose bytes Python decoded in a locale without UTF-8."""
    return text if text.isascii() else os.fsencode(text).decode("utf-8", errors="surrogateescape")
