"""Tasks: texts and labels, split into train, dev and test."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from compress.common.errors import NotGoodEnough, UserError
from compress.data import task_types
from compress.data.columns import Split, require_rows_per_class
from compress.data.metrics import Metric, Positive
from compress.data.task_types import TaskTypeName
from compress.tables.cells import is_unlabelled, text_cells
from compress.tables.splits import read_hub, read_local
from compress.tables.table import ALL_SUFFIXES, COMPRESSED_SUFFIXES, read_table

MIN_ROWS = 10  # different ones, below which a table is not split
MIN_DEV_ROWS_FOR_TEST = 1000
DEV_SHARE, MAX_DEV_ROWS = 0.2, 2000
LabelOrder = Literal["given", "integers", "sorted"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A labelled data set, ready for training.

    `labels`: names of the model's outputs, in order: the classes, or one name for regression. `label_order`: whether
    the user gave this order, or the data (as integers), or the names are merely sorted.

    The reported scores come from `test`. If there are too few rows for a test split, `test` is `dev` and
    `selected_on_test` is True: the scores are then measured on the rows that selected the checkpoints.
    """

    name: str
    type: TaskTypeName
    labels: tuple[str, ...]
    train: Split
    dev: Split
    test: Split
    max_length: int
    selected_on_test: bool = False

    label_order: LabelOrder = "sorted"
    remarks: tuple[str, ...] = field(default=())

    @property
    def scored_on(self) -> Literal["dev", "test"]:
        """The name of the rows that give the final scores."""
        return "dev" if self.selected_on_test else "test"

    def score(
        self, metric: Metric, labels: np.ndarray, predictions: np.ndarray, *, positive: Positive | None = None
    ) -> float:
        """The metric of predictions against labels, (rows,) each. `positive`: as in `TaskType.score`."""
        type_ = task_types.task_type(self.type)
        return type_.score(metric, labels, predictions, len(self.labels), positive=positive)

    def fingerprint(self) -> str:
        """The SHA-256 of all rows, the labels and the options."""
        digest = hashlib.sha256(repr((self.labels, self.max_length, self.selected_on_test)).encode())
        for split in (self.train, self.dev, self.test):
            digest.update(_bytes_of(split))
        return digest.hexdigest()

    def train_fingerprint(self) -> str:
        """The SHA-256 of the train rows and of `max_length`."""
        return hashlib.sha256(repr(self.max_length).encode() + _bytes_of(self.train)).hexdigest()


def load_task(
    *,
    name: str,
    data: str | Path,
    text: Sequence[str],
    label: str,
    labels: Sequence[str] | None = None,
    subset: str | None = None,
    splits: dict[str, str] | None = None,
    encoding: str = "utf-8",
    max_length: int = 128,
    max_rows: int | None = None,
    task_type: TaskTypeName = "classification",
    seed: int = 0,
) -> Task:
    """Load a task from a local file or folder, or from the Hub by name. Raises UserError.

    With `subset`, a local folder is read as a copy of a Hub data set. `labels`: the names of the classes, in the order
    of the integers if the column holds integers. `max_rows`: sample this many rows of each split with the seed.
    """
    location = Path(data).expanduser()
    if subset is not None and location.is_file():
        raise UserError(
            f"{subset!r} is the name of a subset, but the single file {data} has no subsets; leave it out",
            option="subset",
        )
    remarks = list[str]()
    if subset is None and (location.exists() or _looks_local(str(data))):
        read = read_local(location, encoding=encoding, splits=splits or {}, columns=[*text, label])
        remarks += _readings({split: table.reading for split, table in read.items()}, location)
        tables_by_split = {split: table.frame for split, table in read.items()}
        classes: dict[str, list[str]] = {}
    else:
        tables_by_split, classes = read_hub(str(location if location.is_dir() else data), subset, splits or {})
    task = task_of_tables(
        tables_by_split,
        classes,
        name=name,
        data=data,
        text=text,
        label=label,
        labels=labels,
        max_length=max_length,
        max_rows=max_rows,
        task_type=task_type,
        seed=seed,
    )
    return replace(task, remarks=(*remarks, *task.remarks))


def task_of_tables(
    tables: Mapping[str, pd.DataFrame],
    classes: Mapping[str, Sequence[str]],
    *,
    name: str,
    data: str | Path,
    text: Sequence[str],
    label: str,
    labels: Sequence[str] | None = None,
    max_length: int = 128,
    max_rows: int | None = None,
    task_type: TaskTypeName = "classification",
    seed: int = 0,
) -> Task:
    """A task from the tables of its splits, as they were read. Raises UserError.

    `classes`: as in `labelled_splits`. The others are as in `load_task`.
    """
    parsed = labelled_splits(tables, classes, data=data, text=text, label=label, labels=labels, task_type=task_type)
    splits = parsed.splits
    if max_rows is not None:
        splits = {split: _sample_rows(rows, max_rows, seed, task_type) for split, rows in splits.items()}
    task = split_task(
        name=name, task_type=task_type, labels=parsed.labels, splits=splits, max_length=max_length, seed=seed
    )
    return replace(task, label_order=parsed.label_order, remarks=(*parsed.remarks, *task.remarks))


