"""The bundles of a run folder, and the files of the user next to them and inside."""

from dataclasses import replace
from pathlib import Path

import pytest

from compress.common.files import sha256
from compress.common.owned_files import OwnedFolder
from example_results import RESULTS
from pocketbert.stages import gate


@pytest.fixture
def owned(tmp_path, monkeypatch) -> OwnedFolder:
    """A run folder with two candidates. A sealed bundle has one file more."""

    def record_verdict(folder: Path, *, recommended: bool, measured: dict[str, float], digests: dict[str, str]) -> None:
        assert digests == {"recipe": "0"}
        (folder / "README.md").write_text(f"recommended {recommended}, measured {measured}")

    monkeypatch.setattr("export.bundle.folder.record_verdict", record_verdict)
    for variant in ("fp32", "int8-static"):
        (tmp_path / "export" / variant / "onnx").mkdir(parents=True)
        (tmp_path / "export" / variant / "bundle.json").write_text(variant)
        (tmp_path / "export" / variant / "onnx" / "model.onnx").write_text(f"{variant}'s weights")
    return OwnedFolder(tmp_path, {}, lambda line: None)


def ship(owned: OwnedFolder, *passed: str) -> list[str]:
    """The bundles after the gate."""
    export = owned.folder / "export"
    listed = {
        path.relative_to(export).as_posix(): sha256(path)
        for path in export.rglob("*")
        if path.is_file() and "stray" not in path.name
    }
    exported = RESULTS.stages.export
    variant = next(iter(exported.variants.values()))
    judged = replace(exported, variants=dict.fromkeys(("fp32", "int8-static"), variant), recommended=None)
    gate._ship(judged, passed, owned, listed, {"recipe": "0"})
    return sorted(path.name for path in (owned.folder / "bundles").iterdir())


def put(owned: OwnedFolder, *names: str) -> None:
    for name in names:
        (owned.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (owned.folder / name).write_text("mine")


def mine(owned: OwnedFolder) -> list[str]:
    paths = (path for path in owned.folder.rglob("*") if path.is_file() and path.read_text() == "mine")
    return sorted(path.relative_to(owned.folder).as_posix() for path in paths)


def test_foreign_folders_stay_and_stray_files_of_a_candidate_are_not_shipped(owned):
    put(owned, "bundles/mine/model.onnx", "bundles/.git/HEAD", "export/fp32/stray.py")
    assert ship(owned, "fp32", "int8-static") == [".git", "fp32", "int8-static", "mine"]
    assert mine(owned) == ["bundles/.git/HEAD", "bundles/mine/model.onnx", "export/fp32/stray.py"]
    assert ship(owned, "fp32") == [".git", "fp32", "mine"]


def test_a_file_of_the_user_in_a_bundle_stays_until_the_bundle_changes(owned):
    ship(owned, "fp32", "int8-static")
    put(owned, "bundles/fp32/.git/HEAD", "bundles/int8-static/notes.txt")
    ship(owned, "fp32", "int8-static")
    assert mine(owned) == ["bundles/fp32/.git/HEAD", "bundles/int8-static/notes.txt"]
    put(owned, "bundles/fp32/README.md")
    assert ship(owned, "fp32") == ["fp32"]
    assert mine(owned) == [
        f"set-aside-1/bundles/{name}" for name in ("fp32/.git/HEAD", "fp32/README.md", "int8-static/notes.txt")
    ]
    assert "recommended" in (owned.folder / "bundles" / "fp32" / "README.md").read_text()


@pytest.mark.parametrize("passed", ["fp32", "int8-static"])
def test_bundles_of_an_older_version_are_moved_aside(owned, passed):
    """Its manifest has no list of them. A folder with the name of a variant that is no bundle stays."""
    put(owned, "bundles/fp32/bundle.json", "bundles/int8-static/notes.txt")
    assert passed in ship(owned, passed)
    assert "set-aside-1/bundles/fp32/bundle.json" in mine(owned)
    kept = "bundles" if passed == "fp32" else "set-aside-1/bundles"
    assert f"{kept}/int8-static/notes.txt" in mine(owned)
