"""The rules for which student fits which teacher. The check of a recipe and the library share them.

The rules need the facts in config.json only. Importing this module loads neither torch nor transformers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from compress.common.errors import Problem, UserError
from compress.models import sources
from compress.models.architectures import STUDENTS, TEACHERS, capabilities_of
from compress.models.shape import LayerMap, StudentShape, map_layers

Initialisation = Literal["projected", "random", "teacher_layers", "checkpoint"]
Activation = Literal["gelu", "relu"]  # the functions of feed-forward layers that export can fuse
LayerWeights = float | Sequence[float]  # of a loss: one weight for all student layers, or one per layer


@dataclass(frozen=True, kw_only=True)
class _ConfigKeys:
    """The keys of the facts in a config.json."""

    layers: str = "num_hidden_layers"
    width: str = "hidden_size"
    ffn_width: str = "intermediate_size"
    heads: str = "num_attention_heads"
    activation: str = "hidden_act"


_BERT_KEYS = _ConfigKeys()
_OTHER_KEYS = {
    "distilbert": _ConfigKeys(
        layers="n_layers", width="dim", ffn_width="hidden_dim", heads="n_heads", activation="activation"
    ),
    "modernbert": replace(_BERT_KEYS, activation="hidden_activation"),
}


@dataclass(frozen=True, kw_only=True)
class EncoderFacts:
    """The facts about an encoder in its config.json, with the same names for every architecture.

    `embedding_width`: the width of the word embeddings, which is less than `width` in most ELECTRAs. `max_tokens`: the
    most tokens for which it has positions.
    """

    model_type: str
    layers: int
    width: int
    ffn_width: int
    embedding_width: int
    heads: int
    vocab_size: int
    max_tokens: int
    activation: str

    @classmethod
    def of_config(cls, config: dict[str, Any]) -> "EncoderFacts":
        """`config`: the content of a config.json, or `model.config.to_dict()`.

        Raises UserError for an architecture that cannot be a teacher, and for missing or wrong numbers.
        """
        model_type = config["model_type"]
        capabilities = capabilities_of(model_type)
        if not capabilities.can_be_teacher:
            raise UserError(f"got a {model_type}, {capabilities.reason}; expected one of {', '.join(TEACHERS)}")
        keys = _OTHER_KEYS.get(model_type, _BERT_KEYS)
        try:
            numbers = {
                "layers": config[keys.layers],
                "width": config[keys.width],
                "ffn_width": config[keys.ffn_width],
                "embedding_width": config.get("embedding_size", config[keys.width]),
                "heads": config[keys.heads],
                "vocab_size": config["vocab_size"],
                "max_tokens": sources.max_tokens(config),
            }
        except (KeyError, TypeError) as error:
            raise UserError(f"its config.json is incomplete ({error}); copy or export the model again") from error
        for name, number in numbers.items():
            if not isinstance(number, int):
                raise UserError(f"its config.json has the {name} {number!r}; expected an integer")
        return cls(model_type=model_type, activation=config.get(keys.activation, "gelu"), **numbers)

    @property
    def shape(self) -> StudentShape:
        """The shape of the encoder."""
        return StudentShape(layers=self.layers, width=self.width, ffn_width=self.ffn_width, heads=self.heads)


def read_encoder(name: str) -> EncoderFacts:
    """The facts about the encoder of a model. Raises UserError if it cannot be read or cannot be a teacher."""
    config = sources.read_config(name)
    try:
        return EncoderFacts.of_config(config)
    except UserError as error:
        raise error.within(name) from error


def activation_problems(name: str, encoder: EncoderFacts) -> list[Problem]:
    """Check whether export can fuse the activation function of the model `name`."""
    if encoder.activation in get_args(Activation):
        return []
    fused = " and ".join(get_args(Activation))
    return [Problem(text=f"{name} uses {encoder.activation}; export fuses {fused} only", option="activation")]


def projection_problems(model_type: str) -> list[Problem]:
    """Check whether the weights of a teacher of this architecture can initialise a student."""
    capabilities = capabilities_of(model_type)
    if capabilities.weights_can_be_projected:
        return []
    reason = f": {capabilities.reason}" if capabilities.can_be_teacher else ""
    return [
        Problem(
            text=f"the teacher is a {model_type}, whose weights cannot initialise a student{reason}",
            option="initialisation",
        )
    ]


def initialisation_problems(
    initialisation: Initialisation, shape: StudentShape, teacher: EncoderFacts
) -> list[Problem]:
    """Check whether the teacher can initialise a student of this shape."""
    if initialisation in ("random", "checkpoint"):
        return []
    if problems := projection_problems(teacher.model_type):
        return problems
    if initialisation == "teacher_layers":
        widths = {
            "width": (shape.width, teacher.width),
            "ffn_width": (shape.ffn_width, teacher.ffn_width),
            "heads": (shape.heads, teacher.heads),
            "embedding_width": (shape.width, teacher.embedding_width),
        }
        return [
            Problem(
                text=f"copying the teacher's layers needs equal {name}: student {student_value}, teacher "
                f"{teacher_value}",
                option="copied_layers",
            )
            for name, (student_value, teacher_value) in widths.items()
            if student_value != teacher_value
        ]
    problems = [
        Problem(
            text=f"projected initialisation needs a student no wider than its teacher: {name} is {student_value}, the "
            f"teacher's {teacher_value}",
            option="initialisation",
        )
        for name, student_value, teacher_value in (
            ("width", shape.width, teacher.width),
            ("ffn_width", shape.ffn_width, teacher.ffn_width),
        )
        if student_value > teacher_value
    ]
    if shape.heads > teacher.heads:
        problems.append(
            Problem(
                text="projected initialisation needs a student with no more heads than its teacher: "
                f"{_heads(shape.heads, teacher.heads)}",
                option="heads",
            )
        )
    return problems


def checkpoint_problems(
    name: str, checkpoint: EncoderFacts, shape: StudentShape, teacher: EncoderFacts
) -> list[Problem]:
    """Check whether the checkpoint `name` has this shape and a vocabulary of the teacher's size."""
    expected = {**vars(shape), "vocab_size": teacher.vocab_size}
    return [
        Problem(text=f"{name} has {fact} {getattr(checkpoint, fact)}; expected {value}", option="checkpoint")
        for fact, value in expected.items()
        if getattr(checkpoint, fact) != value
    ]


