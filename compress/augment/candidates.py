"""The candidates for each word of many texts: what Algorithm 1 may put in its place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from compress.augment.masked_lm import MaskedLM, Query, Tokenised
from compress.augment.vectors import Vectors
from compress.augment.words import Word, in_case_of, words_of

Source = Literal["masked_lm", "vectors"]
FORMS = 4  # in which a vocabulary may hold a word: good, Good, GOOD and the like
TEXTS_AT_ONCE = 2000


class Place(NamedTuple):
    """`text[start:end]` may be replaced by one of the candidates, which come from `source`. They stand in the order of
    the alphabet, so that the draw depends on which they are and not on how nearly equal their scores are.
    """

    start: int
    end: int
    candidates: tuple[str, ...]
    source: Source


class Found(NamedTuple):
    """Of one text: `num_words` in it, `num_replaceable` (no stop words), and the places that have candidates."""

    num_words: int
    num_replaceable: int
    places: tuple[Place, ...]


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Where candidates come from, and how many: `masked_lm` for words that are a single piece, `vectors` for the rest.

    What either would need and is None has no candidates. `max_length`: tokens of a text that are looked at; words
    behind them stay as they are.
    """

    masked_lm: MaskedLM | None
    vectors: Vectors | None
    stop_words: frozenset[str]
    count: int = 15
    max_length: int = 128

    def nearest_words(self, texts: Sequence[str]) -> dict[str, list[str]]:
        """The words nearest to every word in all these texts that the masked language model knows in parts."""
        if self.vectors is None:
            return {}
        needed: set[str] = set()
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            some = texts[start : start + TEXTS_AT_ONCE]
            for text, (_, words, tokenised) in zip(some, self._read(some), strict=True):
                needed |= {text[word.start : word.end].lower() for word in _in_parts(words, tokenised)}
        return self.vectors.nearest(sorted(needed), self.count + FORMS)

    def of(
        self,
        texts: Sequence[str],
        nearest: dict[str, list[str]],
        *,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Found]:
        """The candidates for each text. `nearest`: from `nearest_words`, of these texts and maybe more."""
        read = self._read(texts)
        queries: dict[Query, int] = {}
        for _, words, tokenised in read:
            for word in words:
                if tokenised is not None and word in tokenised.single:
                    assert self.masked_lm is not None
                    queries.setdefault(self.masked_lm.query(tokenised, word), len(queries))
        if self.masked_lm is not None:
            best = self.masked_lm.most_probable(
                list(queries), FORMS * (self.count + 1), on_progress=on_progress
            ).tolist()
        found = []
        for text, (num_words, words, tokenised) in zip(texts, read, strict=True):
            places = []
            for word in words:
                written = text[word.start : word.end]
                if tokenised is not None and word in tokenised.single:
                    assert self.masked_lm is not None
                    pieces = best[queries[self.masked_lm.query(tokenised, word)]]
                    ranked = [self.masked_lm.words.written[piece] for piece in pieces]
                    source: Source = "masked_lm"
                else:
                    ranked, source = nearest.get(written.lower(), []), "vectors"
                    if tokenised is not None and word.end > tokenised.seen:
                        ranked = []
                if kept := chosen(written, ranked, self.count):
                    places.append(Place(word.start, word.end, kept, source))
            found.append(Found(num_words, len(words), tuple(places)))
        return found

    def _read(self, texts: Sequence[str]) -> list[tuple[int, list[Word], Tokenised | None]]:
        """(words in all, those that may be replaced, the text as the masked language model reads it) of each text."""
        words = [words_of(text, self.stop_words) for text in texts]
        open_ = [[word for word in its_words if word.replaceable] for its_words in words]
        tokenised: Sequence[Tokenised | None] = [None] * len(texts)
        if self.masked_lm is not None:
            tokenised = self.masked_lm.tokenise(texts, open_, max_length=self.max_length)
        return [(len(all_), some, read) for all_, some, read in zip(words, open_, tokenised, strict=True)]


def chosen(word: str, ranked: Sequence[str], count: int) -> tuple[str, ...]:
    """The first `count` of the ranked words, in the word's case, each once and not the word itself, by the alphabet."""
    kept: dict[str, None] = {}
    for candidate in ranked:
        written = in_case_of(word, candidate)
        if written.casefold() != word.casefold() and len(kept) < count:
            kept.setdefault(written)
    return tuple(sorted(kept))


def _in_parts(words: Sequence[Word], tokenised: Tokenised | None) -> Iterator[Word]:
    """Those that are not one piece, of the part of the text that is looked at."""
    for word in words:
        if tokenised is None or (word not in tokenised.single and word.end <= tokenised.seen):
            yield word
