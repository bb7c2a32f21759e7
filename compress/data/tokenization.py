"""Turns texts into token rows."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from compress.common.errors import UserError, library_errors
from compress.data.columns import Split

TOKEN_COLUMNS = ("input_ids", "token_type_ids")


@dataclass(frozen=True, kw_only=True)
class TokenDataset:
    """Token rows, with the columns input_ids, token_type_ids (unless all are 0) and labels (if known).

    `lengths`: tokens per row, (rows,). Padding computes the attention mask from the lengths.
    """

    rows: Dataset
    lengths: np.ndarray
    input_names: list[str]
    pad_token_id: int

    def with_column(self, name: str, values: np.ndarray) -> "TokenDataset":
        """Add a column of shape (rows,), such as labels, or (rows, classes), such as logits."""
        cells = pa.array(values.ravel())
        if values.ndim == 2:
            cells = pa.FixedSizeListArray.from_arrays(cells, values.shape[1])
        return replace(self, rows=self.rows.add_column(name, cells))

    def take(self, numbers: np.ndarray) -> "TokenDataset":
        """The rows with these numbers."""
        return replace(self, rows=self.rows.select(numbers), lengths=self.lengths[numbers])

    def without_column(self, name: str) -> "TokenDataset":
        """Remove one column."""
        return replace(self, rows=self.rows.remove_columns(name))


def encode_split(split: Split, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> TokenDataset:
    """Tokenise a split: one row per example with its label, truncated to `max_length` tokens, without padding."""
    columns = tokenise_rows(split.texts, split.pairs, tokenizer, max_length=max_length)
    rows = Dataset.from_dict({**columns, "labels": split.labels.tolist()})
    return token_dataset(rows, np.array([len(ids) for ids in columns["input_ids"]]), tokenizer)


def tokenise_rows(
    texts: list[str], pairs: list[str] | None, tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> dict[str, list[list[int]]]:
    """The token columns of texts or pairs, truncated to `max_length` tokens, without padding."""
    if not texts:
        has_types = pairs is not None and "token_type_ids" in tokenizer.model_input_names
        return {"input_ids": [], **({"token_type_ids": []} if has_types else {})}
    tokens = encode(
        tokenizer, texts, pairs, truncation=True, max_length=max_length, padding=False, return_attention_mask=False
    )
    return {name: tokens[name] for name in tokens if name == "input_ids" or pairs is not None}


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], pairs: list[str] | None = None, **options: object
) -> Any:
    """Call a tokenizer. Raises UserError with the first text that it cannot encode."""
    try:
        with library_errors("the tokenizer cannot encode the texts"):
            return tokenizer(texts, pairs, **options)
    except UserError:
        for number, text in enumerate(texts):
            pair = None if pairs is None else [pairs[number]]
            with library_errors(f"the tokenizer cannot encode text {number + 1} of {len(texts)}, {_brief(text)}"):
                tokenizer([text], pair, **options)
        raise


def _brief(text: object) -> str:
    """The beginning of a text, in printable characters."""
    return ascii(text if not isinstance(text, str) or len(text) <= 40 else f"{text[:40]}...")


def split_into_blocks(texts: list[str], tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> list[list[int]]:
    """Split each text into blocks of at most `max_length` token ids, each with its special tokens."""
    if not texts:
        return []
    tokens = encode(
        tokenizer,
        texts,
        truncation=True,
        max_length=max_length,
        padding=False,
        return_overflowing_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    return tokens["input_ids"]


def token_dataset(rows: Dataset, lengths: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> TokenDataset:
    """Wrap rows that are already tokenised."""
    return TokenDataset(
        rows=rows,
        lengths=lengths,
        input_names=[name for name in rows.column_names if name in TOKEN_COLUMNS],
        pad_token_id=tokenizer.pad_token_id,
    )
