"""The candidates for each word of many texts: what Algorithm 1 may put in its place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from compress.augmentation.masked_lm import MaskedLM, Query, Tokenised
from compress.augmentation.word_vectors import Vectors
from compress.augmentation.words import Word, in_case_of, words_of

Source = Literal["masked_lm", "vectors"]
FORMS = 4  # in which a vocabulary may hold a word: good, Good, GOOD and the like
TEXTS_AT_ONCE = 2000


class WordSlot(NamedTuple):
    """`text[start:end]` may be replaced by one of the candidates, which come from `source`. They stand in the order of
    the alphabet, so that the draw depends on which they are and not on how nearly equal their scores are.
    """

    start: int
    end: int
    candidates: tuple[str, ...]
    source: Source


class TextCandidates(NamedTuple):
    """Of one text: `num_words` in it, `num_replaceable` (no stop words), and the places that have candidates."""

    num_words: int
    num_replaceable: int
    places: tuple[WordSlot, ...]


class _Read(NamedTuple):
    """A text's words in all, those that may be replaced, and the text as the masked language model reads it."""

    num_words: int
    words: list[Word]
    tokenised: Tokenised


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Where candidates come from, and how many: `masked_lm` for words that are a single piece, `vectors` for the rest,
    which without vectors have none. `max_length`: tokens of a text that are looked at; words behind them stay.
    """

    masked_lm: MaskedLM
    vectors: Vectors | None
    stop_words: frozenset[str]
    count: int = 15
    max_length: int = 128

    @property
    def num_ranked(self) -> int:
        """How many words to rank, so that `count` are left: one form of each, and not the word itself."""
        return FORMS * (self.count + 1)

    def nearest_words(self, texts: Sequence[str]) -> dict[str, list[str]]:
        """The words nearest to every word in all these texts that the masked language model knows in parts."""
        if self.vectors is None:
            return {}
        needed: set[str] = set()
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            some = texts[start : start + TEXTS_AT_ONCE]
            for text, read in zip(some, self._read(some), strict=True):
                needed |= {text[word.start : word.end].lower() for word in read.words if _in_parts(word, read)}
        return self.vectors.nearest(sorted(needed), self.num_ranked)

    def of(
        self,
        texts: Sequence[str],
        nearest: dict[str, list[str]],
        *,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[TextCandidates]:
        """The candidates for each text. `nearest`: from `nearest_words`, of these texts and maybe more."""
        all_read = self._read(texts)
        queries: dict[Query, int] = {}
        for read in all_read:
            for word in read.tokenised.single:
                queries.setdefault(self.masked_lm.query(read.tokenised, word), len(queries))
        best = self.masked_lm.most_probable(list(queries), self.num_ranked, on_progress=on_progress)
        found = []
        for text, read in zip(texts, all_read, strict=True):
            places = []
            for word in read.words:
                written = text[word.start : word.end]
                ranked: Sequence[str] = ()
                source: Source = "masked_lm"
                if word in read.tokenised.single:
                    pieces = best[queries[self.masked_lm.query(read.tokenised, word)]]
                    ranked = self.masked_lm.written(pieces, but=read.tokenised.piece(word))
                elif _in_parts(word, read):
                    ranked, source = nearest.get(written.lower(), ()), "vectors"
                if kept := select_candidates(written, ranked, self.count):
                    places.append(WordSlot(word.start, word.end, kept, source))
            found.append(TextCandidates(read.num_words, len(read.words), tuple(places)))
        return found

    def _read(self, texts: Sequence[str]) -> list[_Read]:
        all_words = [words_of(text, self.stop_words) for text in texts]
        open_ = [[word for word in words if word.replaceable] for words in all_words]
        tokenised = self.masked_lm.tokenise(texts, open_, max_length=self.max_length)
        return [_Read(len(words), some, read) for words, some, read in zip(all_words, open_, tokenised, strict=True)]


def select_candidates(word: str, ranked: Sequence[str], count: int) -> tuple[str, ...]:
    """The first `count` of the ranked words, each in one form and not the word itself, by the alphabet.

    In capitals, or with a capital first, where the word is so.
    """
    kept: dict[str, str] = {}
    for candidate in ranked:
        if candidate.casefold() != word.casefold() and len(kept) < count:
            kept.setdefault(candidate.casefold(), in_case_of(word, candidate))
    return tuple(sorted(kept.values()))


def _in_parts(word: Word, read: _Read) -> bool:
    """Whether a word is several pieces, of the part of the text that is looked at."""
    return word not in read.tokenised.single and word.end <= read.tokenised.seen
