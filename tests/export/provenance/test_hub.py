"""Bundles in repositories of a stand-in for the Hub: what is pushed, what is refused, and what comes back."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from export.provenance.signatures import PrivateKey, sign_bundle
from hub_stand_in import TOKEN, Hub, serve_hub
from signing_keys import write_key_pair
from tiny_bundles import build_fp32_bundle

DOWNLOAD = "import sys, huggingface_hub as h; print(h.snapshot_download(sys.argv[1], local_dir=sys.argv[2] or None))"
Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def original(tmp_path_factory, teacher_folder, reviews) -> Path:
    return build_fp32_bundle(tmp_path_factory.mktemp("hub"), teacher_folder, reviews, ["text"])


@pytest.fixture
def bundle(original, tmp_path) -> Path:
    return shutil.copytree(original, tmp_path / "fp32")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as served:
        yield served


@pytest.fixture
def run(hub, tmp_path) -> Run:
    """Runs a module or a line of Python in a process of its own, with the stand-in as its Hub."""

    def call(*words: object, token: str | None = TOKEN, **environment: str) -> subprocess.CompletedProcess:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        own = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, *map(str, words)],
            env={**inherited, **own, **hub.environment(token), **environment},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def push(*words: object, **options: str | None) -> subprocess.CompletedProcess:
        return call("-m", "pocketbert", "push", *words, **options)

    push.call = call  # type: ignore[attr-defined]
    return push


def error_of(done: subprocess.CompletedProcess) -> str:
    """The one line of an error, with exit code 2."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(lines), "Traceback" in done.stderr) == (2, 1, False), done.stderr
    return lines[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("into_cache", [False, True], ids=["into a folder", "into the cache of links"])
def test_a_signed_bundle_comes_back_from_the_hub_and_verifies(bundle, hub, run, tmp_path, into_cache):
    private, public = write_key_pair(tmp_path)
    sign_bundle(bundle, PrivateKey(key=private))
    expected = contents(bundle)
    (bundle / ".DS_Store").write_text("of this machine")
    pushed = run(bundle, "user/tiny", "--private", "--json")
    assert pushed.returncode == 0, pushed.stderr
    result = json.loads(pushed.stdout)
    assert result["signed"] and set(result["files"]) == set(expected) and not result["deleted"]
    gitattributes = {".gitattributes": hub.files("user/tiny")[".gitattributes"]}
    assert hub.files("user/tiny") == expected | gitattributes
    assert hub.repositories["user/tiny"].private and expected["onnx/model.onnx"] in hub.objects.values()
    target = "" if into_cache else tmp_path / "back"
    back = run.call("-c", DOWNLOAD, "user/tiny", target)
    folder = Path(back.stdout.strip())
    assert back.returncode == 0 and (folder / "onnx" / "model.onnx").is_symlink() == into_cache, back.stderr
    verified = run.call("-m", "pocketbert", "verify", folder, "--key", public)
    assert verified.returncode == 0 and "the signer has signed exactly these files" in verified.stdout, verified.stderr
    again = run(bundle, "user/tiny")
    assert again.returncode == 0 and hub.files("user/tiny") == expected | gitattributes, again.stderr


def test_a_branch_gets_the_bundle_and_main_stays(bundle, hub, run):
    hub.add("user/tiny", {})
    assert run(bundle, "user/tiny", "--revision", "v2/next").returncode == 0
    assert set(hub.files("user/tiny")) == {".gitattributes"}
    assert contents(bundle).items() <= hub.files("user/tiny", "v2/next").items()


def test_the_files_of_another_model_stay_unless_they_are_to_be_replaced(bundle, hub, run):
    others = {"README.md": b"# another", "pytorch_model.bin": b"weights", "config.json": b"{}", ".model.sig": b"old"}
    hub.add("user/tiny", others)
    before = dict(hub.files("user/tiny"))
    error = error_of(run(bundle, "user/tiny"))
    assert "another model or other files" in error and "pytorch_model.bin" in error and "--replace" in error
    assert hub.files("user/tiny") == before
    replaced = run(bundle, "user/tiny", "--replace", "--json")
    assert replaced.returncode == 0, replaced.stderr
    assert json.loads(replaced.stdout)["deleted"] == ["pytorch_model.bin", ".model.sig"]
    assert set(hub.files("user/tiny")) == {".gitattributes", *contents(bundle)}


def test_a_signature_can_follow_and_stays_with_the_same_files(bundle, hub, run, tmp_path):
    assert run(bundle, "user/tiny").returncode == 0
    hub.add("user/tiny", {**hub.files("user/tiny"), "onnx/.gitkeep": b""})
    sign_bundle(bundle, PrivateKey(key=write_key_pair(tmp_path)[0]))
    assert run(bundle, "user/tiny").returncode == 0
    signature = hub.files("user/tiny")[".model.sig"]
    assert signature == (bundle / ".model.sig").read_bytes()
    (bundle / ".model.sig").unlink()
    assert run(bundle, "user/tiny").returncode == 0 and hub.files("user/tiny")[".model.sig"] == signature


def test_a_public_repository_gets_no_private_bundle(bundle, hub, run):
    hub.add("user/tiny", {})
    assert "is public" in error_of(run(bundle, "user/tiny", "--private"))
    assert set(hub.files("user/tiny")) == {".gitattributes"}


def test_what_does_not_verify_is_not_pushed(bundle, hub, run, tmp_path):
    private, _ = write_key_pair(tmp_path)
    sign_bundle(bundle, PrivateKey(key=private))
    with (bundle / "README.md").open("a") as card:
        card.write("an edit after the signature\n")
    assert "the signature of other files" in error_of(run(bundle, "user/tiny"))
    (bundle / ".model.sig").write_text("{}")
    assert "not a signature" in error_of(run(bundle, "user/tiny"))
    (bundle / ".model.sig").unlink()
    (bundle / "notes.txt").write_text("mine")
    assert "notes.txt: SHA256SUMS does not list it" in error_of(run(bundle, "user/tiny"))
    assert not hub.repositories and not hub.requests


@pytest.mark.parametrize(
    ("repository", "options", "message"),
    [
        ("user/tiny", {"token": "hf_wrong"}, "answers 401"),
        ("user/tiny", {"token": None}, "there is no token"),
        ("company/tiny", {}, "answers 403"),
        ("user/tiny", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids the network"),
        ("user/tiny", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
        ("user/ti ny", {}, "expected USER/NAME"),
        ("../tiny", {}, "expected USER/NAME"),
    ],
)  # fmt: skip
def test_each_failure_of_the_hub_is_one_line(bundle, hub, run, repository, options, message):
    assert message in error_of(run(bundle, repository, **options))
    assert not hub.repositories


def test_a_file_that_does_not_arrive_is_reported(bundle, hub, run):
    hub.add("user/tiny", {}).gitignore = ("*.onnx",)
    assert "the commit lacks onnx/model.onnx" in error_of(run(bundle, "user/tiny"))
    hub.add("user/other", {})
    hub.damaged = ("tokenizer.json",)
    assert "the commit lacks tokenizer.json" in error_of(run(bundle, "user/other"))
