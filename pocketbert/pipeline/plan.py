"""What a run will do: its stages in order, and what the result of each depends on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

import compress
from bench.measurement import machine
from compress.common.code_digest import code_digest
from compress.common.errors import UserError
from compress.common.files import sha256
from compress.data.tasks import Task
from compress.models import sources
from pocketbert.data.corpora import identities
from pocketbert.recipe.sections import Recipe, augmentation_of, masked_lm_of
from pocketbert.recipe.training import StageSection
from pocketbert.store.manifest import StagePlan, stage_plan

StageName = Literal["teacher", "general", "masked_lm", "augment", "intermediate", "prediction", "export", "bench"]
Plan = list[StagePlan[StageName]]
Inputs = dict[str, JsonValue]

# Raise a stage's version where its earlier results must not serve any more, though neither options nor code say so.
STAGE_VERSIONS: dict[StageName, int] = {
    "teacher": 1,
    "general": 1,
    "masked_lm": 1,
    "augment": 1,
    "intermediate": 1,
    "prediction": 1,
    "export": 1,
    "bench": 1,
}
ROOT = Path(compress.__file__).resolve().parent.parent
LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "numpy", "scikit-learn")  # of every stage
MORE_LIBRARIES: dict[StageName, tuple[str, ...]] = {
    "augment": ("gensim", "regex"),
    "export": ("onnx", "onnxruntime", "onnxruntime-gpu"),
}
MEASURING = (
    "bench/benchmark.py", "bench/measurement", "bench/timing", "bench/analysis", "bench/results/benchmark.py",
    "bench/results/measurements.py", "bench/results/phrases.py",
)  # fmt: skip
SHARED_BY_STAGES = ("data", "training")
SHARED_CODE = ("compress", "pocketbert/data/corpora.py", *(f"pocketbert/stages/{name}.py" for name in SHARED_BY_STAGES))
MORE_CODE: dict[StageName, tuple[str, ...]] = {
    "export": ("export",),
    "bench": ("export", *MEASURING),
}


def plan_of(recipe: Recipe, task: Task) -> Plan:
    """The stages of a run, in order."""
    depends = _Dependencies(recipe, task)
    teacher = _teacher(recipe, depends)
    stages = [teacher]
    if recipe.distill.general is not None:
        stages.append(_general(recipe, depends, teacher))
    augmented = _augmentation(recipe, depends, teacher)
    stages += augmented
    intermediate = _stage("intermediate", depends.intermediate(), after=stages)
    prediction = _stage("prediction", depends.prediction(), after=[teacher, *augmented[-1:], intermediate])
    export = _stage("export", depends.export(), after=[teacher, prediction], computes=False)
    bench = _stage("bench", depends.bench(), after=[teacher, prediction, export], computes=False)
    return [*stages, intermediate, prediction, export, bench]


def _teacher(recipe: Recipe, depends: "_Dependencies") -> StagePlan[StageName]:
    return _stage("teacher", depends.teacher(), shared=True, computes=recipe.teacher.model is None)


def general_plan(recipe: Recipe, task: Task) -> Plan:
    """The stages that make the general student alone. Raises UserError where the recipe has no general stage."""
    if recipe.distill.general is None:
        raise UserError(f"{recipe.name}: distill.general is missing; name a corpus there to make a general student")
    if recipe.teacher.base is None:
        raise UserError(
            f"{recipe.name}: teacher.base is missing; a general student is made from a base, not a fine-tuned teacher"
        )
    depends = _Dependencies(recipe, task)
    return [_general(recipe, depends, _teacher(recipe, depends))]


def _general(recipe: Recipe, depends: "_Dependencies", teacher: StagePlan[StageName]) -> StagePlan[StageName]:
    # when the fine-tuned teacher serves as base too, its place in the flow matters
    after = [] if recipe.teacher.base else [teacher]
    return _stage("general", depends.general(), after=after, shared=True)


def augmentation_plan(recipe: Recipe, task: Task) -> Plan:
    """The stages up to the augmented data. Raises UserError where the recipe has no augmentation."""
    augmentation_of(recipe)
    depends = _Dependencies(recipe, task)
    teacher = _teacher(recipe, depends)
    return [*_asked_to_filter(recipe, teacher), *_augmentation(recipe, depends, teacher)]


def _augmentation(recipe: Recipe, depends: "_Dependencies", teacher: StagePlan[StageName]) -> Plan:
    if recipe.augment is None:
        return []
    trained = recipe.augment.masked_lm.train_head is not None
    heads = [_stage("masked_lm", depends.masked_lm(), shared=True)] if trained else []
    before = [*_asked_to_filter(recipe, teacher), *heads]
    return [*heads, _stage("augment", depends.augment(), after=before, shared=True)]


def _asked_to_filter(recipe: Recipe, teacher: StagePlan[StageName]) -> Plan:
    return [teacher] if recipe.augment is not None and recipe.augment.drop_flips_above is not None else []


def _stage(
    name: StageName,
    options: Inputs,
    *,
    after: Sequence[StagePlan[StageName]] = (),
    shared: bool = False,
    computes: bool = True,
) -> StagePlan[StageName]:
    """A stage with all that its result depends on: its options, and what computes it.

    `computes`: whether the order of additions, and so the number of threads, reaches the files that it leaves.
    """
    libraries = (*LIBRARIES, *MORE_LIBRARIES.get(name, ()))
    code_files = (*SHARED_CODE, *MORE_CODE.get(name, ()), f"pocketbert/stages/{name}.py")
    inputs: Inputs = {
        "version": STAGE_VERSIONS[name],
        "options": options,
        "libraries": {each: version for each in libraries if (version := _version(each)) is not None},
        "code": {source: code_digest(ROOT / source) for source in code_files},
        "threads": machine.torch_threads() if computes else None,
    }
    return stage_plan(name, inputs, after=after, shared=shared)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class _Dependencies:
    """The options that each stage's result depends on, as plain values."""

    recipe: Recipe
    task: Task

    @cached_property
    def data(self) -> Inputs:
        return {"task": self.task.fingerprint(), "metric": self.recipe.task.metric, "seed": self.recipe.seed}

    @cached_property
    def student(self) -> Inputs:
        student = self.recipe.student
        return {
            "shape": {**vars(student.shape)},
            "initialisation": student.initialisation,
            "architecture": student.architecture,
            "dropout": student.dropout,
            "layer_map": self.recipe.distill.model_dump()["layer_map"],
            "projection": self.recipe.distill.projection,
            "checkpoint": student.checkpoint and sources.identity(student.checkpoint),
        }

    def _training(self, section: StageSection, *left_out: str) -> Inputs:
        """A training stage's options but for those that change how it computes, and not what."""
        options = section.model_dump(exclude={"micro_batch_size", "checkpoint_steps", *left_out})
        return {**options, "precision": self.precision}

    @property
    def precision(self) -> str:
        """What `auto` means here, where that is known without torch: a machine without bf16 trains other weights."""
        wanted = self.recipe.training.precision
        return (machine.auto_precision() or wanted) if wanted == "auto" else wanted

    def teacher(self) -> Inputs:
        teacher = self.recipe.teacher
        if teacher.model is not None:
            return {**self.data, "model": sources.identity(teacher.model)}
        assert teacher.base is not None
        return {**self.data, "base": sources.identity(teacher.base), **self._training(teacher.fine_tune)}

    def general(self) -> Inputs:
        section = self.recipe.distill.general
        assert section is not None
        base = self.recipe.teacher.base or self.recipe.teacher.model
        return {
            **self.student,
            "seed": self.recipe.seed,
            "base": base and sources.identity(base),
            "corpus": [*identities(section, self.task)],
            **self._training(section, "corpus"),
        }

    def masked_lm(self) -> Inputs:
        assert self.recipe.augment is not None
        section = self.recipe.augment.masked_lm.train_head
        assert section is not None
        return {
            "seed": self.recipe.seed,
            "base": sources.identity(masked_lm_of(self.recipe)),
            "corpus": [*identities(section, self.task)],
            **self._training(section, "corpus"),
        }

    def augment(self) -> Inputs:
        section = self.recipe.augment
        assert section is not None
        trained = section.masked_lm.train_head is not None
        stop_words = Path(section.stop_words).expanduser()
        return {
            "train": self.task.train_fingerprint(),
            "seed": self.recipe.seed,
            "tokenizer": sources.tokenizer_identity(self.recipe.teacher.model or self.recipe.teacher.base or ""),
            **section.model_dump(exclude={"masked_lm", "vectors", "stop_words"}),
            "masked_lm": None if trained else sources.identity(masked_lm_of(self.recipe)),
            "vectors": section.vectors and sources.file_identity(section.vectors, key="augment.vectors"),
            "stop_words": sha256(stop_words) if stop_words.is_file() else section.stop_words,
            # candidates are in fp32 by default; only the filter by the teacher's labels takes what the machine has
            "precision": self.recipe.training.precision if section.drop_flips_above is None else self.precision,
        }

    def intermediate(self) -> Inputs:
        return {**self.data, **self.student, **self._training(self.recipe.distill.intermediate)}

    def prediction(self) -> Inputs:
        vocabulary = self.recipe.student.vocabulary  # its corpus counts through the general stage, which comes before
        return {
            **self.data,
            **self._training(self.recipe.distill.prediction),
            "vocabulary": None if vocabulary is None else vocabulary.model_dump(),
        }

    def export(self) -> Inputs:
        return {**self.data, "name": self.recipe.name, **self.recipe.export.model_dump()}

    def bench(self) -> Inputs:
        here = machine.describe()
        return {
            **self.data,
            **self.recipe.bench.model_dump(),
            "machine": {"cpu": here.cpu, "usable_cores": here.usable_cores, "versions": here.versions},
            "gpu": here.gpu and here.gpu.name,
        }
