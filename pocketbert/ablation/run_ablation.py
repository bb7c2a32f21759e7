"""Runs an ablation: plans the students, trains those that are not finished, and writes the tables.

Each student is a run without export and benchmark, in a working folder that is removed once its result is written. The
students of a group follow one another in the same working folder, so that its manifest proves which stages are equal.
"""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TypeVar

from filelock import FileLock, Timeout
from rich.console import Console

from bench.measurement import machine
from compress.common import distributed
from compress.common.console import in_markup, of_markup
from compress.common.errors import Diverged, UserError
from compress.common.owned_files import OwnedFolder, open_output, require_writable
from compress.data.tasks import Task
from compress.results import IntermediateResult, PredictionResult, SearchResult, TeacherResult
from pocketbert import __version__
from pocketbert.ablation.document import FILES, write_documents
from pocketbert.ablation.rows import ROWS, Row, merge_rows, read_rows, version_of, write_row
from pocketbert.ablation.summary import Ablation, summarise
from pocketbert.ablation.trainings import PlannedTables, Source, Training, pinned_steps, plan_trainings
from pocketbert.ablation.variants import TableName, Variant, variant_tables
from pocketbert.pipeline.flow import make_student, make_teacher, prepare
from pocketbert.pipeline.forecast import duration
from pocketbert.recipe.choices import resolve
from pocketbert.recipe.loading import print_warning, require_shape
from pocketbert.recipe.sections import Recipe, task_seed_of
from pocketbert.store.manifest import read_manifest
from pocketbert.store.working_folder import PARTIAL

LOCK = ".lock"
TEACHER = "teacher"
MOST_SHARDS = 1000
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A part of some work: every `count`-th item, beginning with `number`, which is counted from 1."""

    number: int = 1
    count: int = 1

    @classmethod
    def of_text(cls, text: str) -> "Shard":
        """The value of `--shard`, such as 2/3. Raises UserError."""
        number, slash, count = text.partition("/")
        if not (slash and number.isascii() and number.isdigit() and count.isascii() and count.isdigit()):
            raise UserError(f"--shard {text}: expected a part and their number, such as 1/3")
        shard = cls(number=int(number), count=int(count))
        if not 1 <= shard.number <= shard.count <= MOST_SHARDS:
            raise UserError(f"--shard {text}: expected a part from 1 to the number of parts, such as 1/3")
        return shard

    def part(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items of this part."""
        return items[self.number - 1 :: self.count]

    def of(self, trainings: Sequence[Training]) -> list[Training]:
        """The trainings of this part. Those of a group stay together."""
        own = set(self.part(list(dict.fromkeys(each.group for each in trainings))))
        return [each for each in trainings if each.group in own]


@dataclass(frozen=True, kw_only=True)
class AblationPlan:
    """A planned ablation.

    `recipe`: without `auto`. `to_do`: students of this shard that are not finished. `version`: that of PocketBERT that
    trains or has trained all of them.
    """

    recipe: Recipe
    task: Task
    tables: PlannedTables
    rows: Mapping[str, Row]
    to_do: list[Training]
    num_seeds: int
    version: str

    def summary(self, diverged: Sequence[str] = ()) -> Ablation:
        """The tables of the students that are finished. `diverged`: a line for each that could not be trained."""
        return summarise(
            self.recipe,
            self.task,
            self.tables,
            self.rows,
            num_seeds=self.num_seeds,
            version=self.version,
            diverged=diverged,
        )


def plan_ablation(
    source: Source,
    names: Sequence[TableName],
    *,
    own: Sequence[Variant] = (),
    num_seeds: int,
    folder: Path,
    shard: Shard,
    console: Console,
    merged: Sequence[Path] = (),
    dry_run: bool = False,
) -> AblationPlan:
    """Plan the students of these tables and of the user's own variants. Raises UserError.

    `folder`: of the ablation. `merged`: folders whose rows are taken over. A search for the teacher's schedule is done
    first, unless this is a dry run: the later stages depend on it. If another version trained the students in them, the
    tables are of that version, and no students are trained beside them.
    """
    require_single_process()
    require_writable(folder, [*FILES, ROWS, PARTIAL])
    recipe = require_shape(source.load(on_warning=print_warning))
    task = prepare(recipe, console)
    resolved = resolve(recipe, task).recipe
    if resolved.teacher.needs_search and not dry_run:
        with _working_folder(folder):
            source = _with_teacher(source, resolved, task, folder / PARTIAL / TEACHER, console)
        resolved = resolve(source.load(), task).recipe
    steps, pins = pinned_steps(resolved, task)
    seeds = range(task_seed_of(resolved), task_seed_of(resolved) + num_seeds)
    version = version_of([folder, *merged])
    tables = plan_trainings(source, task, variant_tables(resolved, steps, names, own), pins, seeds, version=version)
    if merged:
        with _working_folder(folder) as owned:
            num_copied = merge_rows(owned, merged, tables.trainings)
        console.print(f"took over {num_copied} student{'s' * (num_copied != 1)} from {len(merged)} folder(s)")
    rows = read_rows(folder, tables.trainings)
    to_do = [each for each in shard.of(tables.trainings) if each.identity not in rows]
    if version != __version__:
        console.print(
            f"PocketBERT {version} trained these students. Version {__version__} trains no others beside them; use "
            "another --output for new ones",
            soft_wrap=True,
        )
        to_do = []
    return AblationPlan(
        recipe=resolved, task=task, tables=tables, rows=rows, to_do=to_do, num_seeds=num_seeds, version=version
    )


