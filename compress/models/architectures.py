"""What can be done with encoders of each architecture; loads neither torch nor transformers."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What can be done with encoders of one architecture.

    `can_be_teacher`: its layers can be read and learned from. `weights_can_be_projected`: a student can start from its
    weights, because `compress.models.layout` knows where they are. `has_takeable_head`: its classification head has
    the form of a student's, tanh over the first token. `post_layer_norm`: a LayerNorm follows attention and
    feed-forward, so that each position is computed on its own behind the last attention's LayerNorm. `fuses_whole`:
    onnxruntime fuses its whole graph. `positions_behind_padding`: the first token takes the position behind that of
    the padding. `reason`: why it cannot be a teacher, or why its weights cannot be projected.
    """

    can_be_teacher: bool = False
    can_be_student: bool = False
    weights_can_be_projected: bool = False
    has_takeable_head: bool = False
    post_layer_norm: bool = False
    fuses_whole: bool = False
    positions_behind_padding: bool = False
    reason: str = ""


UNKNOWN = Capabilities(reason="which cannot be distilled")
_BERT = Capabilities(can_be_teacher=True, weights_can_be_projected=True, post_layer_norm=True, fuses_whole=True)
_ROBERTA = replace(_BERT, has_takeable_head=True, positions_behind_padding=True)
_NO_SCORES = Capabilities(
    reason="which keeps its attention scores to itself in transformers 5 (it would hand back probabilities)"
)

ARCHITECTURES: dict[str, Capabilities] = {
    "albert": Capabilities(can_be_teacher=True, reason="its layers share their weights"),
    "bert": replace(_BERT, can_be_student=True, has_takeable_head=True),
    "camembert": _ROBERTA,
    "deberta": _NO_SCORES,
    "deberta-v2": _NO_SCORES,
    "distilbert": _BERT,  # the head's activation is ReLU
    "electra": _BERT,  # the head's activation is GELU
    "modernbert": Capabilities(can_be_teacher=True, reason="it has rotary positions and gated feed-forward layers"),
    "mpnet": _NO_SCORES,
    "roberta": replace(_ROBERTA, can_be_student=True),
    "xlm-roberta": _ROBERTA,
}
TEACHERS = tuple(kind for kind, capabilities in ARCHITECTURES.items() if capabilities.can_be_teacher)
STUDENTS = tuple(kind for kind, capabilities in ARCHITECTURES.items() if capabilities.can_be_student)


def capabilities_of(kind: str) -> Capabilities:
    """By the `model_type` of a config.json; of an architecture that is not in the table, `UNKNOWN`."""
    return ARCHITECTURES.get(kind, UNKNOWN)
