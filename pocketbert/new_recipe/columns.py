"""Which column of a table holds the label, and which the texts."""

import pandas as pd

from compress.common.errors import NotGoodEnough, UserError
from compress.data.columns import can_be_classes
from compress.data.label_matching import whole_number

LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "intent", "topic", "score", "rating")
PAIR_NAMES = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
    ("text1", "text2"), ("text_a", "text_b"), ("query", "document"),
)  # fmt: skip
MAX_CLASSES = 200
FEWEST_GRADES = 3  # integers that may be grades rather than classes


def label_column(table: pd.DataFrame, where: str) -> str:
    """A column with a usual name, or else the one with the fewest different values. Its values must repeat.

    Raises NotGoodEnough if a column has a usual name but its values do not repeat, and UserError if none has.
    """
    by_lower = {str(column).lower(): str(column) for column in table.columns}
    counts = {str(column): table[column].astype(str).nunique() for column in table.columns}
    for name in LABEL_NAMES:
        column = by_lower.get(name)
        if column is None:
            continue
        are_classes = counts[column] >= 2 and can_be_classes(counts[column], len(table))
        if are_classes or are_fractions(table[column].astype(str).str.strip()):
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
    return [max(by_lower.values(), key=lambda column: table[column].astype(str).str.len().mean())]


def are_fractions(labels: pd.Series) -> bool:
    """Whether the labels are numbers, and not all of them whole."""
    values = pd.to_numeric(labels, errors="coerce")
    return bool(values.notna().all() and (values % 1 != 0).any())


def may_be_grades(labels: pd.Series) -> bool:
    """Whether the labels are three or more integers, which are read as classes but may be grades such as 1 to 5."""
    values = {whole_number(str(label)) for label in labels.unique()}
    return None not in values and len(values) >= FEWEST_GRADES


def _repeats(num_values: int, num_rows: int) -> bool:
    return 2 <= num_values <= min(MAX_CLASSES, num_rows // 2)
