"""Reads labelled tables from local files (CSV, TSV, JSON Lines, Parquet) or from a Hub data set."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd

from compress.common.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
MAX_CELL_CHARACTERS = 1_000_000  # a longer cell means that a quote was never closed
ALIASES = {"train": ("train",), "dev": ("dev", "validation", "valid", "val"), "test": ("test",)}


def read_file(path: Path, *, encoding: str = "utf-8") -> pd.DataFrame:
    """Read all columns of a local table. Text cells are kept as they are ("NA" stays text). Raises UserError.

    CSV follows RFC 4180, with quoted cells. TSV has no quoting, as in GLUE's files. A byte-order mark is skipped.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    codec = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    try:
        match path.suffix:
            case ".csv":
                table = _read_delimited(path, codec, delimiter=",", quoting=csv.QUOTE_MINIMAL)
            case ".tsv":
                table = _read_delimited(path, codec, delimiter="\t", quoting=csv.QUOTE_NONE)
            case ".jsonl" | ".json":
                table = _read_json_lines(path, codec)
            case ".parquet":
                table = _read_parquet(path)
            case other:
                raise UserError(
                    f"{path}: cannot read {other or 'a file without suffix'}; expected {', '.join(SUFFIXES)}"
                )
    except LookupError as error:
        raise UserError(f"Python knows no encoding {encoding!r}", option="encoding") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not {encoding} text ({error.reason} at byte {error.start})", option="encoding"
        ) from error
    except UnicodeError as error:
        raise UserError(f"{path}: a cell contains invalid text ({error}); fix the file that it came from") from error
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a readable {path.suffix[1:]} table ({str(error).strip()})") from error
    if table.empty:
        raise UserError(f"{path}: the table has no rows; expected a header and a row per text")
    return table


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError:  # pandas' own message lists engines, over several lines
        raise UserError(f"{path}: reading Parquet needs pyarrow; install it with: pip install pyarrow") from None


def _read_delimited(path: Path, encoding: str, *, delimiter: str, quoting: int) -> pd.DataFrame:
    """Read every cell as text. Raises UserError with the line of a row that does not match the header."""
    limit = csv.field_size_limit(MAX_CELL_CHARACTERS)
    rows: list[list[str]] = []
    line = 1
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
            header = next(reader, [])
            _check_header(path, header)
            line = reader.line_num + 1
            for row in reader:
                if len(row) != len(header) and row:
                    raise UserError(
                        f"{path}, line {line}: got {len(row)} cells, expected {len(header)} as in the header"
                        + ("; put a text with commas in double quotes" if delimiter == "," else "")
                    )
                if any("\0" in cell for cell in row):
                    raise UserError(f"{path}, line {line}: got a NUL byte, expected text; is it UTF-16 or truncated?")
                if row:
                    rows.append(row)
                line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}, line {line}: {error}; a cell has at most {MAX_CELL_CHARACTERS:,} characters, and a quote inside "
            "a quoted text is doubled; is a quote left open?"
        ) from error
    finally:
        csv.field_size_limit(limit)
    return pd.DataFrame(rows, columns=header, dtype=str)


def _check_header(path: Path, header: list[str]) -> None:
    duplicate = next((name for index, name in enumerate(header) if name in header[:index]), None)
    if duplicate is not None:
        raise UserError(f"{path}, line 1: the header names the column {duplicate!r} twice; rename one of them")
    if len(header) == 1 and ";" in header[0]:
        raise UserError(f"{path}, line 1: semicolons separate the columns; expected commas, or tabs in a .tsv")


def _read_json_lines(path: Path, encoding: str) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(path.read_text(encoding=encoding).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not JSON ({error}); expected an object per line") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: got a {type(row).__name__}, expected an object per line")
        rows.append(row)
    return pd.DataFrame(rows)


def read_local(location: Path, *, encoding: str, splits: dict[str, str]) -> dict[str, pd.DataFrame]:
    """Read the splits at `location`. A single file is train; a folder has files named train, dev and test.

    `splits`: file names of splits that have another name. Raises UserError.
    """
    if location.is_file():
        if splits:
            raise UserError(
                f"{location} is a single file, so it has no named splits; expected a folder", option="splits"
            )
        return {"train": read_file(location, encoding=encoding)}
    if not location.is_dir():
        raise UserError(f"{location} is neither a file nor a folder, relative to {Path.cwd()}", option="data")
    tables = {}
    for split, aliases in ALIASES.items():
        if split in splits:
            tables[split] = read_file(location / splits[split], encoding=encoding)
            continue
        candidates = [location / f"{alias}{suffix}" for alias in aliases for suffix in SUFFIXES]
        existing = [path for path in candidates if path.exists()]
        if existing:
            tables[split] = read_file(existing[0], encoding=encoding)
    if "train" not in tables:
        raise UserError(f"{location} contains no train file; expected train{'|'.join(SUFFIXES)}", option="data")
    return tables


def read_hub(
    name: str, subset: str | None, splits: dict[str, str]
) -> tuple[dict[str, pd.DataFrame], dict[str, list[str]]]:
    """The splits of a Hub data set, and the class names of each column that has them, ordered by their integers.

    `name` may also be a local folder with a copy of the data set's repository.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(name, subset)
    except Exception as error:  # the library raises a dozen types, all about this name or the network
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name!r} is not a local file or folder, and it could not be loaded as a Hub data set ({reason})",
            option="data",
        ) from error
    source_names = {
        split: splits.get(split) or next((alias for alias in aliases if alias in loaded), None)
        for split, aliases in ALIASES.items()
    }
    missing = [source for split, source in splits.items() if source not in loaded]
    if missing:
        raise UserError(f"{name} has no split {missing[0]!r}; it has {', '.join(loaded)}", option="splits")
    if source_names["train"] is None:
        raise UserError(
            f"{name} has no train split; it has {', '.join(loaded)}; name the split to train on", option="splits"
        )
    classes = {
        column: list(feature.names)
        for column, feature in loaded[source_names["train"]].features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    return {split: loaded[source].to_pandas() for split, source in source_names.items() if source is not None}, classes


def first_occurrences(*columns: list[str]) -> np.ndarray:
    """Boolean (rows,): True for rows that do not repeat the cells of an earlier row."""
    return ~pd.DataFrame(dict(enumerate(columns))).duplicated().to_numpy()
