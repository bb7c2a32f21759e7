"""Builds the student: a BERT or RoBERTa of a given shape, with random or copied weights."""

from dataclasses import fields
from typing import Any

import torch
from transformers import BertConfig, PretrainedConfig, PreTrainedModel, RobertaConfig

from compress.common.errors import raise_any
from compress.data import task_types
from compress.data.task_types import TaskTypeName
from compress.models.architectures import Architecture
from compress.models.compatibility import EncoderFacts, initialisation_problems
from compress.models.layout import Layer, encoder_modules
from compress.models.shape import StudentShape
from compress.models.sources import max_tokens


def new_student(
    shape: StudentShape,
    teacher: PreTrainedModel,
    labels: tuple[str, ...],
    *,
    task_type: TaskTypeName,
    dropout: float = 0.0,
    architecture: Architecture = "bert",
    activation: str | None = None,
) -> PreTrainedModel:
    """A model of the given shape with the teacher's vocabulary. Its random weights come from torch's generator.

    `labels`: the names of its outputs. `task_type`: the type of its outputs. `activation`: by default the teacher's.
    """
    teacher_config: Any = teacher.config
    positions = max_tokens(teacher_config.to_dict())
    values: dict[str, Any] = {
        "vocab_size": teacher_config.vocab_size,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.ffn_width,
        "hidden_act": activation
        or getattr(teacher_config, "hidden_act", getattr(teacher_config, "activation", "gelu")),
        "type_vocab_size": max(1, getattr(teacher_config, "type_vocab_size", 1)),
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "pad_token_id": teacher_config.pad_token_id,
        "layer_norm_eps": getattr(teacher_config, "layer_norm_eps", 1e-12),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    config: PretrainedConfig
    match architecture:
        case "bert":
            config = BertConfig(**values, max_position_embeddings=positions)
        case "roberta":
            positions += teacher_config.pad_token_id + 1  # positions follow the padding index
            special: dict[str, Any] = {
                name: getattr(teacher_config, name, None) for name in ("bos_token_id", "eos_token_id")
            }
            config = RobertaConfig(**values, **special, max_position_embeddings=positions)
    return task_types.task_type(task_type).model_class().from_config(config)


@torch.no_grad()
def copy_teacher_layers(student: PreTrainedModel, teacher: PreTrainedModel, layer_map: tuple[int, ...]) -> None:
    """Copy the teacher's embeddings and mapped layers into a student of the same widths, in place.

    Raises UserError if the widths differ or the teacher's architecture does not allow it.
    """
    shape = EncoderFacts.of_config(student.config.to_dict()).shape
    raise_any(initialisation_problems("teacher_layers", shape, EncoderFacts.of_config(teacher.config.to_dict())))
    encoder, teacher_encoder = encoder_modules(student), encoder_modules(teacher)
    encoder.word.load_state_dict(teacher_encoder.word.state_dict())
    positions = encoder.position_embeddings()
    positions.copy_(teacher_encoder.position_embeddings()[: len(positions)])
    assert encoder.token_type is not None
    encoder.token_type.weight.copy_(teacher_encoder.type_embeddings())
    encoder.embedding_norm.load_state_dict(teacher_encoder.embedding_norm.state_dict())
    for layer, teacher_layer in zip(encoder.layers, layer_map, strict=True):
        for module in fields(Layer):
            source = getattr(teacher_encoder.layers[teacher_layer - 1], module.name)
            getattr(layer, module.name).load_state_dict(source.state_dict())
