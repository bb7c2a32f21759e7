"""The words of a text that may be replaced, as spans: all else of the text stays as it is, character by character."""

from pathlib import Path
from typing import NamedTuple

import regex

from compress.common.errors import UserError

# markup, links, addresses, handles, hashtags, brackets of the Penn treebank: a word in them is no word of the text
NO_PROSE = regex.compile(
    r"<[^<>]*>|&#?\w+;|(?:https?://|www\.)\S+|(?<!\S)[^\s@]++@\S+|[@#]\w+|-[lr][crs]b-", flags=regex.IGNORECASE
)
# a Han character, or a run of other letters that no letter, mark, digit or apostrophe with letters goes on from
WORD = regex.compile(
    r"""(?V1) \p{Han} |
    (?<! [[\p{L}\p{M}\p{N}_]--\p{Han}] ) (?<! \p{L}['\u2019] )
    [\p{L}--\p{Han}]++
    (?! [\p{M}\p{N}_] | ['\u2019]\p{L} )""",
    flags=regex.VERBOSE,
)
WHOLE_WORD = regex.compile(r"(?V1) \p{Han} | [\p{L}--\p{Han}]{2,}", flags=regex.VERBOSE)
TAILS = frozenset({"ll", "re", "ve"})  # of contractions that a tokeniser took apart


class Word(NamedTuple):
    """`text[start:end]`. `replaceable`: neither a stop word, nor a single letter, nor part of markup or a link."""

    start: int
    end: int
    replaceable: bool


def words_of(text: str, stop_words: frozenset[str]) -> list[Word]:
    """The words of a text, in order. `stop_words`: in lower case."""
    closed = [match.span() for match in NO_PROSE.finditer(text)]
    number = 0
    found = []
    for match in WORD.finditer(text):
        start, end = match.span()
        word = match.group()
        while number < len(closed) and closed[number][1] <= start:
            number += 1
        replaceable = (
            is_whole_word(word)
            and word.lower() not in stop_words
            and word.lower() not in TAILS
            and not (number < len(closed) and closed[number][0] < end)
        )
        found.append(Word(start, end, replaceable))
    return found


def is_whole_word(word: str) -> bool:
    """Whether it may stand for a word: two letters or more, or one Han character; no digits, marks or punctuation."""
    return WHOLE_WORD.fullmatch(word) is not None


def in_case_of(word: str, candidate: str) -> str:
    """The candidate in capitals, or with a capital first, where the word is written so."""
    if len(word) > 1 and word.isupper():
        return candidate.upper()
    if word[:1].isupper():
        return candidate[:1].upper() + candidate[1:]
    return candidate


def load_stop_words(name: str) -> frozenset[str]:
    """`english`: gensim's list of 337; `none`; or a text file with a word a line. Raises UserError."""
    if name == "none":
        return frozenset()
    if name == "english":
        from gensim.parsing.preprocessing import STOPWORDS

        return STOPWORDS
    try:
        lines = Path(name).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"{name} could not be read ({error}); expected english, none, or a text file in utf-8 with a stop word a "
            "line",
            option="stop_words",
        ) from error
    return frozenset(line.strip().lower() for line in lines if line.strip())
