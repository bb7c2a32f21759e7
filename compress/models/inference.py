"""A model's logits over encoded rows."""

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
    """The model's logits, (rows, classes) in float32, in the order of the rows; eval mode.

    `tokens_at_once`: how many tokens make a batch of rows of like length; default: what suits a CPU or a GPU.
    Where several processes run, all call it together, each takes its share, and all get the whole.
    """
    training = model.training
    device = "cuda" if torch.cuda.is_available() else "cpu"
    answering = nn.Module.to(low_precision_copy(model, precision), device).eval()
    by_length = np.argsort(encoded.lengths, kind="stable")[distributed.rank() :: distributed.count()]
    found: list[np.ndarray] = []
    collate = PaddingCollator(encoded.pad_token_id)
    inputs = encoded.rows.select_columns(encoded.input_names)
    done = 0
    for numbers in batches_of_like_length(by_length, encoded.lengths, tokens_at_once or TOKENS_AT_ONCE[device]):
        batch = collate(read_rows(inputs, numbers))
        with autocast(precision):
            logits = answering(**{name: value.to(device) for name, value in batch.items()}).logits
        found.append(logits.float().cpu().numpy())
        on_progress(done := done + len(numbers), len(by_length))
    model.train(training)
    shares = distributed.all_gather((by_length, np.concatenate(found) if found else None))
    gathered = np.concatenate([values for _, values in shares if values is not None])
    return gathered[np.argsort(np.concatenate([rows for rows, _ in shares]), kind="stable")]


def batches_of_like_length(by_length: np.ndarray, lengths: np.ndarray, tokens_at_once: int) -> Iterator[np.ndarray]:
    """The rows, shortest first, in batches of so many tokens, padding included; a longer row is a batch of its own."""
    start = 0
    while start < len(by_length):
        window = lengths[by_length[start : start + tokens_at_once]]
        padded = window * np.arange(1, len(window) + 1)
        count = max(1, int(np.searchsorted(padded, tokens_at_once, side="right")))
        yield by_length[start : start + count]
        start += count
