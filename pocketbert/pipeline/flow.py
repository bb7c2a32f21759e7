"""The flow: recipe -> teacher -> general -> augment -> intermediate -> prediction -> export -> bench -> gate -> report.

`plan` states the inputs of each stage. `stages` holds one file per stage, which is imported only if the stage must run.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from errno import ENOSPC
from functools import partial
from pathlib import Path
from typing import assert_never

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from bench.measurement import machine
from bench.results.document import Results
from compress.common import distributed
from compress.common.errors import UserError
from compress.common.files import write_text
from compress.data.tasks import Task
from pocketbert.data.recipe_task import load_recipe_task
from pocketbert.pipeline.document import write_reports
from pocketbert.pipeline.plan import StageName, augmentation_plan, general_plan, plan_of
from pocketbert.recipe import preflight
from pocketbert.recipe.loading import to_yaml
from pocketbert.recipe.sections import Recipe
from pocketbert.stages.context import StageContext
from pocketbert.stages.gate import apply_gate
from pocketbert.store.manifest import StagePlan, StageRecord, read_manifest
from pocketbert.store.run_folder import PARTIAL, Run, cache_folder
from pocketbert.store.workspace import Workspace

MIN_FREE_BYTES = 2**26  # below it, the disk counts as full
SINGLE_PROCESS: tuple[StageName, ...] = ("export", "bench")  # stages of the main process, after the others have ended


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The outcome of a run.

    `results`: the content of results.json; None if the run stopped before its last stage. `num_built`: the number of
    stages that were not skipped. `not_shipped`: required variants that failed the gate, with the reasons.
    """

    folder: Path
    results: Results | None
    num_built: int
    not_shipped: list[str]


def prepare(recipe: Recipe, console: Console, folder: Path | None = None) -> Task:
    """Check the recipe against its models, read the data, and check the files of the models. Raises UserError.

    `folder`: the run folder. If a run has finished its training there, the files of the models are not checked again,
    which would load torch. With several processes, the main one goes first, so that the others can use its downloads.
    """
    has_trained = folder is not None and "prediction" in read_manifest(folder)
    with distributed.main_first():
        preflight.check_models(recipe)
        task = load_recipe_task(recipe, console)
        remarks = [] if has_trained else preflight.check_model_files(recipe, task)
    for remark in remarks:
        console.print(f"  [dim]{escape(remark)}[/dim]")
    return replace(task, remarks=(*task.remarks, *remarks))


def run_recipe(
    recipe: Recipe, task: Task, folder: Path, console: Console, *, until: str | None = None
) -> RunResult | None:
    """Do the stages of a recipe that the run folder lacks, then the gate and the report.

    `task`: from `prepare`. `until`: stop after this stage, without gate and report. Several processes train together;
    then all but the main one end, and get None.
    """
    plan = _stages_until(plan_of(recipe, task), until)
    with _open_run(recipe, folder, console) as run:
        context = StageContext(recipe, task, run.folder, run.records, console)
        for stage in plan:
            if stage.name not in SINGLE_PROCESS:
                do_stage(stage, run, context)
        if not distributed.leave():
            return None
        for stage in plan:
            if stage.name in SINGLE_PROCESS:
                do_stage(stage, run, context)
        if until is not None:
            return RunResult(folder=folder, results=None, num_built=run.num_built, not_shipped=[])
        verdict = apply_gate(
            context, Workspace(output=run.folder / "bundles", checkpoints=run.folder / PARTIAL / "gate")
        )
        results = write_reports(context, plan, verdict)
        return RunResult(folder=folder, results=results, num_built=run.num_built, not_shipped=verdict.not_shipped)


def make_general(recipe: Recipe, task: Task, folder: Path, console: Console) -> Path | None:
    """Make only the general student of a recipe, or take it from the cache. Returns the folder of the model.

    With several processes, all but the main one get None.
    """
    is_main = _do_stages(general_plan(recipe, task), recipe, task, folder, console)
    return folder / "general" / "model" if is_main else None


def make_augmented_data(recipe: Recipe, task: Task, folder: Path, console: Console) -> Path | None:
    """Make only the augmented data of a recipe, or take them from the cache. Returns their folder.

    With several processes, all but the main one get None.
    """
    is_main = _do_stages(augmentation_plan(recipe, task), recipe, task, folder, console)
    return folder / "augment" if is_main else None


def _do_stages(plan: Sequence[StagePlan], recipe: Recipe, task: Task, folder: Path, console: Console) -> bool:
    """Do these stages. Returns whether this is the main process; the others have then ended their work."""
    with _open_run(recipe, folder, console) as run:
        context = StageContext(recipe, task, run.folder, run.records, console)
        for stage in plan:
            do_stage(stage, run, context)
        return distributed.leave()


def do_stage(stage: StagePlan, run: Run, context: StageContext) -> StageRecord:
    """Do a stage of the plan, unless it is already done."""
    return run.stage(stage, partial(_build, stage.name, context))


def _build(name: StageName, context: StageContext, workspace: Workspace) -> object:
    """Call the function of the stage, after importing its module."""
    match name:
        case "teacher":
            from pocketbert.stages.teacher import make_teacher

            return make_teacher(context, workspace)
        case "general":
            from pocketbert.stages.general import distill_general

            return distill_general(context, workspace)
        case "masked_lm":
            from pocketbert.stages.masked_lm import train_masked_lm

            return train_masked_lm(context, workspace)
        case "augment":
            from pocketbert.stages.augment import augment_data

            return augment_data(context, workspace)
        case "intermediate":
            from pocketbert.stages.intermediate import distill_intermediate

            return distill_intermediate(context, workspace)
        case "prediction":
            from pocketbert.stages.prediction import distill_prediction

            return distill_prediction(context, workspace)
        case "export":
            from pocketbert.stages.export import export_student

            return export_student(context, workspace)
        case "bench":
            from pocketbert.stages.bench import benchmark_run

            return benchmark_run(context, workspace)
    assert_never(name)


def _stages_until(plan: Sequence[StagePlan], until: str | None) -> Sequence[StagePlan]:
    """The plan up to and including a stage. Raises UserError if the recipe does not have that stage."""
    names = [stage.name for stage in plan]
    if until is None:
        return plan
    if until not in names:
        raise UserError(f"--until {until}: this recipe has no such stage; its stages are {', '.join(names)}")
    return plan[: names.index(until) + 1]


@contextmanager
def _open_run(recipe: Recipe, folder: Path, console: Console) -> Iterator[Run]:
    with Run(folder, versions=machine.package_versions(), announce=_announcer(folder, console)) as run:
        try:
            if distributed.is_main():
                write_text(folder / "recipe.yaml", to_yaml(recipe))
            yield run
        except OSError as error:
            if error.filename is None:  # a failed write does not name its file
                error.filename = str(folder)
            raise
        except UserError:
            raise
        except Exception as error:
            # torch and safetensors report a full disk with their own exceptions
            for path in (folder, cache_folder()):
                is_full = path.exists() and shutil.disk_usage(path).free < MIN_FREE_BYTES
                if is_full or os.strerror(ENOSPC) in str(error):
                    raise OSError(ENOSPC, os.strerror(ENOSPC), str(path)) from error
            raise


def _announcer(folder: Path, console: Console) -> Callable[[str], None]:
    """A function that prints a message on the console, and appends it to log.txt with the time."""

    def announce(message: str) -> None:
        console.print(message)
        with (folder / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z  {Text.from_markup(message).plain}\n")

    return announce
