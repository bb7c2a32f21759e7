"""The rows that calibrated variants measure their activation ranges on."""

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
    """A random sample of up to `count` rows, stratified by the groups of the task type.

    Each group contributes equally many rows, as long as it has enough.
    """
    order = np.random.default_rng(seed).permutation(len(train))
    group_of_row = task_types.task_type(task_type).groups(train.labels)
    groups = [order[group_of_row[order] == group] for group in np.unique(group_of_row)]
    interleaved = [rows[rank] for rank in range(len(order)) for rows in groups if rank < len(rows)]
    return train.take(np.sort(interleaved[:count]))


def require_disjoint(calibration: Split, held_out: Sequence[Split]) -> None:
    """Raise UserError if a calibration row is also in a held-out split."""
    shared = set(calibration.rows()) & {row for split in held_out for row in split.rows()}
    if shared:
        raise UserError(
            f"calibration: {len(shared)} of its {len(calibration)} rows are also in dev or test, the first "
            f"{min(shared)[0]!r}; calibration on them would bias the scores; use other rows"
        )


def unpadded_inputs(rows: Split, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Inputs]:
    """The model's inputs for each row on its own, without padding: int64 (1, positions)."""
    takes_types = "token_type_ids" in tokenizer.model_input_names
    inputs = []
    for row in encode_split(rows, tokenizer, max_length=max_length).rows:
        tokens = np.array([row["input_ids"]])
        types = (
            {"token_type_ids": np.array([row.get("token_type_ids") or [0] * tokens.shape[1]])} if takes_types else {}
        )
        inputs.append({"input_ids": tokens, "attention_mask": np.ones_like(tokens), **types})
    return inputs
