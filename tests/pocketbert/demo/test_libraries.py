"""The libraries of the page: pinned, downloaded once, and read without being unpacked."""

import base64
import dataclasses
import hashlib
from pathlib import Path

import pytest

from compress.common.console import new_console
from compress.common.errors import UserError
from pocketbert.cli import app
from pocketbert.demo.libraries import LIBRARIES, files_of
from pocketbert.store.cache_contents import contents_of

CONSOLE = new_console(quiet=True)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix not in (".lock", ".json")}


def test_the_real_ones_are_pinned():
    for library in LIBRARIES:
        assert len(base64.b64decode(library.sha512)) == hashlib.sha512().digest_size
    assert [library.path for library in LIBRARIES] == [
        "onnxruntime-web/-/onnxruntime-web-1.30.0.tgz",
        "@mlc-ai/web-tokenizers/-/web-tokenizers-0.1.6.tgz",
    ]
    assert LIBRARIES[1].archive == "mlc-ai-web-tokenizers-0.1.6.tgz"  # as `npm pack` names it


def test_an_archive_is_downloaded_once_and_never_unpacked(registry, libraries, cache, capsys):
    runtime, tokenizers = libraries
    for _ in range(2):
        assert files_of(tokenizers, CONSOLE) == {"lib/index.js": b"self.x = 1"}
        assert set(files_of(runtime, CONSOLE)) == {"dist/ort.wasm.min.mjs", "dist/x.wasm"}
    assert registry.asked == ["/@scope/tokenizers/-/tokenizers-1.2.3.tgz", "/runtime/-/runtime-1.2.3.tgz"]
    assert files_in(cache.parent) == {"runtime-1.2.3.tgz", "scope-tokenizers-1.2.3.tgz"}
    assert {item.name for item in contents_of(cache).items} == {
        "demo/runtime-1.2.3.tgz", "demo/scope-tokenizers-1.2.3.tgz"
    }  # fmt: skip
    assert app.main(["cache", "prune", "--all", "--yes"]) == 0
    assert files_in(cache) == set()


@pytest.mark.parametrize("damage", ["other", "longer", "shorter"])
def test_another_archive_than_the_pinned_one_is_refused(registry, libraries, cache, damage):
    (runtime, _), path = libraries, f"/{libraries[0].path}"
    content = registry.archives[path]
    registry.archives[path] = {
        "other": content[:-1] + bytes([content[-1] ^ 1]), "longer": content + b"x" * 10**6, "shorter": content[:50]
    }[damage]  # fmt: skip
    with pytest.raises(UserError) as raised:
        files_of(runtime, CONSOLE)
    message = str(raised.value)
    assert "sent another archive than the pinned one (SHA-512 differs" in message and "\n" not in message
    assert files_in(cache) == set()


def test_a_damaged_copy_is_downloaded_again(registry, libraries, cache):
    runtime = libraries[0]
    expected = files_of(runtime, CONSOLE)
    copy = cache / "demo" / runtime.archive
    copy.write_bytes(b"x" * runtime.num_bytes)
    assert files_of(runtime, CONSOLE) == expected and len(registry.asked) == 2
    assert [item.name for item in contents_of(cache).items] == [f"demo/{runtime.archive}"]


def test_a_copy_that_the_user_put_there_needs_no_registry(registry, libraries, cache, monkeypatch):
    runtime = libraries[0]
    (cache / "demo").mkdir(parents=True)
    (cache / "demo" / runtime.archive).write_bytes(registry.archives[f"/{runtime.path}"])
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    assert len(files_of(runtime, CONSOLE)) == 2 and registry.asked == []
    assert [item.name for item in contents_of(cache).items] == [f"demo/{runtime.archive}"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:9/", "could not be fetched from http://127.0.0.1:9/ ("),
        ("http://me:secret@127.0.0.1:9/", "could not be fetched from http://127.0.0.1:9/ ("),
        ("file:///etc/", "npm_config_registry: got file:///etc/; expected the https:// address"),
        ("http://[::1/", "could not be fetched from the registry ("),
        ("not an address", "npm_config_registry: got not an address; expected"),
    ],
)
def test_without_a_registry_there_is_one_line(libraries, monkeypatch, address, expected):
    monkeypatch.setenv("npm_config_registry", address)
    with pytest.raises(UserError) as raised:
        files_of(libraries[0], CONSOLE)
    message = str(raised.value)
    assert expected in message and "\n" not in message and "secret" not in message


def test_a_version_that_the_registry_lacks(registry, libraries):
    missing = dataclasses.replace(libraries[0], version="9.9.9")
    with pytest.raises(UserError, match=r"runtime 9\.9\.9: could not be fetched from .* \(404 .*npm pack runtime@9"):
        files_of(missing, CONSOLE)
