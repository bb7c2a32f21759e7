"""Running text for general distillation, a document at a time: local files, or a data set of the Hub as a stream."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from compress.common.errors import UserError

SUFFIXES = (".txt", ".jsonl")
LINES_LOOKED_AT = 1000


def read_texts(sources: Sequence[Path]) -> Iterator[str]:
    """The documents of the given files, or of the files in the given folders, in order.

    .jsonl: an object per line with its text under "text". .txt: documents parted by blank lines; where the first lines
    have no blank one among them, a document per line. Blank documents are passed over.
    """
    for source in sources:
        files = sorted(path for path in source.glob("*") if path.suffix in SUFFIXES) if source.is_dir() else [source]
        if not files:
            raise UserError(f"{source} holds no {' or '.join(SUFFIXES)} file")
        for path in files:
            yield from filter(None, map(str.strip, _read_file(path)))


def stream_texts(name: str, subset: str | None = None, *, column: str = "text") -> Iterator[str]:
    """The texts of a data set's train split, by its name on the Hub, read as they come and not kept.

    `name` may also be a local folder with a copy of the data set's repository. Raises UserError.
    """
    import datasets

    try:
        rows = datasets.load_dataset(name, subset, split="train", streaming=True)
        for row in rows:
            if column not in row:
                raise UserError(f"{name} has no column {column!r}; it has {', '.join(row)}", option="corpus_column")
            if row[column] and row[column].strip():
                yield row[column].strip()
    except UserError:
        raise
    except Exception as error:  # the library raises a dozen kinds, all of them about this name or the network
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{name!r} could not be read as a data set ({reason})") from error


def _read_file(path: Path) -> Iterator[str]:
    if path.suffix not in SUFFIXES:
        raise UserError(f"cannot read {path}; expected {' or '.join(SUFFIXES)}")
    try:
        with path.open(encoding="utf-8-sig") as lines:
            if path.suffix == ".jsonl":
                yield from (_text_of(line, path, number) for number, line in enumerate(lines, start=1))
            else:
                yield from _paragraphs(lines)
    except UnicodeError as error:
        raise UserError(f"{path} is not utf-8 text ({error}); write it anew in utf-8") from error
    except OSError as error:
        raise UserError(f"{path} could not be read ({error})") from error


def _paragraphs(lines: Iterator[str]) -> Iterator[str]:
    """Lines up to the next blank one, joined; each line, where the first ones have no blank line among them."""
    first = [line.strip() for line in islice(lines, LINES_LOOKED_AT)]
    while first and not first[-1]:
        first.pop()
    together: list[str] = []
    if "" not in first:
        yield from first
        yield from lines
        return
    for line in chain(first, map(str.strip, lines)):
        if line:
            together.append(line)
        else:
            yield " ".join(together)
            together = []
    yield " ".join(together)


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
