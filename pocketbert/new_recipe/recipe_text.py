"""Writes a recipe as YAML in which each comment explains a choice."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ruamel.yaml import YAML

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
    lines, section = [f"# {line}" for line in header], ""
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
    return f"{code:<{COLUMN}} # {comment}"


def _yaml(value: Value) -> str:
    """A value in YAML's flow style, on one line."""
    yaml = YAML(pure=True)
    yaml.default_flow_style = True
    yaml.width = 1_000_000
    buffer = io.StringIO()
    yaml.dump({"key": value if isinstance(value, str | int | Mapping) else list(value)}, buffer)
    return buffer.getvalue().strip().removeprefix("{key: ").removesuffix("}")
