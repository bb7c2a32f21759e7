"""The names of a model's outputs in config.json. Importing this module loads neither torch nor transformers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from compress.common.errors import UserError

DEFAULT_NUM_LABELS = 2  # of transformers, which does not write id2label for two unnamed labels
MAX_OUTPUTS = 10_000
LABEL_KEYS = ("id2label", "label2id", "num_labels")
EXPECTED = 'expected one name per output, such as {"0": "negative", "1": "positive"}'


def with_label_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a config.json with `id2label` as a dict of output number -> name, in order, and no `num_labels`.

    Lists become dicts, and numbers become text. Missing names become LABEL_0, LABEL_1 and so on. `id2label` alone
    counts, as in transformers; `label2id` becomes its inverse. Raises UserError if names are ambiguous. A model that is
    no classifier has no label names to check: wrong ones are dropped.
    """
    others = {key: value for key, value in config.items() if key not in LABEL_KEYS}
    try:
        names = _label_names(config)
    except UserError:
        if any("SequenceClassification" in str(name) for name in _listed(config.get("architectures"))):
            raise
        names = _default_names(DEFAULT_NUM_LABELS)
    return {
        **others,
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


def _label_names(config: Mapping[str, Any]) -> list[str]:
    id2label = config.get("id2label")
    count = config.get("num_labels")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        raise UserError(f"num_labels is {count!r}; expected a whole number of outputs")
    num_outputs = max(count or 0, len(id2label) if isinstance(id2label, list | dict) else 0)
    if num_outputs > MAX_OUTPUTS:
        raise UserError(f"it names {num_outputs:,} outputs; expected at most {MAX_OUTPUTS:,}")
    if id2label is None:
        names = _default_names(count or DEFAULT_NUM_LABELS)
    elif isinstance(id2label, list):
        names = _as_names(id2label)
    elif isinstance(id2label, dict):
        names = _as_names([id2label[key] for key in _keys_in_order(id2label)])
    else:
        raise UserError(f"id2label is {id2label!r}; {EXPECTED}")
    if count is not None and len(names) != count:
        raise UserError(f"id2label names {len(names)} outputs, but num_labels is {count}; correct one of them")
    return names


def _keys_in_order(id2label: Mapping[str, Any]) -> list[str]:
    """The keys of `id2label`, sorted by number. Raises UserError unless they are 0 to n-1."""
    numbers = {int(key): key for key in id2label if key.isdecimal()}
    if sorted(numbers) != list(range(len(id2label))):
        inverted = all(isinstance(value, int) for value in id2label.values())
        hint = "; it looks like label2id, which has names as keys" if inverted else ""
        raise UserError(
            f"id2label has the keys {_joined(list(id2label))}; expected 0 to {max(1, len(id2label)) - 1}{hint}"
        )
    return [numbers[index] for index in range(len(numbers))]


def _as_names(values: Sequence[object]) -> list[str]:
    if not values:
        raise UserError(f"id2label is empty; {EXPECTED}")
    for index, value in enumerate(values):
        if not isinstance(value, str | int | float) or not str(value).strip():
            raise UserError(f"id2label has the name {value!r} for output {index}; {EXPECTED}")
    names = [str(value) for value in values]
    repeated = next((name for name, count in Counter(names).items() if count > 1), None)
    if repeated is not None:
        raise UserError(f"id2label has the name {repeated!r} twice; expected a different name for each output")
    return names


def _default_names(count: int) -> list[str]:
    return [f"LABEL_{index}" for index in range(count)]


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _joined(names: Sequence[object]) -> str:
    first_names = [str(name) for name in names[:8]]
    return ", ".join(first_names) + (", ..." if len(names) > len(first_names) else "")
