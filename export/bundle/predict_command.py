"""The command line of predict.py. This module is part of every bundle's predict.py."""

import argparse
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from export.bundle.listed_files import BundleError
from export.bundle.runtime import Classifier, utf8_path
from export.bundle.settings import MAX_TEXT_CHARACTERS


def main() -> int:
    """Run the command line. Returns the exit code: 0, 2 after bad input, 130 after an interrupt."""
    parser = argparse.ArgumentParser(
        prog="predict.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("text", nargs="?", help="the text; if omitted, texts are read from standard input")
    parser.add_argument("--pair", help="the second text, for a model that takes two")
    parser.add_argument("--bundle", default=_own_folder(), help="the bundle folder (default: here)")
    parser.add_argument("--threads", type=int, help="number of threads (default: one per physical core)")
    try:
        arguments = parser.parse_args()
        if sys.stdout is None:
            raise BundleError("standard output is closed")
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # JSON is UTF-8 in every locale
        classifier = Classifier(arguments.bundle, num_threads=arguments.threads)
        for text, pair in _input_rows(arguments, classifier.takes_pairs):
            prediction = classifier.predict([text], None if pair is None else [pair])[0]
            sys.stdout.write(json_line(prediction) + "\n")
            sys.stdout.flush()
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


def _input_rows(arguments: argparse.Namespace, takes_pairs: bool) -> Iterator[tuple[str, str | None]]:
    """The text from the command line, or else the texts on standard input. The second text is None without pairs."""
    if arguments.text is not None:
        pair = None if arguments.pair is None else decoded_argument(arguments.pair, "--pair")
        yield decoded_argument(arguments.text, "the text"), pair
        return
    if arguments.pair is not None:
        raise BundleError("--pair: give the first text too; in lines of standard input, a tab separates two texts")
    if sys.stdin is None:
        raise BundleError("standard input is closed; give a text")
    sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape", newline=None)  # type: ignore[union-attr]
    yield from _rows_of_lines(bounded_lines(sys.stdin), takes_pairs)


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


def _rows_of_lines(lines: Iterable[str], takes_pairs: bool) -> Iterator[tuple[str, str | None]]:
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\n")
        _check_decoded(text, number)
        cells = text.split("\t") if takes_pairs else [text]
        if len(cells) != 1 + takes_pairs:
            raise BundleError(f"line {number}: got {len(cells)} texts; expected two, separated by a tab")
        yield cells[0], cells[1] if takes_pairs else None


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
