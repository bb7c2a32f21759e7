import contextlib
import errno
import importlib
import json
import os
import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from compress.common.errors import UserError
from pocketbert.store.manifest import stage_plan
from pocketbert.store.run_folder import Run
from pocketbert.store.stage_state import state_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def open_run(folder) -> Run:
    return Run(folder, versions={"numpy": "2"}, announce=lambda line: None)


def writes(text: str, calls: list[str]):
    def build(work) -> dict:
        calls.append(text)
        (work.output / "part").mkdir()
        (work.output / "part" / "file.txt").write_text(text)
        return {"length": len(text)}

    return build


@pytest.mark.parametrize("shared", [False, True])
def test_a_stage_is_done_once_until_its_options_or_inputs_change(tmp_path, shared):
    calls: list[str] = []
    for options, expected in (({"a": 1}, 2), ({"a": 1}, 2), ({"a": 2}, 4), ({"a": 2}, 4)):
        with open_run(tmp_path / "run") as run:
            first = stage_plan("first", options, shared=shared)
            run.stage(first, writes("one", calls))
            record = run.stage(stage_plan("second", {}, after=[first]), writes("two", calls))
        assert len(calls) == expected
        assert record.result == {"length": 3}
    assert (tmp_path / "run" / "first" / "part" / "file.txt").read_text() == "one"


