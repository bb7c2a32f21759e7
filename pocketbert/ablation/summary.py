"""The tables of an ablation: means over seeds, differences from the recipe with intervals, and those of the paper."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from bench.results.document import SplitSizes
from compress.data.metrics import Metric, metric_name, positive_class
from compress.data.tasks import Task
from compress.results import SplitScores
from pocketbert.ablation.paired_seeds import Mean, SeedDifference, Verdict, difference_over_seeds, mean_of
from pocketbert.ablation.rows import Row
from pocketbert.ablation.trainings import PlannedTables
from pocketbert.ablation.variants import TableName, Variant, VariantTable
from pocketbert.recipe.sections import Recipe

Students = Sequence[Row | None]  # of a variant, one per seed; None for one that is not finished


@dataclass(frozen=True, kw_only=True)
class VariantResult:
    """A variant with the students that are finished.

    `difference`: from the recipe on test, over the seeds that both have; None for the recipe itself. `verdict`: of that
    difference. `paper`, `paper_difference`: in percent points of the paper's mean of four dev scores. `num_seeds`: of
    `num_planned`.
    """

    name: str
    changes: list[str]
    num_seeds: int
    num_planned: int
    num_steps: dict[str, int] = field(default_factory=dict)
    dev: Mean | None = None
    test: Mean | None = None
    difference: SeedDifference | None = None
    verdict: Verdict | None = None
    paper: float | None = None
    paper_difference: float | None = None

    @property
    def agrees(self) -> str:
        """Whether the sign of the difference is that of the paper."""
        if self.paper_difference is None or self.verdict not in ("higher", "lower"):
            return ""
        return "as in the paper" if (self.verdict == "lower") == (self.paper_difference < 0) else "unlike the paper"


@dataclass(frozen=True, kw_only=True)
class TableResult:
    """A table. `left_out`: a reason for each variant that it does not have."""

    name: TableName
    variants: list[VariantResult]
    left_out: list[str]


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """The content of ablation.json.

    `pins`: changes of the recipe that all variants share, so that each trains for the same steps. `cpus`: of the
    machines that trained students. `num_missing`: students that are not finished.
    `diverged`: a line for each student whose loss became NaN or infinite.
    """

    version: str
    name: str
    metric: Metric
    metric_name: str
    scored_on: str
    num_rows: SplitSizes
    num_seeds: int
    teacher: SplitScores | None
    pins: list[str]
    cpus: list[str]
    num_trainings: int
    num_missing: int
    diverged: list[str]
    tables: list[TableResult]


def summarise(
    recipe: Recipe,
    task: Task,
    planned: PlannedTables,
    rows: Mapping[str, Row],
    *,
    num_seeds: int,
    version: str,
    diverged: Sequence[str] = (),
) -> Ablation:
    """The tables of all finished students."""
    metric = recipe.task.metric
    positive = positive_class(metric, recipe.task.positive, task.labels)

    def difference(own: Students, reference: Students) -> SeedDifference | None:
        pairs = [
            (one, other) for one, other in zip(own, reference, strict=True) if one is not None and other is not None
        ]
        if not pairs:
            return None
        return difference_over_seeds(
            task.test.labels,
            [one.predicted("test") for one, _ in pairs],
            [other.predicted("test") for _, other in pairs],
            partial(task.score, metric, positive=positive),
            is_mean=metric == "accuracy" and task.type == "classification",
        )

    first = next(iter(rows.values()), None)
    return Ablation(
        version=version,
        name=recipe.name,
        metric=metric,
        metric_name=metric_name(metric, None if positive is None else positive.name),
        scored_on=task.scored_on,
        num_rows=SplitSizes(train=len(task.train), dev=len(task.dev), test=len(task.test)),
        num_seeds=num_seeds,
        teacher=None if first is None else first.teacher_scores,
        pins=list(planned.pins),
        cpus=sorted({row.cpu for row in rows.values()}),
        num_trainings=len(planned.trainings),
        num_missing=len(planned.trainings) - len(rows),
        diverged=list(diverged),
        tables=[_table(table, planned, rows, difference) for table in planned.tables],
    )


def _table(
    table: VariantTable,
    planned: PlannedTables,
    rows: Mapping[str, Row],
    difference_of: Callable[[Students, Students], SeedDifference | None],
) -> TableResult:
    """A table. `difference_of`: the students of a variant compared with those of the recipe."""
    students = {
        variant.name: [rows.get(each) for each in planned.students[table.name, variant.name]]
        for variant in table.variants
    }
    recipe, *others = table.variants
    results = [_result(recipe, students[recipe.name])]
    for variant in others:
        paper_difference = None
        if variant.paper is not None and recipe.paper is not None:
            paper_difference = round(variant.paper - recipe.paper, 1)
        difference = difference_of(students[variant.name], students[recipe.name])
        results.append(_result(variant, students[variant.name], difference, paper_difference))
    return TableResult(name=table.name, variants=results, left_out=table.left_out)


def _result(
    variant: Variant,
    students: Students,
    difference: SeedDifference | None = None,
    paper_difference: float | None = None,
) -> VariantResult:
    finished = [row for row in students if row is not None]
    return VariantResult(
        name=variant.name,
        changes=list(variant.changes),
        num_seeds=len(finished),
        num_planned=len(students),
        num_steps=finished[0].num_steps if finished else {},
        dev=mean_of([row.scores.dev for row in finished]) if finished else None,
        test=mean_of([row.scores.test for row in finished]) if finished else None,
        difference=difference,
        verdict=None if difference is None else difference.verdict,
        paper=variant.paper,
        paper_difference=paper_difference,
    )
