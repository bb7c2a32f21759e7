"""The flow: recipe -> teacher -> general -> augment -> intermediate -> prediction -> export -> bench -> gate -> report.

`plan` states what each stage depends on; `stages` holds one file per stage, imported only when that stage must run.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import ENOSPC
from functools import partial
from pathlib import Path
from typing import assert_never

from rich.console import Console
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
from pocketbert.store.manifest import StagePlan, StageRecord
from pocketbert.store.run_folder import PARTIAL, Run, cache_folder
from pocketbert.store.workspace import Workspace

DISK_IS_FULL_BELOW_BYTES = 2**26
ALONE: tuple[StageName, ...] = ("export", "bench")  # what one process does after the others have left


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended. `results`: the content of results.json; None where it stopped before its last stage.

    `not_shipped`: variants that had to pass the gate and did not; empty when all is well.
    """

    folder: Path
    results: Results | None
    num_built: int
    not_shipped: list[str]


def prepare(recipe: Recipe, console: Console) -> Task:
    """Check the models against one another and the recipe, and read the data. Raises UserError.

    Of several processes the main one goes first: the others then find what it downloaded.
    """
    with distributed.main_first():
        preflight.check_models(recipe)
        return load_recipe_task(recipe, console)


def run_recipe(
    recipe: Recipe, task: Task, folder: Path, console: Console, *, until: str | None = None
) -> RunResult | None:
    """Bring a run folder to the state that the recipe describes: do what is missing, leave the rest.

    `task`: as `prepare` gives it. `until`: the last stage to do; the gate and the report are then left out. Several
    processes train together; then all but the main one are done, and get None.
    """
    plan = _stages_until(plan_of(recipe, task), until)
    with _open_run(recipe, folder, console) as run:
        context = StageContext(recipe, task, run.folder, run.records, console)
        for stage in plan:
            if stage.name not in ALONE:
                do(stage, run, context)
        if not distributed.leave():
            return None
        for stage in plan:
            if stage.name in ALONE:
                do(stage, run, context)
        if until is not None:
            return RunResult(folder=folder, results=None, num_built=run.num_built, not_shipped=[])
        verdict = apply_gate(
            context, Workspace(output=run.folder / "bundles", checkpoints=run.folder / PARTIAL / "gate")
        )
        results = write_reports(context, plan, verdict)
        return RunResult(folder=folder, results=results, num_built=run.num_built, not_shipped=verdict.not_shipped)


def make_general(recipe: Recipe, task: Task, folder: Path, console: Console) -> Path | None:
    """Make the recipe's general student alone, or take it from the cache; returns the folder of its model.

    Of several processes all but the main one get None.
    """
    return _make(recipe, task, general_plan(recipe, task), folder / "general" / "model", folder, console)


def make_variants(recipe: Recipe, task: Task, folder: Path, console: Console) -> Path | None:
    """Make the recipe's augmented data alone, or take them from the cache; returns their folder.

    Of several processes all but the main one get None.
    """
    return _make(recipe, task, augmentation_plan(recipe, task), folder / "augment", folder, console)


def _make(
    recipe: Recipe, task: Task, plan: Sequence[StagePlan], made: Path, folder: Path, console: Console
) -> Path | None:
    with _open_run(recipe, folder, console) as run:
        context = StageContext(recipe, task, run.folder, run.records, console)
        for stage in plan:
            do(stage, run, context)
        return made if distributed.leave() else None


def do(stage: StagePlan, run: Run, context: StageContext) -> StageRecord:
    """Do a stage of the plan, unless it was done before."""
    return run.stage(stage, partial(_build, stage.name, context))


def _build(name: StageName, context: StageContext, workspace: Workspace) -> object:
    """The stage's own function; its module is imported only now."""
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
    """The plan up to and including a stage. Raises UserError where the recipe does not have that stage."""
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
            if error.filename is None:  # a write that fails does not say where
                error.filename = str(folder)
            raise
        except UserError:
            raise
        except Exception as error:
            # torch and safetensors report a full disk in errors of their own
            for place in (folder, cache_folder()):
                full = place.exists() and shutil.disk_usage(place).free < DISK_IS_FULL_BELOW_BYTES
                if full or os.strerror(ENOSPC) in str(error):
                    raise OSError(ENOSPC, os.strerror(ENOSPC), str(place)) from error
            raise


def _announcer(folder: Path, console: Console) -> Callable[[str], None]:
    """Prints on the console, and appends to the run's log.txt with the time."""

    def announce(message: str) -> None:
        console.print(message)
        with (folder / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z  {Text.from_markup(message).plain}\n")

    return announce
