"""Predicts the logits of tokenised rows."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from compress.common import distributed
from compress.data.batching import PaddingCollator, read_rows
from compress.data.tokenization import TokenDataset
from compress.models.precision import Precision, autocast, low_precision_copy

TOKENS_AT_ONCE = {"cpu": 2048, "cuda": 2**15}


@torch.no_grad()
def predict_logits(
    model: PreTrainedModel,
    encoded: TokenDataset,
    *,
    tokens_at_once: int | None = None,
    precision: Precision = "fp32",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """The model's logits in eval mode, (rows, classes) in float32, in the order of the rows.

    `tokens_at_once`: the most tokens per batch; by default a value that suits the device. If there are several
    processes, all must call this. Each computes a share of the rows, and all get the logits of all rows.
    """
    was_training = model.training
    device = "cuda" if torch.cuda.is_available() else "cpu"
    eval_model = nn.Module.to(low_precision_copy(model, precision), device).eval()
    own_rows = np.argsort(encoded.lengths, kind="stable")[distributed.rank() :: distributed.count()]
    own_logits: list[np.ndarray] = []
    collate = PaddingCollator(encoded.pad_token_id)
    inputs = encoded.rows.select_columns(encoded.input_names)
    done = 0
    for numbers in batches_of_similar_length(own_rows, encoded.lengths, tokens_at_once or TOKENS_AT_ONCE[device]):
        batch = collate(read_rows(inputs, numbers))
        with autocast(precision):
            logits = eval_model(**{name: value.to(device) for name, value in batch.items()}).logits
        own_logits.append(logits.float().cpu().numpy())
        on_progress(done := done + len(numbers), len(own_rows))
    model.train(was_training)
    shares = distributed.all_gather((own_rows, np.concatenate(own_logits) if own_logits else None))
    all_logits = np.concatenate([logits for _, logits in shares if logits is not None])
    return all_logits[np.argsort(np.concatenate([rows for rows, _ in shares]), kind="stable")]


def batches_of_similar_length(
    sorted_rows: np.ndarray, lengths: np.ndarray, tokens_at_once: int
) -> Iterator[np.ndarray]:
    """Yield row numbers in batches of at most `tokens_at_once` tokens, including padding. A longer row is one batch.

    `sorted_rows`: row numbers, sorted by length. `lengths`: tokens per row, (rows,).
    """
    start = 0
    while start < len(sorted_rows):
        window = lengths[sorted_rows[start : start + tokens_at_once]]
        padded_tokens = window * np.arange(1, len(window) + 1)  # of a batch that ends with this row
        count = max(1, int(np.searchsorted(padded_tokens, tokens_at_once, side="right")))
        yield sorted_rows[start : start + count]
        start += count
