"""The flow: recipe -> teacher -> general -> intermediate -> prediction -> export -> bench -> bundles and report.

This module says what each stage depends on; `stages` does the work, and is imported only when a stage must run.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from bench import machine
from compress import locations
from compress.files import files_in, sha256, write_json
from compress.shape import PRESETS, StudentShape
from compress.tasks import Task, align_labels, load_task
from pocketbert import benchmark, builtin, preflight
from pocketbert.corpora import corpus_identity
from pocketbert.recipe import Recipe, to_yaml
from pocketbert.runs import Run, StageRecord, Workspace


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended. `results` is the content of results.json; `gate`: what did not pass, empty when all is well."""

    folder: Path
    results: dict[str, Any]
    num_built: int
    gate: list[str]


def run_recipe(recipe: Recipe, folder: Path, console: Console) -> Outcome:
    """Bring a run folder to the state that the recipe describes: do what is missing, leave the rest."""
    preflight.check(recipe, shape_of(recipe))
    task = task_of(recipe, console)
    versions = machine.package_versions()
    with Run(folder, versions=versions, announce=_announcer(folder, console)) as run:
        flow = _Flow(recipe, task, run, console)
        to_yaml(recipe, folder / "recipe.yaml")
        flow.teacher()
        if recipe.distill.general is not None:
            flow.general()
        flow.intermediate()
        flow.prediction()
        exported = flow.export()
        flow.bench()
        gate = _apply_gate(recipe, exported, folder)
        results = flow.results(gate)
        _write_results(results, folder)
        return Outcome(folder=folder, results=results, num_built=run.num_built, gate=gate)


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
        seed=recipe.seed,
    )
    console.print(
        f"[bold]{recipe.name}[/bold]: {len(task.labels)} labels ({', '.join(task.labels)}), "
        f"{len(task.train)} train, {len(task.dev)} dev, {len(task.test)} test rows"
    )
    for remark in task.remarks:
        console.print(f"  [dim]{remark}[/dim]")
    if recipe.teacher.model is not None:
        task = align_labels(task, locations.label_names(recipe.teacher.model))
    return task


def shape_of(recipe: Recipe) -> StudentShape:
    """The student's four numbers, of the preset or as given."""
    student = recipe.student
    if student.preset is not None:
        return PRESETS[student.preset]
    assert student.layers and student.width and student.ffn_width and student.heads
    return StudentShape(layers=student.layers, width=student.width, ffn_width=student.ffn_width, heads=student.heads)


