"""What can be known to fail from the models' configurations alone, told before the first stage instead of hours in."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from optimum.utils.normalized_config import NormalizedConfigManager

from compress import locations
from compress.architectures import KEEPS_ITS_SCORES, TEACHERS, WITHOUT
from compress.augment.words import load_stop_words
from compress.errors import UserError
from compress.metrics import is_regression
from compress.shape import StudentShape, map_layers
from pocketbert.augment_keys import AugmentSection
from pocketbert.recipe import Recipe, masked_lm_of
from pocketbert.training_keys import LayerWiseSection, weights_in


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """What a config.json says of an encoder, under the same names for every architecture."""

    name: str
    kind: str
    layers: int
    width: int
    ffn_width: int | None
    heads: int
    vocab_size: int
    max_tokens: int
    activation: str


def read_encoder(name: str) -> Encoder:
    """The encoder behind a model name. Raises UserError where there is none, or of an architecture unknown to us."""
    config = locations.read_config(name)
    kind = config["model_type"]
    if kind in KEEPS_ITS_SCORES:
        raise UserError(
            f"{name}: got a {kind}, which keeps its attention scores to itself in transformers 5 (it would hand back "
            f"probabilities); expected one of {', '.join(TEACHERS)}"
        )
    if kind not in TEACHERS:
        raise UserError(f"{name}: got a {kind}, which cannot be distilled; expected one of {', '.join(TEACHERS)}")
    normalized: Any = NormalizedConfigManager.get_normalized_config_class(kind)(SimpleNamespace(**config))
    try:
        numbers = {
            "layers": config.get("n_layers") or normalized.num_layers,
            "width": normalized.hidden_size,
            "heads": normalized.num_attention_heads,
            "vocab_size": config["vocab_size"],
            "max_tokens": locations.max_tokens(config),
        }
    except (KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{name}: its config.json is not whole ({error}); copy or export the model again") from error
    for what, number in numbers.items():
        if not isinstance(number, int):
            raise UserError(f"{name}: its config.json gives {number!r} as {what}; expected a whole number")
    return Encoder(
        name=name,
        kind=kind,
        ffn_width=config.get("intermediate_size", config.get("hidden_dim")),
        activation=config.get("hidden_act", config.get("activation", "gelu")),
        **numbers,
    )


def check(recipe: Recipe, shape: StudentShape) -> None:
    """Hold teacher, student and limits against one another. Raises UserError with every mismatch, a line each."""
    named = [name for name in (recipe.teacher.base, recipe.teacher.model) if name is not None]
    encoders = [read_encoder(name) for name in named]
    problems = [problem for encoder in encoders for problem in _mismatches(recipe, shape, encoder)]
    if len(encoders) == 2:
        base, model = encoders
        for what in ("width", "vocab_size", "heads"):
            if getattr(base, what) != getattr(model, what):
                problems.append(
                    f"teacher.base and teacher.model differ: {what} {getattr(base, what)} and {getattr(model, what)}; "
                    "name the checkpoint that the model was fine-tuned from"
                )
    if recipe.augment is not None:
        problems += _about_masked_lm(recipe, recipe.augment)
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))


def _mismatches(recipe: Recipe, shape: StudentShape, teacher: Encoder) -> list[str]:
    student, stages = recipe.student, recipe.distill
    found = []
    lengths = {"task.max_length": recipe.task.max_length}
    if stages.general is not None:
        lengths["distill.general.max_length"] = stages.general.max_length
    found += [
        f"{key} is {length}; the teacher {teacher.name} has positions for {teacher.max_tokens} tokens"
        for key, length in lengths.items()
        if length > teacher.max_tokens
    ]
    layer_wise = [stages.intermediate, *([stages.general] if stages.general is not None else [])]
    found += _about_layers(recipe, shape, teacher, layer_wise)
    if shape.heads != teacher.heads and any(any(weights_in(stage.attention)) for stage in layer_wise):
        found.append(
            f"the attention loss compares head by head: student.heads is {shape.heads}, the teacher {teacher.name} has "
            f"{teacher.heads}; make them equal, or set the stage's weights attention: 0 and relations: 1"
        )
    if student.initialisation == "checkpoint":
        return found + _checkpoint_mismatches(student.checkpoint or "", shape, teacher)
    if student.initialisation == "random":
        return found
    if teacher.kind in WITHOUT:
        found.append(
            f"student.initialisation is {student.initialisation}, but the weights of the teacher {teacher.name}, a "
            f"{teacher.kind}, can't be carried over: {WITHOUT[teacher.kind]}; use random"
        )
        return found
    if teacher.activation != "gelu":
        found.append(f"the teacher {teacher.name} uses {teacher.activation}; export fuses gelu only")
    wide = {"width": teacher.width, "ffn_width": teacher.ffn_width, "heads": teacher.heads}
    for what, theirs in wide.items():
        ours = getattr(shape, what)
        if student.initialisation == "teacher_layers" and ours != theirs:
            found.append(f"student.initialisation teacher_layers needs equal {what}: student {ours}, teacher {theirs}")
        elif what == "heads" and ours != theirs:
            found.append(
                f"projected initialisation works head by head: student.heads is {ours}, the teacher has {theirs}; make "
                "them equal, or use random"
            )
        elif theirs is not None and ours > theirs:
            found.append(f"projected initialisation: student.{what} is {ours}, the teacher's {theirs}; use random")
    return found


def _about_masked_lm(recipe: Recipe, section: AugmentSection) -> list[str]:
    name, found = masked_lm_of(recipe), []
    head = section.masked_lm.train_head
    if head is None:
        try:
            locations.require_masked_lm_head(name)
        except UserError as error:
            found.append(str(error))
    limit = locations.max_tokens(locations.read_config(name))
    if head is not None and head.max_length > limit:
        found.append(f"{head.key}.max_length is {head.max_length}; {name} has positions for {limit} tokens")
    try:
        load_stop_words(section.stop_words)
    except UserError as error:
        found.append(str(error))
    if section.drop_flips_above is not None and is_regression(recipe.task.metric):
        found.append(
            f"augment.drop_flips_above compares labels, and the metric {recipe.task.metric} is of a regression; "
            "leave it out"
        )
    return found


def _about_layers(
    recipe: Recipe, shape: StudentShape, teacher: Encoder, layer_wise: Sequence[LayerWiseSection]
) -> list[str]:
    found = []
    try:
        map_layers(recipe.distill.layer_map, shape.layers, teacher.layers)
    except UserError as error:
        found.append(str(error))
    for stage in layer_wise:
        for key in ("hidden", "attention", "relations"):
            weights = getattr(stage, key)
            if isinstance(weights, list) and len(weights) != shape.layers:
                found.append(f"{key} lists {len(weights)} weights; the student has {shape.layers} layers")
        heads = stage.relation_heads
        if heads is not None and (shape.width % heads or teacher.width % heads):
            found.append(
                f"relation_heads is {heads}; expected a divisor of both widths, {shape.width} and {teacher.width}"
            )
    return found


def _checkpoint_mismatches(name: str, shape: StudentShape, teacher: Encoder) -> list[str]:
    student = read_encoder(name)
    if student.kind not in ("bert", "roberta"):
        return [f"student.checkpoint {name} is a {student.kind}; a student is a bert or a roberta"]
    wanted = {**vars(shape), "vocab_size": teacher.vocab_size}
    return [
        f"student.checkpoint {name} has {what} {getattr(student, what)}; expected {value}"
        for what, value in wanted.items()
        if getattr(student, what) != value
    ]
