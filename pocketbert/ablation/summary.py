"""The tables of an ablation: means over seeds, differences from the recipe with intervals, and those of the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.results.document import SplitSizes
from compress.data.metrics import Metric, metric_name, positive_class
from compress.data.tasks import Task
from compress.results import SplitScores
from pocketbert.ablation.paired_seeds import Mean, SeedDifference, Verdict, difference_over_seeds, mean_of
from pocketbert.ablation.rows import Row
from pocketbert.ablation.trainings import PlannedTables
from pocketbert.ablation.variants import TableName, Variant
from pocketbert.recipe.sections import Recipe


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
    first = next(iter(rows.values()), None)
    return Ablation(
        version=version,
        name=recipe.name,
        metric=metric,
        metric_name=metric_name(metric, None if positive is None else positive.name),
        scored_on="dev" if task.selected_on_test else "test",
        num_rows=SplitSizes(train=len(task.train), dev=len(task.dev), test=len(task.test)),
        num_seeds=num_seeds,
        teacher=None if first is None else first.teacher_scores,
        pins=list(planned.pins),
        cpus=sorted({row.cpu for row in rows.values()}),
        num_trainings=len(planned.trainings),
        num_missing=len(planned.trainings) - len(rows),
        diverged=list(diverged),
        tables=[
            TableResult(
                name=table.name,
                left_out=table.left_out,
                variants=[
                    _result(
                        variant,
                        [rows.get(each) for each in planned.students[table.name, variant.name]],
                        [rows.get(each) for each in planned.students[table.name, table.variants[0].name]],
                        table.variants[0],
                        recipe,
                        task,
                    )
                    for variant in table.variants
                ],
            )
            for table in planned.tables
        ],
    )


def _result(
    variant: Variant,
    own: Sequence[Row | None],
    reference: Sequence[Row | None],
    first: Variant,
    recipe: Recipe,
    task: Task,
) -> VariantResult:
    finished = [row for row in own if row is not None]
    basis = {
        "name": variant.name,
        "changes": list(variant.changes),
        "num_seeds": len(finished),
        "num_planned": len(own),
        "paper": variant.paper,
    }
    if not finished:
        return VariantResult(**basis)  # type: ignore[arg-type]
    pairs = [(row, other) for row, other in zip(own, reference, strict=True) if row is not None and other is not None]
    difference = _difference(pairs, recipe, task) if variant is not first and pairs else None
    papers = (variant.paper, first.paper)
    return VariantResult(
        **basis,  # type: ignore[arg-type]
        num_steps=finished[0].num_steps,
        dev=mean_of([row.scores.dev for row in finished]),
        test=mean_of([row.scores.test for row in finished]),
        difference=difference,
        verdict=None if difference is None else difference.verdict,
        paper_difference=None if variant is first or None in papers else round(papers[0] - papers[1], 1),  # type: ignore[operator]
    )


def _difference(pairs: Sequence[tuple[Row, Row]], recipe: Recipe, task: Task) -> SeedDifference:
    metric = recipe.task.metric
    positive = positive_class(metric, recipe.task.positive, task.labels)

    def score(labels: np.ndarray, predictions: np.ndarray) -> float:
        return task.score(metric, labels, predictions, positive=positive)

    return difference_over_seeds(
        task.test.labels,
        [own.predicted("test") for own, _ in pairs],
        [other.predicted("test") for _, other in pairs],
        score,
        is_mean=metric == "accuracy" and task.type == "classification",
    )
