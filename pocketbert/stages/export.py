"""The export stage: every variant of the student as a candidate bundle, and bundles of the teacher to compare with."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.measurement import machine
from compress.common.errors import UserError
from compress.common.escaping import one_line
from compress.common.progress import ProgressBar
from compress.data.columns import Split
from compress.data.token_lengths import count_tokens, counter_of
from compress.models import loading, sources
from compress.results import TeacherResult
from export.build_bundles import EvaluationSplits, ExportOptions, Origin, build_bundles, cuda_provider
from export.graph.fusion import FusionError
from export.parity.comparison import Tolerance, default_tolerance
from export.quantisation.calibration import calibration_rows
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import VARIANTS, Variant
from export.results import ExportResult, RowLengths
from pocketbert.recipe.delivery import ExportSection
from pocketbert.recipe.sections import Recipe
from pocketbert.recipe.task import TaskSection
from pocketbert.stage_parts.context import StageContext
from pocketbert.store.workspace import Workspace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEACHER_ROWS = 256  # dev rows for the comparison of the teacher's bundles with torch


def export_student(context: StageContext, workspace: Workspace) -> ExportResult:
    """Build every variant as a candidate bundle and compare it with the torch student. Build the teacher's bundles."""
    recipe, task, section = context.recipe, context.task, context.recipe.export
    student = str(context.folder / "prediction" / "model")
    shape = "{layers} layers x {width}, feed-forward {ffn_width}, {heads} heads".format(**vars(recipe.student.shape))
    calibration = calibration_rows(task.train, task_type=task.type, seed=recipe.seed, count=section.calibration_rows)
    teacher_score = context.result("teacher", TeacherResult).scores.test
    with ProgressBar("export", context.console) as bar:
        exported = build_bundles(
            loading.load_classifier(student),
            loading.load_tokenizer(student),
            workspace.output,
            splits=EvaluationSplits(dev=task.dev, test=task.test, calibration=calibration),
            options=_options(
                context, {VARIANTS[name]: _tolerance(section, VARIANTS[name]) for name in section.variants}
            ),
            origin=Origin(
                name=recipe.name,
                origin={
                    "recipe": recipe.name,
                    "task": f"{one_line(task.name)}, from {data_name(recipe.task)} (sha256 {task.fingerprint()[:12]})",
                    "teacher": _teacher_name(recipe),
                    "student": shape,
                },
                versions=machine.package_versions(),
                measured={f"teacher's {task.scored_on} {context.metric_name}": teacher_score},
                digests={"rows": task.fingerprint()},
                dataset=data_name(recipe.task),
                dataset_splits=["dev"] if task.selected_on_test else ["dev", "test"],
                base_models=sources.hub_names([recipe.student.checkpoint, recipe.teacher.model, recipe.teacher.base]),
                machine=machine.describe(),
            ),
            on_progress=bar.update,
        )
    not_exported = _export_teacher(context, workspace.output / "teacher", calibration)
    teacher_variants = [] if not_exported is not None else list(section.teacher_variants)
    return replace(
        exported,
        teacher_variants=teacher_variants,
        teacher_not_exported=not_exported,
        lengths=_row_lengths(context, loading.load_tokenizer(student)),
    )


def data_name(section: TaskSection) -> str:
    """The data of a task in a few words: the name of a local file or folder, without its place, or a Hub name."""
    if Path(section.data).exists():
        return one_line(Path(section.data).resolve().name) or section.data
    return section.data if section.subset is None else f"{section.data} {section.subset}"


def _row_lengths(context: StageContext, tokenizer: "PreTrainedTokenizerBase") -> RowLengths | None:
    """The tokens per row of train; None if the tokenizer cannot count them quickly."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    lengths = count_tokens(context.task.train.rows(), counter_of(backend), seed=context.recipe.seed)
    max_length = context.task.max_length
    return RowLengths(
        num_rows=len(lengths.counts),
        max_length=max_length,
        share_longer=lengths.share_longer(max_length),
        share_cut=lengths.share_cut(max_length),
        p95=float(np.percentile(lengths.counts, 95)),
        longest=lengths.longest,
    )


def _export_teacher(context: StageContext, folder: Path, calibration: Split) -> str | None:
    """Write the teacher's bundles. Returns the reason if its architecture cannot be exported."""
    recipe, task, variants = context.recipe, context.task, context.recipe.export.teacher_variants
    if not variants:
        return None
    teacher = str(context.folder / "teacher" / "model")
    dev_rows = task.dev.take(np.arange(min(TEACHER_ROWS, len(task.dev))))
    folder.mkdir()
    try:
        with ProgressBar("export", context.console) as bar:
            build_bundles(
                loading.load_classifier(teacher),
                loading.load_tokenizer(teacher),
                folder,
                splits=EvaluationSplits(dev=dev_rows, calibration=calibration),
                options=_options(context, {VARIANTS[name]: default_tolerance(VARIANTS[name]) for name in variants}),
                origin=Origin(
                    name=f"{recipe.name}'s teacher",
                    origin={"model": _teacher_name(recipe)},
                    versions=machine.package_versions(),
                    measured={},
                    digests={"rows": task.fingerprint()},
                    base_models=sources.hub_names([recipe.teacher.model, recipe.teacher.base]),
                    machine=machine.describe(),
                ),
                on_progress=bar.update,
            )
    except (FusionError, UserError) as error:  # some architectures can be teachers but not be exported
        shutil.rmtree(folder)
        return str(error)
    return None


def _teacher_name(recipe: Recipe) -> str:
    """The teacher in model cards: of a local folder only its last part."""
    name = recipe.teacher.model or recipe.teacher.base or ""
    name = Path(name).expanduser().resolve().name if Path(name).expanduser().is_dir() else name
    return name if recipe.teacher.model is not None else f"fine-tuned from {name}"


def _options(context: StageContext, tolerances: dict[Variant, Tolerance]) -> ExportOptions:
    section = context.recipe.export
    return ExportOptions(
        task_type=context.task.type,
        metric=context.recipe.task.metric,
        positive=context.positive,
        max_length=context.task.max_length,
        tolerances=tolerances,
        static=StaticOptions(share=section.range_share, reduced=section.reduce_range, attention=section.attention),
        gpu_provider=cuda_provider() if machine.cuda_device() is not None else None,
    )


def _tolerance(section: ExportSection, variant: Variant) -> Tolerance:
    own = section.tolerance.get(variant.name)
    return replace(default_tolerance(variant), **(own.model_dump(exclude_none=True) if own else {}))
