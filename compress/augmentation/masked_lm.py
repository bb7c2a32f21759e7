"""Candidates from a masked language model, which reads the text with one word masked. Queries run in batches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.augmentation.whole_words import find_whole_words
from compress.augmentation.words import Word
from compress.data.batching import PaddingCollator
from compress.data.tokenization import encode
from compress.models.architectures import capabilities_of
from compress.models.inference import TOKENS_AT_ONCE, batches_of_similar_length
from compress.models.layout import encoder_modules
from compress.models.precision import Precision, autocast, low_precision_copy

STEP = 1e-4  # scores are rounded to multiples of it; of equal scores, the lower token id comes first


class Query(NamedTuple):
    """A text's token ids with the one at `position` masked. `has_mark`: whether the masked token began a word."""

    tokens: tuple[int, ...]
    position: int
    has_mark: bool


class Tokenised(NamedTuple):
    """A text as token ids. `text[:end]` is within the token limit.

    `single_tokens`: the position of each word that is a single token.
    """

    tokens: list[int]
    end: int
    single_tokens: dict[Word, int]

    def token_id(self, word: Word) -> int:
        """The token id of a word that is a single token."""
        return self.tokens[self.single_tokens[word]]


class MaskedLM:
    """A source of candidates: any AutoModelForMaskedLM with a fast tokenizer."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, precision: Precision = "fp32"
    ) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.precision: Precision = precision
        self.model = nn.Module.to(low_precision_copy(model, precision), self.device).eval()
        self.tokenizer = tokenizer
        self.words = find_whole_words(tokenizer, model.config.vocab_size)
        self._token_of_id = {token_id: token for token, token_id in tokenizer.get_vocab().items()}

    def tokenise(self, texts: Sequence[str], words: Sequence[Sequence[Word]], *, max_length: int) -> list[Tokenised]:
        """Tokenise texts and find the `words` that are single tokens. `max_length` counts special tokens."""
        if not texts:
            return []
        encoded = encode(
            self.tokenizer,
            list(texts),
            truncation=True,
            max_length=max_length,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        all_tokenised = []
        for text, text_words, tokens, spans in zip(
            texts, words, encoded["input_ids"], encoded["offset_mapping"], strict=True
        ):
            positions: dict[tuple[int, int], list[int]] = {}  # several if one character is several byte tokens
            for position, span in enumerate(spans):
                positions.setdefault(_without_leading_space(text, *span), []).append(position)
            single_tokens = {}
            for word in text_words:
                word_positions = positions.get((word.start, word.end), [])
                if len(word_positions) == 1 and tokens[word_positions[0]] != self.tokenizer.unk_token_id:
                    single_tokens[word] = word_positions[0]
            all_tokenised.append(Tokenised(tokens, max((end for _, end in spans), default=0), single_tokens))
        return all_tokenised

    def query(self, text: Tokenised, word: Word) -> Query:
        """The text with `word` masked, which must be a single token."""
        position = text.single_tokens[word]
        tokens = list(text.tokens)
        has_mark = self._token_of_id[text.token_id(word)].startswith(self.words.mark)
        tokens[position] = self.tokenizer.mask_token_id
        return Query(tuple(tokens), position, has_mark)

    def decode(self, token_ids: np.ndarray, *, exclude: int) -> list[str]:
        """The words of token ids (count,), without the token `exclude` and the padding -1 of `most_probable`."""
        return [self.words.spellings[token_id] for token_id in token_ids.tolist() if token_id not in (exclude, -1)]

    @torch.no_grad()
    def most_probable(
        self,
        queries: Sequence[Query],
        count: int,
        *,
        tokens_at_once: int | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> np.ndarray:
        """The `count` most probable whole words per query as token ids, (queries, count), best first, padded with -1.

        Pass equal queries once. A batch holds rows of similar length, and logits are computed at the masked positions
        only. In bf16, results depend on the composition of the batch: other batches changed the candidates of 1 word
        in 13.
        """
        count = min(count, len(self.words.fits_marked))
        excluded = torch.from_numpy(~np.stack([self.words.fits_unmarked, self.words.fits_marked])).to(self.device)
        token_ids = np.zeros((len(queries), count), dtype=np.int64)
        lengths = np.array([len(query.tokens) for query in queries])
        collate = PaddingCollator(self.tokenizer.pad_token_id)
        done = 0
        order = np.argsort(lengths, kind="stable")
        for numbers in batches_of_similar_length(order, lengths, tokens_at_once or TOKENS_AT_ONCE[self.device]):
            batch = [queries[number] for number in numbers]
            inputs = collate([{"input_ids": query.tokens} for query in batch])
            positions = torch.tensor([[query.position] for query in batch], device=self.device)
            with autocast(self.precision), logits_at(self.model, positions):
                logits = self.model(**{name: value.to(self.device) for name, value in inputs.items()}).logits
            for has_mark in {query.has_mark for query in batch}:
                rows = [row for row, query in enumerate(batch) if query.has_mark == has_mark]
                scores = logits[:, 0] if len(rows) == len(batch) else logits[rows, 0]
                best = scores.float().masked_fill_(excluded[int(has_mark)], -torch.inf).topk(count)
                token_ids[numbers[rows]] = sort_by_score(best.values.cpu().numpy(), best.indices.cpu().numpy())
            on_progress(done := done + len(numbers), len(queries))
        return token_ids


def sort_by_score(scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Sort ids (rows, count) by their rounded scores, highest first. Of equal scores, the lower id comes first.

    -1 replaces an id whose score is minus infinity.
    """
    order = np.lexsort((ids, -np.round(scores / STEP)), axis=-1)
    return np.where(np.take_along_axis(scores, order, axis=-1) > -np.inf, np.take_along_axis(ids, order, axis=-1), -1)


@contextmanager
def logits_at(model: PreTrainedModel, positions: Tensor) -> Iterator[None]:
    """Inside this context, `model` computes logits (rows, count, tokens) for `positions` (rows, count) only.

    For architectures that we know, the last layer's feed-forward part is limited to these positions too.
    """

    def at_positions(states: Tensor) -> Tensor:
        return states.gather(1, positions[..., None].expand(-1, -1, states.shape[-1]))

    def limit_output(_: nn.Module, __: Any, output: Any) -> Any:
        output.last_hidden_state = at_positions(output.last_hidden_state)
        return output

    encoder: Any = model.base_model
    if capabilities_of(model.config.model_type).post_layer_norm:
        norm = encoder_modules(model).layers[-1].attention_norm
        hook = norm.register_forward_hook(lambda _, __, states: at_positions(states))
    else:
        hook = encoder.register_forward_hook(limit_output)
    try:
        yield
    finally:
        hook.remove()


def _without_leading_space(text: str, start: int, end: int) -> tuple[int, int]:
    """A token's span without the space before the word, which SentencePiece includes in the first token."""
    while start < end and text[start].isspace():
        start += 1
    return start, end
