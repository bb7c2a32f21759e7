"""Which column of a table holds the label, and which the texts."""

from collections.abc import Sequence

import pandas as pd

from compress.common.errors import NotGoodEnough, UserError
from compress.data.columns import can_be_classes
from compress.data.label_matching import listed, whole_number
from compress.tables.splits import ALIASES

LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "intent", "topic", "score", "rating")
PAIR_NAMES = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
    ("text1", "text2"), ("text_a", "text_b"), ("query", "document"),
)  # fmt: skip
MAX_CLASSES = 200
FEWEST_GRADES = 3  # integers that may be grades rather than classes
SPLIT_NAMES = {alias for aliases in ALIASES.values() for alias in aliases}
SEPARATORS = (",", ";", "|")  # between the labels of a text that has several


def label_column(table: pd.DataFrame, where: str) -> str:
    """A column with a usual name, or else the one with the fewest different values. Its values must repeat.

    Raises NotGoodEnough if a column has a usual name but its values do not repeat, and UserError if none has.
    """
    by_lower = {str(column).lower(): str(column) for column in table.columns}
    counts = {str(column): _strings(table[column]).nunique() for column in table.columns}
    for name in LABEL_NAMES:
        column = by_lower.get(name)
        if column is None:
            continue
        are_classes = counts[column] >= 2 and can_be_classes(counts[column], len(table))
        if are_classes or are_fractions(_strings(table[column]).str.strip()):
            return column
    fewest = min(counts, key=counts.__getitem__)
    if len(counts) < 2 or not _repeats(counts[fewest], len(table)):
        usual = next((by_lower[name] for name in LABEL_NAMES if name in by_lower), None)
        if usual is not None and counts[usual] > 1 and len(counts) > 1:
            raise NotGoodEnough(
                f"{where}: column {usual!r} has {counts[usual]} different labels in {len(table)} rows; expected at "
                "least 2 rows per class on average; name another column with --label"
            )
        raise UserError(f"{where}: no column looks like a label (of {', '.join(counts)}); name it with --label")
    return fewest


def text_columns(table: pd.DataFrame, label: str, where: str) -> list[str]:
    """Two columns with the usual names of a pair, or else the column with the longest texts."""
    by_lower = {str(column).lower(): str(column) for column in table.columns if column != label}
    for first, second in PAIR_NAMES:
        if first in by_lower and second in by_lower:
            return [by_lower[first], by_lower[second]]
    if not by_lower:
        raise UserError(f"{where}: there is no column but {label!r}; expected one with texts")
    return [max(by_lower.values(), key=lambda column: _strings(table[column]).str.len().mean())]


def are_fractions(labels: pd.Series) -> bool:
    """Whether the labels are numbers, and not all of them whole."""
    values = pd.to_numeric(labels, errors="coerce")
    return bool(values.notna().all() and (values % 1 != 0).any())


def may_be_grades(labels: pd.Series) -> bool:
    """Whether the labels are three or more integers, which are read as classes but may be grades such as 1 to 5."""
    values = {whole_number(str(label)) for label in labels.unique()}
    return None not in values and len(values) >= FEWEST_GRADES


def cautions(table: pd.DataFrame, text: Sequence[str], label: str) -> list[str]:
    """Lines on what a run does not read: a column of splits, several labels in a cell, further columns of labels."""
    values = {
        str(column): set(_strings(table[column]).str.strip().str.lower())
        for column in table.columns
        if str(column) not in text
    }
    lines = [
        f"caution: the column {column!r} assigns rows to splits, which a run ignores; write each split to its own file"
        for column, own in values.items()
        if column != label and len(own) > 1 and own <= SPLIT_NAMES
    ]
    if example := _list_of_labels(values[label]):
        lines.append(
            f"caution: labels such as {example!r} look like lists, and each combination counts as one class; several "
            "labels per text are not supported"
        )
    if values[label] <= {"0", "1"}:
        others = [column for column, own in values.items() if column != label and own == {"0", "1"}]
        if others:
            lines.append(f"caution: {listed(others)} may be labels too; a run learns one column, which --label names")
    return lines


def _list_of_labels(labels: set[str]) -> str | None:
    """A label that combines other labels, if there are several; None if labels are names."""
    for separator in SEPARATORS:
        lists = sorted(label for label in labels if separator in label)
        parts = {part.strip(" []'\"") for label in labels for part in label.split(separator)}
        if len(lists) > 1 and len(parts) < len(labels):
            return lists[0]
    return None


def _strings(column: pd.Series) -> pd.Series:
    """The cells as strings, missing ones as None. pandas' own strings cannot hold bytes or half a surrogate pair."""
    cells = zip(column, column.isna(), strict=True)
    return pd.Series([None if is_missing else str(cell) for cell, is_missing in cells], dtype=object)


def _repeats(num_values: int, num_rows: int) -> bool:
    return 2 <= num_values <= min(MAX_CLASSES, num_rows // 2)
