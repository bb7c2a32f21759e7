"""The flow: recipe -> teacher -> general -> augment -> intermediate -> prediction -> export -> bench
-> bundles and report.

This module says what each stage depends on; `stages` does the work, and is imported only when a stage must run.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import ENOSPC
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from bench import machine
from bench.schema import FORMAT_VERSION
from compress import locations, processes
from compress.errors import UserError
from compress.files import write_json, write_text
from compress.metrics import is_regression
from compress.tasks import Task, align_labels, load_task
from pocketbert import __version__, benchmark, builtin, preflight
from pocketbert.plan import augmentation_plan, general_plan, plan_of, remarks_on, shape_of
from pocketbert.reading import to_yaml
from pocketbert.recipe import Recipe
from pocketbert.runs import Planned, Run, StageRecord, Workspace, cache_folder
from pocketbert.shipping import ship, with_verdicts

DISK_IS_FULL_BELOW_BYTES = 2**26
ALONE = ("export", "bench")  # what one process does while the others are gone


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended. `results` is the content of results.json; `gate`: what did not pass, empty when all is well."""

    folder: Path
    results: dict[str, Any]
    num_built: int
    gate: list[str]


def run_recipe(recipe: Recipe, folder: Path, console: Console) -> Outcome | None:
    """Bring a run folder to the state that the recipe describes: do what is missing, leave the rest.

    Several processes train together; then all but the main one are done, and get None.
    """
    with processes.main_first():
        task = prepare(recipe, console)
    plan = plan_of(recipe, task)
    with _open_run(recipe, folder, console) as run:
        flow = _Flow(recipe, task, run, console)
        records = {stage.name: flow.do(stage) for stage in plan if stage.name not in ALONE}
        if not processes.leave():
            return None
        records |= {stage.name: flow.do(stage) for stage in plan if stage.name in ALONE}
        judged = with_verdicts(
            recipe,
            records["export"].metrics,
            records["teacher"].metrics["scores"]["dev"],
            records["bench"].metrics["rows"],
        )
        gate = ship(recipe, judged, folder)
        results = flow.results(plan, judged, gate)
        _write_results(results, folder)
        return Outcome(folder=folder, results=results, num_built=run.num_built, gate=gate)


def make_general(recipe: Recipe, folder: Path, console: Console) -> Path | None:
    """Make the recipe's general student alone, or find it in the cache; returns the folder of its model.

    Of several processes all but the main one get None.
    """
    return _make(recipe, general_plan, folder / "general" / "model", folder, console)


def make_variants(recipe: Recipe, folder: Path, console: Console) -> Path | None:
    """Make the recipe's augmented data alone, or find them in the cache; returns their folder.

    Of several processes all but the main one get None.
    """
    return _make(recipe, augmentation_plan, folder / "augment", folder, console)


def _make(
    recipe: Recipe, plan: Callable[[Recipe, Task], list[Planned]], made: Path, folder: Path, console: Console
) -> Path | None:
    with processes.main_first():
        task = prepare(recipe, console)
    with _open_run(recipe, folder, console) as run:
        flow = _Flow(recipe, task, run, console)
        for stage in plan(recipe, task):
            flow.do(stage)
        return made if processes.leave() else None


def prepare(recipe: Recipe, console: Console) -> Task:
    """Hold the models against one another and the recipe, and read the data. Raises UserError."""
    preflight.check(recipe, shape_of(recipe))
    return task_of(recipe, console)


@contextmanager
def _open_run(recipe: Recipe, folder: Path, console: Console) -> Iterator[Run]:
    with Run(folder, versions=machine.package_versions(), announce=_announcer(folder, console)) as run:
        try:
            if processes.is_main():
                write_text(folder / "recipe.yaml", to_yaml(recipe))
            yield run
        except OSError as error:
            if error.filename is None:  # a write that fails does not say where
                error.filename = str(folder)
            raise
        except UserError:
            raise
        except Exception as error:
            # torch and safetensors tell of a full disk in errors of their own
            for place in (folder, cache_folder()):
                full = place.exists() and shutil.disk_usage(place).free < DISK_IS_FULL_BELOW_BYTES
                if full or os.strerror(ENOSPC) in str(error):
                    raise OSError(ENOSPC, os.strerror(ENOSPC), str(place)) from error
            raise


