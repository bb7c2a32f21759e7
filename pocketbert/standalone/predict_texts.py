"""`pocketbert predict`: the predictions of a bundle, as its predict.py prints them. Loads no torch."""

import codecs
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from compress.common.errors import UserError
from export.bundle.bundle_json import read_bundle_info
from export.bundle.listed_files import BundleError
from export.bundle.predict_command import (
    Row,
    added_keys,
    bounded_lines,
    decoded_argument,
    looks_like_utf16,
    predicted,
    row_of_json_line,
    row_of_line,
)
from export.bundle.runtime import Classifier

STDIN = 0
NOT_LINES = (".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".xls", ".ods", ".gz", ".zip")
ROWS_PER_CALL = 256  # of a file; lines of standard input are predicted one by one


def load_bundle(folder: Path, *, num_threads: int | None = None) -> Classifier:
    """Load a bundle for inference. `num_threads`: by default one per physical core. Raises UserError."""
    read_bundle_info(folder)  # reports every damage of bundle.json; the runtime reads some of it
    try:
        return Classifier(folder, num_threads=num_threads)
    except BundleError as error:
        raise UserError(" ".join(str(error).split())) from error


def rows_of_arguments(texts: Sequence[str], pairs: Sequence[str], *, takes_pairs: bool) -> list[Row]:
    """Texts from the command line, each with its second text if the bundle takes pairs. Raises UserError."""
    texts, pairs = _decoded(texts), _decoded(pairs)
    if not takes_pairs:
        if pairs:
            raise UserError(f"--pair {pairs[0]}: this bundle takes one text, not two")
        return [(text, None, {}) for text in texts]
    if len(pairs) != len(texts):
        raise UserError(f"this bundle takes two texts: got {len(texts)} TEXT and {len(pairs)} --pair; expected as many")
    return [(text, pair, {}) for text, pair in zip(texts, pairs, strict=True)]


def _decoded(arguments: Sequence[str]) -> list[str]:
    """Arguments of the command line, in whatever locale. Raises UserError."""
    try:
        return [decoded_argument(text, ascii(text)) for text in arguments]
    except BundleError as error:
        raise UserError(str(error)) from error


@contextmanager
def open_lines(path: Path | None, *, encoding: str, are_json: bool = False) -> Iterator[TextIO]:
    """A text file, or standard input for None. Bytes that are not in the encoding become surrogates."""
    if path is None and sys.stdin is None:
        raise UserError("standard input is closed; give texts or --input")
    if path is not None and path.suffix.lower() in NOT_LINES and not are_json:
        raise UserError(
            f"{path}: got a {path.suffix}; expected one text per line; to predict the rows of a table, name a file for "
            "them with --output"
        )
    try:
        if codecs.lookup(encoding).name == "utf-8":
            encoding = "utf-8-sig"  # which skips a byte-order mark
        stream = open(  # noqa: SIM115 (closed below)
            STDIN if path is None else path, encoding=encoding, errors="surrogateescape", closefd=path is not None
        )
    except (LookupError, ValueError):
        raise UserError(f"Python knows no encoding {encoding!r}", option="encoding") from None
    with stream:
        yield stream


def rows_of_lines(
    lines: TextIO,
    classifier: Classifier,
    *,
    name: str,
    encoding: str,
    are_json: bool = False,
    top_k: int | None = None,
    prefix: str = "",
) -> Iterator[Row]:
    """One text per line, or two with a tab between them, or a JSON object with the keys text and pair.

    `name`: of the file, for messages. `top_k` and `prefix`: as in `predictions`. Raises UserError.
    """
    number, added = 0, added_keys(classifier, top_k=top_k, prefix=prefix)
    try:
        for number, line in enumerate(bounded_lines(lines, f"{name}, "), start=1):
            if number == 1 and looks_like_utf16(line.rstrip("\n")):
                raise UserError(f"{name}, line 1: got UTF-16 text, not {encoding}; convert it to UTF-8")
            if not _is_decoded(line):
                raise UserError(f"{name}, line {number}: not {encoding} text", option="encoding")
            text = (line.removeprefix("\ufeff") if number == 1 else line).rstrip("\n")
            where = f"{name}, line {number}"
            if are_json:
                row = row_of_json_line(text, where, takes_pairs=classifier.takes_pairs, added=added)
            else:
                row = row_of_line(text, where, takes_pairs=classifier.takes_pairs)
            if row is not None:
                yield row
    except BundleError as error:
        raise UserError(str(error)) from error
    except UnicodeError:  # some codecs raise no UnicodeDecodeError
        raise UserError(f"{name}, after line {number}: not {encoding} text", option="encoding") from None


def predictions(
    classifier: Classifier, rows: Iterable[Row], *, rows_per_call: int, top_k: int | None = None, prefix: str = ""
) -> Iterator[dict[str, Any]]:
    """The predictions for the rows, in order, as `predicted` has them. Raises UserError."""
    try:
        classifier.check_top_k(top_k)
    except BundleError as error:
        raise UserError(str(error)) from error
    try:
        yield from predicted(classifier, rows, rows_per_call=rows_per_call, top_k=top_k, prefix=prefix)
    except BundleError as error:
        raise UserError(f"the bundle failed: {error}; `pocketbert verify` checks its files") from error


def _is_decoded(text: str) -> bool:
    """False if Python replaced a byte by a surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
