"""Probe texts: unusual texts for which a bundle needs the tokens, and in fp32 the logits, of the model itself.

They reveal settings of a tokenizer or a model that the rows of a task seldom depend on: truncation, special tokens in a
text, normalisation. They have no labels and are not scored.
"""

import random
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.data.columns import Split
from export.bundle.runtime import Classifier
from export.results import ProbeResult

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FIXED_TEXTS = (
    "",
    " ",
    " \t\r\n ",
    "\n\u2028\u00a0\u3000",
    "  The  film   was fine.  ",
    "THE FILM Was GREAT",
    "Caf\u00e9 na\u00efve \u00c5ngstr\u00f6m S\u00c3O",
    "Cafe\u0301 nai\u0308ve A\u030angstro\u0308m",
    "\ufb01ne \u00bd x\u00b2 \uff26\uff35\uff2c\uff2c \u2167",
    "\u0130stanbul \u1e9e \u017f \u03a3\u03c2",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7 \u2764\ufe0f",
    "\u4e2d\u6587\u7535\u5f71 \u65e5\u672c\u8a9e\u306e\u6620\u753b \ud55c\uad6d\uc5b4",
    "\u0e44\u0e17\u0e22 \u0939\u093f\u0928\u094d\u0926\u0940",
    "a\u0000b\u0007c\u200bd\ufeffe\u00adf\ufffdg\u007f",
    "\u0645\u0631\u062d\u0628\u0627 \u05e2\u05d5\u05dc\u05dd \u202eabc\u202c",
    "https://example.org/a?b=c&d=%20#e user@example.org 1,234.56 2026-11-26 0x1F",
    "don't \u2014 \u201cquotes\u201d \u2026 -- !? <b>&amp;</b> C++ #tag @name a_b",
    "a" * 300,
    "\u00e9" * 120,
    "!" * 300,
)
SHORT = "the film was fine"
ACCENTED = str.maketrans("aeiouyncsz", "\u00e1\u00e9\u00ed\u00f3\u00fa\u00fd\u00f1\u00e7\u0161\u017e")
SEED = 0

Tokens = dict[str, list[int]]  # of one text, by the name of a model input


@dataclass(frozen=True, kw_only=True)
class Probes:
    """The probe texts and the rows of dev, with the tokens of the model's own tokenizer.

    `has_tokens`: the numbers of the probe texts with at least one token. `logits`: torch's logits for these texts,
    (texts, classes).
    """

    texts: list[str]
    pairs: list[str] | None
    tokens: list[Tokens]
    has_tokens: list[int]
    logits: np.ndarray
    rows: Split
    row_tokens: list[Tokens]


def make_probes(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", rows: Split, *, max_length: int
) -> Probes:
    """The probes for a model. They are pairs if `rows` are pairs."""
    texts, pairs = probe_texts(tokenizer, max_length=max_length, takes_pairs=rows.pairs is not None)
    tokens = model_tokens(tokenizer, texts, pairs, max_length=max_length)
    has_tokens = [number for number, row in enumerate(tokens) if row["input_ids"]]
    return Probes(
        texts=texts,
        pairs=pairs,
        tokens=tokens,
        has_tokens=has_tokens,
        logits=_torch_logits(model, [tokens[number] for number in has_tokens]),
        rows=rows,
        row_tokens=model_tokens(tokenizer, rows.texts, rows.pairs, max_length=max_length),
    )


