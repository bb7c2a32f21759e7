"""The command line of predict.py. This module is part of every bundle's predict.py."""

import argparse
import json
import os
import stat
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from export.bundle.listed_files import BundleError
from export.bundle.runtime import Classifier, utf8_path
from export.bundle.settings import MAX_TEXT_CHARACTERS, checked_text, parse_json

ROWS_PER_CALL = 1024  # of a file; other lines of standard input are predicted one by one
TEXT, PAIR = "text", "pair"  # keys of JSON lines

Row = tuple[str, str | None, Mapping[str, Any]]  # a text, the second text or None, and the keys of its JSON line


def main() -> int:
    """Run the command line. Returns the exit code: 0, 2 after bad input, 130 after an interrupt."""
    parser = argparse.ArgumentParser(
        prog="predict.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("text", nargs="?", help="the text; if omitted, texts are read from standard input")
    parser.add_argument("--pair", help="the second text, for a model that takes two")
    parser.add_argument("--json-lines", action="store_true", help="read a JSON object per line, with the key text")
    parser.add_argument("--top-k", type=int, metavar="K", help="also print the K most probable labels, as top")
    parser.add_argument("--prefix", default="", help="for the names of the printed keys, such as predicted_")
    parser.add_argument("--bundle", default=_own_folder(), help="the bundle folder (default: here)")
    parser.add_argument("--threads", type=int, help="number of threads (default: one per physical core)")
    try:
        arguments = parser.parse_args()
        if sys.stdout is None:
            raise BundleError("standard output is closed")
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # JSON is UTF-8 in every locale
        classifier = Classifier(arguments.bundle, num_threads=arguments.threads)
        classifier.check_top_k(arguments.top_k)
        rows, per_call = _input_rows(arguments, classifier), ROWS_PER_CALL if _is_file(sys.stdin) else 1
        keys = {"top_k": arguments.top_k, "prefix": decoded_argument(arguments.prefix, "--prefix")}
        num_rows = 0
        for num_rows, answer in enumerate(predicted(classifier, rows, rows_per_call=per_call, **keys), start=1):
            sys.stdout.write(json_line(answer) + "\n")
            if num_rows % per_call == 0:
                sys.stdout.flush()
        sys.stdout.flush()
        if classifier.num_truncated:
            _complain(truncation_remark(classifier, num_rows))
    except BundleError as error:
        _complain(str(error))
        return 2
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        _discard_output()
    except OSError as error:  # such as a full disk
        _complain(error.strerror or str(error))
        _discard_output()
        return 2
    except MemoryError:
        _complain("too little memory")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def predicted(
    classifier: Classifier, rows: Iterable[Row], *, rows_per_call: int, top_k: int | None, prefix: str
) -> Iterator[dict[str, Any]]:
    """The prediction for each row, in order, after the keys of the row. `prefix`: of the prediction's keys.

    Reads `rows_per_call` rows, or all, before it predicts them. Rows before one that cannot be read are predicted.
    """
    for batch in _batches(rows, rows_per_call):
        pairs = [pair for _, pair, _ in batch if pair is not None]
        predictions = classifier.predict([text for text, _, _ in batch], pairs or None, top_k=top_k)
        for (_, _, record), prediction in zip(batch, predictions, strict=True):
            yield {**record, **{prefix + key: value for key, value in prediction.items()}}


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    batch: list[Row] = []
    num_characters = 0  # the tokens of long texts need much memory
    try:
        for row in rows:
            batch.append(row)
            num_characters += len(row[0]) + len(row[1] or "")
            if len(batch) == size or num_characters >= MAX_TEXT_CHARACTERS:
                yield batch
                batch, num_characters = [], 0
    except BundleError:  # of a row that cannot be read
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def added_keys(classifier: Classifier, *, top_k: int | None, prefix: str) -> list[str]:
    """The keys of each prediction."""
    if classifier.task_type == "regression":
        return [prefix + classifier.labels[0]]
    return [prefix + key for key in ("label", "probability", *(["top"] if top_k is not None else []))]


def truncation_remark(classifier: Classifier, num_rows: int) -> str:
    """How many texts were truncated."""
    return f"{classifier.num_truncated} of {num_rows} texts are truncated to {classifier.max_length} tokens"


def row_of_json_line(line: str, where: str, *, takes_pairs: bool, added: Iterable[str]) -> Row | None:
    """The row in a line of JSON: a text, a second one if the bundle takes pairs, and all its keys. None if it is blank.

    `added`: keys that the prediction adds. Raises BundleError.
    """
    if not line.strip():
        return None
    try:
        record = parse_json(line.encode(), nan_is_null=True)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: not JSON ({error}); expected an object per line") from error
    if not isinstance(record, dict):
        raise BundleError(f"{where}: got a {type(record).__name__}; expected an object")
    taken = next((key for key in added if key in record), None)
    if taken is not None:
        raise BundleError(f"{where}: has the key {taken!a} already; name the new keys with --prefix predicted_")
    for key in (TEXT, PAIR) if takes_pairs else (TEXT,):
        if not isinstance(record.get(key), str):
            got = "nothing" if key not in record else f"{record[key]!r:.60}"
            raise BundleError(f"{where}: {key}: got {got}; expected a string")
        checked_text(record[key], f"{where}: {key}")
    return record[TEXT], record[PAIR] if takes_pairs else None, record


def json_line(prediction: Mapping[str, object]) -> str:
    """A prediction as one line of JSON. Characters that a terminal would obey or hide are escaped."""
    text = json.dumps(prediction, ensure_ascii=False, allow_nan=False)
    return "".join(letter if _is_harmless(letter) else json.dumps(letter)[1:-1] for letter in text)


def _is_harmless(letter: str) -> bool:
    """Whether a character is displayed and only displayed: no control or format character, no half of a pair."""
    return letter.isprintable() or unicodedata.category(letter) == "Zs"


def _own_folder() -> Path:
    """The folder of predict.py, or the working directory for `python - < predict.py`."""
    return Path(globals().get("__file__", "predict.py")).resolve().parent


def _complain(message: str) -> None:
    """Print an error on one line, without characters that a terminal would obey. Standard error may be closed."""
    printable = "".join(letter if _is_harmless(letter) else ascii(letter)[1:-1] for letter in message)
    try:
        if sys.stderr is not None:
            sys.stderr.write(f"predict.py: {printable}\n")
    except OSError:
        pass


def _discard_output() -> None:
    """Prevent an error when the interpreter flushes standard output at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_file(stream: Any) -> bool:
    try:
        return stream is not None and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:
        return False


def _input_rows(arguments: argparse.Namespace, classifier: Classifier) -> Iterator[Row]:
    """The text from the command line, or else the texts on standard input."""
    if arguments.text is not None:
        if arguments.json_lines:
            raise BundleError("--json-lines: reads standard input; got a text as well")
        pair = None if arguments.pair is None else decoded_argument(arguments.pair, "--pair")
        yield decoded_argument(arguments.text, "the text"), pair, {}
        return
    if arguments.pair is not None:
        raise BundleError("--pair: give the first text too; in lines of standard input, a tab separates two texts")
    if sys.stdin is None:
        raise BundleError("standard input is closed; give a text")
    sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape", newline=None)  # type: ignore[union-attr]
    added = added_keys(classifier, top_k=arguments.top_k, prefix=arguments.prefix)
    for number, line in enumerate(bounded_lines(sys.stdin), start=1):
        text = line.rstrip("\n")
        _check_decoded(text, number)
        if arguments.json_lines:
            row = row_of_json_line(text, f"line {number}", takes_pairs=classifier.takes_pairs, added=added)
        else:
            row = row_of_line(text, f"line {number}", takes_pairs=classifier.takes_pairs)
        if row is not None:
            yield row


def bounded_lines(file: TextIO, name: str = "") -> Iterator[str]:
    """The lines of a file, read one by one. Raises BundleError for one that is too long. `name`: for messages."""
    lines = iter(lambda: file.readline(MAX_TEXT_CHARACTERS + 1), "")
    for number, line in enumerate(lines, start=1):
        if len(line.rstrip("\n")) > MAX_TEXT_CHARACTERS:
            raise BundleError(
                f"{name}line {number}: got more than {MAX_TEXT_CHARACTERS:,} characters; expected at most that many; "
                "put each text on a line of its own, and shorten it"
            )
        yield line


def row_of_line(text: str, where: str, *, takes_pairs: bool) -> Row:
    """The row in a line of text. Raises BundleError."""
    cells = text.split("\t") if takes_pairs else [text]
    if len(cells) != 1 + takes_pairs:
        raise BundleError(f"{where}: got {len(cells)} texts; expected two, separated by a tab")
    return cells[0], cells[1] if takes_pairs else None, {}


def decoded_argument(argument: str, name: str) -> str:
    """An argument of the command line, in whatever locale. Raises BundleError if its bytes are no UTF-8."""
    text = argument if _first_undecoded(argument) is None else utf8_path(argument)
    byte = _first_undecoded(text)
    if byte is not None:
        raise BundleError(f"{name}: not utf-8 text (byte {byte:#04x})")
    return text


def _check_decoded(text: str, number: int) -> None:
    """Raise BundleError for a line of standard input that is not UTF-8."""
    if number == 1 and looks_like_utf16(text):
        raise BundleError("line 1: got UTF-16 text; expected UTF-8; convert it first: iconv -f utf-16 -t utf-8")
    byte = _first_undecoded(text)
    if byte is not None:
        raise BundleError(
            f"line {number}: not utf-8 text (byte {byte:#04x}); convert it first: iconv -f ENCODING -t utf-8"
        )


def _first_undecoded(text: str) -> int | None:
    """The first byte that Python could not decode and replaced by a surrogate."""
    return next((ord(character) - 0xDC00 for character in text if "\udc80" <= character <= "\udcff"), None)


def looks_like_utf16(first_line: str) -> bool:
    """Whether text that was read as UTF-8 starts with the byte-order mark of UTF-16, or has NUL as every other byte."""
    if first_line.startswith(("\udcff\udcfe", "\udcfe\udcff")):
        return True
    return len(first_line) >= 4 and any(not first_line[start::2].strip("\0") for start in (0, 1))
