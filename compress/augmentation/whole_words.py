"""The tokens of a tokenizer's vocabulary that are whole words, and their spelling."""

from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from compress.augmentation.words import is_whole_word
from compress.common.errors import UserError

MARKS = ("Ġ", "▁")  # start a token that begins a word, in byte-level BPE and in SentencePiece


@dataclass(frozen=True, kw_only=True)
class WholeWords:
    """`spellings`: the word of each token, "" for tokens that are not whole words.

    `mark`: the prefix of tokens that begin a word. It is "" for WordPiece, which marks the other tokens.

    `fits_marked`, `fits_unmarked`: boolean (tokens,), True for tokens that may replace one with or without the mark.
    In byte-level BPE, the first word of a text and a word after a quote have no mark. `fits_unmarked` contains only
    tokens that the vocabulary also has with the mark.
    """

    spellings: list[str]
    mark: str
    fits_marked: np.ndarray
    fits_unmarked: np.ndarray


def find_whole_words(tokenizer: PreTrainedTokenizerBase, num_rows: int) -> WholeWords:
    """Find the whole words of a vocabulary. Raises UserError if the tokenizer does not mark words.

    `num_rows`: rows of the model's embedding, which may be more than the tokenizer's tokens.
    """
    model = tokenizer.backend_tokenizer.model
    model_name = type(model).__name__
    tokens = {token_id: token for token, token_id in tokenizer.get_vocab().items()}
    special_ids = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    prefix = getattr(model, "continuing_subword_prefix", None) or ""
    num_marked = {mark: sum(token.startswith(mark) for token in tokens.values()) for mark in MARKS}
    mark = "" if model_name == "WordPiece" and prefix else max(num_marked, key=num_marked.__getitem__)
    if mark and not num_marked[mark]:
        raise UserError(
            f"got a {model_name} vocabulary that marks neither the first token of a word ({' or '.join(MARKS)}) nor "
            "the others (as WordPiece does); augmentation cannot tell whole words from parts of words in it",
            option="masked_lm",
        )
    spellings = [""] * num_rows
    fits_marked = np.zeros(num_rows, dtype=bool)
    fits_unmarked = np.zeros(num_rows, dtype=bool)
    vocabulary = set(tokens.values())
    for token_id, token in tokens.items():
        if token_id in special_ids or token_id >= num_rows or (not mark and token.startswith(prefix)):
            continue
        word = token if not mark else tokenizer.convert_tokens_to_string([token]).strip()
        if not is_whole_word(word):
            continue
        spellings[token_id] = word
        fits_marked[token_id] = token.startswith(mark)
        fits_unmarked[token_id] = not mark or (not fits_marked[token_id] and mark + token in vocabulary)
    return WholeWords(spellings=spellings, mark=mark, fits_marked=fits_marked, fits_unmarked=fits_unmarked)
