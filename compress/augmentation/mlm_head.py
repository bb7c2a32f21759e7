"""Trains a masked-language-model head on running text, for an encoder that ships without one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.augmentation.masked_lm import logits_at
from compress.data.batching import PaddingCollator, read_rows
from compress.data.tokenization import TokenDataset
from compress.distillation import layer_outputs
from compress.distillation.training_loop import Schedule, TrainContext, train
from compress.models.inference import TOKENS_AT_ONCE, batches_of_similar_length
from compress.models.precision import Precision, autocast
from compress.results import MaskedLMAccuracy, TrainingResult

MASKED_SHARE = 0.15  # Devlin et al. 2019; we always insert the mask token, because augmentation only uses that
QUERIES_PER_ROW = 4  # for each held-out row; each query masks one position
TOP = (1, 15)


class MaskedLanguageModel(nn.Module):
    """A `TrainingModule` without a teacher. `student` is the encoder with its masked-language-model head.

    The loss of an example is the mean cross-entropy over its masked positions. The masked positions of a row depend
    only on the seed and on the row's tokens, so they are the same in every epoch and batch. `frozen`: train the head
    only.
    """

    requested_outputs = layer_outputs.RequestedOutputs()

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, frozen: bool, seed: int) -> None:
        super().__init__()
        self.student = model
        self.seed = seed
        self.mask_token_id: int = tokenizer.mask_token_id
        self.special_ids = sorted(tokenizer.all_special_ids)
        if frozen:
            model.base_model.requires_grad_(False)
        self._keys_to_ignore_on_save = sorted(set(super().state_dict()) - set(self.state_dict()))

    def train(self, mode: bool = True) -> "MaskedLanguageModel":
        """Set the training mode as in torch, but keep dropout off."""
        super().train(mode)
        self.student.eval()
        return self

    def state_dict(self, *options: Any, **more: Any) -> dict[str, Tensor]:  # type: ignore[override]
        """Each weight once, under the first of its names.

        The head's matrix is also the embedding, and the checkpoint format cannot store shared weights.
        """
        first_names: dict[int, str] = {}
        weights = super().state_dict(*options, **more)
        return {
            name: weight for name, weight in weights.items() if first_names.setdefault(weight.data_ptr(), name) == name
        }

    def tie_weights(self) -> None:
        """Do nothing. The trainer calls this after it loads a checkpoint, but our weights stay tied throughout."""

    def forward(self, *, input_ids: Tensor, attention_mask: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """Mask `input_ids` (batch, positions) and return the losses by name, (batch,) each."""
        positions, is_masked = masked_positions(input_ids, attention_mask, self.special_ids, seed=self.seed)
        truth = input_ids.gather(1, positions)
        masked_ids = input_ids.scatter(1, positions, torch.where(is_masked, self.mask_token_id, truth))
        with logits_at(self.student, positions):
            logits = self.student(input_ids=masked_ids, attention_mask=attention_mask).logits
        losses = functional.cross_entropy(logits.float().transpose(1, 2), truth, reduction="none")
        return {"masked": (losses * is_masked).sum(dim=1) / is_masked.sum(dim=1).clamp(min=1)}


def masked_positions(
    tokens: Tensor, mask: Tensor, special_ids: list[int], *, seed: int, share: float = MASKED_SHARE
) -> tuple[Tensor, Tensor]:
    """Sample a share of each row's positions, at least one, without special tokens.

    Returns positions (rows, most) and which of them are valid, bool (rows, most). The sample depends on the seed and on
    the row's tokens only, not on padding or on other rows.
    """
    maskable = mask.bool() & ~torch.isin(tokens, torch.tensor(special_ids, device=tokens.device))
    all_positions = torch.arange(tokens.shape[1], device=tokens.device)
    row = _hash64((tokens * maskable * (2 * all_positions + 1)).sum(dim=1, keepdim=True) + seed)
    keys = (_hash64(row + all_positions) & (2**52 - 1)).double().masked_fill(~maskable, torch.inf)
    available = maskable.sum(dim=1, keepdim=True)
    counts = torch.minimum((available * share).round().long().clamp(min=1), available)
    most = max(1, int(counts.max()))
    positions = keys.topk(most, dim=1, largest=False).indices
    return positions, torch.arange(most, device=tokens.device) < counts


def _hash64(values: Tensor) -> Tensor:
    """A hash of 64-bit integers, after splitmix64 (Steele, Lea and Flood 2014), with arithmetic shifts."""
    values = values + -7046029254386353131
    values = (values ^ (values >> 30)) * -4658895280553007687
    values = (values ^ (values >> 27)) * -7723592293110705685
    return values ^ (values >> 31)


def train_head(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: TokenDataset,
    held_out: TokenDataset,
    schedule: Schedule,
    context: TrainContext,
    *,
    frozen: bool,
) -> TrainingResult:
    """Train the head in place, and the encoder unless `frozen`. Keeps the best epoch by accuracy on held-out text."""
    return train(
        MaskedLanguageModel(model, tokenizer, frozen=frozen, seed=context.seed),
        data,
        schedule,
        context,
        whole_embedding=True,
        evaluate=lambda student: accuracy(student, tokenizer, held_out, precision=context.precision).top1,
    )


@torch.no_grad()
def accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    held_out: TokenDataset,
    *,
    precision: Precision = "fp32",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> MaskedLMAccuracy:
    """How often the masked token is the most probable one (`top1`), or among the 15 most probable (`top15`).

    As in augmentation, one token is masked at a time: up to four per held-out row, the same in every call.
    `num_masked`: masked tokens in all.
    """
    was_training, device = model.training, model.device
    model.eval()
    collate = PaddingCollator(held_out.pad_token_id)
    lengths = held_out.lengths
    hits = dict.fromkeys(TOP, 0)
    num_masked = done = 0
    order = np.argsort(lengths, kind="stable")
    for numbers in batches_of_similar_length(order, lengths * QUERIES_PER_ROW, TOKENS_AT_ONCE[device.type]):
        batch = {name: value.to(device) for name, value in collate(read_rows(held_out.rows, numbers)).items()}
        tokens, mask = batch["input_ids"], batch["attention_mask"]
        positions, is_valid = masked_positions(tokens, mask, tokenizer.all_special_ids, seed=0, share=1.0)
        rows, columns = is_valid[:, :QUERIES_PER_ROW].nonzero(as_tuple=True)
        if not len(rows):  # the batch has special tokens only
            continue
        query_positions = positions[rows, columns][:, None]
        tokens, mask = tokens[rows], mask[rows]
        truth = tokens.gather(1, query_positions)
        masked_tokens = tokens.scatter(1, query_positions, tokenizer.mask_token_id)
        with autocast(precision), logits_at(model, query_positions):
            logits = model(input_ids=masked_tokens, attention_mask=mask).logits[:, 0]
        is_hit = logits.topk(max(TOP)).indices == truth
        for count in TOP:
            hits[count] += int(is_hit[:, :count].sum())
        num_masked += len(rows)
        on_progress(done := done + len(numbers), len(lengths))
    model.train(was_training)
    top1, top15 = (hits[count] / max(1, num_masked) for count in TOP)
    return MaskedLMAccuracy(top1=top1, top15=top15, num_masked=num_masked)
