"""Writes a recipe as YAML in which each comment explains a choice."""

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from compress.common.escaping import one_line

Value = str | int | Sequence[str] | Mapping[str, object]
COLUMN = 34  # of the comments


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A key below a section, or a key of the recipe itself if `section` is empty.

    `is_proposal`: the whole line is a comment, which the user can make a key.
    """

    section: str = ""
    key: str
    value: Value
    comment: str = ""
    is_proposal: bool = False


def recipe_text(header: Sequence[str], entries: Sequence[Entry]) -> str:
    """The recipe. Entries of one section follow each other. `header`: lines of comment at the top."""
    lines, section = [f"# {one_line(line)}" for line in header], ""
    for entry in entries:
        if entry.section and entry.section != section:
            lines.append(f"{entry.section}:")
        section = entry.section
        indent = ("  " if section else "") + ("# " if entry.is_proposal else "")
        lines.append(_with_comment(f"{indent}{entry.key}: {_yaml(entry.value)}", entry.comment))
    return "\n".join(lines) + "\n"


def _with_comment(code: str, comment: str) -> str:
    if not comment:
        return code
    return f"{code:<{COLUMN}} # {one_line(comment)}"


def _yaml(value: Value) -> str:
    """A value in YAML's flow style, on one line."""
    yaml = YAML(pure=True)
    yaml.default_flow_style = True
    yaml.width = sys.maxsize
    buffer = io.StringIO()
    yaml.dump({"key": _quoted(value)}, buffer)
    return buffer.getvalue().strip().removeprefix("{key: ").removesuffix("}")


def _quoted(value: object) -> object:
    """The value, with double quotes around each text with control characters, line breaks included.

    In other quotes, a line break of the text would be one of the file. The library forgets the quotes of `? x`.
    """
    match value:
        case str():
            return value if value.isprintable() and value[:1] != "?" else DoubleQuotedScalarString(value)
        case Mapping():
            return {key: _quoted(each) for key, each in value.items()}
        case Sequence():
            return [_quoted(each) for each in value]
    return value
