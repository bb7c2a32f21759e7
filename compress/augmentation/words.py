"""The words of a text as spans, and which of them may be replaced."""

from pathlib import Path
from typing import NamedTuple

import regex

from compress.common.errors import UserError
from compress.reading.regular_files import MEGABYTE, read_bytes

MOST_BYTES = 10 * MEGABYTE  # of a list of stop words
# markup, links, addresses, handles, hashtags and brackets of the Penn Treebank; words in them are not replaced
NON_PROSE = regex.compile(
    r"<[^<>]*>|&#?\w+;|(?:https?://|www\.)\S+|(?<!\S)[^\s@]++@\S+|[@#]\w+|-[lr][crs]b-", flags=regex.IGNORECASE
)
# a Han character; or a run of other letters with no letter, mark, digit, or apostrophe and letter next to it
WORD = regex.compile(
    r"""(?V1) \p{Han} |
    (?<! [[\p{L}\p{M}\p{N}_]--\p{Han}] ) (?<! \p{L}['\u2019] )
    [\p{L}--\p{Han}]++
    (?! [\p{M}\p{N}_] | ['\u2019]\p{L} )""",
    flags=regex.VERBOSE,
)
WHOLE_WORD = regex.compile(r"(?V1) \p{Han} | [\p{L}--\p{Han}]{2,}", flags=regex.VERBOSE)
CONTRACTION_ENDINGS = frozenset({"ll", "re", "ve"})  # separate words in tokenised texts


class Word(NamedTuple):
    """`text[start:end]`. `replaceable`: not a stop word, a single letter, or part of markup or a link."""

    start: int
    end: int
    replaceable: bool


def words_of(text: str, stop_words: frozenset[str]) -> list[Word]:
    """The words of a text, in order. `stop_words`: in lower case."""
    excluded_spans = [match.span() for match in NON_PROSE.finditer(text)]
    next_span = 0
    words = []
    for match in WORD.finditer(text):
        start, end = match.span()
        word = match.group()
        while next_span < len(excluded_spans) and excluded_spans[next_span][1] <= start:
            next_span += 1
        replaceable = (
            is_whole_word(word)
            and word.lower() not in stop_words
            and word.lower() not in CONTRACTION_ENDINGS
            and not (next_span < len(excluded_spans) and excluded_spans[next_span][0] < end)
        )
        words.append(Word(start, end, replaceable))
    return words


def is_whole_word(word: str) -> bool:
    """Whether the string is two letters or more, or one Han character; digits, marks and punctuation are refused."""
    return WHOLE_WORD.fullmatch(word) is not None


def match_case(word: str, candidate: str) -> str:
    """The candidate in capitals if the word is, or with a capital first letter if the word has one."""
    if len(word) > 1 and word.isupper():
        return candidate.upper()
    if word[:1].isupper():
        return candidate[:1].upper() + candidate[1:]
    return candidate


def load_stop_words(name: str) -> frozenset[str]:
    """`name`: `english` (gensim's list of 337), `none`, or a text file with one word per line. Raises UserError."""
    if name == "none":
        return frozenset()
    if name == "english":
        from gensim.parsing.preprocessing import STOPWORDS

        return STOPWORDS
    try:
        content = read_bytes(Path(name).expanduser(), most_bytes=MOST_BYTES, remedy="is it a list of words?")
        lines = content.decode("utf-8-sig").splitlines()
    except (UserError, UnicodeError) as error:
        raise UserError(
            f"{name} could not be read ({error}); expected english, none, or a text file in UTF-8 with one stop word "
            "per line",
            option="stop_words",
        ) from error
    return frozenset(line.strip().lower() for line in lines if line.strip())
