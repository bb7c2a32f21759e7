"""Reading labelled tables: a local file (CSV, TSV, JSON lines, Parquet) or a data set on the Hub."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd

from compress.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
ALIASES = {"train": ("train",), "dev": ("dev", "validation", "valid", "val"), "test": ("test",)}


def read_file(path: Path, *, encoding: str = "utf-8") -> pd.DataFrame:
    """All columns of a local table, text cells as written ("NA" stays text).

    CSV follows RFC 4180 (quoted cells); TSV has no quoting, as GLUE's files. A byte-order mark is skipped.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file")
    encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    as_written = {"dtype": str, "keep_default_na": False, "encoding": encoding}
    try:
        match path.suffix:
            case ".csv":
                table = pd.read_csv(path, **as_written)
            case ".tsv":
                table = pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, **as_written)
            case ".jsonl" | ".json":
                lines = path.read_text(encoding=encoding).split("\n")
                table = pd.DataFrame([json.loads(line) for line in lines if line.strip()])
            case ".parquet":
                table = pd.read_parquet(path)
            case other:
                raise UserError(
                    f"{path}: cannot read {other or 'a file without ending'}; expected {', '.join(SUFFIXES)}"
                )
    except LookupError as error:
        raise UserError(f"task.encoding: Python knows no encoding {encoding!r}; for example utf-8, cp1252") from error
    except UnicodeError as error:
        raise UserError(f"{path}: not {encoding} text ({error}); name the right one in task.encoding") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, json.JSONDecodeError, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a readable {path.suffix[1:]} table ({str(error).strip()})") from error
    if table.empty:
        raise UserError(f"{path}: the table has no rows")
    return table


def read_local(location: Path, *, encoding: str, splits: dict[str, str]) -> dict[str, pd.DataFrame]:
    """The splits found at `location`: one file is all "train"; in a folder, files named train, dev, test.

    `splits` names the file of a split where it is called otherwise.
    """
    if location.is_file():
        if splits:
            raise UserError(f"task.splits: {location} is a single file; name a folder, or leave task.splits out")
        return {"train": read_file(location, encoding=encoding)}
    if not location.is_dir():
        raise UserError(f"task.data: {location} is neither a file nor a folder")
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
        raise UserError(f"task.data: {location} holds no train file; expected train{'|'.join(SUFFIXES)}")
    return found


def read_hub(
    name: str, subset: str | None, splits: dict[str, str]
) -> tuple[dict[str, pd.DataFrame], dict[str, list[str]]]:
    """The splits of a Hub data set, and for each column with named classes its names in the order of their integers."""
    import datasets

    try:
        loaded = datasets.load_dataset(name, subset)
    except Exception as error:  # the library raises a dozen kinds, all of them about this name or the network
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"task.data: the data set {name!r} could not be loaded ({reason})") from error
    wanted = {
        split: splits.get(split) or next((alias for alias in aliases if alias in loaded), None)
        for split, aliases in ALIASES.items()
    }
    missing = [source for split, source in splits.items() if source not in loaded]
    if missing:
        raise UserError(f"task.splits: {name} has no split {missing[0]!r}; it has {', '.join(loaded)}")
    if wanted["train"] is None:
        raise UserError(f"task.data: {name} has no train split; it has {', '.join(loaded)}; name one in task.splits")
    classes = {
        column: list(feature.names)
        for column, feature in loaded[wanted["train"]].features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    return {split: loaded[source].to_pandas() for split, source in wanted.items() if source is not None}, classes


def first_occurrences(*columns: list[str]) -> np.ndarray:
    """Boolean (rows,): True where a row's cells have not stood in an earlier row."""
    return ~pd.DataFrame(dict(enumerate(columns))).duplicated().to_numpy()
