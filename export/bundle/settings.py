"""The settings in bundle.json that a runtime needs. Imports only the standard library.

This module is part of every bundle's predict.py. `bundle_json` reads all of bundle.json.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.bundle.listed_files import (
    BUNDLE_FILE,
    COPY_AGAIN,
    BundleError,
    one_line,
    read_small_file,
    require_bundle,
    require_content,
)

FORMAT_VERSIONS = (1, 2)
TASK_TYPES = ("classification", "regression")
TRUNCATION_SIDES = ("right", "left")
MAX_JSON_BYTES = 2**26
MAX_LENGTH = 1_000_000  # tokens
MAX_TOKEN_ID = 2**31 - 1
MAX_TEXT_CHARACTERS = 2_000_000  # tokenizers needs 150 bytes of memory per character, before it truncates


@dataclass(frozen=True)
class Golden:
    """A text, or two, with the stored logits of the model."""

    text: str
    pair: str | None
    logits: list[float]


@dataclass(frozen=True)
class Settings:
    """The validated settings. The fields are those of `bundle_json.BundleInfo` and its golden terms.

    `golden`: empty, and `logit_tolerance` None, in a bundle of version 0.5.0 or older.
    """

    labels: list[str]
    task_type: str
    max_length: int
    truncation_side: str
    split_special_tokens: bool
    batch_invariant: bool
    takes_pairs: bool
    pad_token_id: int
    saturates: bool
    versions: dict[str, Any]
    requires: dict[str, Any]
    vocabulary_size: int | None
    model_sha256: str | None
    logit_tolerance: float | None
    golden: list[Golden]


def read_settings(folder: Path) -> Settings:
    """Read bundle.json. Raises BundleError with the key of the first invalid value."""
    require_bundle(folder)
    path = folder / BUNDLE_FILE
    manifest = read_json_object(path)
    version = manifest.get("format_version")
    if type(version) is not int or version not in FORMAT_VERSIONS:
        expected = " or ".join(map(str, FORMAT_VERSIONS))
        raise BundleError(
            f"{path}: got format version {version!r:.60}; expected {expected}; use the predict.py of the bundle itself"
        )
    try:
        return _settings(manifest)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None


def read_json_object(path: Path) -> dict[str, Any]:
    """The content of a JSON file of the bundle. Raises BundleError for anything but an object."""
    require_content(path)
    try:
        content = parse_json(read_small_file(path, MAX_JSON_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not readable ({one_line(error):.200}); {COPY_AGAIN}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path}: got a {type(content).__name__}; expected an object; {COPY_AGAIN}")
    return content


def parse_json(content: bytes, *, nan_is_null: bool = False) -> Any:
    """Parse JSON strictly. Raises ValueError also for a key that occurs twice and a number that is too large.

    `nan_is_null`: NaN, which Python writes and JSON does not have, becomes None, and infinity an error.
    """
    constant = _null_for_nan if nan_is_null else None
    return json.loads(
        content.decode("utf-8"), object_pairs_hook=_unique_keys, parse_float=_finite_number, parse_constant=constant
    )


def _null_for_nan(text: str) -> None:
    if text != "NaN":
        raise ValueError(f"{text} is no number of JSON")


def _unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {max(keys, key=keys.count)!a:.60} occurs twice")
    return content


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text:.60} is too large")
    return number


def _settings(manifest: Mapping[str, Any]) -> Settings:
    limits = _value(manifest, "limits", dict)
    labels = _labels(manifest)
    vocabulary_size = manifest.get("vocabulary_size")
    terms = manifest.get("golden_terms")
    takes_pairs = _value(manifest, "takes_pairs", bool)
    settings = Settings(
        labels=labels,
        task_type=_one_of(manifest, "task_type", TASK_TYPES, _task_type_for_version_0_1_0(labels)),
        max_length=_integer(limits, "max_length", 1, MAX_LENGTH),
        truncation_side=_one_of(limits, "truncation_side", TRUNCATION_SIDES, "right"),
        split_special_tokens=_value(manifest, "split_special_tokens", bool, False),
        batch_invariant=_value(manifest, "batch_invariant", bool),
        takes_pairs=takes_pairs,
        pad_token_id=_integer(manifest, "pad_token_id", 0, MAX_TOKEN_ID),
        saturates=_value(manifest, "saturates", bool, True),
        versions=_value(manifest, "versions", dict, {}),
        requires=_value(manifest, "requires", dict, {}),
        vocabulary_size=vocabulary_size and _integer(manifest, "vocabulary_size", 1, MAX_TOKEN_ID),
        model_sha256=terms and _value(_value(manifest, "golden_terms", dict), "model_sha256", str),
        logit_tolerance=terms and _value(_value(manifest, "golden_terms", dict), "logit_tolerance", float),
        golden=_golden(manifest, len(labels), takes_pairs=takes_pairs) if terms else [],
    )
    if settings.task_type == "regression" and len(labels) != 1:
        raise BundleError(f"labels: got {len(labels)} names; a regression has one")
    if terms and terms.get("labels") != labels:
        raise BundleError(
            f"labels: got other names than those of the golden examples, or in another order; {COPY_AGAIN}"
        )
    return settings


def _golden(manifest: Mapping[str, Any], num_logits: int, *, takes_pairs: bool) -> list[Golden]:
    """The golden examples. Raises BundleError for one that does not fit the bundle."""
    records, examples = _value(manifest, "golden", list, []), []
    if not records:
        raise BundleError(f"there are no golden examples; {COPY_AGAIN}")
    for number, record in enumerate(records):
        example = record if isinstance(record, dict) else {}
        logits = example.get("logits")
        texts = [type(example.get(key)) for key in ("text", "pair")]
        if texts != [str, str if takes_pairs else type(None)]:
            expected = "two texts" if takes_pairs else "one text"
            raise BundleError(f"golden.{number}: expected {expected}; {COPY_AGAIN}")
        if type(logits) is not list or [type(logit) in (int, float) for logit in logits] != [True] * num_logits:
            raise BundleError(f"golden.{number}: expected as many values as labels, {num_logits}; {COPY_AGAIN}")
        examples.append(Golden(example["text"], example.get("pair"), logits))
    return examples


def _value(record: Mapping[str, Any], key: str, expected: type, default: Any = None) -> Any:
    """A value of bundle.json. Raises BundleError unless it has the expected type; an absent one has the default."""
    value = record.get(key, default)
    if type(value) is not expected:  # not isinstance: True is an int
        got = "nothing" if key not in record else f"{value!r:.60}"
        raise BundleError(f"{key}: got {got}; expected {expected.__name__}; {COPY_AGAIN}")
    return value


def _integer(record: Mapping[str, Any], key: str, smallest: int, largest: int) -> int:
    value: int = _value(record, key, int)
    if not smallest <= value <= largest:
        raise BundleError(f"{key}: got {value!r:.60}; expected an integer from {smallest} to {largest}; {COPY_AGAIN}")
    return value


def _one_of(record: Mapping[str, Any], key: str, choices: Sequence[str], default: str) -> str:
    value = record.get(key, default)
    if value not in choices:
        raise BundleError(f"got {key.replace('_', ' ')} {value!r:.60}; expected {' or '.join(choices)}")
    return str(value)


def _labels(manifest: Mapping[str, Any]) -> list[str]:
    labels = _value(manifest, "labels", list)
    if not labels or not all(type(label) is str for label in labels):
        raise BundleError(f"labels: got {labels!r:.60}; expected a list of names; {COPY_AGAIN}")
    if len(set(labels)) != len(labels):
        raise BundleError(f"labels: got {max(labels, key=labels.count)!r:.60} twice; expected different names")
    return [checked_text(label, f"labels[{index}]") for index, label in enumerate(labels)]


def _task_type_for_version_0_1_0(labels: Sequence[str]) -> str:
    """The task type of a bundle from version 0.1.0, whose bundle.json does not contain it."""
    return "regression" if len(labels) == 1 else "classification"


def check_length(text: str, where: str) -> None:
    """Raise BundleError for a text to predict that is too long."""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise BundleError(
            f"{where}: got {len(text):,} characters; expected at most {MAX_TEXT_CHARACTERS:,}; shorten the text"
        )


def checked_text(text: str, where: str) -> str:
    """The text. Raises BundleError if it is not Unicode text."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise BundleError(
            f"{where}: got {text[error.start]!a}, half of a surrogate pair, at character {error.start}; expected "
            "Unicode text; the text was decoded wrongly"
        ) from None
    return text
