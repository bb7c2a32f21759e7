"""Files of the user in folders of ours: never removed, never overwritten, never followed."""

import json
import os
from pathlib import Path

import pytest

from compress.common.errors import UserError
from compress.common.owned_files import RECORD, OwnedFolder, open_output


def folder_with(folder: Path, files: dict[str, str]) -> OwnedFolder:
    """A folder with these files of ours."""
    owned = OwnedFolder(folder, {}, lines.append)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
        owned.add(name)
    return owned


lines: list[str] = []


@pytest.fixture(autouse=True)
def _no_lines():
    lines.clear()


def test_what_we_wrote_is_deleted_and_the_rest_is_moved_aside(tmp_path):
    owned = folder_with(tmp_path, {"teacher/model/a": "a", "teacher/model/b": "b", "teacher/c": "c"})
    (tmp_path / "teacher" / "model" / "b").write_text("edited")
    (tmp_path / "teacher" / "model" / ".git").mkdir()
    (tmp_path / "teacher" / "model" / ".git" / "HEAD").write_text("ref")
    (tmp_path / "teacher" / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    owned.make_way("teacher")
    assert not (tmp_path / "teacher").exists() and (tmp_path / "mine").is_dir()
    aside = tmp_path / "set-aside-1" / "teacher" / "model"
    assert (aside / "b").read_text() == "edited" and (aside / ".git" / "HEAD").read_text() == "ref"
    assert not (aside / "a").exists()
    assert lines == [
        f"{tmp_path}/teacher/model/{name}: not as PocketBERT wrote it; moved to {aside}/{name}"
        for name in (".git", "b")
    ]


def test_links_are_moved_and_their_targets_stay(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_text("a")
    owned = folder_with(tmp_path / "run", {"bundles/fp32/a": "a", "report.md": "a", "teacher/a": "a"})
    run = tmp_path / "run"
    for name in ("bundles/fp32/a", "report.md", "teacher/a"):
        (run / name).unlink()
    (run / "bundles" / "fp32").rmdir()
    (run / "bundles").rmdir()
    (run / "bundles").symlink_to(tmp_path, target_is_directory=True)  # has no fp32
    (run / "report.md").symlink_to(outside / "a")  # its target is as we wrote the file
    (run / "teacher").rmdir()
    (run / "teacher").symlink_to(outside, target_is_directory=True)
    for name in ("bundles/fp32", "report.md", "teacher"):
        owned.make_way(name)
    assert (outside / "a").read_text() == "a"
    assert sorted(path.name for path in (run / "set-aside-1").iterdir()) == ["bundles", "report.md", "teacher"]
    assert (run / "bundles").is_dir() and not (run / "bundles").is_symlink()


def test_odd_files_are_moved_aside_unread(tmp_path):
    owned = folder_with(tmp_path, {"teacher/a": "a", "results.json": "{}"})
    os.mkfifo(tmp_path / "teacher" / "pipe")
    (tmp_path / "results.json").unlink()
    (tmp_path / "results.json").mkdir()
    (tmp_path / "set-aside-1").write_text("the user's")
    owned.make_way("teacher")
    owned.write_text("results.json", "new")
    assert (tmp_path / "set-aside-2" / "teacher" / "pipe").is_fifo()
    assert (tmp_path / "results.json").read_text() == "new" and (tmp_path / "set-aside-1").read_text() == "the user's"


def test_a_file_in_the_place_of_a_folder_is_moved_aside(tmp_path):
    owned = folder_with(tmp_path, {})
    (tmp_path / "bundles").write_text("the user's")
    owned.write_text("bundles/fp32/a", "ours")
    assert (tmp_path / "set-aside-1" / "bundles").read_text() == "the user's"
    assert (tmp_path / "bundles" / "fp32" / "a").read_text() == "ours"


def test_remove_leaves_what_we_did_not_write_in_its_place(tmp_path):
    owned = folder_with(tmp_path, {"peer/bin/a": "a", "peer/b": "b", "other/c": "c"})
    (tmp_path / "peer" / "bin" / "mine").write_text("mine")
    assert owned.remove("peer") == ["peer/bin/mine"]
    assert [path.name for path in (tmp_path / "peer").rglob("*")] == ["bin", "mine"]
    assert (tmp_path / "other" / "c").exists() and list(owned.files) == ["other/c"]
    (tmp_path / "peer" / "bin" / "mine").unlink()
    owned.remove("other")
    assert not (tmp_path / "other").exists()


def test_an_output_folder_lists_what_a_command_wrote(tmp_path):
    for content in ("first", "second"):
        with open_output(tmp_path / "out", ["a.json"], lines.append).writing("a.json") as folder:
            (folder / "a.json").write_text(content)
    assert (tmp_path / "out" / "a.json").read_text() == "second" and not lines
    with open_output(tmp_path / "out", ["b.json"], lines.append).writing("b.json") as folder:  # another command
        (folder / "b.json").write_text("b")
    assert list(json.loads((tmp_path / "out" / RECORD).read_text())["files"]) == ["a.json", "b.json"]


def test_a_failed_writer_lists_nothing(tmp_path):
    with pytest.raises(OSError), open_output(tmp_path, ["a.json"]).writing("a.json") as folder:
        (folder / "a.json").write_text("half")
        raise OSError
    assert json.loads((tmp_path / RECORD).read_text())["files"] == {}


@pytest.mark.parametrize("content", ["[]", "{", '{"files": []}', '{"files": {"a": 1}}', "null", "\udcff"])
def test_a_foreign_record_is_refused(tmp_path, content):
    (tmp_path / RECORD).write_text(content, errors="surrogateescape")
    with pytest.raises(UserError, match="not a list of files that PocketBERT wrote"):
        open_output(tmp_path, ["a.json"])
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/etc/passwd", ".", "", "a//b", "..\\outside"])
def test_a_record_cannot_name_files_elsewhere(tmp_path, name):
    (tmp_path / "outside").write_text("x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / RECORD).write_text(json.dumps({"files": {name: "0" * 64}}))
    assert open_output(tmp_path / "out", []).files == {}


def test_a_file_as_output_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="not a folder"):
        open_output(tmp_path / "out", [])
