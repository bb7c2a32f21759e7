"""Running text for general distillation: local files, one after another."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from compress.errors import UserError

SUFFIXES = (".txt", ".jsonl")


def read_texts(sources: Sequence[Path]) -> Iterator[str]:
    """The texts of the given files, or of the files in the given folders, in order.

    .txt: a text per line. .jsonl: an object per line with its text under "text". Blank texts are passed over.
    """
    for source in sources:
        files = sorted(path for path in source.glob("*") if path.suffix in SUFFIXES) if source.is_dir() else [source]
        if not files:
            raise UserError(f"distill.general.corpus: {source} holds no {' or '.join(SUFFIXES)} file")
        for path in files:
            yield from _read_file(path)


def _read_file(path: Path) -> Iterator[str]:
    if path.suffix not in SUFFIXES:
        raise UserError(f"distill.general.corpus: cannot read {path}; expected {' or '.join(SUFFIXES)}")
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                text = _text_of(line, path, number) if path.suffix == ".jsonl" else line
                if text.strip():
                    yield text.strip()
    except (OSError, UnicodeError) as error:
        raise UserError(f"distill.general.corpus: {path} could not be read ({error})") from error


def _text_of(line: str, path: Path, number: int) -> str:
    if not line.strip():
        return ""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {number}: not JSON ({error})") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise UserError(f'{path}, line {number}: expected an object with a string under "text"')
    return row["text"]
