"""`pocketbert predict`: the predictions of a bundle, as its predict.py prints them. Loads no torch."""

import codecs
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

from compress.common.errors import UserError
from export.bundle.bundle_json import FILE as BUNDLE_FILE
from export.bundle.bundle_json import read_bundle_info
from export.bundle.listed_files import BundleError
from export.bundle.predict_command import bounded_lines, decoded_argument, looks_like_utf16
from export.bundle.runtime import Classifier
from export.bundle.settings import MAX_TEXT_CHARACTERS

STDIN = 0
NOT_LINES = (".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".xls", ".ods", ".gz", ".zip")
ROWS_PER_CALL = 256  # of a file; lines of standard input are predicted one by one

Row = tuple[str, str | None]
Prediction = dict[str, object]


def load_bundle(folder: Path, *, num_threads: int | None = None) -> Classifier:
    """Load a bundle for inference. `num_threads`: by default one per physical core. Raises UserError."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected a bundle")
    if not (folder / BUNDLE_FILE).is_file():
        bundles = sorted(
            str(path.parent) for place in ("*", "bundles/*") for path in folder.glob(f"{place}/bundle.json")
        )
        hint = f"; it contains the bundles {', '.join(bundles)}" if bundles else ""
        raise UserError(f"{folder}: not a bundle, it has no {BUNDLE_FILE}{hint}")
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
        return [(text, None) for text in texts]
    if len(pairs) != len(texts):
        raise UserError(f"this bundle takes two texts: got {len(texts)} TEXT and {len(pairs)} --pair; expected as many")
    return list(zip(texts, pairs, strict=True))


def _decoded(arguments: Sequence[str]) -> list[str]:
    """Arguments of the command line, in whatever locale. Raises UserError."""
    try:
        return [decoded_argument(text, ascii(text)) for text in arguments]
    except BundleError as error:
        raise UserError(str(error)) from error


@contextmanager
def open_lines(path: Path | None, *, encoding: str) -> Iterator[TextIO]:
    """A text file, or standard input for None. Bytes that are not in the encoding become surrogates."""
    if path is None and sys.stdin is None:
        raise UserError("standard input is closed; give texts or --input")
    if path is not None and path.suffix.lower() in NOT_LINES:
        raise UserError(
            f"{path}: got a {path.suffix}; expected one text per line; save the texts as .txt, without a header"
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


def rows_of_lines(lines: TextIO, *, name: str, encoding: str, takes_pairs: bool) -> Iterator[Row]:
    """One text per line, or two with a tab between them. `name`: of the file, for messages. Raises UserError."""
    number = 0
    try:
        for number, line in enumerate(bounded_lines(lines, f"{name}, "), start=1):
            if number == 1 and looks_like_utf16(line.rstrip("\n")):
                raise UserError(f"{name}, line 1: got UTF-16 text, not {encoding}; convert it to UTF-8")
            if not _is_decoded(line):
                raise UserError(f"{name}, line {number}: not {encoding} text", option="encoding")
            text = (line.removeprefix("\ufeff") if number == 1 else line).rstrip("\n")
            cells = text.split("\t") if takes_pairs else [text]
            if len(cells) != 1 + takes_pairs:
                raise UserError(f"{name}, line {number}: got {len(cells)} texts; expected two, separated by a tab")
            yield cells[0], cells[1] if takes_pairs else None
    except BundleError as error:
        raise UserError(str(error)) from error
    except UnicodeError:  # some codecs raise no UnicodeDecodeError
        raise UserError(f"{name}, after line {number}: not {encoding} text", option="encoding") from None


def predictions(classifier: Classifier, rows: Iterable[Row], *, rows_per_call: int) -> Iterator[Prediction]:
    """The predictions for the rows, in order. Reads `rows_per_call` rows, or fewer long ones, and predicts them."""
    remaining = iter(rows)
    while batch := _next_rows(remaining, rows_per_call):
        pairs = [pair for _, pair in batch if pair is not None]
        try:
            predicted = classifier.predict([text for text, _ in batch], pairs if classifier.takes_pairs else None)
        except BundleError as error:
            raise UserError(f"the bundle failed: {error}; `pocketbert verify` checks its files") from error
        yield from predicted


def _next_rows(rows: Iterator[Row], most: int) -> list[Row]:
    """The next rows, at most so many. Stops early after long texts, whose tokens need much memory."""
    batch, num_characters = list[Row](), 0
    for text, pair in islice(rows, most):
        batch.append((text, pair))
        num_characters += len(text) + len(pair or "")
        if num_characters >= MAX_TEXT_CHARACTERS:
            break
    return batch


def _is_decoded(text: str) -> bool:
    """False if Python replaced a byte by a surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
