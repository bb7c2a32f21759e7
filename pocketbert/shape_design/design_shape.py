"""`pocketbert design`: the proposal as a table, a plot and a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic_core import to_jsonable_python
from rich.console import Console

from bench.plots.shape_plot import ShapeMark, latency_against_weights
from compress.common.errors import UserError
from compress.common.files import write_json, write_text
from compress.common.owned_files import open_output, require_writable
from compress.data.tasks import Task
from pocketbert.pipeline.flow import prepare
from pocketbert.recipe.loading import load_recipe
from pocketbert.recipe.models import BudgetSection
from pocketbert.recipe.sections import Recipe
from pocketbert.recipe.training import QuantisedVariant
from pocketbert.shape_design.proposal import Design, design_student, smallest_shape

FILES = ("design.svg", "design.json")


@dataclass(frozen=True, kw_only=True)
class DesignRequest:
    """The budget of `design`, and how much to measure."""

    latency_ms: float
    size_mb: float | None
    tokens: int | None
    threads: int | None
    variant: str
    steps: int
    rounds: int


def design_shape(
    name: str | None, changes: Sequence[str], request: DesignRequest, *, output: Path | None, console: Console
) -> Design:
    """Propose a shape. `name`: of a recipe. `output`: a folder for design.svg and design.json. Raises UserError."""
    if output is not None:
        require_writable(output, FILES)
    if request.variant not in get_args(QuantisedVariant):
        raise UserError(f"--variant {request.variant}: expected one of {', '.join(get_args(QuantisedVariant))}")
    if name is None and changes:
        raise UserError("--set changes a recipe, but no recipe is named")
    budget = BudgetSection(
        latency_ms=request.latency_ms,
        size_mb=request.size_mb,
        tokens=request.tokens,
        threads=request.threads,
        variant=next(each for each in get_args(QuantisedVariant) if each == request.variant),
    )
    recipe, task = (None, None) if name is None else _recipe_and_task(name, changes, console)
    design = design_student(budget, recipe, task, rounds=request.rounds, steps=request.steps, console=console)
    if output is not None:
        with open_output(output, FILES).writing(*FILES):
            write_text(output / "design.svg", _plot(design))
            write_json(output / "design.json", to_jsonable_python(design))
    return design


def _recipe_and_task(name: str, changes: Sequence[str], console: Console) -> tuple[Recipe, Task]:
    """The recipe with its data. Its own shape or budget is without effect."""
    recipe = load_recipe(name, changes=changes)
    student = recipe.student.model_copy(update={"preset": None, **vars(smallest_shape(recipe))})
    return recipe, prepare(recipe.model_copy(update={"student": student}), console)


def _plot(design: Design) -> str:
    marks = [
        ShapeMark(
            name=f"{each.shape.layers} x {each.shape.width}, {each.shape.ffn_width}",
            latency_ms=each.latency_ms,
            weights=each.weights / 1e6,
            fits=each.fits,
            is_proposed=each is design.proposed,
        )
        for each in design.shapes
    ]
    return latency_against_weights(marks, budget_ms=design.latency_ms, tokens=design.tokens)
