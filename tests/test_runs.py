import json
import os
import subprocess
import sys

import pytest

from compress.errors import UserError
from pocketbert.manifest import planned
from pocketbert.runs import Run


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
            first = planned("first", options, shared=shared)
            run.stage(first, writes("one", calls))
            record = run.stage(planned("second", {}, after=[first]), writes("two", calls))
        assert len(calls) == expected
        assert record.result == {"length": 3}
    assert (tmp_path / "run" / "first" / "part" / "file.txt").read_text() == "one"


@pytest.mark.parametrize("damage", ["change", "remove"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_stage_whose_files_were_touched_is_done_again(tmp_path, damage, shared):
    calls: list[str] = []
    for _ in range(2):
        with open_run(tmp_path / "run") as run:
            run.stage(planned("first", {}, shared=shared), writes("one", calls))
        path = tmp_path / "run" / "first" / "part" / "file.txt"
        assert path.read_text() == "one"
        path.write_text("other") if damage == "change" else path.unlink()
    assert calls == ["one", "one"]


def test_what_one_run_shares_another_finds(tmp_path):
    calls: list[str] = []
    for name in ("a", "b"):
        with open_run(tmp_path / name) as run:
            run.stage(planned("teacher", {"x": 1}, shared=True), writes("one", calls))
        assert (tmp_path / name / "teacher" / "part" / "file.txt").read_text() == "one"
    assert calls == ["one"]


def test_checkpoints_outlive_a_failure_but_not_a_change_of_options(tmp_path):
    seen = []

    def fails(work) -> dict:
        seen.append((work.checkpoints / "state").exists())
        work.checkpoints.mkdir(exist_ok=True)
        (work.checkpoints / "state").write_text("half")
        (work.output / "half.txt").write_text("half")
        raise RuntimeError("killed")

    for options in ({"a": 1}, {"a": 1}, {"a": 2}):
        with pytest.raises(RuntimeError), open_run(tmp_path) as run:
            run.stage(planned("train", options), fails)
        assert not (tmp_path / "train").exists()
    assert seen == [False, True, False]


def test_a_second_run_in_the_folder_is_refused_with_the_holders_pid(tmp_path):
    code = "import sys; from pocketbert.runs import Run; from pathlib import Path\n"
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
def test_a_foreign_manifest_is_told_and_left_as_it_is(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json: not a manifest of a run"), open_run(tmp_path):
        pass
    assert (tmp_path / "manifest.json").read_text() == content


def test_the_manifest_says_what_was_done(tmp_path):
    with open_run(tmp_path) as run:
        run.stage(planned("first", {}), writes("one", []))
    stage = json.loads((tmp_path / "manifest.json").read_text())["stages"]["first"]
    assert stage["versions"] == {"numpy": "2"}
    assert list(stage["files"]) == ["part/file.txt"]
    assert not (tmp_path / ".partial" / "first").exists()
