"""Reading labelled tables: a local file (CSV, TSV, JSON lines, Parquet) or a data set on the Hub."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd

from compress.common.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
LONGEST_CELL = 1_000_000  # characters; what is longer comes of a quote that was never closed
ALIASES = {"train": ("train",), "dev": ("dev", "validation", "valid", "val"), "test": ("test",)}


def read_file(path: Path, *, encoding: str = "utf-8") -> pd.DataFrame:
    """All columns of a local table, text cells as written ("NA" stays text).

    CSV follows RFC 4180 (quoted cells); TSV has no quoting, as GLUE's files. A byte-order mark is skipped.
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
                table = pd.read_parquet(path)
            case other:
                raise UserError(
                    f"{path}: cannot read {other or 'a file without ending'}; expected {', '.join(SUFFIXES)}"
                )
    except LookupError as error:
        raise UserError(f"Python knows no encoding {encoding!r}", option="encoding") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not {encoding} text ({error.reason} at byte {error.start})", option="encoding"
        ) from error
    except UnicodeError as error:
        raise UserError(f"{path}: a cell holds what is no text ({error}); mend the file that it came from") from error
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a readable {path.suffix[1:]} table ({str(error).strip()})") from error
    if table.empty:
        raise UserError(f"{path}: the table has no rows; expected a header and a row per text")
    return table


def _read_delimited(path: Path, encoding: str, *, delimiter: str, quoting: int) -> pd.DataFrame:
    """Every cell as text; a row that does not fit the header is told with its line."""
    limit = csv.field_size_limit(LONGEST_CELL)
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
                        + ("; a text that holds commas stands in double quotes" if delimiter == "," else "")
                    )
                if any("\0" in cell for cell in row):
                    raise UserError(f"{path}, line {line}: got a NUL byte, expected text; is it UTF-16, or cut off?")
                if row:
                    rows.append(row)
                line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}, line {line}: {error}; a cell is at most {LONGEST_CELL:,} characters long, and a quote inside a "
            "quoted text is written twice; is one left open?"
        ) from error
    finally:
        csv.field_size_limit(limit)
    return pd.DataFrame(rows, columns=header, dtype=str)


def _check_header(path: Path, header: list[str]) -> None:
    twice = next((name for index, name in enumerate(header) if name in header[:index]), None)
    if twice is not None:
        raise UserError(f"{path}, line 1: the header names the column {twice!r} twice; rename one of them")
    if len(header) == 1 and ";" in header[0]:
        raise UserError(f"{path}, line 1: the columns are parted by semicolons; expected commas, or tabs in a .tsv")


def _read_json_lines(path: Path, encoding: str) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(path.read_text(encoding=encoding).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not JSON ({error}); expected an object a line") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: got a {type(row).__name__}, expected an object a line")
        rows.append(row)
    return pd.DataFrame(rows)


def read_local(location: Path, *, encoding: str, splits: dict[str, str]) -> dict[str, pd.DataFrame]:
    """The splits found at `location`: one file is all "train"; in a folder, files named train, dev, test.

    `splits` names the file of a split where it is called otherwise.
    """
    if location.is_file():
        if splits:
            raise UserError(
                f"{location} is a single file, in which no splits can be named; expected a folder", option="splits"
            )
        return {"train": read_file(location, encoding=encoding)}
    if not location.is_dir():
        raise UserError(f"{location} is neither a file nor a folder, seen from {Path.cwd()}", option="data")
    found = {}
    for split, aliases in ALIASES.items():
        if split in splits:
            found[split] = read_file(location / splits[split], encoding=encoding)
            continue
        candidates = [location / f"{alias}{suffix}" for alias in aliases for suffix in SUFFIXES]
        existing = [path for path in candidates if path.exists()]
        if existing:
            found[split] = read_file(existing[0], encoding=encoding)
    if "train" not in found:
        raise UserError(f"{location} holds no train file; expected train{'|'.join(SUFFIXES)}", option="data")
    return found


def read_hub(
    name: str, subset: str | None, splits: dict[str, str]
) -> tuple[dict[str, pd.DataFrame], dict[str, list[str]]]:
    """The splits of a Hub data set, and for each column with named classes its names in the order of their integers.

    `name` may also be a local folder with a copy of the data set's repository.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(name, subset)
    except Exception as error:  # the library raises a dozen kinds, all of them about this name or the network
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name!r} is no file or folder here, and as a Hub data set it could not be loaded ({reason})",
            option="data",
        ) from error
    wanted = {
        split: splits.get(split) or next((alias for alias in aliases if alias in loaded), None)
        for split, aliases in ALIASES.items()
    }
    missing = [source for split, source in splits.items() if source not in loaded]
    if missing:
        raise UserError(f"{name} has no split {missing[0]!r}; it has {', '.join(loaded)}", option="splits")
    if wanted["train"] is None:
        raise UserError(
            f"{name} has no train split; it has {', '.join(loaded)}; name the one to train on", option="splits"
        )
    classes = {
        column: list(feature.names)
        for column, feature in loaded[wanted["train"]].features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    return {split: loaded[source].to_pandas() for split, source in wanted.items() if source is not None}, classes


def first_occurrences(*columns: list[str]) -> np.ndarray:
    """Boolean (rows,): True where a row's cells have not stood in an earlier row."""
    return ~pd.DataFrame(dict(enumerate(columns))).duplicated().to_numpy()
