"""Two reference implementations of the candidates for a word, to compare with ours.

`one_at_a_time` follows the same rules for one word at a time, without padding and with the logits of all positions. It
is correct but slow. `as_first_written` is the loop of the method's original scripts. For each word, the model reads the
masked text followed by the whole text. The scores of the whole vocabulary, or of the whole vector table, are sorted.
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
    """The same as `Candidates.of`, one word at a time."""
    text_candidates = []
    for text in texts:
        slots = []
        words = words_of(text, candidates.stop_words)
        for word in words:
            if word.replaceable and (ranked := _rank(candidates, text, word)):
                ranked_words, source = ranked
                if kept := select_candidates(text[word.start : word.end], ranked_words, candidates.count):
                    slots.append(WordSlot(word.start, word.end, kept, source))
        text_candidates.append(TextCandidates(len(words), sum(word.replaceable for word in words), tuple(slots)))
    return text_candidates


def _rank(candidates: Candidates, text: str, word: Word) -> tuple[list[str], Source] | None:
    masked_lm, vectors = candidates.masked_lm, candidates.vectors
    (tokenised,) = masked_lm.tokenise([text], [[word]], max_length=candidates.max_length)
    if word.end > tokenised.end:
        return None
    if word not in tokenised.single_tokens:
        spelling = text[word.start : word.end].lower()
        nearest = {} if vectors is None else vectors.nearest([spelling], candidates.num_ranked)
        return (nearest[spelling], "vectors") if nearest else None
    query = masked_lm.query(tokenised, word)
    logits = masked_lm.model(input_ids=torch.tensor([query.tokens])).logits[0, query.position]
    is_allowed = masked_lm.words.fits_marked if query.has_mark else masked_lm.words.fits_unmarked
    scores = np.where(is_allowed, np.round(logits.float().numpy() / STEP), -np.inf)
    order = np.lexsort((np.arange(len(scores)), -scores))[: candidates.num_ranked]
    return masked_lm.decode(np.where(scores[order] > -np.inf, order, -1), exclude=tokenised.token_id(word)), "masked_lm"


def as_first_written(candidates: Candidates, table: Any | None, texts: Sequence[str]) -> list[list[list[str]]]:
    """The candidates of each replaceable word of each text. `table`: gensim's KeyedVectors; every row is searched."""
    tokenizer = candidates.masked_lm.tokenizer
    vectors = np.zeros((0, 0)) if table is None else table.get_normed_vectors()
    candidates_of_texts = []
    for text in texts:
        replaceable_words = [word for word in words_of(text, candidates.stop_words) if word.replaceable]
        candidates_of_texts.append(
            [
                _from_model(candidates.masked_lm, text, word, candidates.count)
                if len(tokenizer.tokenize(text[word.start : word.end])) == 1
                else _from_table(text[word.start : word.end].lower(), table, vectors, candidates.count)
                for word in replaceable_words
            ]
        )
    return candidates_of_texts


def _from_model(masked_lm: MaskedLM, text: str, word: Word, count: int) -> list[str]:
    tokenizer, max_length = masked_lm.tokenizer, max_tokens(masked_lm.model.config.to_dict())
    first = tokenizer.tokenize(f"{text[: word.start]}{tokenizer.mask_token}{text[word.end :]}")
    second = tokenizer.tokenize(text)
    tokens = [tokenizer.cls_token, *first, tokenizer.sep_token, *second, tokenizer.sep_token]
    token_ids = torch.tensor([tokenizer.convert_tokens_to_ids(tokens)])[:, :max_length]
    logits = masked_lm.model(input_ids=token_ids).logits
    order = torch.argsort(logits[0, min(max_length - 1, 1 + first.index(tokenizer.mask_token))], descending=True)
    return list(tokenizer.convert_ids_to_tokens(order[:count].tolist()))


def _from_table(word: str, table: Any | None, vectors: np.ndarray, count: int) -> list[str]:
    if table is None or word not in table:
        return []
    order = np.argsort(-(vectors @ vectors[table.key_to_index[word]]))
    return [table.index_to_key[row] for row in order[1 : count + 1]]
