"""How long an ablation takes, from a few timed steps of each stage. Loads torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.measurement.noise import OtherPrograms
from pocketbert.ablation.run_ablation import AblationPlan
from pocketbert.ablation.variants import TableName, Variant
from pocketbert.pipeline import estimate
from pocketbert.pipeline.plan import StageName
from pocketbert.recipe.choices import resolve
from pocketbert.recipe.sections import TASK_STAGES, Recipe
from pocketbert.store.stage_state import TO_DO, state_of
from pocketbert.store.working_folder import PARTIAL
from pocketbert.timing.amounts import Sizes, num_stage_steps
from pocketbert.timing.step_cost import total


@dataclass(frozen=True, kw_only=True)
class PlannedVariant:
    """A variant with its optimiser steps per student, and how many of its students are finished."""

    table: TableName
    name: str
    changes: list[str]
    num_steps: dict[str, int]
    num_seeds: int
    num_finished: int


@dataclass(frozen=True, kw_only=True)
class PlannedWork:
    """The report of `--dry-run`.

    `num_students`: different ones; variants with equal options share them. `num_to_do`: of this part. `num_stages`: to
    do, equal ones counted once. `estimated_s`, `maximum_s`: for these.
    """

    name: str
    folder: str
    variants: list[PlannedVariant]
    left_out: list[str]
    num_students: int
    num_to_do: int
    num_stages: int
    estimated_s: float
    maximum_s: float


def planned_work(plan: AblationPlan, folder: Path, on_stage: Callable[[str], None]) -> PlannedWork:
    """The students of each variant, and the time of all that are to do. `on_stage`: gets each stage that is timed."""
    others = OtherPrograms()
    stages: dict[tuple[StageName, str], Recipe] = {}
    for training in plan.to_do:
        resolved = resolve(training.recipe, plan.task).recipe
        for stage in training.plan:
            if state_of(stage, folder / PARTIAL / training.group) in TO_DO:
                stages.setdefault((stage.name, stage.fingerprint), resolved)
    names = list(dict.fromkeys(name for name, _ in stages))
    measured = estimate.measure(plan.recipe, plan.task, names, others, on_stage=on_stage)
    time = total(measured.time_of(name, recipe) for (name, _), recipe in stages.items())
    return PlannedWork(
        name=plan.recipe.name,
        folder=str(folder),
        variants=[
            _variant(table.name, variant, plan, measured.sizes)
            for table in plan.tables.tables
            for variant in table.variants
        ],
        left_out=[reason for table in plan.tables.tables for reason in table.left_out],
        num_students=len(plan.tables.trainings),
        num_to_do=len(plan.to_do),
        num_stages=len(stages),
        estimated_s=time.expected_s,
        maximum_s=time.maximum_s,
    )


def _variant(table: TableName, variant: Variant, plan: AblationPlan, sizes: Sizes) -> PlannedVariant:
    trainings = {each.identity: each for each in plan.tables.trainings}
    identities = plan.tables.students[table, variant.name]
    recipe = resolve(trainings[identities[0]].recipe, plan.task).recipe
    return PlannedVariant(
        table=table,
        name=variant.name,
        changes=list(variant.changes),
        num_steps={stage: num_stage_steps(stage, recipe, sizes) or 0 for stage in TASK_STAGES},
        num_seeds=len(identities),
        num_finished=sum(each in plan.rows for each in identities),
    )
