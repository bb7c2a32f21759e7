"""What a run will do: its stages in order, and what the result of each depends on."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench import machine
from compress import locations
from compress.errors import UserError
from compress.files import sha256
from compress.shape import PRESETS, StudentShape
from compress.tasks import Task
from pocketbert.corpora import identities
from pocketbert.recipe import Recipe, augmentation_of, masked_lm_of
from pocketbert.runs import Planned, planned
from pocketbert.training_keys import StageSection


def shape_of(recipe: Recipe) -> StudentShape:
    """The student's four numbers, of the preset or as given."""
    student = recipe.student
    if student.preset is not None:
        return PRESETS[student.preset]
    assert student.layers and student.width and student.ffn_width and student.heads
    return StudentShape(layers=student.layers, width=student.width, ffn_width=student.ffn_width, heads=student.heads)


def plan_of(recipe: Recipe, task: Task) -> list[Planned]:
    """The stages of a run, in order."""
    depends = _Dependencies(recipe, task)
    teacher = planned("teacher", depends.teacher(), shared=True)
    stages = [teacher]
    if recipe.distill.general is not None:
        stages.append(_general(recipe, depends, teacher))
    augmented = _augmentation(recipe, depends, teacher)
    stages += augmented
    intermediate = planned("intermediate", depends.intermediate(), after=stages)
    prediction = planned("prediction", depends.prediction(), after=[teacher, *augmented[-1:], intermediate])
    export = planned("export", depends.export(), after=[teacher, prediction])
    bench = planned("bench", depends.bench(), after=[teacher, prediction, export])
    return [*stages, intermediate, prediction, export, bench]


def general_plan(recipe: Recipe, task: Task) -> list[Planned]:
    """The stages that make the general student alone. Raises UserError where the recipe has no general stage."""
    if recipe.distill.general is None:
        raise UserError(f"{recipe.name}: distill.general is missing; name a corpus there to make a general student")
    if recipe.teacher.base is None:
        raise UserError(
            f"{recipe.name}: teacher.base is missing; a general student is made from a base, not a fine-tuned teacher"
        )
    depends = _Dependencies(recipe, task)
    return [_general(recipe, depends, planned("teacher", depends.teacher(), shared=True))]


def _general(recipe: Recipe, depends: "_Dependencies", teacher: Planned) -> Planned:
    # when the fine-tuned teacher serves as base too, its place in the flow matters
    after = [] if recipe.teacher.base else [teacher]
    return planned("general", depends.general(), after=after, shared=True)


def augmentation_plan(recipe: Recipe, task: Task) -> list[Planned]:
    """The stages up to the variants. Raises UserError where the recipe has no augmentation."""
    augmentation_of(recipe)
    depends = _Dependencies(recipe, task)
    teacher = planned("teacher", depends.teacher(), shared=True)
    return [*_asked_to_filter(recipe, teacher), *_augmentation(recipe, depends, teacher)]


def _augmentation(recipe: Recipe, depends: "_Dependencies", teacher: Planned) -> list[Planned]:
    if recipe.augment is None:
        return []
    trained = recipe.augment.masked_lm.train_head is not None
    heads = [planned("masked_lm", depends.masked_lm(), shared=True)] if trained else []
    before = [*_asked_to_filter(recipe, teacher), *heads]
    return [*heads, planned("augment", depends.augment(), after=before, shared=True)]


def _asked_to_filter(recipe: Recipe, teacher: Planned) -> list[Planned]:
    return [teacher] if recipe.augment is not None and recipe.augment.drop_flips_above is not None else []


def remarks_on(recipe: Recipe, task: Task) -> list[str]:
    """What the user should know about the data, and of keys that this recipe makes no use of."""
    found = list(task.remarks)
    if recipe.teacher.base is None:
        found.append("no teacher.base was named: the fine-tuned teacher serves as base as well")
    if recipe.teacher.model is not None and "fine_tune" in recipe.teacher.model_fields_set:
        found.append("teacher.model is fine-tuned already: teacher.fine_tune is not used")
    return found


