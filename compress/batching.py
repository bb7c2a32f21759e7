"""Length-bucketed batches whose order depends on (seed, epoch) alone, so that a resumed run sees the same ones."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler


class LengthBucketedBatchSampler(Sampler[list[int]]):
    """Batches of examples of like length, in random order.

    Each epoch shuffles all examples, sorts them by length inside windows of `batches_per_bucket` batches, cuts the
    windows into batches and shuffles the batches. The last partial batch counts: every example is seen once an epoch.
    """

    drop_last = False

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int, batches_per_bucket: int = 50) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.window = batch_size * batches_per_bucket
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.lengths))
        order = np.concatenate(
            [
                window[np.argsort(self.lengths[window], kind="stable")]
                for window in np.split(order, range(self.window, len(order), self.window))
            ]
        )
        batches = np.split(order, range(self.batch_size, len(order), self.batch_size))
        for index in generator.permutation(len(batches)):
            yield batches[index].tolist()


class PaddingCollator:
    """Pads token columns to the longest example of the batch; stacks `labels` and `teacher_logits` where present."""

    def __init__(self, pad_token_id: int) -> None:
        self.padding = {"input_ids": pad_token_id, "attention_mask": 0, "token_type_ids": 0}

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Rows of token columns to tensors (rows, longest)."""
        longest = max(len(row["input_ids"]) for row in rows)
        batch = {}
        for name in rows[0]:
            values = [row[name] for row in rows]
            if name in self.padding:
                pad = self.padding[name]
                values = [[*value, *[pad] * (longest - len(value))] for value in values]
            batch[name] = torch.tensor(values)
        return batch