def _announcer(folder: Path, console: Console) -> Callable[[str], None]:
    """Tells the console, and writes down in the run's log.txt with the time."""

    def announce(message: str) -> None:
        console.print(message)
        with (folder / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z  {Text.from_markup(message).plain}\n")

    return announce


def _write_results(results: dict[str, Any], folder: Path) -> None:
    """results.json and the reports made from it, unless they are there and say the same."""
    path = folder / "results.json"
    content = json.dumps(results)
    try:
        same = json.dumps(json.loads(path.read_text(encoding="utf-8"))) == content
    except (OSError, ValueError):
        same = False
    if same and all((folder / name).is_file() for name in ("report.html", "report.md")):
        return
    from bench.report import write_reports

    write_reports(results, folder)
    write_json(path, results)  # last: its presence says that the reports are of these figures


def task_of(recipe: Recipe, console: Console) -> Task:
    """The recipe's task, its labels in the order of the fine-tuned teacher's where there is one."""
    section = recipe.task
    data: str | Path = section.data
    if section.data.startswith(builtin.PREFIX):
        data = builtin.fetch(section.data)
    task = load_task(
        name=recipe.name,
        data=data,
        subset=section.subset,
        splits={str(split): source for split, source in section.splits.items()},
        text=section.text,
        label=section.label,
        labels=section.labels,
        encoding=section.encoding,
        max_length=section.max_length,
        max_rows=section.max_rows,
        regression=is_regression(section.metric),
        seed=recipe.seed,
    )
    answers = "a number per text" if task.is_regression else f"{len(task.labels)} labels ({', '.join(task.labels)})"
    rows = f"{len(task.train)} train, {len(task.dev)} dev, {len(task.test)} test rows"
    console.print(f"[bold]{recipe.name}[/bold]: {escape(answers)}, {rows}")
    for remark in remarks_on(recipe, task):
        console.print(f"  [dim]{escape(remark)}[/dim]")
    if recipe.teacher.model is not None:
        task = align_labels(task, locations.label_names(recipe.teacher.model))
    return task


class _Flow:
    """The work behind the plan of one run."""

    def __init__(self, recipe: Recipe, task: Task, run: Run, console: Console) -> None:
        self.recipe = recipe
        self.task = task
        self.run = run
        self.console = console

    @cached_property
    def stages(self):  # type: ignore[no-untyped-def]
        """The training and export stages, loaded with torch when one of them must run."""
        from pocketbert.stages import Stages

        return Stages(self.recipe, self.task, shape_of(self.recipe), self.run.folder, self.console)

    def do(self, stage: Planned) -> StageRecord:
        """Do a stage of the plan, unless it was done."""
        return self.run.stage(stage, partial(self._build, stage.name))

    def _build(self, name: str, work: Workspace) -> dict[str, Any]:
        match name:
            case "teacher":
                return self.stages.make_teacher(work)
            case "general":
                return self.stages.general(work)
            case "masked_lm":
                from pocketbert.augmenting import train_masked_lm

                return train_masked_lm(self.stages, work)
            case "augment":
                from pocketbert.augmenting import make_variants

                return make_variants(self.stages, work)
            case "intermediate":
                return self.stages.intermediate(work)
            case "prediction":
                from pocketbert.predicting import match_predictions

                return match_predictions(self.stages, work)
            case "export":
                from pocketbert.exporting import export_student

                return export_student(self.stages, work, self.run.records["teacher"].metrics["scores"])
            case "bench":
                return self._bench(work)
        raise AssertionError(name)

    def _bench(self, work: Workspace) -> dict[str, Any]:
        exported = self.run.records["export"].metrics
        return benchmark.of_run(
            self.recipe,
            self.task,
            teacher=self.run.folder / "teacher" / "model",
            student=self.run.folder / "prediction" / "model",
            bundles=[self.run.folder / "export" / variant for variant in self.recipe.export.variants],
            teacher_bundles=[self.run.folder / "export" / "teacher" / name for name in exported["teacher_variants"]],
            teacher_not_exported=exported.get("teacher_not_exported"),
            student_parameters=self.run.records["prediction"].metrics["num_parameters"],
            output=work.output,
            console=self.console,
        )

    def results(self, plan: list[Planned], judged: dict[str, Any], gate: list[str]) -> dict[str, Any]:
        """Everything that the report shows, as plain values. `judged`: the export stage's facts after the gate."""
        recipe, task, records = self.recipe, self.task, self.run.records
        metrics = {stage.name: records[stage.name].metrics for stage in plan} | {"export": judged}
        return {
            "format_version": FORMAT_VERSION,
            "name": recipe.name,
            "smoke": recipe.smoke,
            "metric": recipe.task.metric,
            "selected_on_test": task.selected_on_test,
            "split_names": {str(split): name for split, name in recipe.task.splits.items()},
            "rows": {"train": len(task.train), "dev": len(task.dev), "test": len(task.test)},
            "most_common_label": None
            if task.is_regression
            else float(np.bincount(task.test.labels).max() / len(task.test)),
            "takes_pairs": task.train.pairs is not None,
            "remarks": remarks_on(recipe, task),
            "gate": gate,
            "reproduce": {
                "command": f"pocketbert run {recipe.name}.yaml",
                "words": f"With PocketBERT {__version__} and the packages named below, the recipe saved as "
                f"{recipe.name}.yaml, and the same data (sha256 {task.fingerprint()[:12]} over all rows). The seed is "
                f"{recipe.seed}: on the same kind of processor the weights come out the same.",
                "recipe": to_yaml(recipe),
            },
            "student": vars(shape_of(recipe)),
            "stages": {stage.name: {"seconds": records[stage.name].seconds, **metrics[stage.name]} for stage in plan},
        }
