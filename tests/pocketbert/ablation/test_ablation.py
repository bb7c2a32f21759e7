"""`pocketbert ablate`: which students it trains, what it shares, how it resumes, and what its files say."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from compress.common.errors import UserError
from pocketbert.ablation import rows as rows_module
from pocketbert.ablation import run_ablation
from pocketbert.ablation.run_ablation import Shard, plan_ablation
from pocketbert.ablation.trainings import Source, Training
from pocketbert.ablation.variants import TABLES, Steps, own_variants, tables_named, variant_tables
from pocketbert.recipe.choices import resolve
from pocketbert.recipe.loading import load_recipe
from pocketbert.timing.amounts import num_steps
from sandbox import Finished, run_in_process
from tiny_recipes import QUICK, write_recipe

STEPS = Steps(intermediate=8, prediction=4, intermediate_rate=1e-3, prediction_rate=1e-4)
SHORT = {**QUICK, "max_steps": 3}


BRIEF = {"intermediate": SHORT, "prediction": SHORT}


@pytest.fixture
def recipe(tmp_path, reviews, teacher_folder) -> str:
    return write_recipe(tmp_path, reviews, teacher={"model": str(teacher_folder)}, distill=BRIEF)


@pytest.fixture
def whole_recipe(tmp_path, reviews, base_folder, teacher_folder) -> str:
    """With general distillation and augmentation."""
    return write_recipe(
        tmp_path,
        reviews,
        name="whole.yaml",
        teacher={"model": str(teacher_folder), "base": str(base_folder)},
        augment={"masked_lm": {"train_head": {**QUICK, "corpus": "task", "max_length": 32}}},
        distill={**BRIEF, "general": {**QUICK, "corpus": "task", "max_length": 32}},
    )


def planned(
    recipe: str, *names: str, own: Sequence[str] = (), num_seeds: int = 1, folder: Path | None = None, dry_run=True
):
    folder = folder or Path(recipe).parent / "ablation"
    return plan_ablation(
        Source(name=recipe),
        tables_named(names or ([] if own else ["all"])),
        own=own_variants(own),
        num_seeds=num_seeds,
        folder=folder,
        shard=Shard(),
        console=Console(quiet=True),
        dry_run=dry_run,
    )


def test_the_paper_s_variants_change_what_their_names_say(whole_recipe):
    tables = {table.name: table for table in variant_tables(load_recipe(whole_recipe), STEPS, TABLES)}
    changes = {name: {each.name: each.changes for each in table.variants} for name, table in tables.items()}
    assert [*tables] == list(TABLES) and all(next(iter(each)) == "the recipe" for each in changes.values())
    assert changes["procedures"]["no general distillation"] == ("distill.general=null",)
    assert changes["procedures"]["no augmentation"] == ("augment=null",)
    assert "distill.prediction.max_steps=12" in changes["procedures"]["no task distillation"]
    assert changes["objectives"]["no attention loss"] == (
        "distill.intermediate.attention=0", "distill.intermediate.relations=0", "distill.general.attention=0",
        "distill.general.relations=0",
    )  # fmt: skip
    assert [each.paper for each in tables["objectives"].variants] == [75.6, 74.1, 73.5, 56.3, 71.0, 72.9]
    assert [each.paper for each in tables["procedures"].variants] == [75.6, 72.5, 68.5, 68.4]
    assert {*changes["mapping"]} == {"the recipe", "top: layers 3, 4", "bottom: layers 1, 2"}
    plain = changes["baselines"]["labels only, random first weights"]
    assert {
        "augment=null",
        "distill.general=null",
        "student.initialisation=random",
        "distill.intermediate.epochs=0",
    } <= {*plain}


def test_every_variant_can_be_loaded_and_trains_for_the_steps_of_the_recipe(whole_recipe):
    plan = planned(whole_recipe)
    names = {identity: key for key, identities in plan.tables.students.items() for identity in identities}
    assert not [reason for table in plan.tables.tables for reason in table.left_out if "width" not in reason]
    for training in plan.tables.trainings:
        resolved = resolve(training.recipe, plan.task).recipe
        rows = len(plan.task.train)
        steps = [num_steps(section, rows) for section in (resolved.distill.intermediate, resolved.distill.prediction)]
        factor = {"half of the steps": 2 / 3, "twice the steps": 2.0}.get(names[training.identity][1], 1.0)
        assert sum(steps) == round(6 * factor), names[training.identity]
        assert resolved.distill.prediction.patience is None and resolved.distill.intermediate.decay == "linear"


def test_only_the_student_s_own_stages_depend_on_its_seed(whole_recipe):
    plan = planned(whole_recipe, "mapping", num_seeds=2)
    first, second = (fingerprints(each) for each in plan.tables.trainings[:2])
    equal = {name for name in first if first[name] == second[name]}
    assert equal == {"teacher", "general", "masked_lm", "augment"} and {*first} - equal == {
        "intermediate",
        "prediction",
    }
    assert [each.seed for each in plan.tables.trainings[:2]] == [0, 1]


def fingerprints(training: Training) -> dict[str, str]:
    return {stage.name: stage.fingerprint for stage in training.plan}


def test_own_variants_have_their_own_steps_and_names(recipe):
    plan = planned(
        recipe,
        own=["longer: distill.prediction.epochs=2; distill.prediction.max_steps=null", "student.dropout=0.1"],
    )
    [table] = plan.tables.tables
    assert [each.name for each in table.variants] == ["the recipe", "longer", "student.dropout=0.1"]
    prediction = {
        name: resolve(training.recipe, plan.task).recipe.distill.prediction
        for (_, name), training in zip(plan.tables.students, plan.tables.trainings, strict=True)
    }
    rows = len(plan.task.train)
    assert num_steps(prediction["the recipe"], rows) == num_steps(prediction["student.dropout=0.1"], rows) == 3
    assert num_steps(prediction["longer"], rows) == 2 * -(-rows // prediction["longer"].batch_size)
    assert plan.tables.trainings[2].recipe.student.dropout == 0.1


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["longer"], "expected NAME: KEY=VALUE"),
        (["longer:"], "expected NAME: KEY=VALUE"),
        ([": student.dropout=0"], "expected NAME: KEY=VALUE"),
        (["short texts: task.max_length=8"], "task.max_length must be the same for all students"),
        (["another seed: distill.seed=7"], "distill.seed must be the same for all students"),
        (["a: student.dropout=0", "a: student.dropout=0.1"], "two variants have the name 'a'"),
        (["the recipe: student.dropout=0"], "two variants have the name 'the recipe'"),
        (["wrong: student.dropuot=0.1"], "variant 'wrong': "),
        (["wrong: student.dropout=2"], "variant 'wrong': "),
        (["too deep: student.layers=9"], "variant 'too deep': "),
        (["small: student={budget: {latency_ms: 1}}"], "variant 'small': "),
    ],
)
def test_a_wrong_variant_is_one_line(recipe, in_process, texts, message):
    done = in_process("ablate", recipe, *(part for text in texts for part in ("--variant", text)), "--dry-run")
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error")]) == 1


def test_what_a_recipe_lacks_is_left_out_with_a_reason(recipe):
    tables = {table.name: table for table in variant_tables(load_recipe(recipe), STEPS, TABLES)}
    assert any("add distill.general" in reason for reason in tables["procedures"].left_out)
    assert any("width 16 and the teacher 32" in reason for reason in tables["initialisation"].left_out)
    assert len(tables["augmentation"].variants) == 1 and "add augment" in tables["augmentation"].left_out[0]


def test_a_killed_ablation_ends_like_an_uninterrupted_one(recipe, tmp_path, in_process):
    arguments = (
        "ablate",
        recipe,
        "--table",
        "mapping",
        "--variant",
        "with dropout: student.dropout=0.1",
        "--seeds",
        "2",
    )
    whole = in_process(*arguments, "--output", "whole")
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "pocketbert", *arguments, "--output", "killed"],
        cwd=tmp_path,
        env={
            **os.environ,
            "POCKETBERT_CACHE": str(tmp_path / "cache"),
            "OMP_NUM_THREADS": os.getenv("OMP_NUM_THREADS", ""),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if len([*(tmp_path / "killed" / "rows").glob("*.json")]) >= 2:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.05)
    assert process.wait(timeout=120) == -signal.SIGKILL
    resumed = in_process(*arguments, "--output", "killed")
    assert resumed.returncode == 0, resumed.stderr
    count = len([*(tmp_path / "whole" / "rows").iterdir()])
    assert resumed.stderr.count("student ") > 0 and f"of {count}: " not in resumed.stderr, "finished students are kept"
    one, other = (json.loads((tmp_path / name / "ablation.json").read_text()) for name in ("whole", "killed"))
    assert one == other and one["num_missing"] == 0
    assert [each["name"] for each in one["tables"][1]["variants"]] == ["the recipe", "with dropout"]
    assert not [*(tmp_path / "whole" / ".partial").iterdir()] and (tmp_path / "whole" / "ablation.svg").exists()


BOTH = ("--table", "objectives", "--table", "mapping", "--seeds", "2")


@pytest.fixture(scope="module")
def place(tmp_path_factory, reviews, teacher_folder) -> Path:
    """A folder with tiny.yaml and `first`, a finished ablation: two tables, two seeds."""
    folder = tmp_path_factory.mktemp("place")
    write_recipe(folder, reviews, teacher={"model": str(teacher_folder)}, distill=BRIEF)
    done = pocketbert_in(folder, "ablate", "tiny.yaml", *BOTH, "--output", "first")
    assert done.returncode == 0, done.stderr
    return folder


def pocketbert_in(folder: Path, *arguments: object) -> Finished:
    environment = {"POCKETBERT_CACHE": str(folder / "cache"), "COLUMNS": "200"}
    return run_in_process(*arguments, folder=folder, environment=environment)


def content_of(folder: Path) -> dict:
    return json.loads((folder / "ablation.json").read_text())


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((folder / "rows").iterdir())]


def test_equal_stages_run_once(place):
    rows, content = rows_of(place / "first"), content_of(place / "first")
    objectives, mapping = content["tables"]
    assert [each["name"] for each in mapping["variants"]] == ["the recipe", "top: layers 3, 4", "bottom: layers 1, 2"]
    assert len(rows) == content["num_trainings"] == 2 * (2 + 6), "the recipe is trained once for both tables"
    assert mapping["variants"][0]["test"] == objectives["variants"][0]["test"]
    for seed in (0, 1):
        of_seed = [row["stages"] for row in rows if row["seed"] == seed]
        assert len({stages["prediction"] for stages in of_seed}) == 8
        assert len({stages["intermediate"] for stages in of_seed}) == 7, "labels instead of logits: the same layers"
        assert len({stages["teacher"] for stages in of_seed}) == 1


def test_the_files_and_the_terminal_say_the_same(place):
    before = content_of(place / "first")
    again = pocketbert_in(place, "ablate", "tiny.yaml", *BOTH, "--output", "first")
    assert again.returncode == 0 and "student 1 of" not in again.stderr and content_of(place / "first") == before
    labels_instead = before["tables"][0]["variants"][2]
    assert labels_instead["name"] == "no prediction loss, labels instead"
    text = (place / "first" / "ablation.md").read_text()
    for figure in (f"{labels_instead['test']['value']:.3f}", "56.3", "-19.3", labels_instead["verdict"]):
        assert figure in text and figure in again.stdout
    assert "no attention loss" in (place / "first" / "ablation.svg").read_text()


def test_the_changes_of_a_row_make_the_same_student_again(place):
    row = next(row for row in rows_of(place / "first") if "distill.layer_map=top" in row["changes"])
    changes = [part for change in row["changes"] for part in ("--set", change)]
    done = pocketbert_in(place, "run", "tiny.yaml", *changes, "--until", "prediction", "--output", "again")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((place / "again" / "manifest.json").read_text())["stages"]
    assert manifest["prediction"]["result"]["scores"] == row["scores"]
    assert {name: manifest[name]["fingerprint"] for name in row["stages"]} == row["stages"]


def test_shards_are_put_together(place):
    rows = sorted((place / "first" / "rows").iterdir())
    for name, part in (("second", rows[::2]), ("third", rows[1::2])):
        (place / name / "rows").mkdir(parents=True)
        for path in part:
            shutil.copy(path, place / name / "rows")
    merged = pocketbert_in(
        place, "ablate", "tiny.yaml", *BOTH, "--output", "all", "--merge", "second", "--merge", "third"
    )
    assert merged.returncode == 0, merged.stderr
    assert f"took over {len(rows)} students" in merged.stderr and "student 1 of" not in merged.stderr
    assert content_of(place / "all") == content_of(place / "first")


def test_students_of_another_version_make_tables_without_any_training(place, monkeypatch):
    for module in (rows_module, run_ablation):
        monkeypatch.setattr(module, "__version__", "99.0")
    command = ("ablate", "tiny.yaml", *BOTH, "--output", "older")
    for options in (("--merge", "first"), ()):  # the second time, the folder itself has students of another version
        done = pocketbert_in(place, *command, *options)
        assert done.returncode == 0, done.stderr
        assert "trained these students. Version 99.0 trains no others" in done.stderr
        assert "student 1 of" not in done.stderr and content_of(place / "older") == content_of(place / "first")
    first = min((place / "older" / "rows").iterdir())
    first.write_text(json.dumps({**json.loads(first.read_text()), "version": "0.1"}))
    done = pocketbert_in(place, *command)
    assert done.returncode == 2 and "are of the versions 0.1, " in done.stderr


def test_damaged_and_foreign_students_are_refused(place):
    (place / "damaged" / "rows").mkdir(parents=True)
    name = sorted((place / "first" / "rows").iterdir())[0].name
    for content in (b"", b"{}", b'{"identity": 1}', b"\xff", b"[1]", b'{"identity": NaN}'):
        (place / "damaged" / "rows" / name).write_bytes(content)
        done = pocketbert_in(place, "ablate", "tiny.yaml", *BOTH, "--output", "other", "--merge", "damaged")
        assert done.returncode == 2 and done.stderr.count("error:") == 1 and name in done.stderr
    foreign = (*BOTH, "--set", "distill.prediction.temperature=2")
    done = pocketbert_in(place, "ablate", "tiny.yaml", *foreign, "--output", "another", "--merge", "first")
    assert done.returncode == 2 and "none of its students belongs to this ablation" in done.stderr
    assert not rows_of(place / "other") if (place / "other" / "rows").exists() else True


def test_every_student_is_in_exactly_one_shard(whole_recipe):
    trainings = planned(whole_recipe, num_seeds=2).tables.trainings
    for count in (1, 2, 3, 7, 100):
        parts = [Shard(number=number, count=count).of(trainings) for number in range(1, count + 1)]
        assert sorted(each.key for part in parts for each in part) == sorted(each.key for each in trainings)
        groups = [{each.group for each in part} for part in parts]
        assert sum(map(len, groups)) == len({each.group for each in trainings}), "a group stays on one machine"


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "-1/3", "a/b", "1/3/5", "1.5/3", "٣/٤", "1/99999"])
def test_a_wrong_shard_is_one_line(text):
    with pytest.raises(UserError, match=r"--shard.*expected a part"):
        Shard.of_text(text)


def test_a_table_without_variants_and_an_unknown_one_are_one_line(recipe, in_process):
    none = in_process("ablate", recipe, "--table", "augmentation")
    assert none.returncode == 2 and none.stderr.count("error:") == 1 and "no variant to train" in none.stderr
    unknown = in_process("ablate", recipe, "--table", "losses")
    assert unknown.returncode == 2 and "expected one of procedures, objectives" in unknown.stderr


def test_a_dry_run_writes_nothing(recipe, tmp_path, in_process):
    before = sorted(tmp_path.iterdir())
    done = in_process("ablate", recipe, "--table", "mapping", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    work = json.loads(done.stdout)
    assert work["num_to_do"] == 9 and work["estimated_s"] > 0 and not (tmp_path / "ablations").exists()
    assert [path for path in sorted(tmp_path.iterdir()) if path not in before and path.name != "cache"] == []


def test_a_teacher_s_schedule_is_searched_once(tmp_path, reviews, base_folder, in_process):
    fine_tune = {"epochs": 1, "batch_size": 16, "search": {"learning_rate": [1e-3, 5e-3]}}
    path = write_recipe(tmp_path, reviews, teacher={"base": str(base_folder), "fine_tune": fine_tune})
    done = in_process("ablate", path, "--table", "mapping", "--seeds", "1", "--output", "searched")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("compares the learning rates") == 1 and done.stderr.count("\nteacher: took") == 1
    rows = [json.loads(row.read_text()) for row in (tmp_path / "searched" / "rows").iterdir()]
    assert len({row["stages"]["teacher"] for row in rows}) == 1 and len(rows) == 3
    assert all("teacher.fine_tune.search=null" in row["changes"] for row in rows)
    assert all(len(np.unique(row["predictions"]["test"])) <= 2 for row in rows)


def test_two_ablations_do_not_work_in_one_folder(recipe, tmp_path, in_process):
    from filelock import FileLock

    (tmp_path / "busy").mkdir()
    with FileLock(tmp_path / "busy" / ".lock"):
        done = in_process("ablate", recipe, "--table", "mapping", "--output", "busy")
    assert done.returncode == 2 and "another ablation works in this folder" in done.stderr


def test_a_student_that_diverges_does_not_stop_the_others(recipe, tmp_path, in_process):
    """Logits divided by almost 0 overflow. The variant that learns labels only has no such loss."""
    changes = ("--set", "distill.prediction.temperature=1e-40", "--output", "wild")
    for _ in range(2):  # the second call tries the diverged student again
        done = in_process("ablate", recipe, "--table", "procedures", "--seeds", "1", *changes)
        assert done.returncode == 3, done.stderr
        assert "Diverged: the recipe, seed 0: prediction: the loss is nan at step 1" in done.stdout
        assert "1 of 2 students are not finished" in done.stdout
        content = content_of(tmp_path / "wild")
        own, other = content["tables"][0]["variants"]
        assert own["num_seeds"] == 0 and other["num_seeds"] == 1 and other["test"] and not other["difference"]
        assert len(rows_of(tmp_path / "wild")) == 1


def test_an_old_name_of_a_key_is_warned_of_once(tmp_path, whole_recipe, in_process):
    text = Path(whole_recipe).read_text().replace("masked_lm:", "variants: 2\n  masked_lm:")
    Path(whole_recipe).write_text(text)
    done = in_process("ablate", whole_recipe, "--table", "mapping", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("augment.variants is now augment.copies_per_text") == 1
