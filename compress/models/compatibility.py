"""Which student goes with which teacher: one wording of each rule, for the check of a recipe and for the library.

Needs what config.json says and nothing more; loads neither torch nor transformers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from compress.common.errors import Problem, UserError
from compress.models import sources
from compress.models.architectures import STUDENTS, TEACHERS, capabilities_of
from compress.models.shape import LayerMap, StudentShape, map_layers

Initialisation = Literal["projected", "random", "teacher_layers", "checkpoint"]


@dataclass(frozen=True, kw_only=True)
class _Keys:
    """Under which keys a config.json holds the facts."""

    layers: str = "num_hidden_layers"
    width: str = "hidden_size"
    ffn_width: str = "intermediate_size"
    heads: str = "num_attention_heads"
    activation: str = "hidden_act"


_BERT_KEYS = _Keys()
_OTHER_KEYS = {
    "distilbert": _Keys(
        layers="n_layers", width="dim", ffn_width="hidden_dim", heads="n_heads", activation="activation"
    ),
    "modernbert": replace(_BERT_KEYS, activation="hidden_activation"),
}


@dataclass(frozen=True, kw_only=True)
class EncoderFacts:
    """What a config.json says of an encoder, under the same names for every architecture.

    `embedding_width`: of the word embeddings, which is less than `width` in most ELECTRAs. `max_tokens`: for which
    there are positions.
    """

    kind: str
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
        kind = config["model_type"]
        capabilities = capabilities_of(kind)
        if not capabilities.can_be_teacher:
            raise UserError(f"got a {kind}, {capabilities.reason}; expected one of {', '.join(TEACHERS)}")
        keys = _OTHER_KEYS.get(kind, _BERT_KEYS)
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
            raise UserError(f"its config.json is not whole ({error}); copy or export the model again") from error
        for what, number in numbers.items():
            if not isinstance(number, int):
                raise UserError(f"its config.json gives {number!r} as {what}; expected a whole number")
        return cls(kind=kind, activation=config.get(keys.activation, "gelu"), **numbers)

    @property
    def shape(self) -> StudentShape:
        """The four numbers that make a student's shape."""
        return StudentShape(layers=self.layers, width=self.width, ffn_width=self.ffn_width, heads=self.heads)


def read_encoder(name: str) -> EncoderFacts:
    """The encoder behind a model name. Raises UserError where there is none, or one that cannot be a teacher."""
    config = sources.read_config(name)
    try:
        return EncoderFacts.of_config(config)
    except UserError as error:
        raise error.within(name) from error


def projection_problems(kind: str) -> list[Problem]:
    """Whether a student can start from the weights of a teacher of this architecture."""
    capabilities = capabilities_of(kind)
    if capabilities.weights_can_be_projected:
        return []
    reason = f": {capabilities.reason}" if capabilities.can_be_teacher else ""
    return [
        Problem(
            text=f"the teacher is a {kind}, whose weights can't be carried over to a student{reason}",
            option="initialisation",
        )
    ]


def initialisation_problems(how: Initialisation, shape: StudentShape, teacher: EncoderFacts) -> list[Problem]:
    """Whether a student of this shape can get its first weights from the teacher."""
    if how in ("random", "checkpoint"):
        return []
    if problems := projection_problems(teacher.kind):
        return problems
    if how == "teacher_layers":
        widths = {
            "width": (shape.width, teacher.width),
            "ffn_width": (shape.ffn_width, teacher.ffn_width),
            "heads": (shape.heads, teacher.heads),
            "embedding_width": (shape.width, teacher.embedding_width),
        }
        return [
            Problem(
                text=f"copying the teacher's layers needs equal {what}: student {ours}, teacher {theirs}",
                option="copied_layers",
            )
            for what, (ours, theirs) in widths.items()
            if ours != theirs
        ]
    problems = [
        Problem(
            text=f"projected initialisation needs a student no wider than its teacher: {what} is {ours}, the "
            f"teacher's {theirs}",
            option="initialisation",
        )
        for what, ours, theirs in (
            ("width", shape.width, teacher.width),
            ("ffn_width", shape.ffn_width, teacher.ffn_width),
        )
        if ours > theirs
    ]
    if shape.heads != teacher.heads:
        problems.append(
            Problem(
                text=f"projected initialisation works head by head: {_heads(shape.heads, teacher.heads)}",
                option="heads",
            )
        )
    return problems


def checkpoint_problems(
    name: str, checkpoint: EncoderFacts, shape: StudentShape, teacher: EncoderFacts
) -> list[Problem]:
    """Whether the student that `name` stands for has the shape and the teacher's vocabulary."""
    expected = {**vars(shape), "vocab_size": teacher.vocab_size}
    return [
        Problem(text=f"{name} has {what} {getattr(checkpoint, what)}; expected {value}", option="checkpoint")
        for what, value in expected.items()
        if getattr(checkpoint, what) != value
    ]


def student_kind_problems(name: str, kind: str) -> list[Problem]:
    """Whether a model of this architecture can be a student."""
    if kind in STUDENTS:
        return []
    return [Problem(text=f"{name} is a {kind}; expected a {' or a '.join(STUDENTS)}", option="checkpoint")]


def attention_problems(student_heads: int, teacher_heads: int) -> list[Problem]:
    """Whether the attention loss can compare the two models."""
    if student_heads == teacher_heads:
        return []
    return [
        Problem(
            text=f"the attention loss compares head by head: {_heads(student_heads, teacher_heads)}",
            option="attention_heads",
        )
    ]


def relation_problems(relation_heads: int | None, student_width: int, teacher_width: int) -> list[Problem]:
    """Whether both models' vectors can be cut into so many relation heads; None suits all."""
    if relation_heads is None or not (student_width % relation_heads or teacher_width % relation_heads):
        return []
    return [
        Problem(
            text=f"got {relation_heads} relation heads; expected a divisor of both widths, {student_width} and "
            f"{teacher_width}"
        )
    ]


def weight_problems(weights: float | Sequence[float], num_layers: int) -> list[Problem]:
    """Whether there is one weight for all layers, or one for each."""
    if isinstance(weights, float | int) or len(weights) == num_layers:
        return []
    return [
        Problem(
            text=f"got {len(weights)} weights for the {num_layers} layers of the student; expected one or {num_layers}"
        )
    ]


def layer_map_problems(how: LayerMap, student_layers: int, teacher_layers: int) -> list[Problem]:
    """Whether each student layer has a teacher layer to learn from."""
    try:
        map_layers(how, student_layers, teacher_layers)
    except UserError as error:
        return list(error.problems)
    return []


def _heads(ours: int, theirs: int) -> str:
    return f"the student has {ours} heads, the teacher {theirs}"
