"""Text from outside, escaped for each output: terminal, HTML, Markdown, JSON, plots and shells.

Text from outside is whatever a user's files hold: labels, texts, names of columns and files, keys of results.json. Each
output has one function here, and every writer of that output calls it.
"""

import html as html_entities
import json
import os
import re
import shlex
import unicodedata
from collections.abc import Iterable

# in Markdown: a command that a sentence of ours quotes, with none of the characters that are escaped elsewhere
CODE_SPAN = re.compile(r"(?<![`\\])(`(?:pocketbert |--)[\w ./=:,-]+`)(?!`)")
MARKDOWN = re.compile(
    r"[*\[\]|~$]"
    r"|\\(?=[!-/:-@\[-`{-~]|$)"  # a backslash that would escape the next character
    r"|`|(?<![^\W_])_|_(?![^\W_])"
    r"|:(?=//)|(?<=\bwww)\.|(?<=\bWWW)\."  # addresses that become links
)
TAG = re.compile(r"<(?=[A-Za-z/!?]|$)")
ENTITY = re.compile(r"&(?=#?\w+;)")
BLOCK_START = re.compile(r"^(?:([#>+=-])|(\d+)(?=[.)](?:\s|$)))")  # a heading, a quote, a list, a rule
FENCE = re.compile(r"`{3,}")
SHELL_ESCAPES = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "'": r"\'", "\\": r"\\"}


def is_harmless(letter: str) -> bool:
    """Whether a character is displayed and only displayed: no control or format character, no half of a pair."""
    return letter.isprintable() or unicodedata.category(letter) == "Zs"


def terminal(text: str) -> str:
    r"""The text with control and format characters as escape sequences such as `\x1b`; lines and tabs remain."""
    if text.isprintable():
        return text
    return "".join(letter if letter in "\n\t" or is_harmless(letter) else ascii(letter)[1:-1] for letter in text)


def one_line(text: str) -> str:
    """The text as `terminal`, on one line."""
    return terminal(text).replace("\n", "\\n").replace("\t", "\\t")


def plot_text(text: str) -> str:
    """The text on one line, for a drawing. Control and format characters are left out, which SVG partly forbids."""
    return " ".join("".join(letter if is_harmless(letter) else " " for letter in text).split())


def html(text: str) -> str:
    """The text for an HTML element or an attribute in quotes."""
    return html_entities.escape(terminal(text))


def markdown(text: str, *, in_cell: bool = False) -> str:
    """The text on one line of Markdown, without markup. Our own commands in it are code, such as `pocketbert run`.

    `in_cell`: of a table, where no heading or list can begin.
    """
    parts = CODE_SPAN.split(one_line(text).strip(" "))
    for index in range(0, len(parts), 2):
        parts[index] = TAG.sub("&lt;", ENTITY.sub("&amp;", MARKDOWN.sub(r"\\\g<0>", parts[index])))
    line = "".join(parts)
    return line if in_cell else BLOCK_START.sub(_escaped_start, line)


def markdown_code(text: str, language: str = "") -> str:
    """The text as a block of code in Markdown, with a fence that the text does not hold."""
    fence = "`" * (1 + max([2, *(len(run) for run in FENCE.findall(text))]))
    return f"{fence}{language}\n{terminal(text)}\n{fence}"


def json_line(value: object) -> str:
    """A JSON document on one line, readable in every language. A terminal can print it."""
    return "".join(
        letter if is_harmless(letter) else json.dumps(letter)[1:-1] for letter in json.dumps(value, ensure_ascii=False)
    )


def shell_word(text: str) -> str:
    """A word for a POSIX shell; a file's name too, if it is not UTF-8. Control characters need bash, zsh or ksh."""
    if all(map(is_harmless, text)):
        return shlex.quote(text)
    return f"$'{''.join(SHELL_ESCAPES.get(letter) or _shell_letter(letter) for letter in text)}'"


def shell_command(words: Iterable[str]) -> str:
    """A command line of these words."""
    return " ".join(map(shell_word, words))


def shell_path(path: str | os.PathLike[str]) -> str:
    """A path for a command line, where it cannot be taken for an option."""
    text = os.fspath(path)
    return shell_word(f"./{text}" if text.startswith("-") else text)


def _escaped_start(start: re.Match[str]) -> str:
    mark, number = start.groups()
    return f"\\{mark}" if mark else f"{number}\\"


def _shell_letter(letter: str) -> str:
    if is_harmless(letter):
        return letter
    return "".join(f"\\{byte:03o}" for byte in letter.encode("utf-8", "surrogateescape"))
