"""Reads running text for general distillation, one document at a time, from local files or a Hub data set."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

from compress.common.errors import UserError, library_errors
from compress.reading.regular_files import problem_of

SUFFIXES = (".txt", ".jsonl")
MAX_LINE_CHARACTERS = 10_000_000
FORMAT_LINES = 1000  # read to see whether blank lines separate documents


def read_texts(sources: Sequence[Path]) -> Iterator[str]:
    """The documents of the given files and folders, in order, without blank ones. Raises UserError.

    A .jsonl has one object per line, with the text in "text". In a .txt, blank lines separate documents. If there is no
    blank line among the first 1,000, each line is a document.
    """
    for source in sources:
        files = sorted(path for path in source.glob("*") if path.suffix in SUFFIXES) if source.is_dir() else [source]
        if not files:
            raise UserError(f"{source} contains no {' or '.join(SUFFIXES)} file")
        for path in files:
            yield from filter(None, map(str.strip, _read_file(path)))


def stream_texts(name: str, subset: str | None = None, *, column: str = "text") -> Iterator[str]:
    """Stream the texts of the train split of a Hub data set, without storing them.

    `name` may also be a local folder with a copy of the data set's repository. Raises UserError.
    """
    import datasets

    problem = f"{name!r} could not be read as a data set"
    with library_errors(problem):
        rows = iter(datasets.load_dataset(name, subset, split="train", streaming=True))
    while True:
        with library_errors(problem):
            row = next(rows, None)
        if row is None:
            return
        if column not in row:
            raise UserError(f"{name} has no column {column!r}; it has {', '.join(row)}", option="corpus_column")
        text = row[column] or ""
        if not isinstance(text, str):
            raise UserError(
                f"{name}: the column {column!r} holds a {type(text).__name__}; expected text", option="corpus_column"
            )
        if text.strip():
            yield text.strip()


def _read_file(path: Path) -> Iterator[str]:
    if path.suffix not in SUFFIXES:
        raise UserError(f"cannot read {path}; expected {' or '.join(SUFFIXES)}")
    problem = problem_of(path)
    if problem is not None:
        raise UserError(f"{path} could not be read ({problem})")
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = _lines(file, path)
            if path.suffix == ".jsonl":
                yield from (_text_of(line, path, number) for number, line in enumerate(lines, start=1))
            else:
                yield from _paragraphs(lines)
    except UnicodeError as error:
        raise UserError(f"{path} is not utf-8 text ({error}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path} could not be read ({error})") from error


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    """The lines of a file. Raises UserError for one that is too long to be text."""
    number = 0
    while line := file.readline(MAX_LINE_CHARACTERS + 1):
        number += 1
        if len(line) > MAX_LINE_CHARACTERS:
            raise UserError(
                f"{path}, line {number}: got more than {MAX_LINE_CHARACTERS:,} characters, expected at most that many; "
                "put each text on a line of its own"
            )
        yield line


def _paragraphs(lines: Iterator[str]) -> Iterator[str]:
    """Join lines up to the next blank line. Without a blank line among the first ones, yield each line."""
    first = [line.strip() for line in islice(lines, FORMAT_LINES)]
    while first and not first[-1]:
        first.pop()
    paragraph: list[str] = []
    if "" not in first:
        yield from first
        yield from lines
        return
    for line in chain(first, map(str.strip, lines)):
        if line:
            paragraph.append(line)
        else:
            yield " ".join(paragraph)
            paragraph = []
    yield " ".join(paragraph)


def _text_of(line: str, path: Path, number: int) -> str:
    if not line.strip():
        return ""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, line {number}: not JSON ({error})") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise UserError(f'{path}, line {number}: expected an object with a string under "text"')
    return row["text"]
