"""Matches the labels of a table with the names of a model's outputs, and refuses to guess."""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from compress.common.errors import UserError

LISTED = 5  # labels in a message
MAX_DIGITS = 40  # of a whole number
_WHOLE_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0*)?")
_SEPARATORS = re.compile(r"(?<=\w)[\s_-]+(?=\w)")


@dataclass(frozen=True, kw_only=True)
class LabelReading:
    """How the labels of a table are read.

    `index`: the output of each label. `remarks`: a line for each way in which labels differ from the names.
    """

    index: dict[str, int]
    remarks: list[str]


def has_default_names(names: Sequence[str]) -> bool:
    """Whether these are the names of transformers for outputs without names: LABEL_0, LABEL_1 and so on."""
    return all(name == f"LABEL_{index}" for index, name in enumerate(names))


def whole_number(label: str) -> int | None:
    """The value of a label that is a whole number, such as 1 or 1.0; None for other labels and for leading zeros."""
    match = _WHOLE_NUMBER.fullmatch(label) if len(label) < MAX_DIGITS else None
    return int(match[1]) if match else None


def comparable(label: str) -> str:
    """A key that is equal for two spellings of one label: 1 and 1.0, or Not spam and not_spam."""
    number = whole_number(label)
    if number is not None:
        return str(number)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold()).strip()
    return _SEPARATORS.sub(" ", folded)


def match_labels(
    labels: Mapping[str, Collection[str]],
    names: Sequence[str],
    *,
    column: str,
    where: str,
    by_position: bool = False,
    in_order_of_integers: bool = False,
) -> LabelReading:
    """Match the labels of each split with the names of a model's outputs. Raises UserError if that would be a guess.

    `by_position`: the labels are known to be positions. `in_order_of_integers`: `names` come from the user, so that
    integers mean the names in the order of the integers. Otherwise labels are, in this order:

    1. names, also in another spelling (see `comparable`);
    2. positions, if they are integers that include the first and the last position, and no other number;
    3. numbers in the names, such as 1 to 5 for "1 star" to "5 stars", if each name has one, and no label is missing.
    """
    in_all = _sorted({label for each in labels.values() for label in each})
    by_name = {} if by_position else match_names(in_all, names)
    if len(by_name) == len(in_all):
        return LabelReading(index=by_name, remarks=spelling_remarks(by_name, names))
    numbers = {label: whole_number(label) for label in in_all}
    values = {number for number in numbers.values() if number is not None}
    positions = _positions(values, names) if by_position else _outputs(values, names, in_order_of_integers)
    if None not in numbers.values() and positions is not None:
        index = {label: positions[number] for label, number in numbers.items() if number is not None}
        return LabelReading(index=index, remarks=[_position_remark(index, names)])
    if by_position:
        names = [str(position) for position in range(len(names))]
        by_name = match_names(in_all, names)
    elif not by_name and None not in numbers.values():
        raise UserError(
            f"{where}: the labels {listed(in_all)} in column {column!r} do not say which of {listed(names)} they mean; "
            f"{_ambiguity(sorted(values), names)}",
            option="labels",
        )
    elif not by_name and has_default_names(names):
        raise UserError(
            f"{where}: column {column!r} has the classes {listed(in_all)}, but the model's outputs have only the "
            f"default names {listed(names)}; these do not say which output is which class",
            option="labels",
        )
    split, unknown = next(
        (split, rest) for split, each in labels.items() if (rest := _sorted(set(each) - set(by_name)))
    )
    location = f"{where} ({split})" if labels.keys() - {split} else where
    others = f"; nor are {listed(unknown[1:])}" if unknown[1:] else ""
    raise UserError(
        f"{location}: label {unknown[0]!r} in column {column!r} is not one of {listed(names)}{others}",
        option="labels" if split == next(iter(labels)) else None,
    )


