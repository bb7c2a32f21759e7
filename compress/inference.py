"""A model's logits over encoded rows."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from compress import processes
from compress.batching import PaddingCollator, read_rows
from compress.encoding import Encoded
from compress.precision import Precision, autocast


@torch.no_grad()
def predict_logits(
    model: PreTrainedModel,
    encoded: Encoded,
    *,
    batch_size: int = 64,
    precision: Precision = "fp32",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """The model's logits, (rows, classes) in float32, in the order of the rows; eval mode.

    Where several processes run, all call it together, each takes its share, and all get the whole.
    """
    training = model.training
    device = "cuda" if torch.cuda.is_available() else "cpu"
    nn.Module.to(model, device).eval()
    by_length = np.argsort(encoded.lengths, kind="stable")[processes.rank() :: processes.count()]
    found: list[np.ndarray] = []
    collate = PaddingCollator(encoded.pad_token_id)
    inputs = encoded.rows.select_columns(encoded.input_names)
    for start in range(0, len(by_length), batch_size):
        batch = collate(read_rows(inputs, by_length[start : start + batch_size]))
        with autocast(precision):
            logits = model(**{name: value.to(device) for name, value in batch.items()}).logits
        found.append(logits.float().cpu().numpy())
        on_progress(min(start + batch_size, len(by_length)), len(by_length))
    model.train(training)
    shares = processes.gathered((by_length, np.concatenate(found) if found else None))
    gathered = np.concatenate([values for _, values in shares if values is not None])
    return gathered[np.argsort(np.concatenate([rows for rows, _ in shares]), kind="stable")]
