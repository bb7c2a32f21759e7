"""`pocketbert cache`: what it lists, and what it never removes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compress.common.files import sha256
from compress.common.owned_files import open_output
from compress.common.seals import seal_file
from pocketbert.cli import app
from pocketbert.store.manifest import stage_plan
from pocketbert.store.run_folder import Run
from pocketbert.store.stage_state import state_of


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache with an entry of each type, and a file of the user in each of its folders."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("POCKETBERT_CACHE", str(folder))
    make_entry(tmp_path / "run", x=1)
    make_entry(tmp_path / "other", x=2)
    for name in ("data/movie-snippets-5d7c06e027fc.csv", "vectors/0123456789abcdef-glove.txt"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("downloaded")
        seal_file(folder / name)
    home = folder / "peers" / "OpenVINO-01234567"
    owned = open_output(home, [])
    (home / "lib" / "__pycache__").mkdir(parents=True)
    (home / "lib" / "code.py").write_text("1")
    with owned.writing("requirements.txt"):
        (home / "requirements.txt").write_text("openvino")
    owned.add("lib")
    owned.save()
    (home / "lib" / "__pycache__" / "code.cpython-311.pyc").write_text("compiled later")
    for name in ("notes.txt", "stages/notes.txt", "stages/mine-0123456789abcdef/x", "data/mine.csv", "peers/mine/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    return folder


def make_entry(run_folder: Path, **inputs: int) -> None:
    with Run(run_folder, versions={}, announce=lambda line: None) as run:
        run.stage(stage_plan("teacher", inputs, shared=True), lambda work: (work.output / "a").write_text("weights"))


def of_the_user(cache: Path) -> dict[str, str]:
    return {str(path): sha256(path) for path in cache.rglob("*") if path.is_file() and path.read_text() == "mine"}


def entries(cache: Path, capsys) -> list[str]:
    assert app.main(["cache", "--json"]) == 0
    return sorted(item["name"] for item in json.loads(capsys.readouterr().out)["items"])


def test_it_lists_our_entries_with_sizes_and_ages(cache, capsys):
    assert [name.partition("-")[0] for name in entries(cache, capsys)] == [
        "data/movie", "peers/OpenVINO", "stages/teacher", "stages/teacher", "vectors/0123456789abcdef"
    ]  # fmt: skip
    assert app.main(["cache"]) == 0
    printed = capsys.readouterr().out
    assert "0 days ago" in printed and f"{cache}: 5 entries, 0.0 MB" in printed


def test_all_of_it_is_removed_but_no_file_of_the_user(cache, capsys):
    (entry,) = (path for path in (cache / "stages").glob("teacher-*/") if path.samefile(cache.parent / "run/teacher"))
    (entry / "notes").write_text("mine")
    before = of_the_user(cache)
    assert app.main(["cache", "prune", "--all", "--yes"]) == 0
    assert f"kept {entry}/notes: not as PocketBERT wrote it" in capsys.readouterr().out
    assert of_the_user(cache) == before and len(before) == 6
    others = [path for path in cache.rglob("*") if path.is_file() and str(path) not in before]
    assert all(path.suffix == ".lock" for path in others), others
    assert entries(cache, capsys) == []
    make_entry(cache.parent / "run", x=1)  # makes it again, and moves the file in its place aside
    moved = cache / "set-aside-1" / "stages" / entry.name / "notes"
    assert of_the_user(cache).keys() == before.keys() - {str(entry / "notes")} | {str(moved)}


def test_old_entries_are_removed_and_used_ones_stay(cache, tmp_path, capsys):
    for proof in (cache / "stages").glob("*.json"):
        os.utime(proof, (time.time() - 40 * 86400,) * 2)
    make_entry(tmp_path / "run", x=1)  # uses its entry
    capsys.readouterr()
    assert app.main(["cache", "prune", "--older-than", "30", "--yes"]) == 0
    assert "removed 1 entry" in capsys.readouterr().out
    assert state_of(stage_plan("teacher", {"x": 1}, shared=True), tmp_path / "run") == "done"
    assert state_of(stage_plan("teacher", {"x": 2}, shared=True), tmp_path / "other") == "to do"


@pytest.mark.parametrize(("work", "others"), [("build", 5), ("use", 4)])
def test_an_entry_in_use_stays(cache, tmp_path, capsys, work, others):
    """By another process, which builds it or reads it."""
    stage = "stage_plan('teacher', {'x': 3 if sys.argv[2] == 'build' else 1}, shared=True)"
    code = f"""
import sys
from pathlib import Path
from pocketbert.store.manifest import stage_plan
from pocketbert.store.run_folder import Run

def build(work):
    print("ready", flush=True)
    sys.stdin.read()

with Run(Path(sys.argv[1]), versions={{}}, announce=lambda line: None) as run:
    run.stage({stage}, build)
    print("ready", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "third"), work], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == "ready\n"
        before = {path for path in (cache / "stages").rglob("*") if "other" not in str(path)}
        assert app.main(["cache", "prune", "--all", "--yes"]) == 0
        printed = capsys.readouterr().out
        assert printed.count("in use by another process") == 1 and f"removed {others} entries" in printed
        assert len(before) > len(list((cache / "stages").rglob("*")))
        holder.kill()
        holder.wait()
        assert app.main(["cache", "prune", "--all", "--yes"]) == 0
        assert "removed 1 entry" in capsys.readouterr().out
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "give either --older-than DAYS or --all"),
        (["--all", "--older-than", "3"], "give either --older-than DAYS or --all"),
        (["--all"], "Add --yes to remove without a question"),
        (["--older-than", "-1"], "older-than"),
    ],
)
def test_it_removes_nothing_without_a_clear_order(cache, capsys, options, expected):
    before = sorted(cache.rglob("*"))
    assert app.main(["cache", "prune", *options]) == 2
    assert expected in capsys.readouterr().err and sorted(cache.rglob("*")) == before


def test_an_empty_or_missing_cache_is_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "none"))
    assert app.main(["cache"]) == 0 and "0 entries" in capsys.readouterr().out
    assert app.main(["cache", "prune", "--all", "--yes"]) == 0
    assert not (tmp_path / "none").exists()
