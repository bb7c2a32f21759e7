"""What a masked language model would put in the place of a word: the text with that one word masked, in batches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.augmentation.whole_words import whole_words
from compress.augmentation.words import Word
from compress.data.batching import PaddingCollator
from compress.models.architectures import capabilities_of
from compress.models.inference import TOKENS_AT_ONCE, batches_of_like_length
from compress.models.layout import encoder_modules
from compress.models.precision import Precision, autocast, low_precision_copy

STEP = 1e-4  # to which scores are rounded: of equal ones the lower number goes first


class Query(NamedTuple):
    """A text's tokens with one of them masked: which, and whether what stood there had the mark of a first piece."""

    tokens: tuple[int, ...]
    position: int
    marked: bool


class Tokenised(NamedTuple):
    """A text as the model reads it. `seen`: characters that were not cut off. `single`: word -> the position of its one
    piece, for those that are one.
    """

    tokens: list[int]
    seen: int
    single: dict[Word, int]

    def piece(self, word: Word) -> int:
        """The number of the one piece that a word is."""
        return self.tokens[self.single[word]]


class MaskedLM:
    """A masked language model as a source of candidates: any AutoModelForMaskedLM with a fast tokenizer."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, precision: Precision = "fp32"
    ) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.precision: Precision = precision
        self.model = nn.Module.to(low_precision_copy(model, precision), self.device).eval()
        self.tokenizer = tokenizer
        self.words = whole_words(tokenizer, model.config.vocab_size)
        self._pieces = {number: piece for piece, number in tokenizer.get_vocab().items()}

    def tokenise(self, texts: Sequence[str], words: Sequence[Sequence[Word]], *, max_length: int) -> list[Tokenised]:
        """Each text, cut to `max_length` tokens with its special ones, and where its `words` are among the pieces."""
        if not texts:
            return []
        read = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=max_length,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        found = []
        for text, its_words, tokens, spans in zip(texts, words, read["input_ids"], read["offset_mapping"], strict=True):
            positions: dict[tuple[int, int], list[int]] = {}  # several, where a character is several byte pieces
            for position, span in enumerate(spans):
                positions.setdefault(_without_blanks(text, *span), []).append(position)
            single = {}
            for word in its_words:
                place = positions.get((word.start, word.end), [])
                if len(place) == 1 and tokens[place[0]] != self.tokenizer.unk_token_id:
                    single[word] = place[0]
            found.append(Tokenised(tokens, max((end for _, end in spans), default=0), single))
        return found

    def query(self, text: Tokenised, word: Word) -> Query:
        """The text with that word masked, which must be a single piece."""
        position = text.single[word]
        tokens = list(text.tokens)
        marked = self._pieces[text.piece(word)].startswith(self.words.mark)
        tokens[position] = self.tokenizer.mask_token_id
        return Query(tuple(tokens), position, marked)

    def written(self, pieces: np.ndarray, *, but: int) -> list[str]:
        """The words that pieces are, without the piece `but`, and without the -1 of `most_probable`."""
        return [self.words.written[piece] for piece in pieces.tolist() if piece not in (but, -1)]

    @torch.no_grad()
    def most_probable(
        self,
        queries: Sequence[Query],
        count: int,
        *,
        tokens_at_once: int | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> np.ndarray:
        """The `count` pieces that are whole words and fit best in each masked place, (queries, count), best first.

        Where there are fewer, -1 stands behind them.

        Equal queries should be asked once. Rows of like length are computed together; of each only the logits at the
        masked position. In half precision the rows of a batch are not quite independent of one another: equal queries
        in equal company have equal answers, and in other company 1 in 13 words has another candidate or two.
        """
        count = min(count, len(self.words.marked))
        unfit = torch.from_numpy(~np.stack([self.words.unmarked, self.words.marked])).to(self.device)
        found = np.zeros((len(queries), count), dtype=np.int64)
        lengths = np.array([len(query.tokens) for query in queries])
        collate = PaddingCollator(self.tokenizer.pad_token_id)
        done = 0
        order = np.argsort(lengths, kind="stable")
        for numbers in batches_of_like_length(order, lengths, tokens_at_once or TOKENS_AT_ONCE[self.device]):
            batch = [queries[number] for number in numbers]
            inputs = collate([{"input_ids": query.tokens} for query in batch])
            positions = torch.tensor([[query.position] for query in batch], device=self.device)
            with autocast(self.precision), logits_at(self.model, positions):
                logits = self.model(**{name: value.to(self.device) for name, value in inputs.items()}).logits
            for marked in {query.marked for query in batch}:
                rows = [row for row, query in enumerate(batch) if query.marked == marked]
                scores = logits[:, 0] if len(rows) == len(batch) else logits[rows, 0]
                best = scores.float().masked_fill_(unfit[int(marked)], -torch.inf).topk(count)
                found[numbers[rows]] = ranked(best.values.cpu().numpy(), best.indices.cpu().numpy())
            on_progress(done := done + len(numbers), len(queries))
        return found


def ranked(scores: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The numbers (rows, count) in the order of their scores, rounded, highest first; of equal ones the lower number.

    -1 in the place of a number whose score is minus infinity.
    """
    order = np.lexsort((numbers, -np.round(scores / STEP)), axis=-1)
    return np.where(
        np.take_along_axis(scores, order, axis=-1) > -np.inf, np.take_along_axis(numbers, order, axis=-1), -1
    )


@contextmanager
def logits_at(model: PreTrainedModel, positions: Tensor) -> Iterator[None]:
    """Inside, the head of `model` sees only these positions of each row, (rows, count): its logits are
    (rows, count, pieces). Of the last layer the feed-forward part too, where we know the architecture.
    """

    def narrowed(states: Tensor) -> Tensor:
        return states.gather(1, positions[..., None].expand(-1, -1, states.shape[-1]))

    def narrow_output(_: nn.Module, __: Any, output: Any) -> Any:
        output.last_hidden_state = narrowed(output.last_hidden_state)
        return output

    encoder: Any = model.base_model
    if capabilities_of(model.config.model_type).post_layer_norm:
        norm = encoder_modules(model).layers[-1].attention_norm
        hook = norm.register_forward_hook(lambda _, __, states: narrowed(states))
    else:
        hook = encoder.register_forward_hook(narrow_output)
    try:
        yield
    finally:
        hook.remove()


def _without_blanks(text: str, start: int, end: int) -> tuple[int, int]:
    """SentencePiece counts the blank before a word to its first piece."""
    while start < end and text[start].isspace():
        start += 1
    return start, end