class _Flow:
    """The stages of one run, each with what its result depends on."""

    def __init__(self, recipe: Recipe, task: Task, run: Run, console: Console) -> None:
        self.recipe = recipe
        self.task = task
        self.run = run
        self.console = console
        self.shape = shape_of(recipe)

    @cached_property
    def stages(self):  # type: ignore[no-untyped-def]
        """The work itself, loaded with torch when first needed."""
        from pocketbert.stages import Stages

        return Stages(self.recipe, self.task, self.shape, self.run.folder, self.console)

    @cached_property
    def _data(self) -> dict[str, Any]:
        return {"task": self.task.fingerprint(), "metric": self.recipe.task.metric, "seed": self.recipe.seed}

    @cached_property
    def _student(self) -> dict[str, Any]:
        student = self.recipe.student
        return {
            "shape": vars(self.shape),
            "initialisation": student.initialisation,
            "dropout": student.dropout,
            "checkpoint": student.checkpoint and locations.identity(student.checkpoint),
        }

    def teacher(self) -> StageRecord:
        teacher = self.recipe.teacher
        if teacher.model is not None:
            options = {**self._data, "model": locations.identity(teacher.model)}
        else:
            assert teacher.base is not None
            options = {**self._data, "base": locations.identity(teacher.base), **teacher.fine_tune.model_dump()}
        return self.run.stage("teacher", lambda work: self.stages.make_teacher(work), options=options, shared=True)

    def general(self) -> StageRecord:
        section = self.recipe.distill.general
        assert section is not None
        base = self.recipe.teacher.base or self.recipe.teacher.model
        options = {
            **self._student,
            "seed": self.recipe.seed,
            "base": base and locations.identity(base),
            "corpus": [self._corpus_identity(name) for name in section.corpus],
            **section.model_dump(exclude={"corpus"}),
        }
        # when the fine-tuned teacher serves as base too, its place in the flow matters
        after = () if self.recipe.teacher.base else ("teacher",)
        return self.run.stage(
            "general", lambda work: self.stages.general(work), options=options, after=after, shared=True
        )

    def intermediate(self) -> StageRecord:
        options = {**self._data, **self._student, **self.recipe.distill.intermediate.model_dump()}
        after = ("teacher", "general") if self.recipe.distill.general else ("teacher",)
        return self.run.stage("intermediate", lambda work: self.stages.intermediate(work), options=options, after=after)

    def prediction(self) -> StageRecord:
        options = {**self._data, **self.recipe.distill.prediction.model_dump()}
        after = ("teacher", "intermediate")
        return self.run.stage("prediction", lambda work: self.stages.prediction(work), options=options, after=after)

    def export(self) -> StageRecord:
        options = {**self._data, "name": self.recipe.name, **self.recipe.export.model_dump()}
        teacher_scores = self.run.records["teacher"].metrics["scores"]
        return self.run.stage(
            "export",
            lambda work: self.stages.export(work, teacher_scores),
            options=options,
            after=("teacher", "prediction"),
        )

    def bench(self) -> StageRecord:
        here = machine.describe()
        options = {
            **self._data,
            **self.recipe.bench.model_dump(),
            "machine": {name: here[name] for name in ("cpu", "usable_cores", "versions")},
            "gpu": here["gpu"] and here["gpu"]["name"],
        }
        return self.run.stage("bench", self._bench, options=options, after=("teacher", "prediction", "export"))

    def _bench(self, work: Workspace) -> dict[str, Any]:
        return benchmark.of_run(
            self.recipe,
            self.task,
            teacher=self.run.folder / "teacher" / "model",
            student=self.run.folder / "prediction" / "model",
            bundles=[self.run.folder / "export" / variant for variant in self.recipe.export.variants],
            student_parameters=self.run.records["prediction"].metrics["num_parameters"],
            output=work.output,
            console=self.console,
        )

    def _corpus_identity(self, name: str) -> str:
        if name == "task":
            return self.task.fingerprint()
        return corpus_identity(name)

    def results(self, gate: list[str]) -> dict[str, Any]:
        """Everything that the report shows, as plain values."""
        recipe, task, records = self.recipe, self.task, self.run.records
        in_flow = [
            name for name in ("teacher", "general", "intermediate", "prediction", "export", "bench") if name in records
        ]
        if recipe.distill.general is None and "general" in in_flow:
            in_flow.remove("general")
        remarks = list(task.remarks)
        if recipe.teacher.base is None:
            remarks.append("no teacher.base was named: the fine-tuned teacher served as base as well")
        return {
            "format_version": 1,
            "name": recipe.name,
            "metric": recipe.task.metric,
            "selected_on_test": task.selected_on_test,
            "rows": {"train": len(task.train), "dev": len(task.dev), "test": len(task.test)},
            "remarks": remarks,
            "gate": gate,
            "student": vars(self.shape),
            "stages": {name: {"seconds": records[name].seconds, **records[name].metrics} for name in in_flow},
        }


def _apply_gate(recipe: Recipe, exported: StageRecord, folder: Path) -> list[str]:
    """Put the variants that passed into bundles/, and say what is missing."""
    told = exported.metrics["variants"]
    passed = [variant for variant, facts in told.items() if not facts["failures"]]
    bundles = folder / "bundles"
    bundles.mkdir(exist_ok=True)
    for stale in bundles.iterdir():
        if stale.is_dir() and stale.name not in passed:
            shutil.rmtree(stale)
    for variant in passed:
        source, target, partial = folder / "export" / variant, bundles / variant, bundles / f"{variant}.partial"
        if target.is_dir() and _digests(source) == _digests(target):
            continue
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, partial)
        partial.rename(target)
    must_pass = recipe.gate.require or ([] if passed else list(told))
    return [f"{name}: {'; '.join(told[name]['failures'])}" for name in must_pass if name not in passed]


def _digests(folder: Path) -> dict[Path, str]:
    return {path.relative_to(folder): sha256(path) for path in files_in(folder)}
