"""A model's logits over encoded rows."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from compress.batching import PaddingCollator
from compress.encoding import Encoded


@torch.no_grad()
def predict_logits(
    model: PreTrainedModel,
    encoded: Encoded,
    *,
    batch_size: int = 64,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """The model's logits, (rows, classes) in float32, in the order of the rows; eval mode, no autocast."""
    training = model.training
    device = "cuda" if torch.cuda.is_available() else "cpu"
    nn.Module.to(model, device).eval()
    by_length = np.argsort(encoded.lengths, kind="stable")
    found: list[np.ndarray] = []
    collate = PaddingCollator(encoded.pad_token_id)
    inputs = encoded.rows.select_columns(encoded.input_names)
    for start in range(0, len(by_length), batch_size):
        rows = [inputs[int(index)] for index in by_length[start : start + batch_size]]
        batch = {name: value.to(device) for name, value in collate(rows).items()}
        found.append(model(**batch).logits.float().cpu().numpy())
        on_progress(start + len(rows), len(by_length))
    model.train(training)
    return np.concatenate(found)[np.argsort(by_length, kind="stable")]
