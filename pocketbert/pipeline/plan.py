"""The plan of a run: its stages in order, and the inputs of each, which its fingerprint covers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import Literal, get_args

from pydantic import JsonValue

import compress
from bench.measurement import machine
from compress.common.code_digest import code_digest
from compress.common.errors import UserError
from compress.common.files import sha256
from compress.data.tasks import Task
from compress.models import sources
from pocketbert.data.corpora import identities
from pocketbert.recipe.sections import Recipe, augmentation_of, masked_lm_of, task_seed_of
from pocketbert.recipe.training import StageSection
from pocketbert.store.manifest import StagePlan, stage_plan

StageName = Literal[
    "baseline", "search", "teacher", "general", "masked_lm", "augment", "intermediate", "prediction", "export", "bench"
]
Plan = list[StagePlan[StageName]]
Inputs = dict[str, JsonValue]

# Raise the version of a stage if its earlier results are invalid, although neither its options nor its code changed.
STAGE_VERSIONS: dict[StageName, int] = {
    "baseline": 1,
    "search": 1,
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
LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "numpy", "scikit-learn")  # of stages with models
BASELINE_LIBRARIES = ("numpy", "scikit-learn")
MORE_LIBRARIES: dict[StageName, tuple[str, ...]] = {
    "augment": ("gensim", "regex"),
    "export": ("onnx", "onnxruntime", "onnxruntime-gpu"),
}
MEASURING = (
    "bench/benchmark.py", "bench/measurement", "bench/timing", "bench/analysis", "bench/results/benchmark.py",
    "bench/results/measurements.py", "bench/results/phrases.py",
)  # fmt: skip
SHARED_CODE = (
    "compress", "pocketbert/data/corpora.py", "pocketbert/stage_parts/task_data.py",
    "pocketbert/stage_parts/trainings.py",
)  # fmt: skip
MORE_CODE: dict[StageName, tuple[str, ...]] = {
    "baseline": ("bench/analysis/tfidf_baseline.py", "bench/results/phrases.py"),
    "prediction": ("export/quantisation/variants.py",),
    "export": ("export",),
    "bench": ("export", *MEASURING),
}


def require_stage_name(until: str | None) -> None:
    """Raise UserError for a name that no stage of any recipe has, before anything is loaded."""
    if until is not None and until not in get_args(StageName):
        raise UserError(f"--until {until}: expected one of {', '.join(get_args(StageName))}")


def plan_of(recipe: Recipe, task: Task) -> Plan:
    """The stages of a run, in order. A stage after a search depends on its result, so plan again after the search."""
    depends = _Dependencies(recipe, task)
    baseline = _stage("baseline", depends.data)
    student = {stage.name: stage for stage in _student(recipe, depends)}
    teacher, prediction = student["teacher"], student["prediction"]
    export = _stage("export", depends.export(), after=[teacher, prediction], computes=False)
    bench = _stage("bench", depends.bench(), after=[baseline, teacher, prediction, export], computes=False)
    return [baseline, *student.values(), export, bench]


def student_plan(recipe: Recipe, task: Task) -> Plan:
    """The stages of a run that make the student."""
    return _student(recipe, _Dependencies(recipe, task))


def _student(recipe: Recipe, depends: "_Dependencies") -> Plan:
    teacher = _teacher(recipe, depends)
    stages = [*_search(recipe, depends), teacher]
    if recipe.distill.general is not None:
        stages.append(_general(recipe, depends, teacher))
    augmented = _augmentation(recipe, depends, teacher)
    stages += augmented
    intermediate = _stage("intermediate", depends.intermediate(), after=stages)
    prediction = _stage("prediction", depends.prediction(), after=[teacher, *augmented[-1:], intermediate])
    return [*stages, intermediate, prediction]


def teacher_plan(recipe: Recipe, task: Task) -> Plan:
    """The stages of a run that make the teacher."""
    depends = _Dependencies(recipe, task)
    return [*_search(recipe, depends), _teacher(recipe, depends)]


def _teacher(recipe: Recipe, depends: "_Dependencies") -> StagePlan[StageName]:
    return _stage("teacher", depends.teacher(), shared=True, computes=recipe.teacher.model is None)


def _search(recipe: Recipe, depends: "_Dependencies") -> Plan:
    """The search for the teacher's schedule, if it is still open. Its result is put into the recipe."""
    return [_stage("search", depends.search())] if recipe.teacher.needs_search else []


def general_plan(recipe: Recipe, task: Task) -> Plan:
    """The plan of the general student only. Raises UserError if the recipe has no general stage or no base."""
    if recipe.distill.general is None:
        raise UserError(f"{recipe.name}: distill.general is missing; name a corpus there to make a general student")
    if recipe.teacher.base is None:
        raise UserError(
            f"{recipe.name}: teacher.base is missing; a general student is made from a base, not a fine-tuned teacher"
        )
    depends = _Dependencies(recipe, task)
    return [_general(recipe, depends, _teacher(recipe, depends))]


def _general(recipe: Recipe, depends: "_Dependencies", teacher: StagePlan[StageName]) -> StagePlan[StageName]:
    # without a base, the fine-tuned teacher serves as base
    after = [] if recipe.teacher.base else [teacher]
    return _stage("general", depends.general(), after=after, shared=True)


