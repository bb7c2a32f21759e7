"""The command that installs an extra names the place that this package was installed from."""

import json
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest

from compress.common import extras

FROM_INDEX = "pip install 'pocketbert[serve]'"
URL = "https://example.org/pocketbert.git"


def command(monkeypatch, record: str | None) -> str:
    """The command for a package that was installed with this direct_url.json."""
    installed = SimpleNamespace(read_text={"direct_url.json": record}.get)
    monkeypatch.setattr(extras, "distribution", lambda name: installed)
    return extras.install_command("serve")


@pytest.mark.parametrize("is_editable", [False, True])
def test_a_clone_is_named(monkeypatch, tmp_path, is_editable):
    clone = tmp_path / "my clone"
    clone.mkdir()
    record = json.dumps({"url": clone.as_uri(), "dir_info": {"editable": is_editable}})
    assert command(monkeypatch, record) == f"pip install {'-e ' if is_editable else ''}'{clone}[serve]'"
    clone.rmdir()
    assert command(monkeypatch, record) == FROM_INDEX


def test_a_wheel_and_a_repository_are_named(monkeypatch, tmp_path):
    wheel = tmp_path / "pocketbert-1.0-py3-none-any.whl"
    wheel.touch()
    assert (
        command(monkeypatch, json.dumps({"url": wheel.as_uri(), "archive_info": {}})) == f"pip install '{wheel}[serve]'"
    )
    record = {"url": URL, "vcs_info": {"vcs": "git", "commit_id": "0" * 40}}
    assert command(monkeypatch, json.dumps(record)) == f"pip install 'pocketbert[serve] @ git+{URL}'"


@pytest.mark.parametrize("record", [None, "", "{", "[]", "3", '{"url": 3}', '{"vcs_info": {}}', '{"url": "file://["}'])
def test_without_a_readable_record_the_index_is_named(monkeypatch, record):
    assert command(monkeypatch, record) == FROM_INDEX


def test_a_package_that_is_not_installed(monkeypatch):
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", missing)
    assert extras.install_command("serve") == FROM_INDEX
