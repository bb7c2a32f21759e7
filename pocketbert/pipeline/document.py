"""results.json of a run, and the reports that are rendered from it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.results.document import FILE as RESULTS_FILE
from bench.results.document import Reproduce, Results, RunFacts, SplitSizes, StageResults, read_results, write_results
from compress.common.errors import UserError
from compress.common.owned_files import OwnedFolder
from compress.models.compatibility import EncoderFacts
from compress.models.shape import StudentShape
from compress.reading.json_files import parse_json
from pocketbert import __version__
from pocketbert.data.recipe_task import remarks_on
from pocketbert.pipeline.teacher_check import teacher_over_baseline
from pocketbert.recipe.loading import to_yaml
from pocketbert.stage_parts.context import StageContext
from pocketbert.stages.gate import GateResult
from pocketbert.store.manifest import StagePlan
from pocketbert.store.run_folder import REPORTS


def write_reports(context: StageContext, plan: Sequence[StagePlan], verdict: GateResult, owned: OwnedFolder) -> Results:
    """Write results.json and the reports into the run folder, unless it holds them with the same results."""
    results = results_of(context, plan, verdict)
    folder = context.folder
    if all(map(owned.is_unchanged, (*REPORTS, RESULTS_FILE))) and _earlier_results(folder) == results:
        return results
    from bench.report import render

    with owned.writing(*REPORTS):
        render.write_reports(results, folder)
    with owned.writing(RESULTS_FILE):  # last, because its presence means that the reports have these figures
        write_results(results, folder)
    return results


def results_of(context: StageContext, plan: Sequence[StagePlan], verdict: GateResult) -> Results:
    """The document, from the results of the stages and the verdict of the gate."""
    recipe, task = context.recipe, context.task
    records = {stage.name: context.records[stage.name] for stage in plan}
    stages = StageResults.of_json({name: record.result for name, record in records.items()}, verdict.export)
    return Results(
        name=recipe.name,
        metric=recipe.task.metric,
        positive=None if context.positive is None else context.positive.name,
        task_type=task.type,
        stages=stages,
        stage_seconds={name: record.seconds for name, record in records.items()},
        run=RunFacts(
            smoke=recipe.smoke,
            selected_on_test=task.selected_on_test,
            split_names={str(split): name for split, name in recipe.task.splits.items()},
            num_rows=SplitSizes(train=len(task.train), dev=len(task.dev), test=len(task.test)),
            most_common_label=context.task_type.most_common_share(task.test.labels),
            constant_score=_constant_score(context),
            teacher_over_baseline=teacher_over_baseline(context),
            teacher=teacher_shape(context.folder / "teacher" / "model" / "config.json"),
            takes_pairs=task.train.pairs is not None,
            student=recipe.student.shape,
            remarks=remarks_on(recipe, task),
            choices=context.resolved.choices,
            gate=verdict.not_shipped,
        ),
        reproduce=Reproduce(
            command=f"pocketbert run {recipe.name}.yaml",
            words=f"Use PocketBERT {__version__} with the package versions below, the recipe saved as "
            f"{recipe.name}.yaml, and the same data (sha256 {task.fingerprint()[:12]} over all rows). The seed is "
            f"{recipe.seed}. On the same type of processor, the weights are identical.",
            recipe=to_yaml(recipe),
        ),
    )


def _constant_score(context: StageContext) -> float | None:
    """The metric on test of the best model that gives every row the same label; None for values."""
    task, labels = context.task, context.task.test.labels
    if not context.task_type.has_classes:
        return None
    counts = np.bincount(labels, minlength=len(task.labels))
    classes = range(len(counts)) if len(counts) == 2 else [counts.argmax()]  # f1 may prefer the rare one of two
    return max(
        task.score(context.recipe.task.metric, labels, np.full(len(labels), each), positive=context.positive)
        for each in classes
    )


def teacher_shape(config: Path) -> StudentShape | None:
    """The shape of the teacher in a config.json; None if it cannot be read."""
    try:
        facts = EncoderFacts.of_config(parse_json(config.read_bytes()))
        return StudentShape(layers=facts.layers, width=facts.width, ffn_width=facts.ffn_width, heads=facts.heads)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _earlier_results(folder: Path) -> Results | None:
    """The results in the folder; None if there are none that can be read."""
    try:
        return read_results(folder)
    except UserError:
        return None
