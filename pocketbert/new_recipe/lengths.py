"""The token counts of the texts, and the maximum length that suits them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from compress.common.errors import library_errors
from compress.data.columns import Split
from compress.data.token_lengths import Row, TokenCounts, count_tokens, counter_of
from compress.models.sources import find_file, locate, max_tokens, read_config, tokenizer_limit
from pocketbert.new_recipe.classes import percent

TOKENS_PER_WORD = 1.5
USUAL_LIMIT = 512  # of a teacher that is not on this machine
STEP, SHORTEST = 16, 16  # of the maximum length
PERCENTILES = (99, 95)  # of the texts to keep whole, and if that is too expensive
TOO_EXPENSIVE = 2.0  # times as many tokens per row
CHEAP_LENGTH = 128  # to compare with


@dataclass(frozen=True, kw_only=True)
class LengthChoice:
    """The maximum length. `reason`: a phrase for the recipe's comment. `facts`: lines on the lengths, with advice."""

    max_length: int
    reason: str
    facts: list[str]


def choose_length(rows: Split, teacher: str) -> LengthChoice:
    """The number of tokens that keeps 99 % of the texts whole, at most as many as the teacher reads.

    If that doubles the tokens per row compared with the number for 95 %, because a few texts are very long, the latter
    is chosen.
    """
    counts, how = _count(rows, teacher)
    limit = limit_of(teacher)
    longest, shorter = (_rounded_up(float(np.percentile(counts.counts, each)), limit) for each in PERCENTILES)
    is_tail = counts.mean_kept(longest) >= TOO_EXPENSIVE * counts.mean_kept(shorter)
    max_length = shorter if is_tail else longest
    share_longer, share_cut = counts.share_longer(max_length), counts.share_cut(max_length)
    facts = [
        f"tokens: median {np.median(counts.counts):.0f}, longest {counts.longest:,}, of {how}{counts.basis} of train"
    ]
    cut = f"{percent(share_longer)} of the texts are longer; {percent(share_cut)} of all tokens are cut"
    if is_tail:
        price = counts.mean_kept(longest) / counts.mean_kept(max_length)
        reason = f"tokens; a few texts are much longer, and {longest} would take {price:.1f} times as long"
        facts.append(f"max_length {max_length}: {cut}. With {longest}, a step takes about {price:.1f} times as long")
    elif share_longer and max_length == limit:
        reason = f"tokens, the most that the teacher reads; {percent(share_longer)} of the texts are longer"
        facts.append(
            f"max_length {max_length}: {percent(share_longer)} of the texts are longer than the {max_length} tokens "
            f"that the teacher can read; {percent(share_cut)} of all tokens are cut"
        )
    elif share_longer:
        reason = f"tokens; {percent(share_longer)} of the texts are longer and are truncated"
        facts.append(f"max_length {max_length}: {cut}")
    else:
        reason = "tokens; no text is longer" if not counts.is_sample else "tokens; no sampled text is longer"
        facts.append(f"max_length {max_length}: {reason.partition('; ')[2]}")
    return LengthChoice(max_length=max_length, reason=reason, facts=[*facts, *_price(counts, max_length)])


def limit_of(teacher: str) -> int:
    """The most tokens that a teacher reads: those it has positions for, or fewer if its tokenizer truncates earlier."""
    if not Path(locate(teacher)).is_dir():
        return USUAL_LIMIT
    return int(min(max_tokens(read_config(teacher)), tokenizer_limit(teacher)))


def _price(counts: TokenCounts, max_length: int) -> list[str]:
    """The price of a large maximum length: how much longer a step takes than with 128 tokens."""
    if max_length <= CHEAP_LENGTH:
        return []
    ratio = counts.mean_kept(max_length) / counts.mean_kept(CHEAP_LENGTH)
    if ratio < 1.2:
        return []
    cut = counts.share_cut(CHEAP_LENGTH)
    return [
        f"the price of {max_length} tokens: a step takes about {ratio:.1f} times as long as with {CHEAP_LENGTH}, which "
        f"would cut {percent(cut)} of all tokens (--set task.max_length={CHEAP_LENGTH})"
    ]


def _count(rows: Split, teacher: str) -> tuple[TokenCounts, str]:
    """The token counts, and a word if they are estimated because the tokenizer is not on this machine."""
    folder = Path(locate(teacher))
    file = find_file(teacher, "tokenizer.json") if folder.is_dir() else None
    if file is None:
        return count_tokens(rows.rows(), _estimated), "an estimate from the words of "
    with library_errors(f"{file}: not a readable tokenizer", advice="copy the model again"):
        tokenizer = Tokenizer.from_file(str(file))
    return count_tokens(rows.rows(), counter_of(tokenizer)), ""


def _estimated(rows: list[Row]) -> list[int]:
    return [int(TOKENS_PER_WORD * len(" ".join(row).split())) + 1 + len(row) for row in rows]


def _rounded_up(tokens: float, limit: int) -> int:
    return int(min(limit, max(SHORTEST, -(-tokens // STEP) * STEP)))