def run_ablation(plan: AblationPlan, folder: Path, console: Console) -> Ablation:
    """Train the students that are to do, and write the tables, also of an interrupted ablation. Raises UserError."""
    rows, diverged = dict(plan.rows), list[str]()
    with _working_folder(folder) as owned:
        try:
            _train_all(plan, folder, owned, rows, diverged, console)
        finally:
            finished = replace(plan, rows=rows).summary(diverged)
            write_documents(owned, finished)
    return finished


def _train_all(
    plan: AblationPlan, folder: Path, owned: OwnedFolder, rows: dict[str, Row], diverged: list[str], console: Console
) -> None:
    """Train the students that are to do, group by group, and put them into `rows` or `diverged`."""
    names, durations = _names(plan.tables), list[float]()
    for number, training in enumerate(plan.to_do):
        name, started = f"{names[training.identity]}, seed {training.seed}", time.perf_counter()
        left_s = median(durations or [0.0]) * (len(plan.to_do) - number)
        left = f"; about {duration(left_s)} left" if number > 1 else ""  # the first makes what all share
        title = f"[bold]student {number + 1} of {len(plan.to_do)}[/bold]: {in_markup(name)}{left}"
        console.print(of_markup(title), soft_wrap=True)
        try:
            row = rows[training.identity] = _train(training, plan.task, folder / PARTIAL / training.group, console)
            write_row(owned, training, row)
        except Diverged as error:
            diverged.append(f"{name}: {error}")
        durations.append(time.perf_counter() - started)
        if number + 1 == len(plan.to_do) or plan.to_do[number + 1].group != training.group:
            _remove(folder / PARTIAL / training.group)
    if len(rows) == len(plan.tables.trainings):
        _remove(folder / PARTIAL / TEACHER)


def require_single_process() -> None:
    """Raise UserError if a launcher started several processes."""
    if distributed.count() > 1:
        raise UserError("an ablation runs in one process; divide it with --shard, and start one process for each part")


@contextmanager
def _working_folder(folder: Path) -> Iterator[OwnedFolder]:
    """The folder of the ablation, locked. Raises UserError if another process uses it."""
    owned = open_output(folder, [*FILES, ROWS, PARTIAL])
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder}: another ablation works in this folder; give each part its own --output, and put them together "
            "with --merge"
        ) from None
    try:
        yield owned
    finally:
        lock.release()


def _with_teacher(source: Source, recipe: Recipe, task: Task, folder: Path, console: Console) -> Source:
    """Search the teacher's schedule once, train the teacher, and put the result into the recipe's changes."""
    make_teacher(recipe, task, folder, console)
    found = read_manifest(folder)["search"].result_as(SearchResult)
    section = recipe.teacher.fine_tune
    values = {
        "search": "null",
        "learning_rate": found.learning_rate,
        "batch_size": found.batch_size,
        "epochs": section.epochs,
        "patience": "null" if section.patience is None else section.patience,
    }
    changes = [f"teacher.fine_tune.{key}={value}" for key, value in values.items()]
    return Source(name=source.name, changes=(*source.changes, *changes), smoke=source.smoke)


def _names(tables: PlannedTables) -> dict[str, str]:
    """The first variant of each student."""
    names = dict[str, str]()
    for (_, variant), identities in tables.students.items():
        for identity in identities:
            names.setdefault(identity, variant)
    return names


def _remove(working: Path) -> None:
    """Remove a run folder of an ablation. A link in its place stays."""
    if working.is_dir() and not working.is_symlink():
        shutil.rmtree(working)


def _train(training: Training, task: Task, folder: Path, console: Console) -> Row:
    """Make a student in a run folder, and predict dev and test with it."""
    make_student(training.recipe, task, folder, console)
    records = read_manifest(folder)
    result = records["prediction"].result_as(PredictionResult)
    return Row(
        identity=training.identity,
        seed=training.seed,
        changes=list(training.changes),
        scores=result.scores,
        teacher_scores=records["teacher"].result_as(TeacherResult).scores,
        num_steps={
            "intermediate": records["intermediate"].result_as(IntermediateResult).training.num_steps,
            "prediction": result.training.num_steps,
        },
        num_parameters=result.num_parameters,
        predictions=_predictions(training.recipe, task, folder),
        stages={name: record.fingerprint for name, record in records.items()},
        seconds={name: record.seconds for name, record in records.items()},
        version=__version__,
        cpu=machine.describe().cpu,
    )


def _predictions(recipe: Recipe, task: Task, folder: Path) -> dict[str, list]:
    """The decisions of a run's student on dev and test."""
    from compress.data.task_types import task_type
    from compress.models import loading
    from compress.models.inference import predict_logits
    from pocketbert.stage_parts.task_data import TaskData

    model = folder / "prediction" / "model"
    student = loading.load_classifier(str(model))
    encoded = TaskData(recipe, task, folder).encoded_with(loading.load_tokenizer(str(model)))
    decide = task_type(task.type).decide
    return {
        split: decide(predict_logits(student, rows)).tolist()
        for split, rows in {"dev": encoded.dev, "test": encoded.test}.items()
    }
