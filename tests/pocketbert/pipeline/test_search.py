"""The search for the teacher's learning rate, in runs of `pocketbert run`."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compress.results import SearchResult, TeacherResult
from pocketbert.recipe.loading import load_recipe
from pocketbert.store.manifest import read_manifest
from sandbox import Finished, run_in_process
from tiny_bert import LABELS, rows, write_csv
from tiny_recipes import write_recipe
from tiny_runs import weights_of

FULL_STEPS = 48  # a quarter of them in the first round
RATES = [1e-9, 3e-3, 0.9, 1e-6]


@pytest.fixture(scope="module")
def place(tmp_path_factory, base_folder):
    """A folder with a recipe whose learning rate is to be searched."""
    root = tmp_path_factory.mktemp("search")
    table = root / "table"
    table.mkdir()
    labelled = rows(700, seed=5)
    for split, part in (("train", labelled[:300]), ("dev", labelled[300:500]), ("test", labelled[500:])):
        write_csv(table / f"{split}.csv", ("text", "label"), part)
    fine_tune = {
        "epochs": 6, "batch_size": 16, "learning_rate": "auto", "max_steps": FULL_STEPS,
        "search": {"learning_rate": RATES}, "checkpoint_steps": 3,
    }  # fmt: skip
    teacher = {"base": str(base_folder), "fine_tune": fine_tune}
    write_recipe(root, table, teacher=teacher, gate={"teacher_over_baseline": False})
    return root


def random_labels(root: Path, base: Path, **gate: object) -> str:
    """A recipe whose labels have nothing to do with the texts."""
    table = root / "random"
    table.mkdir(exist_ok=True)
    generator = random.Random(3)
    for split, count in (("train", 300), ("dev", 300)):
        labelled = [(text, generator.choice(LABELS)) for text, _ in rows(count, seed=len(split))]
        write_csv(table / f"{split}.csv", ("text", "label"), labelled)
    teacher = {"base": str(base), "fine_tune": {"max_steps": 24}}
    write_recipe(root, table, name="random.yaml", teacher=teacher, gate={"teacher_over_baseline": True, **gate})
    return "random.yaml"


def command(root: Path, name: str, recipe: str = "tiny.yaml") -> list[str]:
    return [
        sys.executable, "-m", "pocketbert", "run", str(root / recipe), "--until", "teacher",
        "--output", str(root / name),
    ]  # fmt: skip


def environment(root: Path, name: str) -> dict[str, str]:
    return {**os.environ, "POCKETBERT_CACHE": str(root / f"cache-{name}")}


def run(root: Path, name: str) -> subprocess.CompletedProcess:
    done = subprocess.run(command(root, name), env=environment(root, name), cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def run_here(root: Path, name: str, *, cache: str, recipe: str = "tiny.yaml") -> Finished:
    """Like `run`, but in this process."""
    arguments = command(root, name, recipe)[3:]
    return run_in_process(*arguments, folder=root, environment={"POCKETBERT_CACHE": str(root / f"cache-{cache}")})


def search_of(folder: Path) -> SearchResult:
    return read_manifest(folder)["search"].result_as(SearchResult)


@pytest.fixture(scope="module")
def searched(place):
    """A finished search and the teacher: (its folder, its process)."""
    return place / "searched", run(place, "searched")


def test_the_search_compares_the_rates_and_trains_with_the_best(searched):
    folder, done = searched
    result = search_of(folder)
    assert [point.learning_rate for point in result.points[:4]] == RATES
    assert [point.num_steps for point in result.points] == [12] * 4 + [48] * 2
    assert result.learning_rate == 3e-3
    teacher = read_manifest(folder)["teacher"].result_as(TeacherResult)
    assert max(entry.learning_rate for entry in teacher.training.history) == pytest.approx(3e-3, rel=0.5)
    assert "compares the learning rates 1e-09, 0.003, 0.9, 1e-06 in at most 120 steps" in done.stderr
    assert "full training of the best one, 48 steps" in done.stderr and "Ctrl-C" in done.stderr
    assert teacher.num_parameters and teacher.training == result.training
    assert sum("steps: dev accuracy" in line for line in done.stderr.splitlines()) == 6


def test_the_resolved_recipe_runs_without_the_search_and_takes_the_teacher_from_the_cache(place, searched):
    folder, _ = searched
    resolved = load_recipe(str(folder / "recipe.yaml")).teacher.fine_tune
    assert (resolved.learning_rate, resolved.batch_size, resolved.search) == (3e-3, 16, None)
    done = run_here(place, "again", cache="searched", recipe="searched/recipe.yaml")
    assert done.returncode == 0, done.stderr
    assert "teacher: taken from the cache" in done.stderr and "search" not in read_manifest(place / "again")


def test_a_finished_search_is_not_repeated(place, searched):
    folder, _ = searched
    done = run_here(place, "searched", cache="searched")
    assert done.returncode == 0, done.stderr
    assert "search: already done" in done.stderr and "teacher: already done" in done.stderr
    assert load_recipe(str(folder / "recipe.yaml")).teacher.fine_tune.search is None


@pytest.mark.parametrize("num_points", [0, 1, 5])
def test_a_killed_search_chooses_the_same_and_gives_the_same_weights(place, searched, num_points):
    name = f"killed-{num_points}"
    process = subprocess.Popen(command(place, name), env=environment(place, name), cwd=place, stderr=subprocess.PIPE)
    points = place / name / ".partial" / "search" / "points.json"
    checkpoints = place / name / ".partial" / "search" / "checkpoints"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        reached = len(json.loads(points.read_text())) if points.exists() else 0
        if reached >= num_points and any(checkpoints.glob("*/checkpoint-*")):
            break
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "search" not in read_manifest(place / name)
    run(place, name)
    resumed, straight = search_of(place / name), search_of(searched[0])
    assert (resumed.points, resumed.learning_rate) == (straight.points, straight.learning_rate)
    assert resumed.training.dev_scores == straight.training.dev_scores
    assert weights_of(place / name / "teacher") == weights_of(searched[0] / "teacher")


def test_ctrl_c_ends_the_search_and_the_run_goes_on_with_the_best_so_far(place):
    process = subprocess.Popen(
        command(place, "ended"), env=environment(place, "ended"), cwd=place, stderr=subprocess.PIPE, text=True
    )
    points = place / "ended" / ".partial" / "search" / "points.json"
    deadline = time.monotonic() + 120
    while not (points.exists() and len(json.loads(points.read_text())) >= 2) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=120)[1]
    assert process.returncode == 0, printed
    result = search_of(place / "ended")
    assert 2 <= len(result.points) < 6 and result.learning_rate == 3e-3
    assert "Ctrl-C: the comparison ends" in printed


def test_random_labels_stop_the_run_after_the_first_round(tmp_path, base_folder):
    recipe = random_labels(tmp_path, base_folder)
    done = run_here(tmp_path, "stopped", cache="x", recipe=recipe)
    assert done.returncode == 3, done.stderr
    assert "no model learns these labels from these texts: on 300 dev rows" in done.stderr
    assert len(json.loads((tmp_path / "stopped" / ".partial" / "search" / "points.json").read_text())) == 3
