"""The flow: baseline, teacher, general, augment, intermediate, prediction, export, bench, gate, report.

`plan` states the inputs of each stage. `stages` holds one file per stage, which is imported only if the stage must run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import assert_never, get_args

from rich.console import Console

from bench.measurement import machine
from bench.results.document import Results
from compress.common import distributed
from compress.common.console import in_markup, of_markup, remark
from compress.common.errors import UserError
from compress.common.escaping import one_line
from compress.common.files import disk_errors
from compress.data.tasks import Task
from compress.results import BaselineResult, SearchResult, TeacherResult
from pocketbert import __version__
from pocketbert.data.hopeless import require_learnable
from pocketbert.data.recipe_task import load_recipe_task
from pocketbert.pipeline.document import write_reports
from pocketbert.pipeline.forecast import time_phrase
from pocketbert.pipeline.plan import (
    Plan,
    StageName,
    augmentation_plan,
    general_plan,
    plan_of,
    student_plan,
    teacher_plan,
)
from pocketbert.pipeline.progress_lines import stage_line
from pocketbert.pipeline.teacher_check import check_teacher
from pocketbert.recipe import preflight
from pocketbert.recipe.choices import Resolved, resolve
from pocketbert.recipe.loading import to_yaml
from pocketbert.recipe.sections import Recipe
from pocketbert.stage_parts.context import StageContext
from pocketbert.stages.gate import BUNDLES, apply_gate
from pocketbert.store.manifest import StagePlan, StageRecord, read_manifest
from pocketbert.store.run_folder import LOG, Run, require_usable
from pocketbert.store.stage_cache import cache_folder
from pocketbert.store.stage_state import TO_DO, state_of
from pocketbert.store.workspace import Workspace

Planner = Callable[[Recipe, Task], Plan]
SINGLE_PROCESS: tuple[StageName, ...] = ("export", "bench")  # stages of the main process, after the others have ended


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The outcome of a run.

    `folder`: the run folder. `results`: the content of results.json; None if the run stopped before its last stage.
    `num_built`: the number of stages that were not skipped. `not_shipped`, `not_recommended`: as in `GateResult`.
    """

    folder: Path
    results: Results | None
    num_built: int
    not_shipped: list[str]
    not_recommended: list[str] = field(default_factory=list)

    @property
    def bundles(self) -> dict[str, Path]:
        """The folders of the bundles that passed the gate, by variant. Empty before the last stage."""
        export = None if self.results is None else self.results.stages.export
        return {} if export is None else {name: self.folder / BUNDLES / name for name in export.passed}

    @property
    def recommended(self) -> Path | None:
        """The folder of the recommended bundle. None if there is none."""
        export = None if self.results is None else self.results.stages.export
        return None if export is None or export.recommended is None else self.bundles[export.recommended]

    @property
    def report(self) -> Path:
        """The report, a self-contained page. It exists after the last stage."""
        return self.folder / "report.html"


def prepare(recipe: Recipe, console: Console, folder: Path | None = None) -> Task:
    """Check the recipe against its models, read the data, and check the files of the models. Raises UserError.

    `folder`: the run folder. If a run has finished its training there, the files of the models are not checked again,
    which would load torch. With several processes, the main one goes first, so that the others can use its downloads.
    """
    if folder is not None:
        require_usable(folder, get_args(StageName))
    has_trained = folder is not None and "prediction" in read_manifest(folder)
    with distributed.main_first():
        preflight.check_models(recipe)
        task = load_recipe_task(recipe, console)
        if not recipe.smoke:  # its sample has few rows per class
            require_learnable(task)
        remarks = [] if has_trained else preflight.check_model_files(recipe, task)
    for each in remarks:
        console.print(remark(each))
    return replace(task, remarks=(*task.remarks, *remarks))


def run_recipe(
    recipe: Recipe, task: Task, folder: Path, console: Console, *, until: str | None = None
) -> RunResult | None:
    """Do the stages of a recipe that the run folder lacks, then the gate and the report.

    `task`: from `prepare`. `until`: stop after this stage, without gate and report. Several processes train together;
    then all but the main one end, and get None.
    """
    resolved = resolve(recipe, task)
    _stages_until(plan_of(resolved.recipe, task), until)
    with _open_run(resolved, folder, console) as run:
        context = StageContext(resolved, task, run.folder, run.records, console)
        context, plan = _do_stages(plan_of, run, context, until)
        if not distributed.leave():
            return None
        for stage in plan:
            if stage.name in SINGLE_PROCESS:
                do_stage(stage, run, context)
        if until is not None:
            return RunResult(folder=folder, results=None, num_built=run.num_built, not_shipped=[])
        verdict = apply_gate(context, run.owned)
        run.save()
        results = write_reports(context, plan, verdict, run.owned)
        return RunResult(
            folder=folder,
            results=results,
            num_built=run.num_built,
            not_shipped=verdict.not_shipped,
            not_recommended=verdict.not_recommended,
        )


def make_general(recipe: Recipe, task: Task, folder: Path, console: Console) -> Path | None:
    """Make only the general student of a recipe, or take it from the cache. Returns the folder of the model.

    With several processes, all but the main one get None.
    """
    is_main = _do_part(general_plan, recipe, task, folder, console)
    return folder / "general" / "model" if is_main else None


def make_augmented_data(recipe: Recipe, task: Task, folder: Path, console: Console) -> Path | None:
    """Make only the augmented data of a recipe, or take them from the cache. Returns their folder.

    With several processes, all but the main one get None.
    """
    is_main = _do_part(augmentation_plan, recipe, task, folder, console)
    return folder / "augment" if is_main else None


