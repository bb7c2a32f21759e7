"""Commands that run a recipe, or a part of it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from compress.common.console import notice
from compress.common.escaping import one_line
from pocketbert.cli_parts import completion
from pocketbert.cli_parts.options import (
    EXIT_GATE,
    AsJson,
    Changes,
    RecipeName,
    RunFolder,
    Smoke,
    examples,
    message_when_interrupted,
    print_result,
    stderr_console,
)

if TYPE_CHECKING:
    from pocketbert.recipe.sections import Recipe

PANEL = "Recipes and runs"
commands = typer.Typer()


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples("pocketbert check reviews.yaml", "pocketbert check reviews.yaml --set seed=1 --json"),
)
def check(
    recipe: RecipeName, output: RunFolder = None, changes: Changes = None, smoke: Smoke = False, as_json: AsJson = False
) -> None:
    """Print the plan of a run: data, models, stages, steps and estimated times. Trains nothing."""
    from pocketbert.cli_parts import run_text
    from pocketbert.pipeline.flow import prepare
    from pocketbert.recipe.choices import resolve

    console = stderr_console()
    loaded, folder = _loaded(recipe, changes, smoke, output, console)
    task = prepare(loaded, Console(quiet=True))
    with console.status("timing a few steps of each stage") as status:
        from pocketbert.pipeline.estimate import forecast, time_left

        plan = forecast(
            resolve(loaded, task),
            task,
            folder,
            on_stage=lambda stage: status.update(f"timing a few steps: {stage}"),
            limit_s=time_left(),
        )
    print_result(plan, as_json, run_text.plan)


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples(
        "pocketbert run quickstart",
        "pocketbert run reviews.yaml --output runs/reviews",
        "pocketbert run reviews.yaml --until prediction --output runs/reviews",
        "pocketbert run reviews.yaml --set distill.prediction.learning_rate=2e-4 --output runs/second-try",
    ),
)
def run(
    recipe: RecipeName,
    output: RunFolder = None,
    changes: Changes = None,
    smoke: Smoke = False,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE",
            help="Stop after this stage: baseline, search, teacher, general, masked_lm, augment, intermediate, "
            "prediction, export, bench",
            autocompletion=completion.stage_names,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe from the teacher to the report. Skips finished stages and resumes an interrupted one."""
    from pocketbert.cli_parts import run_text
    from pocketbert.pipeline.flow import prepare, run_recipe
    from pocketbert.pipeline.plan import require_stage_name

    require_stage_name(until)
    console = stderr_console()
    loaded, folder = _loaded(recipe, changes, smoke, output, console)
    with message_when_interrupted(console):
        outcome = run_recipe(loaded, prepare(loaded, console, folder), folder, console, until=until)
    if outcome is None:  # the main process continues
        return
    if as_json and outcome.results is not None:
        print_result(outcome.results, as_json, run_text.benchmark)
    else:
        if not outcome.num_built:
            console.print(Text("Nothing to do: every stage is finished.", style="green"))
        print_result(outcome, as_json, run_text.outcome)
    for line in outcome.not_shipped:
        console.print(notice("not shipped", "red", line), soft_wrap=True)
    for line in outcome.not_recommended:
        console.print(notice("not recommended", "red", line), soft_wrap=True)
    if outcome.not_shipped or outcome.not_recommended:
        raise typer.Exit(EXIT_GATE)


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples("pocketbert general reviews.yaml --set distill.general.corpus=task --output runs/general"),
)
def general(
    recipe: RecipeName, output: RunFolder = None, changes: Changes = None, smoke: Smoke = False, as_json: AsJson = False
) -> None:
    """Run only the general distillation of a recipe, for use in many tasks.

    The student is stored in the cache. Recipes with the same base model, student, seed, corpus and `distill.general`
    reuse it from there. Other recipes name its folder as `student.checkpoint`.
    """
    from pocketbert.pipeline.flow import make_general, prepare

    console = stderr_console()
    loaded, folder = _loaded(recipe, changes, smoke, output, console)
    with message_when_interrupted(console):
        student = make_general(loaded, prepare(loaded, console), folder, console)
    if student is None:  # another process prints it
        return
    print(json.dumps({"model": str(student)}) if as_json else f"general student {one_line(str(student))}")


@commands.command(
    rich_help_panel=PANEL,
    epilog=examples("pocketbert augment reviews.yaml --set augment.probability=0.3 --show 20 --output runs/augmented"),
)
def augment(
    recipe: RecipeName,
    output: RunFolder = None,
    changes: Changes = None,
    smoke: Smoke = False,
    show: Annotated[
        int, typer.Option(min=0, max=100_000, help="Augmented texts to print, with the replaced words marked")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Run only the data augmentation of a recipe, and print examples of it.

    The augmented data are stored in the cache, where `run` reuses them.
    """
    from pocketbert.cli_parts import run_text
    from pocketbert.pipeline.flow import make_augmented_data, prepare

    console = stderr_console()
    loaded, folder = _loaded(recipe, changes, smoke, output, console)
    with message_when_interrupted(console):
        augmented = make_augmented_data(loaded, prepare(loaded, console), folder, console)
    if augmented is None:  # another process prints it
        return
    from pocketbert.standalone.augmentation_preview import preview_augmentation

    print_result(
        preview_augmentation(augmented, task_type=loaded.task.task_type, count=show, seed=loaded.seed),
        as_json,
        run_text.augmentation_preview,
    )


def _loaded(
    recipe: str, changes: list[str] | None, smoke: bool, output: Path | None, console: Console
) -> tuple["Recipe", Path]:
    """The recipe with the shape of its student, and the run folder."""
    from pocketbert.shape_design.run_inputs import load_with_shape

    with message_when_interrupted(console):
        return load_with_shape(recipe, output, console, changes=changes or (), smoke=smoke)
