"""The students that an ablation trains: every variant with every seed. Variants with equal options share a student."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.common.errors import UserError
from compress.data.tasks import Task
from pocketbert.ablation.variants import OWN, Steps, Variant, VariantTable, step_changes
from pocketbert.pipeline.plan import Plan, student_plan
from pocketbert.recipe import preflight
from pocketbert.recipe.choices import resolve
from pocketbert.recipe.loading import load_recipe, require_shape
from pocketbert.recipe.sections import Recipe, num_training_texts
from pocketbert.store.manifest import fingerprint_of
from pocketbert.timing.amounts import num_steps


@dataclass(frozen=True, kw_only=True)
class Source:
    """A recipe as the user named it: a file or a built-in one, with the changes of `--set`."""

    name: str
    changes: tuple[str, ...] = ()
    smoke: bool = False

    def load(self, more: Sequence[str] = (), on_warning: Callable[[str], None] = lambda line: None) -> Recipe:
        """The recipe with further changes. `on_warning`: as in `load_recipe`. Raises UserError."""
        return load_recipe(self.name, changes=[*self.changes, *more], smoke=self.smoke, on_warning=on_warning)


@dataclass(frozen=True, kw_only=True)
class Training:
    """One student to train.

    `identity`: of the options of all stages, and of the version. Unlike a fingerprint, it does not cover the machine,
    so that students of several machines can be put together. `group`: trainings of one group share the student of the
    intermediate stage. `changes`: keys of the user's recipe with their values.
    """

    identity: str
    group: str
    seed: int
    changes: tuple[str, ...]
    recipe: Recipe
    plan: Plan

    @property
    def key(self) -> str:
        """A short name for files."""
        return self.identity[:16]


@dataclass(frozen=True, kw_only=True)
class PlannedTables:
    """The tables, and for each variant the identities of its students, one per seed.

    `trainings`: each student once, ordered so that those of a group follow one another.
    """

    tables: list[VariantTable]
    students: dict[tuple[str, str], list[str]]
    trainings: list[Training]
    pins: tuple[str, ...]


def pinned_steps(recipe: Recipe, task: Task) -> tuple[Steps, tuple[str, ...]]:
    """The steps of a recipe without `auto`, and the changes that give every variant the same schedule.

    Without these changes, a variant with fewer rows or another number of epochs would train for fewer steps.
    """
    counts, changes = {}, list[str]()
    num_texts = num_training_texts(recipe, len(task.train), takes_pairs=task.train.pairs is not None)
    sections = {"intermediate": recipe.distill.intermediate, "prediction": recipe.distill.prediction}
    for stage, section in sections.items():
        steps = counts[stage] = num_steps(section, num_texts)
        decay = "linear" if section.decay == "after_plateau" else section.decay  # that one ends at its own time
        values = {"batch_size": section.batch_size, "learning_rate": section.learning_rate, "decay": decay}
        changes += [f"distill.{stage}.{key}={value}" for key, value in values.items()]
        if steps:
            changes += step_changes(stage, steps)
    changes.append("distill.prediction.patience=null")
    rates = (sections["intermediate"].learning_rate, sections["prediction"].learning_rate)
    assert rates[0] is not None and rates[1] is not None
    steps_of = Steps(
        intermediate=counts["intermediate"],
        prediction=counts["prediction"],
        intermediate_rate=rates[0],
        prediction_rate=rates[1],
    )
    return steps_of, tuple(changes)


def plan_trainings(
    source: Source,
    task: Task,
    tables: Sequence[VariantTable],
    pins: tuple[str, ...],
    seeds: Sequence[int],
    *,
    version: str,
) -> PlannedTables:
    """Plan all students. A variant that does not fit the models is left out, with the reason.

    `version`: that of PocketBERT that trains or has trained them.
    """
    kept, students = list[VariantTable](), dict[tuple[str, str], list[str]]()
    trainings = dict[str, Training]()
    for table in tables:
        variants, left_out = [], list(table.left_out)
        for variant in table.variants:
            planned = []
            try:
                for seed in seeds:
                    changes = (*_pins_for(variant, pins), *variant.changes, f"distill.seed={seed}")
                    planned.append(_training(source, task, changes, seed, version))
            except UserError as error:
                if not variant.changes:
                    raise
                if table.name == OWN:
                    raise UserError(f"variant {variant.name!r}: {error}") from error
                left_out.append(f"{variant.name}: {error}")
                continue
            variants.append(variant)
            students[table.name, variant.name] = [each.identity for each in planned]
            for each in planned:
                trainings.setdefault(each.identity, each)
        kept.append(VariantTable(name=table.name, variants=variants, left_out=left_out))
    groups = list(dict.fromkeys(each.group for each in trainings.values()))
    ordered = sorted(trainings.values(), key=lambda each: groups.index(each.group))
    return PlannedTables(tables=kept, students=students, trainings=ordered, pins=pins)


def _pins_for(variant: Variant, pins: tuple[str, ...]) -> list[str]:
    """The shared changes, without those of the steps of a stage whose steps the variant itself sets."""
    keys = {change.partition("=")[0].strip() for change in variant.changes}
    own = {key.rpartition(".")[0] for key in keys if key.endswith((".epochs", ".max_steps"))}
    steps_of_own = tuple(f"{stage}.{key}=" for stage in own for key in ("epochs", "max_steps"))
    return [pin for pin in pins if not pin.startswith(steps_of_own)]


def _training(source: Source, task: Task, changes: tuple[str, ...], seed: int, version: str) -> Training:
    recipe = require_shape(source.load(changes))
    preflight.check_models(recipe)
    plan = student_plan(resolve(recipe, task).recipe, task)
    options = {stage.name: stage.inputs["options"] for stage in plan}
    fingerprints = {stage.name: stage.fingerprint for stage in plan}
    return Training(
        identity=fingerprint_of({"options": options, "version": version}),
        group=fingerprints["intermediate"][:16],
        seed=seed,
        changes=(*source.changes, *changes),
        recipe=recipe,
        plan=plan,
    )
