"""The student: a BERT or RoBERTa of the given shape, with fresh or copied weights."""

from dataclasses import fields
from typing import Any, Literal

import torch
from transformers import BertConfig, PretrainedConfig, PreTrainedModel, RobertaConfig

from compress.common.errors import raise_any
from compress.data import task_types
from compress.data.task_types import TaskTypeName
from compress.models.compatibility import EncoderFacts, initialisation_problems
from compress.models.layout import Layer, encoder_modules
from compress.models.shape import StudentShape
from compress.models.sources import max_tokens

Architecture = Literal["bert", "roberta"]


def new_student(
    shape: StudentShape,
    teacher: PreTrainedModel,
    labels: tuple[str, ...],
    *,
    task_type: TaskTypeName,
    dropout: float = 0.0,
    architecture: Architecture = "bert",
) -> PreTrainedModel:
    """A model of the given shape over the teacher's vocabulary, with weights drawn from torch's generator.

    `labels`: names of its outputs, `task_type`: what it answers with.
    """
    theirs: Any = teacher.config
    positions = max_tokens(theirs.to_dict())
    values: dict[str, Any] = {
        "vocab_size": theirs.vocab_size,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.ffn_width,
        "hidden_act": getattr(theirs, "hidden_act", getattr(theirs, "activation", "gelu")),
        "type_vocab_size": max(1, getattr(theirs, "type_vocab_size", 1)),
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "pad_token_id": theirs.pad_token_id,
        "layer_norm_eps": getattr(theirs, "layer_norm_eps", 1e-12),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    config: PretrainedConfig
    match architecture:
        case "bert":
            config = BertConfig(**values, max_position_embeddings=positions)
        case "roberta":
            positions += theirs.pad_token_id + 1  # its first token takes the position behind that of the padding
            special: dict[str, Any] = {name: getattr(theirs, name, None) for name in ("bos_token_id", "eos_token_id")}
            config = RobertaConfig(**values, **special, max_position_embeddings=positions)
    return task_types.task_type(task_type).model_class().from_config(config)


@torch.no_grad()
def copy_teacher_layers(student: PreTrainedModel, teacher: PreTrainedModel, layer_map: tuple[int, ...]) -> None:
    """Copy the teacher's embeddings and layers g(m) into a student of the same widths, in place.

    Raises UserError where the widths differ, or the teacher's architecture does not suit.
    """
    shape = EncoderFacts.of_config(student.config.to_dict()).shape
    raise_any(initialisation_problems("teacher_layers", shape, EncoderFacts.of_config(teacher.config.to_dict())))
    ours, theirs = encoder_modules(student), encoder_modules(teacher)
    ours.word.load_state_dict(theirs.word.state_dict())
    ours.positions().copy_(theirs.positions()[: len(ours.positions())])
    assert ours.token_type is not None
    ours.token_type.weight.copy_(theirs.types())
    ours.embedding_norm.load_state_dict(theirs.embedding_norm.state_dict())
    for layer, teacher_layer in zip(ours.layers, layer_map, strict=True):
        for part in fields(Layer):
            source = getattr(theirs.layers[teacher_layer - 1], part.name)
            getattr(layer, part.name).load_state_dict(source.state_dict())
