"""The capabilities of each encoder architecture. Importing this module loads neither torch nor transformers."""

from dataclasses import dataclass, replace
from typing import Literal

Architecture = Literal["bert", "roberta"]  # of a student


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """The capabilities of one encoder architecture.

    - `can_be_teacher`: its layer outputs can be read.
    - `can_be_student`: `compress.models.student` can build it.
    - `weights_can_be_projected`: `compress.models.layout` knows its modules, so they can initialise a student.
    - `head_can_be_projected`: its classification head has the form of a student's: tanh over the first token.
    - `post_layer_norm`: a LayerNorm follows attention and feed-forward. After the LayerNorm of the last attention, no
      position depends on another.
    - `fuses_fully`: onnxruntime fuses its whole graph.
    - `positions_follow_padding`: the first token has the position after the padding index.
    - `attention_weight`: the usual weight of the attention loss. It is small where scores are large, so that the losses
      have similar sizes.
    - `reason`: why it cannot be a teacher, or why its weights cannot be projected.
    """

    can_be_teacher: bool = False
    can_be_student: bool = False
    weights_can_be_projected: bool = False
    head_can_be_projected: bool = False
    post_layer_norm: bool = False
    fuses_fully: bool = False
    positions_follow_padding: bool = False
    attention_weight: float = 1.0
    reason: str = ""


UNKNOWN = Capabilities(reason="which cannot be distilled")
_BERT = Capabilities(can_be_teacher=True, weights_can_be_projected=True, post_layer_norm=True, fuses_fully=True)
_ROBERTA = replace(_BERT, head_can_be_projected=True, positions_follow_padding=True)
_NO_SCORES = Capabilities(
    reason="whose attention scores cannot be read in transformers 5 (it returns probabilities only)"
)

ARCHITECTURES: dict[str, Capabilities] = {
    "albert": Capabilities(can_be_teacher=True, reason="its layers share their weights"),
    "bert": replace(_BERT, can_be_student=True, head_can_be_projected=True),
    "camembert": _ROBERTA,
    "deberta": _NO_SCORES,
    "deberta-v2": _NO_SCORES,
    "distilbert": _BERT,  # the head's activation is ReLU
    "electra": _BERT,  # the head's activation is GELU
    "modernbert": Capabilities(can_be_teacher=True, reason="it has rotary positions and gated feed-forward layers"),
    "mpnet": replace(_ROBERTA, fuses_fully=False, attention_weight=0.02),  # relative positions add a bias to its scores
    "roberta": replace(_ROBERTA, can_be_student=True),
    "xlm-roberta": _ROBERTA,
}
TEACHERS = tuple(name for name, capabilities in ARCHITECTURES.items() if capabilities.can_be_teacher)
STUDENTS = tuple(name for name, capabilities in ARCHITECTURES.items() if capabilities.can_be_student)


def capabilities_of(model_type: str) -> Capabilities:
    """The capabilities for the `model_type` of a config.json; `UNKNOWN` if it is not in the table."""
    return ARCHITECTURES.get(model_type, UNKNOWN)
