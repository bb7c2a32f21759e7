"""The golden examples of a bundle: texts with the outputs of its own model, which `verify` repeats."""

from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
import onnxruntime

from compress.common.files import sha256
from compress.data.columns import Split
from export.bundle import runtime
from export.bundle.bundle_json import NUM_GOLDEN, GoldenExample, GoldenTerms

MAX_VALUES = 50_000  # stored logits in total, which limits the examples of a model with many labels
MAX_CHARACTERS = 20_000  # of one text
LONG_ROWS = 2000  # searched for a text over the length limit
UNUSUAL_TEXTS = (
    "",
    "Caf\u00e9 \u4e2d\u6587 \U0001f600 \u0645\u0631\u062d\u0628\u0627",
    "THE FILM Was don't -- <b>1,234.56</b>",
)
MORE_TEXTS = (  # for a task with few rows
    "the", "a film", "it was", "not good", "very good", "x", "1 2 3", "!", "why?", "no.", "of the", "in a word", "yes",
)  # fmt: skip
NOISE_SEEDS = range(4)
NOISE = {1: 1e-6, 10: 1e-3}  # relative, by ONNX data type: float32 and float16
SAFETY = 2.0
MIN_TOLERANCE = 1e-4


def golden_examples(
    classifier: runtime.Classifier, texts: Sequence[str], pairs: Sequence[str] | None = None
) -> list[GoldenExample]:
    """The texts with the outputs of the bundle's own model."""
    logits = classifier.logits(texts, pairs)
    return [
        GoldenExample(text=text, pair=pair, probabilities=_rounded(answers), logits=_rounded(row))
        for text, pair, answers, row in zip(
            texts, pairs or repeat(None), classifier.answers(logits), logits, strict=False
        )
    ]


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in values]


def golden_texts(classifier: runtime.Classifier, rows: Split) -> tuple[list[str], list[str] | None]:
    """The texts for golden examples: unusual texts, one over the length limit, a row per class, and the first rows."""
    pairs = rows.pairs or [""] * len(rows)
    short_rows = [row for row in range(len(rows)) if len(rows.texts[row]) + len(pairs[row]) <= MAX_CHARACTERS]
    long_example = _long_example(classifier, [(rows.texts[row], pairs[row]) for row in short_rows[:LONG_ROWS]])
    row_of_class: dict[object, int] = {}
    if classifier.task_type == "classification":
        for row in short_rows:
            row_of_class.setdefault(rows.labels[row], row)
    rows_of_classes = list(row_of_class.values())[: MAX_VALUES // len(classifier.labels)]
    other_rows = [row for row in short_rows[:NUM_GOLDEN] if row not in rows_of_classes]
    examples = [
        *((text, text) for text in UNUSUAL_TEXTS),
        long_example,
        *((rows.texts[row], pairs[row]) for row in [*rows_of_classes, *other_rows]),
        *((text, text) for text in MORE_TEXTS),
    ]
    encodings = classifier.encode(*_columns(examples, classifier.takes_pairs))
    examples = [example for example, encoding in zip(examples, encodings, strict=True) if len(encoding)]
    num_examples = max(NUM_GOLDEN, len(UNUSUAL_TEXTS) + 1 + len(rows_of_classes))
    return _columns(examples[:num_examples], classifier.takes_pairs)


def _columns(examples: Sequence[tuple[str, str]], takes_pairs: bool) -> tuple[list[str], list[str] | None]:
    return [text for text, _ in examples], [pair for _, pair in examples] if takes_pairs else None


def _long_example(classifier: runtime.Classifier, rows: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The first row that truncation shortens, or else a text that is long enough for that."""
    encodings = classifier.encode(*_columns(rows, classifier.takes_pairs))
    truncated = [row for row, encoding in zip(rows, encodings, strict=True) if encoding.overflowing]
    if truncated:
        return truncated[0]
    text = " ".join(text for text, _ in rows[:NUM_GOLDEN]).strip() or "a text"
    while len(text) <= 2 * MAX_CHARACTERS:
        (encoding,) = classifier.encode(*_columns([(text, text)], classifier.takes_pairs))
        if encoding.overflowing:
            break
        text = f"{text} {text}"
    return text, text


def golden_terms(classifier: runtime.Classifier, examples: Sequence[GoldenExample]) -> GoldenTerms:
    """The terms of the golden examples.

    Other processors and versions of onnxruntime round differently. Quantisation amplifies that, because an activation
    near the border of two integers moves by a whole step. The tolerance is SAFETY times the largest change of a logit
    when the vectors among the weights get noise of the size of rounding errors.
    """
    model_file = classifier.folder / "onnx" / "model.onnx"
    texts = [example.text for example in examples]
    pairs = [example.pair or "" for example in examples] if classifier.takes_pairs else None
    encodings = classifier.encode(texts, pairs)
    expected = np.array([example.logits for example in examples])
    largest = 0.0
    for seed in NOISE_SEEDS:
        options = onnxruntime.SessionOptions()
        for name, value in runtime.session_config(saturates=classifier.saturates).items():
            options.add_session_config_entry(name, value)
        weights = _noisy_vectors(model_file, seed)  # must live as long as the session
        for name, weight in weights.items():
            options.add_initializer(name, weight)
        session = onnxruntime.InferenceSession(model_file, options, providers=["CPUExecutionProvider"])
        for encoding, row in zip(encodings, expected, strict=True):
            logits = session.run(["logits"], classifier.model_inputs([encoding]))[0][0]
            largest = max(largest, float(np.abs(logits - row).max()))
        del session
    return GoldenTerms(
        labels=classifier.labels,
        model_sha256=sha256(model_file),
        logit_tolerance=round(max(SAFETY * largest, MIN_TOLERANCE), 6),
    )


def _noisy_vectors(model_file: Path, seed: int) -> dict[str, onnxruntime.OrtValue]:
    """The vectors of floating-point weights, with noise of the size of rounding errors."""
    import onnx

    generator = np.random.default_rng(seed)
    vectors = {}
    for initializer in onnx.load(model_file).graph.initializer:
        if len(initializer.dims) == 1 and initializer.data_type in NOISE:
            values = onnx.numpy_helper.to_array(initializer)
            noise = NOISE[initializer.data_type] * generator.standard_normal(values.shape)
            noisy = (values * (1 + noise)).astype(values.dtype)
            vectors[initializer.name] = onnxruntime.OrtValue.ortvalue_from_numpy(noisy)
    return vectors
