"""YAML within limits: small texts that would take long, and values that are none."""

import time
from itertools import pairwise

import pytest

from compress.common.errors import UserError
from compress.reading.yaml_text import parse_yaml

ALIASES = "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in pairwise("abcdefghi"))
MERGES = "".join(f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 10)}]}}\n" for old, new in pairwise("abcdefghi"))
REFUSED = {
    "aliases of aliases": ("a: &a [x]\n" + ALIASES, "too many values; expected at most 5,000"),
    "merged merges": ("a: &a {x: 1}\n" + MERGES, "too many values; expected at most 5,000"),
    "many keys": ("".join(f"k{number}: 1\n" for number in range(20_000)), "too many values; expected at most 5,000"),
    "a value in itself": ("a: &a [*a]", "line 1: an alias refers to a value that contains it"),
    "nested lists": ("a: " + "[" * 3000, "nested too deeply; expected at most 20 levels"),
    "nested maps": ("a: " + "{a: " * 30_000, "nested too deeply; expected at most 20 levels"),
    "a number of 5,000 digits": ("a: " + "9" * 5000, "a number of 5,000 digits; expected at most 100"),
    "hexadecimal digits": ("a: 0x" + "f" * 5000, "digits; expected at most 100"),
    "a tag that names code": ("!!python/object/apply:os.system ['exit']", "could not determine a constructor"),
    "a tag of its own": ("a: !mine 3", "could not determine a constructor"),
    "a NUL": ("a: \0", "unacceptable character #x0000"),
    "UTF-16": ("a: 1".encode("utf-16"), "not UTF-8 text (byte 0)"),
    "two documents": ("a: 1\n---\nb: 2\n", "line 2: not readable as YAML"),
    "a missing anchor": ("a: *b", "found undefined alias"),
    "a date that is none": ("a: 2001-99-99", "month must be in 1..12"),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED)
def test_hostile_texts_are_refused_soon(content, reason):
    started = time.process_time()
    with pytest.raises(UserError) as refused:
        parse_yaml(content if isinstance(content, bytes) else content.encode(), where="r.yaml")
    message = str(refused.value)
    assert message.startswith("r.yaml") and reason in message and "\n" not in message
    assert time.process_time() - started < 5  # a bound on an endless loop, not a measurement


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("", None),
        ("a: no", {"a": "no"}),
        ("%YAML 1.1\n---\na: no", {"a": False}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: &a {x: 1}\nb: {<<: *a, y: 2}", {"a": {"x": 1}, "b": {"x": 1, "y": 2}}),
        ("a: &a [1]\nb: [*a, *a]", {"a": [1], "b": [[1], [1]]}),
        ("a: 1\na: 2", {"a": 1}),
    ],
)
def test_sound_texts_are_read(content, value):
    assert parse_yaml(content.encode(), where="r.yaml")[1] == value