@dataclass(frozen=True)
class _Dependencies:
    """All that a stage's result depends on beside earlier stages, as plain values."""

    recipe: Recipe
    task: Task

    @cached_property
    def data(self) -> dict[str, Any]:
        return {"task": self.task.fingerprint(), "metric": self.recipe.task.metric, "seed": self.recipe.seed}

    @cached_property
    def student(self) -> dict[str, Any]:
        student = self.recipe.student
        return {
            "shape": vars(shape_of(self.recipe)),
            "initialisation": student.initialisation,
            "architecture": student.architecture,
            "dropout": student.dropout,
            "layer_map": self.recipe.distill.layer_map,
            "projection": self.recipe.distill.projection,
            "checkpoint": student.checkpoint and locations.identity(student.checkpoint),
        }

    def _training(self, section: StageSection, *left_out: str) -> dict[str, Any]:
        """A training stage's options but for those that change how it computes, and not what."""
        options = section.model_dump(exclude={"micro_batch_size", "checkpoint_steps", *left_out})
        return {**options, "precision": self.recipe.training.precision}

    def teacher(self) -> dict[str, Any]:
        teacher = self.recipe.teacher
        if teacher.model is not None:
            return {**self.data, "model": locations.identity(teacher.model)}
        assert teacher.base is not None
        return {**self.data, "base": locations.identity(teacher.base), **self._training(teacher.fine_tune)}

    def general(self) -> dict[str, Any]:
        section = self.recipe.distill.general
        assert section is not None
        base = self.recipe.teacher.base or self.recipe.teacher.model
        return {
            **self.student,
            "seed": self.recipe.seed,
            "base": base and locations.identity(base),
            "corpus": identities(section, self.task),
            **self._training(section, "corpus"),
        }

    def masked_lm(self) -> dict[str, Any]:
        assert self.recipe.augment is not None
        section = self.recipe.augment.masked_lm.train_head
        assert section is not None
        return {
            "seed": self.recipe.seed,
            "base": locations.identity(masked_lm_of(self.recipe)),
            "corpus": identities(section, self.task),
            **self._training(section, "corpus"),
        }

    def augment(self) -> dict[str, Any]:
        section = self.recipe.augment
        assert section is not None
        trained = section.masked_lm.train_head is not None
        stop_words = Path(section.stop_words).expanduser()
        return {
            "train": self.task.train_fingerprint(),
            "seed": self.recipe.seed,
            "tokenizer": locations.tokenizer_identity(self.recipe.teacher.model or self.recipe.teacher.base or ""),
            **section.model_dump(exclude={"masked_lm", "vectors", "stop_words"}),
            "masked_lm": None if trained else locations.identity(masked_lm_of(self.recipe)),
            "vectors": section.vectors and locations.file_identity(section.vectors, key="augment.vectors"),
            "stop_words": sha256(stop_words) if stop_words.is_file() else section.stop_words,
            "precision": self.recipe.training.precision,
        }

    def intermediate(self) -> dict[str, Any]:
        return {**self.data, **self.student, **self._training(self.recipe.distill.intermediate)}

    def prediction(self) -> dict[str, Any]:
        vocabulary = self.recipe.student.vocabulary  # its corpus counts through the general stage, which comes before
        return {
            **self.data,
            **self._training(self.recipe.distill.prediction),
            "vocabulary": vocabulary and vocabulary.model_dump(),
        }

    def export(self) -> dict[str, Any]:
        return {**self.data, "name": self.recipe.name, **self.recipe.export.model_dump()}

    def bench(self) -> dict[str, Any]:
        here = machine.describe()
        return {
            **self.data,
            **self.recipe.bench.model_dump(),
            "machine": {name: here[name] for name in ("cpu", "usable_cores", "versions")},
            "gpu": here["gpu"] and here["gpu"]["name"],
        }