def student_architecture_problems(name: str, model_type: str) -> list[Problem]:
    """Check whether a model of this architecture can be a student."""
    if model_type in STUDENTS:
        return []
    return [Problem(text=f"{name} is a {model_type}; expected a {' or a '.join(STUDENTS)}", option="checkpoint")]


def attention_problems(student_heads: int, teacher_heads: int) -> list[Problem]:
    """Check whether the attention loss can compare the two models."""
    if student_heads == teacher_heads:
        return []
    return [
        Problem(
            text=f"the attention loss compares head by head: {_heads(student_heads, teacher_heads)}",
            option="attention_heads",
        )
    ]


def relation_problems(relation_heads: int | None, student_width: int, teacher_width: int) -> list[Problem]:
    """Check whether the number of relation heads divides both widths. None fits all widths."""
    if relation_heads is None or not (student_width % relation_heads or teacher_width % relation_heads):
        return []
    return [
        Problem(
            text=f"got {relation_heads} relation heads; expected a divisor of both widths, {student_width} and "
            f"{teacher_width}"
        )
    ]


def weight_problems(weights: LayerWeights, num_layers: int) -> list[Problem]:
    """Check whether there is one weight for all layers, or one per layer."""
    if isinstance(weights, float | int) or len(weights) == num_layers:
        return []
    return [
        Problem(
            text=f"got {len(weights)} weights for the {num_layers} layers of the student; expected one or {num_layers}"
        )
    ]


def layer_map_problems(layer_map: LayerMap, student_layers: int, teacher_layers: int) -> list[Problem]:
    """Check whether the layer map has a teacher layer for each student layer."""
    try:
        map_layers(layer_map, student_layers, teacher_layers)
    except UserError as error:
        return list(error.problems)
    return []


def _heads(student_heads: int, teacher_heads: int) -> str:
    return f"the student has {student_heads} heads, the teacher {teacher_heads}"
