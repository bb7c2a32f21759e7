"""Remedies for problems: a library names an option, and the command adds its recipe key or its flag."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from compress.common.errors import Option, Problem, UserError


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """`key`: the recipe key at fault, printed before the problem. `advice`: what to do, printed after the problem."""

    key: str = ""
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Command:
    """The settings of a command: whether it takes a recipe, and its flags, such as `--encoding`."""

    takes_recipe: bool
    flags: Collection[str]


IN_RECIPES: Mapping[Option, Remedy] = {
    "activation": Remedy(advice="set student.activation: gelu, or relu"),
    "attention_heads": Remedy(
        advice="make student.heads equal, or set the stage's weights attention: 0 and relations: 1"
    ),
    "checkpoint": Remedy(key="student.checkpoint"),
    "copied_layers": Remedy(
        advice="use student.initialisation: projected, which fits any width up to the teacher's, or random"
    ),
    "corpus_column": Remedy(advice="name the right one in the key text"),
    "data": Remedy(key="task.data"),
    "encoding": Remedy(advice="name the right encoding, such as cp1252, as task.encoding"),
    "heads": Remedy(advice="make student.heads equal, or use student.initialisation: random"),
    "initialisation": Remedy(advice="use student.initialisation: random"),
    "labels": Remedy(
        advice="name the classes of the data in task.labels, in the order of the model's outputs (or of the integers)"
    ),
    "layer_map": Remedy(key="distill.layer_map"),
    "layers": Remedy(key="student.layers"),
    "learning_rate": Remedy(advice="lower its learning_rate"),
    "masked_lm": Remedy(key="augment.masked_lm"),
    "masked_lm_head": Remedy(
        key="augment.masked_lm",
        advice="name another model, or have a head trained: augment.masked_lm.train_head: {corpus: ...}",
    ),
    "metric": Remedy(advice="for classification, choose another task.type or task.metric"),
    "micro_batch_size": Remedy(
        advice="lower the stage's micro_batch_size (the result stays the same) or task.max_length"
    ),
    "model": Remedy(advice="name it as teacher.base instead, and the teacher is fine-tuned from it"),
    "positive": Remedy(key="task.positive"),
    "precision": Remedy(key="compute.precision"),
    "splits": Remedy(key="task.splits"),
    "stop_words": Remedy(key="augment.stop_words"),
    "subset": Remedy(key="task.subset"),
    "vectors": Remedy(key="augment.vectors"),
    "vocabulary": Remedy(key="student.vocabulary", advice="leave the key out"),
    "vocabulary_size": Remedy(key="student.vocabulary.size"),
}

BY_FLAGS: Mapping[Option, Remedy] = {
    "encoding": Remedy(advice="name the right encoding, such as cp1252, with --encoding"),
    "labels": Remedy(
        advice="name the table's label for each output of the model, in the order of its outputs, with --labels A,B,C"
    ),
    "model": Remedy(advice="name one that is, such as the folder teacher/model or prediction/model of a run"),
    "other_files": Remedy(advice="--replace deletes and overwrites them in one commit"),
    "other_machine": Remedy(advice="--other-machine compares them anyway"),
    "password": Remedy(advice="put it into the environment variable POCKETBERT_KEY_PASSWORD"),
    "positive": Remedy(key="--positive"),
    "signature": Remedy(advice="name a signature outside of the bundle with --signature"),
}


def command_of(typer_command: Any) -> Command:
    """The settings of one of typer's commands."""
    return Command(
        takes_recipe=any(parameter.name == "recipe" for parameter in typer_command.params),
        flags={flag for parameter in typer_command.params for flag in parameter.opts},
    )


def with_remedy(error: UserError, command: Command) -> str:
    """The problems of the error, one per line, with the remedies that exist in the command."""
    return "\n".join(with_remedies(error, command))


def with_remedies(error: UserError, command: Command) -> list[str]:
    """The problems of the error with the remedies that exist in the command."""
    return [_explained(problem, command) for problem in error.problems]


def flags_in(text: str) -> set[str]:
    """The flags that a text names."""
    return set(re.findall(r"--[a-z][a-z0-9-]*", text))


def _explained(problem: Problem, command: Command) -> str:
    if problem.option is None:
        return problem.text
    remedy = (IN_RECIPES if command.takes_recipe else BY_FLAGS).get(problem.option, Remedy())
    if not command.takes_recipe and not flags_in(remedy.advice) <= set(command.flags):
        return problem.text
    with_key = f"{remedy.key}: {problem.text}" if remedy.key else problem.text
    return f"{with_key}; {remedy.advice}" if remedy.advice else with_key
