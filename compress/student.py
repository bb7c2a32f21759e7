"""The student: a BERT of the given shape, with fresh or copied weights."""

from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from compress.errors import UserError
from compress.shape import StudentShape


def new_student(
    shape: StudentShape, teacher: PreTrainedModel, labels: tuple[str, ...], *, dropout: float = 0.0
) -> BertForSequenceClassification:
    """A BERT of the given shape over the teacher's vocabulary, with weights drawn from torch's generator."""
    config = BertConfig(
        vocab_size=teacher.config.vocab_size,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn_width,
        hidden_act=getattr(teacher.config, "hidden_act", "gelu"),
        max_position_embeddings=teacher.config.max_position_embeddings,
        type_vocab_size=max(1, getattr(teacher.config, "type_vocab_size", 1)),
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=teacher.config.pad_token_id,
        layer_norm_eps=getattr(teacher.config, "layer_norm_eps", 1e-12),
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    return BertForSequenceClassification(config)


@torch.no_grad()
def copy_teacher_layers(
    student: BertForSequenceClassification, teacher: PreTrainedModel, layer_map: tuple[int, ...]
) -> None:
    """Copy the teacher's embeddings and layers g(m) into a student of the same widths, in place.

    Raises UserError where the widths differ.
    """
    source = require_bert(teacher)
    for name in ("hidden_size", "intermediate_size", "num_attention_heads"):
        ours, theirs = getattr(student.config, name), getattr(teacher.config, name)
        if ours != theirs:
            raise UserError(
                f"student.initialisation teacher_layers needs equal {name}: student {ours}, teacher {theirs}; "
                "use `projected`, which fits any width"
            )
    student.bert.embeddings.load_state_dict(source.embeddings.state_dict())
    for layer, teacher_layer in zip(student.bert.encoder.layer, layer_map, strict=True):
        layer.load_state_dict(source.encoder.layer[teacher_layer - 1].state_dict())


def require_bert(model: PreTrainedModel) -> Any:
    """The BertModel inside `model`; UserError where it is of another architecture."""
    if model.config.model_type != "bert":
        raise UserError(
            f"the teacher is a {model.config.model_type}; initialisation from its weights is there for bert; "
            "use student.initialisation: random"
        )
    return model.base_model
