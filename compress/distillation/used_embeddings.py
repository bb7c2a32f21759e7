"""Trains only the embedding rows of tokens that the texts use. The other rows never get a gradient.

SST-2 uses 11,573 of BERT's 30,522 tokens. Without this, each optimiser step would also apply weight decay to the unused
rows, which are the largest part of a small student. Here the unused rows stay unchanged.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from compress.data.tokenization import TokenDataset


def used_token_ids(data: TokenDataset, vocab_size: int) -> np.ndarray:
    """The ids of the padding token and of all tokens in the rows, (tokens,), in ascending order."""
    is_used = np.zeros(vocab_size, dtype=bool)
    is_used[data.pad_token_id] = True
    for chunk in data.rows.data.column("input_ids").chunks:
        is_used[chunk.flatten().to_numpy()] = True
    return np.flatnonzero(is_used)


class PartialEmbedding(nn.Module):
    """A word embedding whose weights are the rows of the used tokens. The other rows stay as they are in `whole`.

    In training mode it accepts the tokens in `used` only. The frozen rows are not a buffer, because data-parallel
    training would send a buffer to every process in every step.
    """

    def __init__(self, whole: nn.Embedding, used: np.ndarray) -> None:
        super().__init__()
        self.used = torch.as_tensor(used, device=whole.weight.device)
        self.weight = nn.Parameter(whole.weight.detach()[self.used])
        row_of_token = torch.full((whole.num_embeddings,), -1, device=whole.weight.device)
        row_of_token[self.used] = torch.arange(len(used), device=whole.weight.device)
        padding_is_used = whole.padding_idx is not None and whole.padding_idx in used
        self.padding_idx = int(row_of_token[whole.padding_idx]) if padding_is_used else None
        self.row_of_token = row_of_token  # -1 for tokens that are not used
        self.frozen = whole.weight.detach()
        self._forward_hooks.update(whole._forward_hooks)

    def _apply(self, fn: Any, *options: Any, **more: Any) -> "PartialEmbedding":
        self.row_of_token, self.frozen = fn(self.row_of_token), fn(self.frozen)
        return super()._apply(fn, *options, **more)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Embed token ids (batch, positions) as (batch, positions, width)."""
        rows = self.row_of_token[token_ids]
        if self.training:
            return functional.embedding(rows, self.weight, self.padding_idx)
        trained = functional.embedding(rows.clamp(min=0), self.weight)
        return torch.where((rows >= 0)[..., None], trained, functional.embedding(token_ids, self.frozen))


@contextmanager
def only_used_rows(model: PreTrainedModel, used: np.ndarray) -> Iterator[None]:
    """Inside this context, only the rows `used` of the model's word embedding are weights.

    Afterwards the model has its whole embedding back, with the trained rows.
    """
    whole: Any = model.get_input_embeddings()
    partial = PartialEmbedding(whole, used).train(model.training)
    model.set_input_embeddings(partial)
    try:
        yield
    finally:
        model.set_input_embeddings(whole)
        with torch.no_grad():
            nn.Module.to(whole, partial.weight.device)
            whole.weight[partial.used.to(partial.weight.device)] = partial.weight