@pytest.mark.parametrize("damage", ["change", "remove"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_stage_with_changed_files_runs_again(tmp_path, damage, shared):
    calls: list[str] = []
    for _ in range(2):
        with open_run(tmp_path / "run") as run:
            run.stage(stage_plan("first", {}, shared=shared), writes("one", calls))
        path = tmp_path / "run" / "first" / "part" / "file.txt"
        assert path.read_text() == "one"
        path.write_text("other") if damage == "change" else path.unlink()
    assert calls == ["one", "one"]


def test_runs_share_results(tmp_path):
    calls: list[str] = []
    for name in ("a", "b"):
        with open_run(tmp_path / name) as run:
            run.stage(stage_plan("teacher", {"x": 1}, shared=True), writes("one", calls))
        assert (tmp_path / name / "teacher" / "part" / "file.txt").read_text() == "one"
    assert calls == ["one"]


def test_checkpoints_survive_a_failure_but_not_a_change_of_options(tmp_path):
    checkpoint_existed = []

    def fails(work) -> dict:
        checkpoint_existed.append((work.checkpoints / "state").exists())
        work.checkpoints.mkdir(exist_ok=True)
        (work.checkpoints / "state").write_text("half")
        (work.output / "half.txt").write_text("half")
        raise RuntimeError("killed")

    for options in ({"a": 1}, {"a": 1}, {"a": 2}):
        with pytest.raises(RuntimeError), open_run(tmp_path) as run:
            run.stage(stage_plan("train", options), fails)
        assert not (tmp_path / "train").exists()
    assert checkpoint_existed == [False, True, False]


def test_a_second_run_in_the_folder_is_refused_with_the_holders_pid(tmp_path):
    code = "import sys; from pocketbert.store.run_folder import Run; from pathlib import Path\n"
    code += "with Run(Path(sys.argv[1]), versions={}, announce=print): print('open', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(UserError, match=rf"process {holder.pid}"), open_run(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with open_run(tmp_path):  # a killed holder leaves no lock behind
            assert (tmp_path / ".pid").read_text() == f"{os.getpid()}\n"
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("content", ["not json", "[]", '{"format_version": 99, "stages": {}}', '{"a": 1}'])
def test_a_foreign_manifest_is_an_error_and_stays_unchanged(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json: not a manifest of a run"), open_run(tmp_path):
        pass
    assert (tmp_path / "manifest.json").read_text() == content


@pytest.mark.parametrize("shared", [False, True])
def test_a_stage_that_runs_again_reports_the_reason_in_one_line(tmp_path, shared):
    lines: list[str] = []

    def run_with(options: dict, folder: str = "run") -> list[str]:
        lines.clear()
        with Run(tmp_path / folder, versions={}, announce=lines.append) as run:
            run.stage(stage_plan("train", options, shared=shared), writes("one", []))
        return [line for line in lines if "rerunning" in line]

    assert run_with({"threads": 16}) == []
    assert run_with({"threads": 16}) == []
    assert run_with({"threads": 2}) == [
        "train: rerunning: threads changed from 16 to 2; to keep it, set OMP_NUM_THREADS=16 on a machine with as many "
        "cores"
    ]
    (tmp_path / "run" / "train" / "part" / "file.txt").write_text("edited")
    assert run_with({"threads": 2}) == ["train: rerunning: part/file.txt was changed or removed"]
    back = run_with({"threads": 16})
    if shared:  # the cache still holds it, so nothing runs again
        assert back == [] and lines == ["[dim]train: taken from the cache[/dim]"]
    else:
        assert back == [
            "train: rerunning: threads changed from 2 to 16; to keep it, set OMP_NUM_THREADS=2 on a machine with as "
            "many cores"
        ]


def test_the_folder_of_an_older_version_stays_unchanged(tmp_path):
    """A run starts over there after its manifest and its stages were moved away."""
    old = {"fingerprint": "ab", "files": {}, "metrics": {"dev": 0.9}, "seconds": 1.0, "versions": {}}
    (tmp_path / "manifest.json").write_text(json.dumps({"format_version": 1, "stages": {"first": old}}))
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "file.txt").write_text("kept")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    advice = r"choose another folder with --output, or move this one away"
    stage = stage_plan("first", {})
    with pytest.raises(UserError, match=advice), open_run(tmp_path):
        pass
    with pytest.raises(UserError, match=advice):
        state_of(stage, tmp_path)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == before
    (tmp_path / "manifest.json").rename(tmp_path / "manifest-0.1.0.json")
    assert state_of(stage, tmp_path) == "to do"
    with open_run(tmp_path) as run:
        assert run.stage(stage, writes("one", [])).result == {"length": 3}


def test_cache_entries_of_an_older_version_do_no_harm(tmp_path, cache):
    """Even at the path of the new entry."""
    stage = stage_plan("teacher", {"x": 1}, shared=True)
    entry = cache / "stages" / f"teacher-{stage.fingerprint[:16]}"
    (entry / "model").mkdir(parents=True)
    (entry / "model" / "weights").write_text("old")
    old = {"fingerprint": stage.fingerprint, "files": {}, "metrics": {}, "seconds": 1.0, "versions": {}}
    entry.with_suffix(".json").write_text(json.dumps(old))
    entry.with_suffix(".partial").mkdir()
    (entry.with_suffix(".partial") / "fingerprint").write_text("another")
    assert state_of(stage, tmp_path / "run") == "to do"
    calls: list[str] = []
    with open_run(tmp_path / "run") as run:
        run.stage(stage, writes("one", calls))
    assert calls == ["one"]
    assert state_of(stage, tmp_path / "run") == "done" and not (entry / "model").exists()


@dataclass(frozen=True, kw_only=True)
class TrainingStageResult:
    """The result of a stage."""

    best_epoch: int
    scores: tuple[float, ...]


def test_a_result_has_the_type_that_the_stage_returned(tmp_path):
    result = TrainingStageResult(best_epoch=2, scores=(0.5, 0.75))
    for _ in range(2):  # the second time from the manifest
        with open_run(tmp_path) as run:
            record = run.stage(stage_plan("train", {"epochs": 3}), lambda workspace: result)
        assert record.result == {"best_epoch": 2, "scores": [0.5, 0.75]}
        assert record.result_as(TrainingStageResult) == result
        assert record.inputs == {"epochs": 3, "after": {}}
    with pytest.raises(UserError, match="result of a stage was changed"):
        record.result_as(dict[str, int])


def test_the_manifest_records_finished_stages(tmp_path):
    with open_run(tmp_path) as run:
        run.stage(stage_plan("first", {}), writes("one", []))
    stage = json.loads((tmp_path / "manifest.json").read_text())["stages"]["first"]
    assert stage["versions"] == {"numpy": "2"}
    assert list(stage["files"]) == ["part/file.txt"]
    assert not (tmp_path / ".partial" / "first").exists()


class Killed(BaseException):
    """The process ends here."""


def kill_in(monkeypatch, target: str, *, after: bool) -> None:
    """Raise at the first call of a function, before or after its work."""
    module, name = target.rsplit(".", 1)
    original = getattr(importlib.import_module(module), name)
    calls = []

    def killed(*arguments, **options):
        if calls or not _is_final(name, arguments):
            return original(*arguments, **options)
        calls.append(name)
        if after:
            original(*arguments, **options)
        raise Killed

    monkeypatch.setattr(target, killed)


def _is_final(name: str, arguments: tuple) -> bool:
    """Whether the call is not that of an empty manifest or of the journal."""
    if name == "write_json":
        return arguments[0].name != "finished.json"
    return name != "write_manifest" or bool(arguments[1])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", ["_move", "write_manifest", "write_json", "discard"])
def test_a_kill_after_the_work_loses_neither_the_result_nor_a_file_of_the_user(
    tmp_path, monkeypatch, shared, after, step
):
    """A second result replaces a first one with a file of the user in it."""
    calls: list[str] = []
    with open_run(tmp_path / "run") as run:
        run.stage(stage_plan("train", {"a": 1}, shared=shared), writes("one", calls))
    (tmp_path / "run" / "train" / "notes.txt").write_text("mine")
    second = stage_plan("train", {"a": 2}, shared=shared)
    with monkeypatch.context() as patched:
        kill_in(patched, f"pocketbert.store.run_folder.{step}", after=after)
        with contextlib.suppress(Killed), open_run(tmp_path / "run") as run:
            run.stage(second, writes("two", calls))
    with open_run(tmp_path / "run") as run:
        run.stage(second, writes("two", calls))
    built_twice = step == "discard"  # before the work: the rest of another stage is removed
    assert calls == ["one", "two"] or built_twice
    assert (tmp_path / "run" / "train" / "part" / "file.txt").read_text() == "two"
    assert [path.read_text() for path in tmp_path.rglob("notes.txt")] == ["mine"]
    assert state_of(second, tmp_path / "run") == "done"
    assert not list((tmp_path / "run").glob("set-aside-2"))


def test_a_damaged_entry_of_the_cache_is_made_again_with_a_line(tmp_path, cache):
    stage = stage_plan("teacher", {"x": 1}, shared=True)
    calls: list[str] = []
    with open_run(tmp_path / "a") as run:
        run.stage(stage, writes("one", calls))
    (entry,) = (cache / "stages").glob("teacher-*/")
    (entry / "part" / "file.txt").write_text("")
    lines: list[str] = []
    with Run(tmp_path / "b", versions={}, announce=lines.append) as run:
        run.stage(stage, writes("one", calls))
    assert calls == ["one", "one"] and (entry / "part" / "file.txt").read_text() == "one"
    assert lines[0] == "teacher: rerunning: part/file.txt was changed or removed in the cache"
    assert any(f"moved to {cache}/set-aside-1/stages/{entry.name}/part/file.txt" in line for line in lines)


def test_two_runs_build_an_entry_of_the_cache_once(tmp_path):
    calls: list[str] = []

    def one_run(name: str) -> None:
        with open_run(tmp_path / name) as run:
            run.stage(stage_plan("teacher", {"x": 1}, shared=True), writes("one", calls))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one_run, "abcd"))
    assert calls == ["one"]
    assert all((tmp_path / name / "teacher" / "part" / "file.txt").read_text() == "one" for name in "abcd")


