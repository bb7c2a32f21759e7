"""TextBrewer 0.2.1.post1: its general distiller with its TinyBERT losses."""

import logging
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


class TextBrewerTrainer:
    """Distils a teacher into a student with TextBrewer. `layer_map`: the teacher layer of each student layer."""

    def __init__(
        self, teacher: PreTrainedModel, student: PreTrainedModel, stage: str, layer_map: Sequence[int]
    ) -> None:
        import textbrewer  # type: ignore[import-not-found]

        logging.getLogger("Distillation").setLevel(logging.ERROR)
        self.textbrewer: Any = textbrewer
        self.teacher, self.student, self.stage = teacher, student, stage
        if stage == "intermediate":
            for model in (teacher, student):
                model.set_attn_implementation("eager")  # the attention losses need attention probabilities
        self.matches = _intermediate_matches(teacher, student, layer_map) if stage == "intermediate" else []

    def train(self, batches: Sequence[dict[str, Tensor]]) -> float:
        """Train one epoch over the batches. Returns its seconds."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with tempfile.TemporaryDirectory() as folder:
            distiller = self.textbrewer.GeneralDistiller(
                train_config=self.textbrewer.TrainingConfig(
                    device=device, output_dir=folder, log_dir=None, ckpt_frequency=0, ckpt_steps=10**9
                ),
                distill_config=self.textbrewer.DistillationConfig(
                    temperature=1,
                    hard_label_weight=0,
                    kd_loss_weight=0 if self.stage == "intermediate" else 1,
                    intermediate_matches=self.matches,
                ),
                model_T=self.teacher,
                model_S=self.student,
                adaptor_T=self._adapt,
                adaptor_S=self._adapt,
            )
            for model in (self.teacher, self.student):
                nn.Module.to(model, device)
            optimiser = torch.optim.AdamW(self.student.parameters(), lr=1e-5)
            started = time.perf_counter()
            with distiller:
                distiller.train(
                    optimiser,
                    dataloader=batches,
                    num_epochs=1,
                    max_grad_norm=1.0,
                    callback=None,
                    output_hidden_states=self.stage == "intermediate",
                    output_attentions=self.stage == "intermediate",
                )
            if device == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - started

    def _adapt(self, batch: dict[str, Tensor], output: Any) -> dict[str, Any]:
        adapted: dict[str, Any] = {"logits": (output.logits,), "inputs_mask": batch["attention_mask"]}
        if self.stage == "intermediate":
            adapted |= {"hidden": output.hidden_states, "attention": output.attentions}
        return adapted


def _intermediate_matches(
    teacher: PreTrainedModel, student: PreTrainedModel, layer_map: Sequence[int]
) -> list[dict[str, Any]]:
    """TextBrewer's configuration of the matched layers."""
    projection = ["linear", student.config.hidden_size, teacher.config.hidden_size]
    hidden = [
        {"layer_T": layer, "layer_S": m, "feature": "hidden", "loss": "hidden_mse", "weight": 1, "proj": projection}
        for m, layer in enumerate((0, *layer_map))
    ]
    attention = [
        {"layer_T": layer - 1, "layer_S": m, "feature": "attention", "loss": "attention_mse", "weight": 1}
        for m, layer in enumerate(layer_map)
    ]
    return [*hidden, *attention]
