"""Texts to token rows."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from compress.errors import UserError
from compress.tasks import Split


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Token rows: columns input_ids, attention_mask (token_type_ids), and labels where known."""

    rows: Dataset
    lengths: list[int]
    input_names: list[str]
    pad_token_id: int

    def with_column(self, name: str, values: np.ndarray) -> "Encoded":
        """The same rows with one more column, such as cached teacher logits (rows, classes)."""
        rows = self.rows.add_column(name, list(values))
        return Encoded(rows=rows, lengths=self.lengths, input_names=self.input_names, pad_token_id=self.pad_token_id)

    def without_column(self, name: str) -> "Encoded":
        """The same rows less one column."""
        rows = self.rows.remove_columns(name)
        return Encoded(rows=rows, lengths=self.lengths, input_names=self.input_names, pad_token_id=self.pad_token_id)


def encode_split(split: Split, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> Encoded:
    """One row per example, cut to `max_length` tokens, unpadded, with its label."""
    tokens = tokenizer(split.texts, split.pairs, truncation=True, max_length=max_length, padding=False)
    return _encoded({**tokens, "labels": split.labels.tolist()}, tokenizer)


def encode_texts(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> Encoded:
    """Running text, unlabelled: what is longer than `max_length` goes on in further rows."""
    texts = list(texts)
    if not texts:
        raise UserError("distill.general.corpus: there is no text in it")
    tokens = tokenizer(texts, truncation=True, max_length=max_length, padding=False, return_overflowing_tokens=True)
    tokens.pop("overflow_to_sample_mapping")
    return _encoded(dict(tokens), tokenizer)


def _encoded(columns: dict[str, list], tokenizer: PreTrainedTokenizerBase) -> Encoded:
    return Encoded(
        rows=Dataset.from_dict(columns),
        lengths=[len(ids) for ids in columns["input_ids"]],
        input_names=[name for name in columns if name != "labels"],
        pad_token_id=tokenizer.pad_token_id,
    )