def test_working_folders_keep_files_of_the_user(tmp_path):
    def fails(work) -> dict:
        work.checkpoints.mkdir()
        raise RuntimeError

    with pytest.raises(RuntimeError), open_run(tmp_path) as run:
        run.stage(stage_plan("train", {"a": 1}), fails)
    for name in ("train/notes.txt", "mine.txt"):
        (tmp_path / ".partial" / name).write_text("mine")
    with open_run(tmp_path) as run:
        run.stage(stage_plan("train", {"a": 1}), writes("one", []))
    assert (tmp_path / ".partial" / "mine.txt").read_text() == "mine"
    assert (tmp_path / "set-aside-1" / ".partial" / "train" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["log.txt", ".lock", ".pid"])
@pytest.mark.parametrize("content", ["my notes\n", "link"])
def test_files_of_a_run_that_the_user_replaced_are_kept(tmp_path, name, content):
    with open_run(tmp_path / "run") as run:
        run.stage(stage_plan("first", {}), writes("one", []))
    path = tmp_path / "run" / name
    path.unlink(missing_ok=True)
    (tmp_path / "notes").write_text("my notes\n")
    path.symlink_to(tmp_path / "notes") if content == "link" else path.write_text(content)
    with open_run(tmp_path / "run") as run:
        run.stage(stage_plan("first", {}), writes("one", []))
    assert (tmp_path / "run" / "set-aside-1" / name).read_text() == (tmp_path / "notes").read_text() == "my notes\n"


@pytest.mark.parametrize("full", ["cache", "run"])
@pytest.mark.parametrize("error", [partial(OSError, errno.ENOSPC, "No space left on device"), RuntimeError])
def test_the_full_disk_is_named(tmp_path, cache, monkeypatch, full, error):
    """Neither a failed write nor torch names the file."""
    usage = namedtuple("usage", "total used free")
    full_folder = cache if full == "cache" else tmp_path / "run"

    def disk_usage(path):
        return usage(1 << 30, 0, 1000 if path.is_relative_to(full_folder) else 1 << 29)

    def fails(work) -> dict:
        raise error()

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    with pytest.raises(OSError, match="No space left on device") as caught, open_run(tmp_path / "run") as run:
        run.stage(stage_plan("teacher", {}, shared=True), fails)
    assert Path(caught.value.filename).is_relative_to(full_folder)
