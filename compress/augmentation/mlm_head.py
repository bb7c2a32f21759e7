"""Training a masked-language-model head for an encoder that ships without one, on running text."""

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
from compress.models.inference import TOKENS_AT_ONCE, batches_of_like_length
from compress.models.precision import Precision, autocast
from compress.results import MaskedLMAccuracy, TrainingResult

MASKED_SHARE = 0.15  # Devlin et al. 2019; each always with the mask, which is all that augmentation will show
ASKED_A_ROW = 4  # of held-out rows, each with this one position masked
TOP = (1, 15)


class MaskedLanguageModel(nn.Module):
    """A `TrainingModule` without a teacher: `student` is the encoder with its masked-language-model head. The loss is
    the cross-entropy at the masked positions, a mean over those of an example.

    Which are masked depends on (seed, the row's tokens) alone: a row is masked alike whenever and wherever it is seen.
    With `frozen` the encoder stays as it is, and the head alone learns.
    """

    reads = layer_outputs.RequestedOutputs()

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
        """As in torch, but without dropout."""
        super().train(mode)
        self.student.eval()
        return self

    def state_dict(self, *options: Any, **more: Any) -> dict[str, Tensor]:  # type: ignore[override]
        """Each weight once, under the first of its names: the embedding is the head's matrix too, and a checkpoint's
        format knows no shared weights.
        """
        first: dict[int, str] = {}
        found = super().state_dict(*options, **more)
        return {name: weight for name, weight in found.items() if first.setdefault(weight.data_ptr(), name) == name}

    def tie_weights(self) -> None:
        """The trainer asks for it when it has loaded a checkpoint: here the names never ceased to share a weight."""

    def forward(self, *, input_ids: Tensor, attention_mask: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """Tokens as they are, (batch, positions). Returns loss name -> loss (batch,)."""
        positions, counts = masked_positions(input_ids, attention_mask, self.special_ids, seed=self.seed)
        truth = input_ids.gather(1, positions)
        shown = input_ids.scatter(1, positions, torch.where(counts, self.mask_token_id, truth))
        with logits_at(self.student, positions):
            logits = self.student(input_ids=shown, attention_mask=attention_mask).logits
        losses = functional.cross_entropy(logits.float().transpose(1, 2), truth, reduction="none")
        return {"masked": (losses * counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1)}


def masked_positions(
    tokens: Tensor, mask: Tensor, special_ids: list[int], *, seed: int, share: float = MASKED_SHARE
) -> tuple[Tensor, Tensor]:
    """A share of each row's positions, special pieces apart, at least one: (rows, most), and which of them count.

    The draw depends on (seed, tokens of the row) alone, not on padding or on other rows.
    """
    open_ = mask.bool() & ~torch.isin(tokens, torch.tensor(special_ids, device=tokens.device))
    places = torch.arange(tokens.shape[1], device=tokens.device)
    row = _hash64((tokens * open_ * (2 * places + 1)).sum(dim=1, keepdim=True) + seed)
    keys = (_hash64(row + places) & (2**52 - 1)).double().masked_fill(~open_, torch.inf)
    available = open_.sum(dim=1, keepdim=True)
    wanted = torch.minimum((available * share).round().long().clamp(min=1), available)
    most = max(1, int(wanted.max()))
    positions = keys.topk(most, dim=1, largest=False).indices
    return positions, torch.arange(most, device=tokens.device) < wanted


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
    setting: TrainContext,
    *,
    frozen: bool,
) -> TrainingResult:
    """Train the head (and the encoder, unless `frozen`) in place; the epoch that is best on held-out text is kept."""
    return train(
        MaskedLanguageModel(model, tokenizer, frozen=frozen, seed=setting.seed),
        data,
        schedule,
        setting,
        whole_embedding=True,
        evaluate=lambda student: accuracy(student, tokenizer, held_out, precision=setting.precision).top1,
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
    """How often the piece that stood there is the most probable one (`top1`), and among the first 15 (`top15`).

    As in augmentation one piece is masked at a time: in each held-out row up to four, drawn once for all.
    `num_masked`: how many in all.
    """
    training, device = model.training, model.device
    model.eval()
    collate = PaddingCollator(held_out.pad_token_id)
    lengths = held_out.lengths
    hits = dict.fromkeys(TOP, 0)
    num_masked = done = 0
    order = np.argsort(lengths, kind="stable")
    for numbers in batches_of_like_length(order, lengths * ASKED_A_ROW, TOKENS_AT_ONCE[device.type]):
        batch = {name: value.to(device) for name, value in collate(read_rows(held_out.rows, numbers)).items()}
        tokens, mask = batch["input_ids"], batch["attention_mask"]
        positions, counts = masked_positions(tokens, mask, tokenizer.all_special_ids, seed=0, share=1.0)
        rows, place = counts[:, :ASKED_A_ROW].nonzero(as_tuple=True)
        if not len(rows):  # special pieces alone
            continue
        asked = positions[rows, place][:, None]
        tokens, mask = tokens[rows], mask[rows]
        truth = tokens.gather(1, asked)
        shown = tokens.scatter(1, asked, tokenizer.mask_token_id)
        with autocast(precision), logits_at(model, asked):
            logits = model(input_ids=shown, attention_mask=mask).logits[:, 0]
        best = logits.topk(max(TOP)).indices == truth
        for count in TOP:
            hits[count] += int(best[:, :count].sum())
        num_masked += len(rows)
        on_progress(done := done + len(numbers), len(lengths))
    model.train(training)
    top1, top15 = (hits[count] / max(1, num_masked) for count in TOP)
    return MaskedLMAccuracy(top1=top1, top15=top15, num_masked=num_masked)