@dataclass(frozen=True, kw_only=True)
class LabelledSplits:
    """The rows of each split as they were read. `labels`, `label_order`, `remarks`: as in `Task`."""

    splits: dict[str, Split]
    labels: tuple[str, ...]
    label_order: LabelOrder
    remarks: list[str]


def labelled_splits(
    tables: Mapping[str, pd.DataFrame],
    classes: Mapping[str, Sequence[str]],
    *,
    data: str | Path,
    text: Sequence[str],
    label: str,
    labels: Sequence[str] | None,
    task_type: TaskTypeName,
) -> LabelledSplits:
    """The texts and labels in the tables of a task's splits. Raises UserError.

    `classes`: the class names of a column that the data set itself names, in the order of the integers in it. `data`:
    the location, for messages. The others are as in `load_task`.
    """
    tables_by_split, remarks = dict(tables), list[str]()
    if "test" in tables_by_split and is_unlabelled(tables_by_split["test"], text, label):
        del tables_by_split["test"]
        remarks.append("the test split has no labels, so it is left out")
    tables_by_split = {
        split: text_cells(table, text, label, where=f"{data} ({split})", remarks=remarks)
        for split, table in tables_by_split.items()
    }
    type_ = task_types.task_type(task_type)
    known = labels or classes.get(label)
    names = type_.label_names(tables_by_split["train"][label], known=known, where=str(data), remarks=remarks)
    columns = {split: table[label] for split, table in tables_by_split.items()}
    label_indices = type_.read_labels(
        columns,
        names,
        by_position=label in classes,
        in_order_of_integers=labels is not None,
        where=str(data),
        remarks=remarks,
    )
    are_positions = label in classes or names == tuple(map(str, range(len(names))))
    return LabelledSplits(
        splits={split: _split(table, text, label_indices[split]) for split, table in tables_by_split.items()},
        labels=names,
        label_order="given" if labels else "integers" if are_positions else "sorted",
        remarks=remarks,
    )


def read_split(
    path: Path,
    *,
    text: Sequence[str],
    label: str,
    labels: Sequence[str] | None,
    task_type: TaskTypeName,
    encoding: str = "utf-8",
    remarks: list[str] | None = None,
) -> Split:
    """Read one local table and keep every row. `labels`: as in `load_task`. Raises UserError.

    `remarks` receives lines on how the file and its labels were read.
    """
    remarks = [] if remarks is None else remarks
    read = read_table(path, encoding=encoding, columns=[*text, label])
    remarks.append(f"{path.name}: {read.reading}")
    table = text_cells(read.frame, text, label, where=str(path), remarks=remarks)
    type_ = task_types.task_type(task_type)
    about_labels = list[str]()
    names = type_.label_names(table[label], known=labels, where=str(path), remarks=about_labels)
    indices = type_.read_labels(
        {"rows": table[label]}, names, by_position=False, where=str(path), remarks=about_labels
    )["rows"]
    about_labels += type_.absent_labels(names, indices)
    remarks += [f"{path.name}: {line}" for line in about_labels]
    return _split(table, text, indices)