def augmentation_plan(recipe: Recipe, task: Task) -> Plan:
    """The plan of the augmented data only. Raises UserError if the recipe has no augmentation."""
    augmentation_of(recipe)
    depends = _Dependencies(recipe, task)
    teacher = _teacher(recipe, depends)
    filter_stages = _filter_stages(recipe, teacher)
    search = _search(recipe, depends) if filter_stages else []
    return [*search, *filter_stages, *_augmentation(recipe, depends, teacher)]


def _augmentation(recipe: Recipe, depends: "_Dependencies", teacher: StagePlan[StageName]) -> Plan:
    if recipe.augment is None:
        return []
    trains_head = recipe.augment.masked_lm.train_head is not None
    head_stages = [_stage("masked_lm", depends.masked_lm(), shared=True)] if trains_head else []
    after = [*_filter_stages(recipe, teacher), *head_stages]
    return [*head_stages, _stage("augment", depends.augment(), after=after, shared=True)]


def _filter_stages(recipe: Recipe, teacher: StagePlan[StageName]) -> Plan:
    """The teacher, if it filters the augmented texts."""
    return [teacher] if recipe.augment is not None and recipe.augment.drop_flips_above is not None else []


def _stage(
    name: StageName,
    options: Inputs,
    *,
    after: Sequence[StagePlan[StageName]] = (),
    shared: bool = False,
    computes: bool = True,
) -> StagePlan[StageName]:
    """A stage with all inputs of its result: options, libraries, code and number of threads.

    `computes`: whether the number of threads changes the stage's files, through the order of additions.
    """
    libraries = BASELINE_LIBRARIES if name == "baseline" else (*LIBRARIES, *MORE_LIBRARIES.get(name, ()))
    code_files = (*SHARED_CODE, *MORE_CODE.get(name, ()), f"pocketbert/stages/{name}.py")
    inputs: Inputs = {
        "version": STAGE_VERSIONS[name],
        "options": options,
        "libraries": {each: version for each in libraries if (version := _version(each)) is not None},
        "code": {source: code_digest(ROOT / source) for source in code_files},
        "threads": machine.torch_threads() if computes else None,
    }
    return stage_plan(name, inputs, after=after, shared=shared)


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class _Dependencies:
    """The options of each stage that change its result, as plain values."""

    recipe: Recipe
    task: Task

    @cached_property
    def data(self) -> Inputs:
        section = self.recipe.task
        positive = {} if section.positive is None else {"positive": section.positive}
        return {"task": self.task.fingerprint(), "metric": section.metric, **positive, "seed": self.recipe.seed}

    @cached_property
    def student(self) -> Inputs:
        student = self.recipe.student
        return {
            "shape": {**vars(student.shape)},
            "initialisation": student.initialisation,
            "architecture": student.architecture,
            "dropout": student.dropout,
            "activation": student.activation,
            "layer_map": self.recipe.distill.model_dump()["layer_map"],
            "projection": self.recipe.distill.projection,
            "checkpoint": student.checkpoint and sources.identity(student.checkpoint),
        }

    def _training(self, section: StageSection, *left_out: str) -> Inputs:
        """The options of a training stage, without those that do not change its result."""
        options = section.model_dump(exclude={"micro_batch_size", "checkpoint_steps", *left_out})
        return {**options, "precision": self.precision}

    @property
    def precision(self) -> str:
        """The precision, with `auto` resolved if that is possible without torch: it changes the weights."""
        precision = self.recipe.compute.precision
        return (machine.auto_precision() or precision) if precision == "auto" else precision

    @property
    def _task_seed(self) -> Inputs:
        return {"task_seed": task_seed_of(self.recipe)}

    def teacher(self) -> Inputs:
        teacher = self.recipe.teacher
        if teacher.model is not None:
            return {**self.data, "model": sources.identity(teacher.model)}
        assert teacher.base is not None
        return {**self.data, "base": sources.identity(teacher.base), **self._training(teacher.fine_tune, "search")}

    def search(self) -> Inputs:
        teacher = self.recipe.teacher
        base = teacher.base and sources.identity(teacher.base)
        return {**self.data, "base": base, **self._training(teacher.fine_tune)}

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
        trains_head = section.masked_lm.train_head is not None
        stop_words = Path(section.stop_words).expanduser()
        return {
            "train": self.task.train_fingerprint(),
            "seed": self.recipe.seed,
            "tokenizer": sources.tokenizer_identity(self.recipe.teacher.model or self.recipe.teacher.base or ""),
            **section.model_dump(exclude={"masked_lm", "vectors", "stop_words"}),
            "masked_lm": None if trains_head else sources.identity(masked_lm_of(self.recipe)),
            "vectors": section.vectors and sources.file_identity(section.vectors, key="augment.vectors"),
            "stop_words": sha256(stop_words) if stop_words.is_file() else section.stop_words,
            # `auto` means fp32 for the candidates; only the teacher, as a filter, uses the precision of the machine
            "precision": self.recipe.compute.precision if section.drop_flips_above is None else self.precision,
        }

    def intermediate(self) -> Inputs:
        return {**self.data, **self.student, **self._task_seed, **self._training(self.recipe.distill.intermediate)}

    def prediction(self) -> Inputs:
        section = self.recipe.distill.prediction
        reduced = {"reduce_range": self.recipe.export.reduce_range} if section.quantisation is not None else {}
        vocabulary = self.recipe.student.vocabulary  # the fingerprint of the general stage covers its corpus
        return {
            **self.data,
            **self._task_seed,
            **self._training(section),
            **reduced,
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
