"""The rows from which calibrated variants take the ranges of their activations."""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from compress.common.errors import UserError
from compress.data import task_types
from compress.data.columns import Split
from compress.data.task_types import TaskTypeName
from compress.data.tokenization import encode_split

CALIBRATION_ROWS = 256

Inputs = dict[str, np.ndarray]


def calibration_rows(train: Split, *, task_type: TaskTypeName, seed: int, count: int = CALIBRATION_ROWS) -> Split:
    """Up to `count` rows, drawn by the seed: of each group of the task type as many, as far as they go."""
    order = np.random.default_rng(seed).permutation(len(train))
    group_of_row = task_types.task_type(task_type).groups(train.labels)
    groups = [order[group_of_row[order] == group] for group in np.unique(group_of_row)]
    in_turn = [rows[place] for place in range(len(order)) for rows in groups if place < len(rows)]
    return train.take(np.sort(in_turn[:count]))


def require_disjoint(calibration: Split, held_out: Sequence[Split]) -> None:
    """Raise UserError where a calibration row stands in a held-out split too."""
    shared = set(calibration.rows()) & {row for split in held_out for row in split.rows()}
    if shared:
        raise UserError(
            f"calibration: {len(shared)} of its {len(calibration)} rows stand in dev or test too, the first "
            f"{min(shared)[0]!r}; ranges taken from them would flatter the figures; take others"
        )


def unpadded_inputs(rows: Split, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Inputs]:
    """What the model takes for each row by itself, unpadded: int64 (1, positions)."""
    takes_types = "token_type_ids" in tokenizer.model_input_names
    found = []
    for row in encode_split(rows, tokenizer, max_length=max_length).rows:
        tokens = np.array([row["input_ids"]])
        types = (
            {"token_type_ids": np.array([row.get("token_type_ids") or [0] * tokens.shape[1]])} if takes_types else {}
        )
        found.append({"input_ids": tokens, "attention_mask": np.ones_like(tokens), **types})
    return found
