"""Checks of a recipe against its models, and of models without a recipe, before any long work starts."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from compress.common.errors import Problem, UserError, raise_any
from compress.data.task_types import task_type
from compress.data.tasks import Task
from compress.models import sources
from compress.models.architectures import capabilities_of
from compress.models.compatibility import (
    EncoderFacts,
    activation_problems,
    attention_problems,
    checkpoint_problems,
    initialisation_problems,
    layer_map_problems,
    read_encoder,
    relation_problems,
    student_architecture_problems,
    weight_problems,
)
from compress.models.shape import StudentShape
from pocketbert.recipe.augmentation import AugmentSection
from pocketbert.recipe.sections import Recipe, masked_lm_of
from pocketbert.recipe.training import LayerWiseSection, weights_in


def check_models(recipe: Recipe) -> None:
    """Compare teacher, student and text lengths with one another. Raises UserError, one line per mismatch."""
    shape = recipe.student.shape
    names = [name for name in (recipe.teacher.base, recipe.teacher.model) if name is not None]
    encoders = {name: read_encoder(name) for name in names}
    if recipe.teacher.model is not None:
        sources.task_type_of(recipe.teacher.model)  # refuses outputs that no bundle has
    problems = [problem for name in encoders for problem in _teacher_problems(recipe, shape, name, encoders[name])]
    if len(encoders) == 2:
        base, model = encoders.values()
        for name in ("width", "vocab_size", "heads"):
            if getattr(base, name) != getattr(model, name):
                text = f"teacher.base and teacher.model differ: {name} {getattr(base, name)} and {getattr(model, name)}"
                problems.append(Problem(text=f"{text}; name the checkpoint that the model was fine-tuned from"))
    if recipe.augment is not None:
        problems += _augmentation_problems(recipe, recipe.augment)
    raise_any(problems)


def check_model_files(recipe: Recipe, task: Task) -> list[str]:
    """Check the weights and the tokenizer of every model of the recipe, as the stages will load them. Imports torch.

    Returns remarks on how the files were read. Raises UserError.
    """
    from compress.models.loading import check_model, require_equal_tokenizers

    teacher, student, remarks = recipe.teacher, recipe.student, list[str]()
    check = partial(check_model, labels=task.labels, task_type=task.type, takes_pairs=task.train.pairs is not None)
    if teacher.model is not None:
        remarks += check(teacher.model, head="classifier")
    if teacher.base is not None:
        remarks += check(teacher.base, head="new classifier" if teacher.model is None else "none")
    if student.checkpoint is not None:
        remarks += check(student.checkpoint, head="new classifier")
        _check_projections(student.checkpoint, teacher.base or teacher.model or "")
    if recipe.augment is not None:
        new_head = recipe.augment.masked_lm.train_head is not None
        remarks += check(masked_lm_of(recipe), head="new masked_lm" if new_head else "masked_lm")
    compared = [name for name in (teacher.base, teacher.model, student.checkpoint) if name is not None]
    require_equal_tokenizers(*compared)
    return list(dict.fromkeys(remarks))


def _check_projections(checkpoint: str, teacher: str) -> None:
    """Check the projections in the folder of a checkpoint, if it has any. Raises UserError."""
    from compress.distillation.stage_functions import PROJECTIONS_FILE, load_projections

    folder = Path(sources.locate(checkpoint))
    if (folder / PROJECTIONS_FILE).exists():
        load_projections(folder, read_encoder(checkpoint).width, read_encoder(teacher).width)


def check_named_models(names: Iterable[str], *, takes_pairs: bool) -> list[str]:
    """Check config.json, tokenizer and weights of models without a recipe. Imports torch.

    `takes_pairs`: whether they get pairs of texts. A model without fine-tuning is checked as an encoder with a new
    head. Returns remarks on how the files were read. Raises UserError.
    """
    unique = dict.fromkeys(names)
    if not unique:  # bundles need no torch
        return []
    from compress.models.loading import Head, check_model

    remarks = list[str]()
    for name in unique:
        head: Head = "classifier" if sources.is_classifier(name) else "new classifier"
        remarks += check_model(name, head=head, labels=("0", "1"), takes_pairs=takes_pairs)
    return remarks


def _teacher_problems(recipe: Recipe, shape: StudentShape, name: str, teacher: EncoderFacts) -> list[Problem]:
    student, stages = recipe.student, recipe.distill
    lengths = {"task.max_length": recipe.task.max_length}
    if stages.general is not None:
        lengths |= {"distill.general.max_length": stages.general.max_length}
    problems = [
        Problem(text=f"{key} is {length}; the teacher {name} has positions for {teacher.max_tokens} tokens")
        for key, length in lengths.items()
        if length > teacher.max_tokens
    ]
    layer_wise: dict[str, LayerWiseSection] = {"distill.intermediate": stages.intermediate}
    if stages.general is not None:
        layer_wise |= {"distill.general": stages.general}
    problems += layer_map_problems(stages.layer_map, shape.layers, teacher.layers)
    problems += _loss_problems(shape, teacher, layer_wise)
    if student.initialisation == "checkpoint":
        return problems + _checkpoint_problems(student.checkpoint or "", shape, teacher)
    if student.initialisation == "random":
        return problems
    if capabilities_of(teacher.model_type).weights_can_be_projected and student.activation is None:
        problems += activation_problems(f"the teacher {name}", teacher)
    return problems + initialisation_problems(student.initialisation, shape, teacher)


def _loss_problems(
    shape: StudentShape, teacher: EncoderFacts, layer_wise: Mapping[str, LayerWiseSection]
) -> list[Problem]:
    problems: list[Problem] = []
    for key, stage in layer_wise.items():
        for loss in ("hidden", "attention", "relations"):
            problems += [
                problem.within(f"{key}.{loss}")
                for problem in weight_problems(getattr(stage, loss) or 0.0, shape.layers)
            ]
        problems += [
            problem.within(f"{key}.relation_heads")
            for problem in relation_problems(stage.relation_heads, shape.width, teacher.width)
        ]
    if any(any(weights_in(stage.attention or 0.0)) for stage in layer_wise.values()):
        problems += attention_problems(shape.heads, teacher.heads)
    return problems


def _checkpoint_problems(name: str, shape: StudentShape, teacher: EncoderFacts) -> list[Problem]:
    checkpoint = read_encoder(name)
    unknown = student_architecture_problems(name, checkpoint.model_type)
    if not unknown and (problems := activation_problems(name, checkpoint)):
        return [replace(problem, option="checkpoint") for problem in problems]
    return unknown or checkpoint_problems(name, checkpoint, shape, teacher)


def _augmentation_problems(recipe: Recipe, section: AugmentSection) -> list[Problem]:
    from compress.augmentation.words import load_stop_words  # imports regex, which bundles do not need

    name = masked_lm_of(recipe)
    problems: list[Problem] = []
    head = section.masked_lm.train_head
    if head is None:
        try:
            sources.require_masked_lm_head(name)
        except UserError as error:
            problems += error.problems
    limit = sources.max_tokens(sources.read_config(name))
    if head is not None and head.max_length > limit:
        text = f"{head.key}.max_length is {head.max_length}; {name} has positions for {limit} tokens"
        problems.append(Problem(text=text))
    try:
        load_stop_words(section.stop_words)
    except UserError as error:
        problems += error.problems
    if section.drop_flips_above is not None and not task_type(recipe.task.task_type).has_classes:
        text = f"augment.drop_flips_above compares labels, but the metric {recipe.task.metric} is for regression"
        problems.append(Problem(text=f"{text}; leave it out"))
    return problems
