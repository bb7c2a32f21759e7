"""Reads JSON files. Damage of every type is reported in one line, with the file and what to do."""

import json
from pathlib import Path
from typing import Any, NoReturn

from compress.common.errors import UserError
from compress.common.wording import short_name
from compress.reading.regular_files import MEGABYTE, read_bytes

MOST_BYTES = 200 * MEGABYTE
MOST_LEVELS = 64  # of nested lists and objects; far below the depth at which Python fails
LARGEST_INTEGER = 2**63


def read_json_object(path: Path, *, problem: str, advice: str) -> dict[str, Any]:
    """The object in a JSON file. Raises UserError for anything else.

    `problem`: the beginning of the message about damaged content, such as "no readable results". `advice`: its end.
    """
    content = read_bytes(path, most_bytes=MOST_BYTES, remedy=advice)
    try:
        value = parse_json(content)
        if not isinstance(value, dict):
            raise ValueError(f"got a {_type_name(value)}, expected an object with keys and values")
    except ValueError as error:
        raise UserError(f"{path}: {problem} ({error}); {advice}") from error
    return value


def parse_json(content: bytes) -> Any:
    """The value of a JSON text. Raises ValueError, with the reason in one line, for anything that is not strict JSON.

    Refused are damaged and truncated texts, other encodings than UTF-8, NaN and infinity, repeated keys, whole numbers
    of more than 64 bits, halves of surrogate pairs, and deep nesting.
    """
    if not content.strip():
        raise ValueError("the file is empty")
    try:
        value = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant
        )
        _check_values(value)
    except RecursionError:
        raise ValueError(f"nested more than {MOST_LEVELS} levels deep") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text, at byte {error.start}") from error
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen = set[str]()
        key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"it has the key {short_name(key)!r} twice")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it contains {name}; expected a number")


def _check_values(value: Any) -> None:
    """Raise ValueError for values that JSON can spell out and programs cannot use, RecursionError for deep nesting."""
    level: list[Any] = [value]
    for _ in range(MOST_LEVELS):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.keys()
                inner += each.values()
            elif isinstance(each, list):
                inner += each
            elif isinstance(each, str):
                if not each.isascii():
                    _check_text(each)
            elif isinstance(each, float):
                if each in (float("inf"), -float("inf")):
                    raise ValueError("it contains a number that is too large; expected at most 1.8e308")
            elif isinstance(each, int) and not -LARGEST_INTEGER <= each < LARGEST_INTEGER:
                raise ValueError("it contains a whole number of more than 64 bits")
        if not inner:
            return
        level = inner
    raise RecursionError


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("it contains half of a surrogate pair; expected text") from None


def _type_name(value: object) -> str:
    names: dict[type, str] = {list: "list", str: "string", type(None): "null", bool: "truth value"}
    return names.get(type(value), "number")