def make_teacher(recipe: Recipe, task: Task, folder: Path, console: Console) -> None:
    """Make only the teacher of a recipe, or take it from the cache."""
    _do_part(teacher_plan, recipe, task, folder, console)


def make_student(recipe: Recipe, task: Task, folder: Path, console: Console) -> None:
    """Make only the student of a recipe, with what it depends on: a run without baseline, export and benchmark."""
    _do_part(student_plan, recipe, task, folder, console)


def _do_part(planner: Planner, recipe: Recipe, task: Task, folder: Path, console: Console) -> bool:
    """Do the stages of a part of a run. Returns whether this is the main process; the others have ended their work."""
    resolved = resolve(recipe, task)
    with _open_run(resolved, folder, console) as run:
        _do_stages(planner, run, StageContext(resolved, task, run.folder, run.records, console))
        return distributed.leave()


def _do_stages(
    planner: Planner, run: Run, context: StageContext, until: str | None = None
) -> tuple[StageContext, Plan]:
    """Do the stages that several processes share. Returns the whole plan, and the context after a search.

    A search completes the recipe, so the stages after it are planned again.
    """
    plan = _stages_until(planner(context.recipe, context.task), until)
    done: dict[str, StageRecord] = {}
    for number in range(len(plan)):
        stage = plan[number]
        if stage.name in SINGLE_PROCESS:
            break
        record = done[stage.name] = do_stage(stage, run, context)
        if stage.name == "teacher" and "baseline" in done:
            baseline = done["baseline"].result_as(BaselineResult)
            _announce_caution(run, check_teacher(context, baseline, record.result_as(TeacherResult)))
        if stage.name == "search":
            result = record.result_as(SearchResult)
            context = context.after_search(result)
            _write_recipe(context.recipe, run)
            if until != "search":
                rest = _stages_until(planner(context.recipe, context.task), until)[number:]
                plan = [*plan[: number + 1], *rest]
                _announce_time_left(run, context, result, rest)
    return context, plan


def _announce_time_left(run: Run, context: StageContext, search: SearchResult, rest: Plan) -> None:
    """Print the time that the rest of the run takes, from the steps of the search, if the search has just ended."""
    if run.num_built == 0 or not distributed.is_main() or search.seconds_per_step is None:
        return
    from pocketbert.timing.remaining import remaining_time

    to_do = [stage.name for stage in rest if state_of(stage, run.folder) in TO_DO]
    lengths = context.data.encoded.train.lengths
    left = remaining_time(
        context.recipe,
        context.task,
        to_do,
        lengths=lengths,
        seconds_per_step=search.seconds_per_step,
        teacher_is_trained=search.training is not None,
    )
    unknown = [stage for stage in ("general", "masked_lm") if stage in to_do]  # their corpus has not been read yet
    without = f" without {' and '.join(unknown)}" if unknown else ""
    run.announce(f"  time left{without}: {time_phrase(left.expected_s, left.maximum_s)}")


def _announce_caution(run: Run, caution: str | None) -> None:
    if caution is not None and distributed.is_main():
        run.announce(f"[yellow]caution[/yellow]: {in_markup(caution)}")


def do_stage(stage: StagePlan, run: Run, context: StageContext) -> StageRecord:
    """Do a stage of the plan, unless it is already done. Prints its score."""
    record = run.stage(stage, partial(_build, stage.name, context))
    line = stage_line(stage.name, {**context.records, stage.name: record}, context.metric_name)
    if line is not None:
        context.console.print(f"  {one_line(line)}", soft_wrap=True)
    return record


def _build(name: StageName, context: StageContext, workspace: Workspace) -> object:
    """Call the function of the stage, after importing its module."""
    match name:
        case "baseline":
            from pocketbert.stages.baseline import make_baseline

            return make_baseline(context, workspace)
        case "search":
            from pocketbert.stages.search import search_schedule

            return search_schedule(context, workspace)
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


def _stages_until(plan: Plan, until: str | None) -> Plan:
    """The plan up to and including a stage. Raises UserError if the recipe does not have that stage."""
    names = [stage.name for stage in plan]
    if until is None:
        return plan
    if until not in names:
        raise UserError(f"--until {until}: this recipe has no such stage; its stages are {', '.join(names)}")
    return plan[: names.index(until) + 1]


@contextmanager
def _open_run(resolved: Resolved, folder: Path, console: Console) -> Iterator[Run]:
    announce = _announcer(folder, console)
    run = Run(folder, versions=machine.package_versions(), announce=announce, names=get_args(StageName))
    with disk_errors(folder, cache_folder()), run:
        if distributed.is_main():
            _log(folder, f"PocketBERT {__version__}")
        _write_recipe(resolved.recipe, run)
        yield run


def _write_recipe(recipe: Recipe, run: Run) -> None:
    if distributed.is_main():
        run.owned.write_text("recipe.yaml", to_yaml(recipe))


def _announcer(folder: Path, console: Console) -> Callable[[str], None]:
    """A function that prints a message on the console, and appends it to log.txt with the time."""

    def announce(message: str) -> None:
        text = of_markup(message)
        console.print(text, soft_wrap=True)  # keeps paths in one piece
        _log(folder, text.plain)

    return announce


def _log(folder: Path, line: str) -> None:
    with (folder / LOG).open("a", encoding="utf-8") as log:
        log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z  {one_line(line)}\n")
