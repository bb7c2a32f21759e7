"""Two other ways to find the candidates for a word, to hold ours against.

`one_at_a_time`: the same rules, a word after another, nothing padded, all logits: right, and slow. `as_first_written`:
the loop of the method's first scripts, with what they ask of the model: the masked text and the whole text behind it,
every score of the vocabulary and of the vector table sorted anew for each word.
"""

from collections.abc import Sequence

import numpy as np
import torch

from compress.augment.candidates import FORMS, Found, Place, chosen
from compress.augment.masked_lm import STEP, MaskedLM
from compress.augment.words import Word, words_of


@torch.no_grad()
def one_at_a_time(
    masked_lm: MaskedLM, texts: Sequence[str], *, stop_words: frozenset[str], count: int, max_length: int
) -> list[Found]:
    """As `compress.augment.candidates`, of words that are a single piece."""
    written = masked_lm.words.written
    found = []
    for text in texts:
        places = []
        words = words_of(text, stop_words)
        for word in words:
            (read,) = masked_lm.tokenise([text], [[word]], max_length=max_length)
            if not word.replaceable or word not in read.single:
                continue
            query = masked_lm.query(read, word)
            logits = masked_lm.model(input_ids=torch.tensor([query.tokens])).logits[0, query.position]
            fits = masked_lm.words.marked if query.marked else masked_lm.words.unmarked
            scores = np.round(logits.float().numpy() / STEP)
            order = sorted(np.flatnonzero(fits).tolist(), key=lambda piece: (-scores[piece], piece))
            ranked = [written[piece] for piece in order[: FORMS * (count + 1)]]
            places.append(Place(word.start, word.end, chosen(text[word.start : word.end], ranked, count), "masked_lm"))
        found.append(Found(len(words), sum(word.replaceable for word in words), tuple(places)))
    return found


def as_first_written(
    masked_lm: MaskedLM,
    words: Sequence[str],
    vectors: np.ndarray,
    texts: Sequence[str],
    *,
    stop_words: frozenset[str],
    count: int,
) -> list[list[list[str]]]:
    """The candidates of each replaceable word of each text. `vectors`: (words, dimension), normalised."""
    tokenizer, model = masked_lm.tokenizer, masked_lm.model
    number = {word: row for row, word in enumerate(words)}
    found = []
    for text in texts:
        its_words = [word for word in words_of(text, stop_words) if word.replaceable]
        found.append(
            [
                _from_model(tokenizer, model, text, word, count)
                if len(tokenizer.tokenize(text[word.start : word.end])) == 1
                else _from_table(text[word.start : word.end].lower(), number, words, vectors, count)
                for word in its_words
            ]
        )
    return found


def _from_model(tokenizer, model, text: str, word: Word, count: int) -> list[str]:  # type: ignore[no-untyped-def]
    masked = f"{text[: word.start]}{tokenizer.mask_token}{text[word.end :]}"
    first, second = tokenizer.tokenize(masked), tokenizer.tokenize(text)
    pieces = [tokenizer.cls_token, *first, tokenizer.sep_token, *second, tokenizer.sep_token]
    tokens = torch.tensor([tokenizer.convert_tokens_to_ids(pieces)])
    types = torch.tensor([[0] * (len(first) + 2) + [1] * (len(second) + 1)])
    logits = model(input_ids=tokens, token_type_ids=types).logits
    order = torch.argsort(logits[0, 1 + first.index(tokenizer.mask_token)], descending=True)
    return tokenizer.convert_ids_to_tokens(order[:count].tolist())


def _from_table(word: str, number: dict[str, int], words: Sequence[str], vectors: np.ndarray, count: int) -> list[str]:
    if word not in number:
        return []
    order = np.argsort(-(vectors @ vectors[number[word]]))
    return [words[row] for row in order[1 : count + 1]]
