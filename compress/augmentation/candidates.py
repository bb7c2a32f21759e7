"""The candidates for each word of many texts: the words that Algorithm 1 may replace it with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from compress.augmentation.masked_lm import MaskedLM, Query, Tokenised
from compress.augmentation.word_vectors import Vectors
from compress.augmentation.words import Word, match_case, words_of

Source = Literal["masked_lm", "vectors"]
FORMS = 4  # of one word in a vocabulary, such as good, Good and GOOD
TEXTS_AT_ONCE = 2000


class WordSlot(NamedTuple):
    """`text[start:end]` is a word that one of the candidates may replace. `source`: where they come from.

    Candidates are in alphabetical order. The sampled word therefore does not depend on tiny differences of scores.
    """

    start: int
    end: int
    candidates: tuple[str, ...]
    source: Source


class TextCandidates(NamedTuple):
    """The word slots of one text. `num_words`: all words of the text. `num_replaceable`: those that may be replaced."""

    num_words: int
    num_replaceable: int
    slots: tuple[WordSlot, ...]


class _ParsedText(NamedTuple):
    """A text's number of words, its replaceable words, and its tokens for the masked language model."""

    num_words: int
    replaceable: list[Word]
    tokenised: Tokenised


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Finds up to `count` candidates per word.

    `masked_lm` serves words that are a single token, `vectors` all other words. Without vectors, the other words have
    no candidates. `max_length`: tokens per text; words after the limit have no candidates.
    """

    masked_lm: MaskedLM
    vectors: Vectors | None
    stop_words: frozenset[str]
    count: int = 15
    max_length: int = 128

    @property
    def num_ranked(self) -> int:
        """Words to rank, so that `count` remain after the removal of other forms and of the word itself."""
        return FORMS * (self.count + 1)

    def nearest_words(self, texts: Sequence[str]) -> dict[str, list[str]]:
        """The nearest words of every word in the texts that is several tokens. Keys are in lower case."""
        if self.vectors is None:
            return {}
        needed: set[str] = set()
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            chunk = texts[start : start + TEXTS_AT_ONCE]
            for text, parsed in zip(chunk, self._parse(chunk), strict=True):
                needed |= {
                    text[word.start : word.end].lower()
                    for word in parsed.replaceable
                    if _is_several_tokens(word, parsed.tokenised)
                }
        return self.vectors.nearest(sorted(needed), self.num_ranked)

    def of(
        self,
        texts: Sequence[str],
        nearest: dict[str, list[str]],
        *,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[TextCandidates]:
        """The candidates for each text. `nearest`: from `nearest_words`, for at least these texts."""
        parsed_texts = self._parse(texts)
        queries: dict[Query, int] = {}
        for parsed in parsed_texts:
            for word in parsed.tokenised.single_tokens:
                queries.setdefault(self.masked_lm.query(parsed.tokenised, word), len(queries))
        best = self.masked_lm.most_probable(list(queries), self.num_ranked, on_progress=on_progress)
        text_candidates = []
        for text, parsed in zip(texts, parsed_texts, strict=True):
            slots = []
            for word in parsed.replaceable:
                spelling = text[word.start : word.end]
                ranked_words: Sequence[str] = ()
                source: Source = "masked_lm"
                if word in parsed.tokenised.single_tokens:
                    token_ids = best[queries[self.masked_lm.query(parsed.tokenised, word)]]
                    ranked_words = self.masked_lm.decode(token_ids, exclude=parsed.tokenised.token_id(word))
                elif _is_several_tokens(word, parsed.tokenised):
                    ranked_words, source = nearest.get(spelling.lower(), ()), "vectors"
                if kept := select_candidates(spelling, ranked_words, self.count):
                    slots.append(WordSlot(word.start, word.end, kept, source))
            text_candidates.append(TextCandidates(parsed.num_words, len(parsed.replaceable), tuple(slots)))
        return text_candidates

    def _parse(self, texts: Sequence[str]) -> list[_ParsedText]:
        all_words = [words_of(text, self.stop_words) for text in texts]
        replaceable = [[word for word in words if word.replaceable] for words in all_words]
        all_tokenised = self.masked_lm.tokenise(texts, replaceable, max_length=self.max_length)
        return [
            _ParsedText(len(words), open_words, tokenised)
            for words, open_words, tokenised in zip(all_words, replaceable, all_tokenised, strict=True)
        ]


def select_candidates(word: str, ranked: Sequence[str], count: int) -> tuple[str, ...]:
    """The first `count` of the ranked words, in alphabetical order and in the case of `word`.

    Each word appears in one form only; forms of `word` itself are left out.
    """
    kept: dict[str, str] = {}
    for candidate in ranked:
        if candidate.casefold() != word.casefold() and len(kept) < count:
            kept.setdefault(candidate.casefold(), match_case(word, candidate))
    return tuple(sorted(kept.values()))


def _is_several_tokens(word: Word, tokenised: Tokenised) -> bool:
    """Whether the word is more than one token, within the token limit."""
    return word not in tokenised.single_tokens and word.end <= tokenised.end
