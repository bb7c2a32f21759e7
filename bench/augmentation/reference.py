"""Two other ways to find the candidates for a word, to compare ours with.

`one_at_a_time`: the same rules, a word after another, nothing padded, all logits: right, and slow. `as_first_written`:
the loop of the method's first scripts, with what they ask of the model: the masked text and the whole text behind it,
every score of the vocabulary and of the vector table sorted anew for each word.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from compress.augmentation.candidates import Candidates, Source, TextCandidates, WordSlot, select_candidates
from compress.augmentation.masked_lm import STEP, MaskedLM
from compress.augmentation.words import Word, words_of
from compress.models.sources import max_tokens


@torch.no_grad()
def one_at_a_time(candidates: Candidates, texts: Sequence[str]) -> list[TextCandidates]:
    """As `Candidates.of`, a word after another."""
    offered = []
    for text in texts:
        places = []
        words = words_of(text, candidates.stop_words)
        for word in words:
            if word.replaceable and (ranked := _ranked(candidates, text, word)):
                pieces, source = ranked
                if kept := select_candidates(text[word.start : word.end], pieces, candidates.count):
                    places.append(WordSlot(word.start, word.end, kept, source))
        offered.append(TextCandidates(len(words), sum(word.replaceable for word in words), tuple(places)))
    return offered


def _ranked(candidates: Candidates, text: str, word: Word) -> tuple[list[str], Source] | None:
    masked_lm, vectors = candidates.masked_lm, candidates.vectors
    (read,) = masked_lm.tokenise([text], [[word]], max_length=candidates.max_length)
    if word.end > read.seen:
        return None
    if word not in read.single:
        written = text[word.start : word.end].lower()
        nearest = {} if vectors is None else vectors.nearest([written], candidates.num_ranked)
        return (nearest[written], "vectors") if nearest else None
    query = masked_lm.query(read, word)
    logits = masked_lm.model(input_ids=torch.tensor([query.tokens])).logits[0, query.position]
    fits = masked_lm.words.marked if query.marked else masked_lm.words.unmarked
    scores = np.where(fits, np.round(logits.float().numpy() / STEP), -np.inf)
    order = np.lexsort((np.arange(len(scores)), -scores))[: candidates.num_ranked]
    return masked_lm.written(np.where(scores[order] > -np.inf, order, -1), but=read.piece(word)), "masked_lm"


def as_first_written(candidates: Candidates, table: Any | None, texts: Sequence[str]) -> list[list[list[str]]]:
    """The candidates of each replaceable word of each text. `table`: gensim's KeyedVectors, searched whole."""
    tokenizer = candidates.masked_lm.tokenizer
    vectors = np.zeros((0, 0)) if table is None else table.get_normed_vectors()
    offered = []
    for text in texts:
        its_words = [word for word in words_of(text, candidates.stop_words) if word.replaceable]
        offered.append(
            [
                _from_model(candidates.masked_lm, text, word, candidates.count)
                if len(tokenizer.tokenize(text[word.start : word.end])) == 1
                else _from_table(text[word.start : word.end].lower(), table, vectors, candidates.count)
                for word in its_words
            ]
        )
    return offered


def _from_model(masked_lm: MaskedLM, text: str, word: Word, count: int) -> list[str]:
    tokenizer, longest = masked_lm.tokenizer, max_tokens(masked_lm.model.config.to_dict())
    first = tokenizer.tokenize(f"{text[: word.start]}{tokenizer.mask_token}{text[word.end :]}")
    second = tokenizer.tokenize(text)
    pieces = [tokenizer.cls_token, *first, tokenizer.sep_token, *second, tokenizer.sep_token]
    tokens = torch.tensor([tokenizer.convert_tokens_to_ids(pieces)])[:, :longest]
    logits = masked_lm.model(input_ids=tokens).logits
    order = torch.argsort(logits[0, min(longest - 1, 1 + first.index(tokenizer.mask_token))], descending=True)
    return list(tokenizer.convert_ids_to_tokens(order[:count].tolist()))


def _from_table(word: str, table: Any | None, vectors: np.ndarray, count: int) -> list[str]:
    if table is None or word not in table:
        return []
    order = np.argsort(-(vectors @ vectors[table.key_to_index[word]]))
    return [table.index_to_key[row] for row in order[1 : count + 1]]
