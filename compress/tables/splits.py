"""Reads the splits of a data set: a local file or folder, or a data set of the Hub."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from compress.common.errors import UserError, library_errors
from compress.tables.table import ALL_SUFFIXES, SUFFIXES, Table, read_table, suffix_of

ALIASES = {
    "train": ("train", "training"),
    "dev": ("dev", "validation", "validate", "valid", "val", "eval", "evaluation"),
    "test": ("test", "testing"),
}
SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}")  # the files of a data set's repository on the Hub


def read_local(
    location: Path, *, encoding: str, splits: Mapping[str, str], columns: Sequence[str] = ()
) -> dict[str, Table]:
    """Read the splits at `location`. A single file is train; a folder has files named train, dev and test.

    `splits`: file names of splits that have another name. `columns`: as in `read_table`. Raises UserError, also if two
    files could be the same split.
    """
    if location.is_file():
        if splits:
            raise UserError(
                f"{location} is a single file, so it has no named splits; expected a folder", option="splits"
            )
        return {"train": read_table(location, encoding=encoding, columns=columns)}
    files = files_of_splits(location, splits)
    return {split: read_table(files[split], encoding=encoding, columns=columns) for split in ALIASES if split in files}


def files_of_splits(location: Path, splits: Mapping[str, str]) -> dict[str, Path]:
    """The file of each split at `location`, as `read_local` reads them. Raises UserError.

    A file that `splits` names for one split is no other split, whatever its name.
    """
    if location.is_file():
        return {"train": location}
    if not location.is_dir():
        raise UserError(f"{location} is neither a file nor a folder, relative to {Path.cwd()}", option="data")
    _require_different(splits)
    files = {split: location / name for split, name in splits.items()}
    named = {*files.values()}
    files |= {split: path for split in ALIASES if split not in files and (path := _file_of(location, split, named))}
    if "train" not in files:
        is_repository = any(SHARD.fullmatch(path.stem) for path in location.rglob("*.parquet"))
        hint = "; to read it as a copy of a Hub data set, set task.subset: default" if is_repository else ""
        raise UserError(f"{location} contains no train file; expected train{'|'.join(SUFFIXES)}{hint}", option="data")
    return files


def split_named_by(path: Path) -> str | None:
    """The split that the name of a table's file means, in any case and compression; None if it means none."""
    if suffix_of(path) not in (*ALL_SUFFIXES, ".zip"):
        return None
    name = path.name.split(".")[0].lower()
    return next((split for split, aliases in ALIASES.items() if name in aliases), None)


def _require_different(splits: Mapping[str, str]) -> None:
    """Raise UserError if two splits have the same source: scores would then be from rows that chose the student."""
    sources = [Path(source) for source in splits.values()]
    if repeated := next((source for source in sources if sources.count(source) > 1), None):
        names = " and ".join(split for split, source in splits.items() if Path(source) == repeated)
        raise UserError(
            f"{names} are both {str(repeated)!r}; leave one of them out, and a part of the other rows takes its place",
            option="splits",
        )


def _file_of(location: Path, split: str, named: Collection[Path]) -> Path | None:
    """The file of a split, in any case and compression, unless it is among `named`; None if there is none.

    Raises UserError if there are two, or if the name is that of a folder or of a link to nothing.
    """
    files = [path for path in sorted(location.iterdir()) if split_named_by(path) == split and path not in named]
    if files and not files[0].is_file():
        raise UserError(f"{files[0]}: not a file, though its name is that of the {split} split; remove or rename it")
    if len(files) > 1:
        raise UserError(
            f"{location}: {' and '.join(path.name for path in files)} could both be the {split} split; rename one of "
            "them, or name the right one",
            option="splits",
        )
    return files[0] if files else None


def read_hub(
    name: str, subset: str | None, splits: Mapping[str, str]
) -> tuple[dict[str, pd.DataFrame], dict[str, list[str]]]:
    """The splits of a Hub data set, and the class names of each column that has them, ordered by their integers.

    `name` may also be a local folder with a copy of the data set's repository. `splits`: as in `files_of_splits`.
    """
    import datasets

    _require_different(splits)
    with library_errors(
        f"{name!r} is not a local file or folder, and it could not be loaded as a Hub data set", option="data"
    ):
        loaded = datasets.load_dataset(name, subset)
    source_names = {
        split: splits.get(split)
        or next((alias for alias in aliases if alias in loaded and alias not in splits.values()), None)
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
