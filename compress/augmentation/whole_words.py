"""Which pieces of a tokenizer's vocabulary are whole words, and how they are written."""

from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from compress.augmentation.words import is_whole_word
from compress.common.errors import UserError

MARKS = ("Ġ", "▁")  # of a piece that begins a word: byte-level BPE's, SentencePiece's


@dataclass(frozen=True, kw_only=True)
class WholeWords:
    """`written`: the word that each piece is, "" where it is none. `mark`: what begins a word's first piece, "" in a
    WordPiece vocabulary, which marks the others.

    `marked`, `unmarked`: (pieces,) where True, the piece may take the place of one with the mark, or of one without
    (in byte-level BPE: at the start of a text, or after a quote); there, only what could stand after a blank too.
    """

    written: list[str]
    mark: str
    marked: np.ndarray
    unmarked: np.ndarray


def whole_words(tokenizer: PreTrainedTokenizerBase, num_rows: int) -> WholeWords:
    """`num_rows`: of the model's embedding, which may have more than the tokenizer has pieces. Raises UserError."""
    model = tokenizer.backend_tokenizer.model
    kind = type(model).__name__
    pieces = {number: piece for piece, number in tokenizer.get_vocab().items()}
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    prefix = getattr(model, "continuing_subword_prefix", None) or ""
    begins = {mark: sum(piece.startswith(mark) for piece in pieces.values()) for mark in MARKS}
    mark = "" if kind == "WordPiece" and prefix else max(begins, key=begins.__getitem__)
    if mark and not begins[mark]:
        raise UserError(
            f"a {kind} vocabulary that marks neither the first pieces of words ({' or '.join(MARKS)}) nor the "
            "others (as WordPiece does); with it whole words can't be told from parts of words",
            option="masked_lm",
        )
    written = [""] * num_rows
    marked = np.zeros(num_rows, dtype=bool)
    unmarked = np.zeros(num_rows, dtype=bool)
    known = set(pieces.values())
    for number, piece in pieces.items():
        if number in special or number >= num_rows or (not mark and piece.startswith(prefix)):
            continue
        word = piece if not mark else tokenizer.convert_tokens_to_string([piece]).strip()
        if not is_whole_word(word):
            continue
        written[number] = word
        marked[number] = piece.startswith(mark)
        unmarked[number] = not mark or (not marked[number] and mark + piece in known)
    return WholeWords(written=written, mark=mark, marked=marked, unmarked=unmarked)