def match_names(labels: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """The output of each label that is a name, or another spelling of exactly one name."""
    exact = {name: position for position, name in enumerate(names)}
    alike: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        alike.setdefault(comparable(name), []).append(position)
    index = {}
    for label in labels:
        positions = [exact[label]] if label in exact else alike.get(comparable(label), [])
        if len(positions) == 1:
            index[label] = positions[0]
    return index


def spelling_remarks(index: Mapping[str, int], names: Sequence[str]) -> list[str]:
    """A line for labels that are spelled differently than the names; none if all are equal."""
    differing = {label: names[position] for label, position in index.items() if label != names[position]}
    numbers = {label: name for label, name in differing.items() if whole_number(label) is not None}
    others = {label: name for label, name in differing.items() if label not in numbers}
    remarks = []
    if numbers:
        remarks.append(f"labels are whole numbers: {_pairs(numbers)}")
    if others:
        remarks.append(f"labels are names, regardless of case, spaces, _ and -: {_pairs(others)}")
    return remarks


def check_table_labels(labels: Sequence[str], names: Sequence[str], *, model: str) -> None:
    """Raise UserError unless `labels`, of a table, can stand for a model's outputs, called `names`, one by one."""
    repeated = next((label for label in labels if labels.count(label) > 1), None)
    if repeated is not None:
        raise UserError(f"the label {repeated!r} is given for two outputs; expected a label for each", option="labels")
    if len(labels) != len(names):
        raise UserError(
            f"{model}: got {len(labels)} labels ({listed(labels)}); expected {len(names)}, one for each output "
            f"({listed(names)})",
            option="labels",
        )
    positions = match_names(labels, names)
    for position, label in enumerate(labels):
        is_name = whole_number(label) is None or len(positions) == len(labels)  # other integers may be positions
        if is_name and positions.get(label, position) != position:
            raise UserError(
                f"{model}: got the label {label!r} for output {position}, which the model calls {names[position]!r}; "
                f"expected the labels in the order of the outputs: {listed(names)}"
            )


def listed(labels: Sequence[str]) -> str:
    """The labels, or the first few and the last of many."""
    if len(labels) <= 2 * LISTED:
        return ", ".join(labels)
    return f"{', '.join(labels[:LISTED])}, ... {labels[-1]}"


def _positions(values: set[int], names: Sequence[str]) -> dict[int, int] | None:
    """Each integer as the position of a name, or None if one is not."""
    return {value: value for value in values} if values <= set(range(len(names))) else None


def _outputs(values: set[int], names: Sequence[str], in_order: bool) -> dict[int, int] | None:
    """The output of each integer, or None if there is no reading or more than one."""
    positions = _positions(values, names)
    in_names = _numbers_in(names)
    if set(in_names) == values:
        by_number = {number: position for position, number in enumerate(in_names)}
        return by_number if positions in (None, by_number) else None
    if positions is not None and {0, len(names) - 1} <= values:
        return positions
    if in_order and len(values) == len(names):
        return {value: position for position, value in enumerate(sorted(values))}
    return None


def _numbers_in(names: Sequence[str]) -> list[int]:
    """The number in each name, or 0 for false and 1 for true; empty unless each name has one, and all differ."""
    if sorted(comparable(name) for name in names) == ["false", "true"]:
        return [int(comparable(name) == "true") for name in names]
    numbers = [re.findall("[0-9]+", name) for name in names]
    values = [int(each[0]) for each in numbers if len(each) == 1 and len(each[0]) <= MAX_DIGITS]
    return values if len(set(values)) == len(names) else []


def _ambiguity(values: Sequence[int], names: Sequence[str]) -> str:
    """Why the integers do not say which outputs they mean."""

    def meaning(start: int) -> str:
        return listed([f"{value} is {names[value - start]}" for value in values])

    last = len(names) - 1
    if set(_numbers_in(names)) == set(values):
        return "the numbers in these names are not their positions"
    if values[0] > 0 and values[-1] <= last:
        return f"they may count from 0 ({meaning(0)}) or from 1 ({meaning(1)})"
    if values[0] > 0 and values[-1] == last + 1:
        return f"they are not the positions 0 to {last}, but may count from 1 ({meaning(1)})"
    if values[0] == 0 and values[-1] < last:
        return f"they may be positions ({meaning(0)}), but no row has the last one, {last}"
    return f"they are not the positions 0 to {last}"


def _position_remark(index: Mapping[str, int], names: Sequence[str]) -> str:
    first, *rest = index
    span = first if not rest else f"{first} and {rest[0]}" if len(rest) == 1 else f"{first} to {rest[-1]}"
    are_positions = all(whole_number(label) == position for label, position in index.items())
    reading = "positions" if are_positions else "read as follows"
    return f"labels {span} are {reading}: {_pairs({label: names[position] for label, position in index.items()})}"


def _pairs(names: Mapping[str, str]) -> str:
    return listed([f"{label} is {name}" for label, name in names.items()])


def _sorted(labels: Collection[str]) -> list[str]:
    """By value if all are whole numbers, else alphabetically."""
    numbers = {label: whole_number(label) for label in labels}
    if None in numbers.values():
        return sorted(labels)
    return sorted(labels, key=lambda label: (numbers[label], label))
