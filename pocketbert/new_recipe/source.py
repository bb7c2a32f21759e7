"""The data of a new recipe: a folder with a file per split, a single file, or a copy of a Hub data set."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from compress.common.errors import UserError
from compress.data.label_matching import listed
from compress.tables.splits import ALIASES, SHARD, read_hub, read_local, split_named_by
from compress.tables.table import ALL_SUFFIXES, SUFFIXES, suffix_of
from pocketbert.store.manifest import MANIFEST

HUB_SUBSET = "default"  # of a data set without configurations
SHARD_DEPTHS = ("*.parquet", "*/*.parquet", "*/*/*.parquet")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the data are. `data`, `splits`, `subset`: as in the recipe's task. `name`: of the recipe.

    `remarks`: lines on which files are used.
    """

    name: str
    data: Path
    splits: dict[str, str] = field(default_factory=dict)
    subset: str | None = None
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables of a source, by split. `classes`: the class names of columns that have them.

    `readings`: how each split was read. `file`: the name of the only file, if the source is a file.
    """

    frames: dict[str, pd.DataFrame]
    readings: dict[str, str]
    classes: dict[str, list[str]] = field(default_factory=dict)
    file: str | None = None

    @property
    def remarks(self) -> list[str]:
        """A line for each way in which files were read, with the splits that were read so."""
        if self.file is not None:
            return [f"{self.file}: {self.readings['train']}"]
        return [
            f"{', '.join(split for split, own in self.readings.items() if own == reading)}: {reading}"
            for reading in dict.fromkeys(self.readings.values())
        ]


def find_source(path: Path) -> Source:
    """The data at a path: the folder, also if the path is one of its splits and it has others; else the file.

    Raises UserError for a folder without a train file.
    """
    if path.is_dir():
        return _folder(path)
    name = name_of(path)
    split = split_named_by(path)
    if split is None or not path.is_file():
        return Source(name=name, data=path)
    candidates = {other: _candidates(path.parent, other) for other in ALIASES}
    if split != "train" and not candidates["train"]:
        return Source(
            name=name, data=path, remarks=[f"{path.name}: its folder has no train file, so it is used as one"]
        )
    if not any(files for other, files in candidates.items() if other != split):
        return Source(name=name, data=path)
    splits, remarks = dict[str, str](), list[str]()
    for other, files in candidates.items():
        preferred = [path] if other == split else [file for file in files if file.suffixes == path.suffixes]
        if len(files) > 1 and len(preferred) == 1:
            splits[other] = preferred[0].name
            unused = listed([file.name for file in files if file.name != preferred[0].name])
            remarks.append(f"{other}: {preferred[0].name}; {unused} could be it too, but is not used")
    used = listed([splits.get(other) or files[0].name for other, files in candidates.items() if files])
    remarks.insert(0, f"{path.name} is one of several splits, so the recipe names their folder: {used}")
    return Source(name=name, data=path.parent, splits=splits, remarks=remarks)


def read_source(source: Source, *, encoding: str, columns: Sequence[str]) -> Tables:
    """Read all splits. `columns`: the names that are known, which help to recognise a header. Raises UserError."""
    if source.subset is not None:
        frames, classes = read_hub(str(source.data), source.subset, source.splits)
        return Tables(frames=frames, readings=dict.fromkeys(frames, "from a copy of a Hub data set"), classes=classes)
    read = read_local(source.data, encoding=encoding, splits=source.splits, columns=columns)
    return Tables(
        frames={split: table.frame for split, table in read.items()},
        readings={split: table.reading for split, table in read.items()},
        file=source.data.name if source.data.is_file() else None,
    )


def name_of(path: Path) -> str:
    """The name of a recipe for a folder or a table. A split is named after its folder."""
    if path.is_dir():
        folder = path if path.name not in ("", "..") else path.resolve()
        stem = folder.name
    elif split_named_by(path) is not None or SHARD.fullmatch(_stem(path)):
        folder, stem = path.parent, path.absolute().parent.name
    else:
        folder, stem = path.parent, _stem(path)
    known_splits = {alias for aliases in ALIASES.values() for alias in aliases}
    for parent in folder.resolve().parents:
        if stem.lower() not in known_splits:
            break
        stem = parent.name
    name = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in stem)
    return name.lstrip("._-") or "my-task"


def _stem(path: Path) -> str:
    """The name without suffixes: of reviews.csv.gz, reviews."""
    return path.stem if suffix_of(path) == path.suffix.lower() else Path(path.stem).stem


def _candidates(folder: Path, split: str) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file() and split_named_by(path) == split]


def _folder(folder: Path) -> Source:
    name = name_of(folder)
    if _candidates(folder, "train"):
        return Source(name=name, data=folder)
    if _has_shards(folder):
        return Source(name=name, data=folder, subset=HUB_SUBSET)
    raise UserError(f"{folder}: contains no train file, such as train{SUFFIXES[0]}; {_advice(folder)}")


def _has_shards(folder: Path) -> bool:
    """Whether it is a copy of a Hub data set's repository, with files such as data/train-00000-of-00001.parquet."""
    shards = [SHARD.fullmatch(path.stem) for pattern in SHARD_DEPTHS for path in folder.glob(pattern)]
    return any(shard is not None and shard[1] in ALIASES["train"] for shard in shards)


def _advice(folder: Path) -> str:
    """What to do about a folder without a train file, from what it contains."""
    entries = [path for path in sorted(folder.iterdir()) if path.name[0] != "."]
    folders = [path for path in entries if path.is_dir()]
    tables = [path for path in entries if path.is_file() and suffix_of(path) in ALL_SUFFIXES]
    if not entries:
        return "the folder is empty"
    if (folder / MANIFEST).is_file():
        return "it is the folder of a run; name the data instead"
    if inner := [path for path in folders if _candidates(path, "train")]:
        return f"name a folder in it that has one: {listed([str(path) for path in inner])}"
    if len(folders) > 1 and all(next(path.glob("*.txt"), None) for path in folders):
        names = listed([path.name for path in folders])
        return f"a folder of text files per class ({names}) is not read; write the texts and classes to one table"
    if tables:
        names = listed([path.name for path in tables])
        return f"it has {names}; rename the one to train on, or name its path instead of the folder"
    return "it has no table at all; name a table, or a folder with one per split"
