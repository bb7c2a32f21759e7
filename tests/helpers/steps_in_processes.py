"""Takes five optimiser steps with each objective under torchrun, for test_distributed.

The main process writes the weights.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import BertForSequenceClassification

from compress.common import distributed
from compress.distillation import layer_outputs
from compress.distillation.objective import INTERMEDIATE_LAYERS, DistillationModel, Objective, Projections
from compress.distillation.training_loop import Schedule, TrainContext, train
from tiny_bert import config, encode_texts, make_tokenizer, rows

OBJECTIVES = {
    "layers": INTERMEDIATE_LAYERS,
    "relations": Objective(relations=(0.0, 1.0)),
    "prediction": Objective(prediction=1.0, task_type="classification"),
}


def take_steps(stage: str, target: Path) -> None:
    torch.manual_seed(0)
    teacher = BertForSequenceClassification(config()).eval()
    small = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 32}
    student = BertForSequenceClassification(config(**small, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    data = encode_texts([text for text, _ in rows(33)], make_tokenizer(), max_length=32)
    data = data.with_column("teacher_logits", np.random.default_rng(0).normal(size=(33, 2)).astype(np.float32))
    objective = OBJECTIVES[stage]
    model = DistillationModel(student, Projections(16, 32) if objective.requested_outputs else None, objective)
    if distributed.is_main():
        save_file(copied_weights(model), target.with_suffix(".start.safetensors"))
    with layer_outputs.capture_attention(student, teacher):
        trained = train(
            model,
            data if objective.prediction else data.without_column("teacher_logits"),
            Schedule(epochs=1, batch_size=8, learning_rate=1e-3, micro_batch_size=3),
            TrainContext(title=stage, seed=0, checkpoints=target.with_suffix(""), precision="fp32"),
            teacher=teacher if objective.requested_outputs else None,
            layer_map=(2, 4),
        )
    assert trained.num_steps == 5
    if distributed.is_main():
        save_file(copied_weights(model), target)


def copied_weights(model: DistillationModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


if __name__ == "__main__":
    for name in OBJECTIVES:
        take_steps(name, Path(sys.argv[1]) / f"{name}.safetensors")
    distributed.leave()
    distributed.end(0)