def split_task(
    *,
    name: str,
    task_type: TaskTypeName,
    labels: tuple[str, ...],
    splits: dict[str, Split],
    max_length: int,
    seed: int,
) -> Task:
    """Remove duplicates from train and create missing splits.

    A missing dev split is a fifth of train, at most 2,000 rows. A missing test split is half of dev, if dev has at
    least 1,000 rows. The seed selects the rows. Splits that come with the data are not changed, so that scores on them
    stay comparable with published ones. Train rows that are also in dev or test are removed. Raises UserError if a
    split is empty, or if dev or test has a class that train lacks.
    """
    remarks: list[str] = []
    all_train = splits["train"]
    train = _without_duplicates(all_train, "train", remarks)
    held_out = {row for split, rows in splits.items() if split != "train" for row in rows.rows()}
    leaked = np.array([row in held_out for row in train.rows()])
    if leaked.any():
        remarks.append(f"{leaked.sum()} rows of train removed, because they are also in dev or test")
        train = train.take(~leaked)
    if num_shared := _num_shared(splits):
        remarks.append(
            f"{num_shared} of {len(splits['test'])} rows of test are also in dev, which selects checkpoints; they may "
            "raise the score on test"
        )

    generator = np.random.default_rng(seed)
    dev, test = splits.get("dev"), splits.get("test")
    if dev is None:
        order = generator.permutation(len(train))
        num_dev = min(int(len(train) * DEV_SHARE), MAX_DEV_ROWS)
        kept = _with_every_group(train, order[num_dev:], order[:num_dev], task_type)
        dev, train = train.take(np.setdiff1d(order, kept)), train.take(kept)
        remarks.append(f"dev: {len(dev)} rows set aside from train (seed {seed})")
    selected_on_test = False
    if test is None and len(dev) >= MIN_DEV_ROWS_FOR_TEST:
        dev = _without_duplicates(dev, "dev", remarks)
        order = generator.permutation(len(dev))
        half = len(dev) // 2
        test, dev = dev.take(np.sort(order[half:])), dev.take(np.sort(order[:half]))
        remarks.append(f"test: {len(test)} rows set aside from dev (seed {seed})")
    elif test is None:
        test, selected_on_test = dev, True
        remarks.append(f"no test split, and dev has fewer than {MIN_DEV_ROWS_FOR_TEST} rows: dev also serves as test")
    for split, rows in {"train": train, "dev": dev, "test": test}.items():
        if len(rows) == 0:
            _require_different_texts(name, all_train)
            if len(all_train) >= MIN_ROWS and task_types.task_type(task_type).has_classes:
                require_rows_per_class(name, all_train.labels)
            raise UserError(
                f"{name}: the {split} split is empty after splitting the {len(all_train)} rows of train; expected at "
                f"least {MIN_ROWS} different ones"
            )
    labels_by_split = {"train": train.labels, "dev": dev.labels, "test": test.labels}
    remarks += task_types.task_type(task_type).check_splits(name, labels, labels_by_split)
    return Task(
        name=name,
        type=task_type,
        labels=labels,
        train=train,
        dev=dev,
        test=test,
        max_length=max_length,
        selected_on_test=selected_on_test,
        remarks=tuple(remarks),
    )


def _num_shared(splits: Mapping[str, Split]) -> int:
    """The rows of test that are also in dev, if the data have both."""
    if "dev" not in splits or "test" not in splits:
        return 0
    rows_of_dev = {*splits["dev"].rows()}
    return sum(row in rows_of_dev for row in splits["test"].rows())


def _require_different_texts(name: str, rows: Split) -> None:
    """Raise NotGoodEnough for enough rows that are copies of a few."""
    num_different = len(set(rows.rows()))
    if len(rows) >= MIN_ROWS > num_different:
        raise NotGoodEnough(
            f"{name}: the number of different texts in the {len(rows)} rows of train is {num_different}; expected at "
            f"least {MIN_ROWS}, so that a model can learn from them"
        )


def _readings(readings: dict[str, str], location: Path) -> list[str]:
    """A line for each way in which files were read, with the splits that were read so."""
    if list(readings) == ["train"] and location.is_file():
        return [f"{location.name}: {readings['train']}"]
    return [
        f"{', '.join(split for split in readings if readings[split] == reading)}: {reading}"
        for reading in dict.fromkeys(readings.values())
    ]


def _bytes_of(split: Split) -> bytes:
    return repr((split.texts, split.pairs, split.labels.tolist())).encode()


def _without_duplicates(rows: Split, name: str, remarks: list[str]) -> Split:
    texts = pd.DataFrame(rows.rows())
    unique = ~texts.duplicated().to_numpy()
    if unique.all():
        return rows
    labels = pd.Series(rows.labels).groupby(texts.agg(tuple, axis=1).to_numpy()).nunique()
    num_contradictory = int((labels > 1).sum())
    kept = f"; {num_contradictory} texts have different labels, and the first counts" if num_contradictory else ""
    remarks.append(f"{(~unique).sum()} duplicate rows of {name} removed{kept}")
    return rows.take(unique)


def _looks_local(data: str) -> bool:
    """Whether `data` looks like a path. A Hub name is NAME or OWNER/NAME, without a suffix."""
    suffixes = (*ALL_SUFFIXES, *COMPRESSED_SUFFIXES)
    return data.startswith((".", "/", "~")) or data.count("/") > 1 or data.lower().endswith(suffixes)


def _sample_rows(rows: Split, max_rows: int, seed: int, task_type: TaskTypeName) -> Split:
    if len(rows) <= max_rows:
        return rows
    order = np.random.default_rng(seed).permutation(len(rows))
    return rows.take(_with_every_group(rows, order[:max_rows], order[max_rows:], task_type))


def _with_every_group(rows: Split, kept: np.ndarray, others: np.ndarray, task_type: TaskTypeName) -> np.ndarray:
    """The `kept` rows plus the first row of each group that only `others` have, as sorted row numbers."""
    groups = task_types.task_type(task_type).groups(rows.labels)
    groups_of_others, first = np.unique(groups[others], return_index=True)
    return np.sort(np.concatenate([kept, others[first[~np.isin(groups_of_others, groups[kept])]]]))


def _split(table: pd.DataFrame, text: Sequence[str], labels: np.ndarray) -> Split:
    texts, *pairs = (list(table[column]) for column in text)
    return Split(texts=texts, pairs=pairs[0] if pairs else None, labels=labels)
