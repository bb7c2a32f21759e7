"""Names from data in messages: long lists and long names are shortened, control characters are escaped."""

from collections.abc import Sequence

from compress.common.escaping import one_line

MOST_NAMES = 8  # of a list
MOST_LETTERS, MOST_TEXT = 40, 200  # letters of a name, and of a text


def short_name(name: str) -> str:
    """A name on one line, shortened if it is long."""
    return shorten(one_line(name), MOST_LETTERS)


def shorten(text: str, most: int = MOST_TEXT) -> str:
    """The beginning of a long text."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def brief_list(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """All names if they are few, or else the first ones and the number of the others."""
    listed = ", ".join(short_name(name) for name in names[:most])
    return listed if len(names) <= most else f"{listed} and {len(names) - most:,} more"


def counted(number: int, one: str, several: str) -> str:
    """A number with a word that fits it: 1 row, 2 rows."""
    return f"{number:,} {one if number == 1 else several}"