def probe_texts(
    tokenizer: "PreTrainedTokenizerBase", *, max_length: int, takes_pairs: bool
) -> tuple[list[str], list[str] | None]:
    """The fixed texts, texts with the tokenizer's special tokens, and texts around and over the limit.

    The texts of the last group consist of words that the tokenizer knows, and so do changed words: in upper case, with
    accents, between other characters.
    """
    special = [f"the {token} film {token.lower()} was{token}fine" for token in tokenizer.all_special_tokens]
    texts = [*FIXED_TEXTS, *_changed_words(_random_words(tokenizer, 8, seed=SEED)), *special]
    lengths = (max_length - 3, max_length - 2, max_length - 1, 2 * max_length)
    long, other = (_random_words(tokenizer, 2 * max_length, seed=seed) for seed in (SEED, SEED + 1))
    if not takes_pairs:
        return [*texts, *(" ".join(long[: max(1, length)]) for length in lengths)], None
    half = max(1, max_length // 2)
    combinations = [
        (long, other),
        (long, other[:1]),
        (long[:1], other),
        (long[:half], other[:half]),
        (long, other[:half]),
    ]
    pairs = [
        *((text, SHORT) for text in texts),
        *((SHORT, text) for text in texts),
        ("", ""),
        *((" ".join(first), " ".join(second)) for first, second in combinations),
    ]
    return [first for first, _ in pairs], [second for _, second in pairs]


def _changed_words(words: Sequence[str]) -> list[str]:
    text = " ".join(words)
    accented = text.translate(ACCENTED)
    return [
        text.upper(),
        text.title(),
        accented,
        unicodedata.normalize("NFD", accented),
        "\u4e2d".join(words),
        "-".join(words),
        "\u00a0".join(words),
        " ".join(f"{word[:1]}\u0000\u200b{word[1:]}" for word in words),
    ]


def _random_words(tokenizer: "PreTrainedTokenizerBase", count: int, *, seed: int) -> list[str]:
    """Words that the tokenizer knows, so that the two ends of a long text have different tokens."""
    words = [token.lstrip("\u0120\u2581") for token in tokenizer.get_vocab()]
    known = sorted(word for word in words if word.isalpha()) or SHORT.split()
    return random.Random(seed).choices(known, k=count)


def model_tokens(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], pairs: Sequence[str] | None, *, max_length: int
) -> list[Tokens]:
    """The model inputs that the model's own tokenizer makes, for each text, without padding."""
    if not texts:
        return []
    columns = tokenizer(
        list(texts), None if pairs is None else list(pairs), truncation=True, max_length=max_length, padding=False,
        return_attention_mask=True,
    )  # fmt: skip
    return [{name: columns[name][row] for name in columns} for row in range(len(texts))]


def _torch_logits(model: "PreTrainedModel", tokens: Sequence[Tokens]) -> np.ndarray:
    """The model's logits for tokens, text by text, (texts, classes)."""
    import torch

    def run(row: Tokens) -> np.ndarray:
        inputs: dict[str, Any] = {name: torch.tensor([ids], device=model.device) for name, ids in row.items()}
        return model(**inputs).logits.float().cpu().numpy()

    with torch.inference_mode():
        return np.concatenate([run(row) for row in tokens])


def compare_probes(classifier: Classifier, probes: Probes, *, compares_logits: bool) -> ProbeResult:
    """Compare the tokens of a bundle for all texts. `compares_logits`: also its logits for the probe texts."""
    compared = (
        (probes.texts, probes.pairs, probes.tokens),
        (probes.rows.texts, probes.rows.pairs, probes.row_tokens),
    )
    changed = [
        (text, pair)
        for texts, pairs, expected in compared
        for text, pair, encoding, tokens in zip(
            texts, pairs or repeat(None), classifier.encode(texts, pairs), expected, strict=False
        )
        if not _has_tokens(encoding, tokens)
    ]
    logit_error, example = None, (probes.texts[0], probes.pairs[0] if probes.pairs else None)
    if compares_logits:
        encodings = classifier.encode(probes.texts, probes.pairs)
        logits = np.concatenate([classifier.run([encodings[number]]) for number in probes.has_tokens])
        errors = np.abs(logits - probes.logits)
        logit_error = float(errors.mean() / (probes.logits.std() or 1.0))
        worst = probes.has_tokens[int(errors.max(axis=1).argmax())]
        example = (probes.texts[worst], probes.pairs[worst] if probes.pairs else None)
    text, pair = changed[0] if changed else example
    return ProbeResult(
        num_probes=len(probes.texts),
        num_rows=len(probes.rows),
        num_token_changes=len(changed),
        logit_error=logit_error,
        text=text,
        pair=pair,
    )


def _has_tokens(encoding: Any, expected: Tokens) -> bool:
    """Whether an encoding has the expected ids, mask and types."""
    actual = {
        "input_ids": encoding.ids,
        "attention_mask": encoding.attention_mask,
        "token_type_ids": encoding.type_ids,
    }
    return all(actual[name] == ids for name, ids in expected.items() if name in actual)
