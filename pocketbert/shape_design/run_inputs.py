"""The inputs of a run: the recipe, with the shape of its student, and the run folder."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pocketbert.recipe.loading import load_recipe
from pocketbert.recipe.sections import Recipe


def load_with_shape(
    name: str, output: str | Path | None, console: Console, *, changes: Sequence[str] = (), smoke: bool = False
) -> tuple[Recipe, Path]:
    """The recipe and the run folder. Measures shapes first, if the recipe has a budget in place of a shape.

    `name`, `changes` and `smoke`: as in `load_recipe`. `output`: by default the folder of that name in `runs`.
    """
    recipe = load_recipe(name, changes=changes, smoke=smoke)
    folder = Path(output or Path("runs") / recipe.name)
    if recipe.student.needs_design:
        from pocketbert.shape_design.proposal import with_shape

        recipe = with_shape(recipe, folder, console)
    return recipe, folder
