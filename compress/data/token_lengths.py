"""The token counts of a table's rows: of all rows, or of a random sample if the table is large."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compress.common.errors import library_errors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Row = tuple[str, ...]
MAX_ROWS, MIN_ROWS = 20_000, 500  # of a sample
MAX_LETTERS = 8_000_000  # about two million tokens: a few seconds


@dataclass(frozen=True, kw_only=True)
class TokenCounts:
    """Tokens per row, special tokens included, before truncation.

    `counts`: (rows of the sample,). `num_rows`: of the table. `num_letters`: in the rows of the sample.
    """

    counts: np.ndarray
    num_rows: int
    num_letters: int

    @property
    def is_sample(self) -> bool:
        """Whether some rows were not counted."""
        return len(self.counts) < self.num_rows

    @property
    def basis(self) -> str:
        """The rows that were counted: "all 10,000 rows", or "a random sample of 20,000 of the 50,000 rows"."""
        if self.is_sample:
            return f"a random sample of {len(self.counts):,} of the {self.num_rows:,} rows"
        return f"all {self.num_rows:,} rows"

    @property
    def longest(self) -> int:
        """The largest count."""
        return int(self.counts.max())

    def share_longer(self, max_length: int) -> float:
        """The share of rows with more than `max_length` tokens."""
        return float((self.counts > max_length).mean())

    def share_cut(self, max_length: int) -> float:
        """The share of all tokens that truncation to `max_length` removes."""
        return float(np.maximum(self.counts - max_length, 0).sum() / self.counts.sum())

    def mean_kept(self, max_length: int) -> float:
        """The mean number of tokens per row after truncation to `max_length`."""
        return float(np.minimum(self.counts, max_length).mean())


def count_tokens(rows: Sequence[Row], count: Callable[[list[Row]], Sequence[int]], *, seed: int = 0) -> TokenCounts:
    """Count the tokens of all rows, or of a random sample: at most 20,000 rows, and fewer if the texts are long.

    `rows`: one text each, or two. `count`: returns the token counts of rows, such as `counter_of(tokenizer)`.
    """
    letters = np.array([sum(map(len, row)) for row in rows])
    affordable = int(MAX_LETTERS / max(1.0, letters.mean()))
    num_sampled = min(len(rows), MAX_ROWS, max(MIN_ROWS, affordable))
    sampled = np.arange(len(rows))
    if num_sampled < len(rows):
        sampled = np.sort(np.random.default_rng(seed).permutation(len(rows))[:num_sampled])
    counts = np.array(count([rows[index] for index in sampled.tolist()]), dtype=np.int64)
    return TokenCounts(counts=counts, num_rows=len(rows), num_letters=int(letters[sampled].sum()))


def counter_of(tokenizer: "Tokenizer") -> Callable[[list[Row]], list[int]]:
    """Counts the tokens of rows with a copy of a tokenizer, which keeps its own truncation and padding.

    Pass `backend_tokenizer` of a tokenizer of transformers. Counting raises UserError for a text that the tokenizer
    cannot encode.
    """
    copy = type(tokenizer).from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()

    def count(rows: list[Row]) -> list[int]:
        with library_errors("the tokenizer cannot encode the texts", advice="copy the model again"):
            return [
                len(encoding) for encoding in copy.encode_batch_fast([row if len(row) > 1 else row[0] for row in rows])
            ]

    return count
