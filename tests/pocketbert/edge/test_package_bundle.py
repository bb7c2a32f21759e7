"""Archives for other machines: the same bytes again, what they refuse, and what their script installs. Offline."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from compress.common.console import new_console
from compress.common.errors import UserError
from compress.common.files import sha256
from export.bundle.folder import seal
from export.bundle.runtime import Classifier
from made_wheels import empty_wheel, wheel_of_installed
from pocketbert.edge import wheels
from pocketbert.edge.package_bundle import package_bundle

PYTHON = "{}.{}".format(*sys.version_info[:2])
CP = f"cp{PYTHON.replace('.', '')}"
HERE: wheels.Target = "aarch64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
ELSEWHERE: wheels.Target = "x86_64" if HERE == "aarch64" else "aarch64"
BASE_PYTHON = str(Path(sys.base_prefix) / "bin" / f"python{PYTHON}")  # without the packages of the tests
ONLY_ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("aarch64", "x86_64"), reason="the archives are for Linux"
)


@pytest.fixture
def own_bundle(bundle, tmp_path) -> Path:
    """A bundle to change."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def use_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pip take wheels from a folder, and from nowhere else."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


@pytest.fixture
def empty_wheels(tmp_path, monkeypatch) -> Path:
    """A folder with empty wheels for both targets. pip takes wheels from it only."""
    folder = tmp_path / "wheels"
    for target in wheels.TARGETS:
        empty_wheel("numpy", "2.0.0", f"{CP}-{CP}-manylinux_2_17_{target}.manylinux2014_{target}", folder)
        empty_wheel("onnxruntime", "1.20.0", f"{CP}-{CP}-manylinux_2_27_{target}.manylinux_2_28_{target}", folder)
        empty_wheel("tokenizers", "0.20.0", f"cp39-abi3-manylinux_2_17_{target}.manylinux2014_{target}", folder)
    use_only(folder, monkeypatch)
    return folder


def package(bundle: Path, output: Path, target: wheels.Target = HERE, python: str = PYTHON):
    return package_bundle(bundle, target=target, python=python, output=output, console=new_console(quiet=True))


def unpack(archive: Path, folder: Path) -> Path:
    """The folder in an archive, unpacked by tar."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["tar", "xzf", str(archive), "-C", str(folder)], check=True)
    (unpacked,) = folder.iterdir()
    return unpacked


def install(unpacked: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """Run the script in a plain environment, from another folder."""
    plain = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHON": BASE_PYTHON}
    command = ["sh", str(unpacked / "install.sh"), *map(str, arguments)]
    return subprocess.run(command, cwd="/", env={**plain, **environment}, capture_output=True, text=True)


def change_manifest(unpacked: Path, **values: object) -> None:
    path = unpacked / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# -- the archive


def test_the_same_inputs_give_the_same_bytes(bundle, empty_wheels, tmp_path):
    first = package(bundle, tmp_path / "first.tar.gz", ELSEWHERE)
    copy = shutil.copytree(bundle, tmp_path / "copy", copy_function=shutil.copy)  # other times
    (copy / "README.md").chmod(0o600)
    second = package(copy, tmp_path / "second.tgz", ELSEWHERE)
    assert first.sha256 == second.sha256 == sha256(tmp_path / "second.tgz")
    assert (first.glibc, first.packages["onnxruntime"]) == ("2.27", "1.20.0")


def test_the_manifest_lists_every_file(bundle, empty_wheels, tmp_path):
    package(bundle, tmp_path / "a.tar.gz", ELSEWHERE)
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        entries = archive.getmembers()
    assert {(entry.mtime, entry.uid, entry.gid, entry.uname) for entry in entries} == {(315532800, 0, 0, "")}
    assert [entry.name for entry in entries if entry.mode != 0o644] == [
        f"tiny-fp32-{ELSEWHERE}-python{PYTHON}/install.sh"
    ]
    assert not any(entry.pax_headers for entry in entries)
    unpacked = unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    manifest = json.loads((unpacked / "manifest.json").read_text())
    on_disk = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert on_disk == {*manifest["files"], "manifest.json"}
    assert all(sha256(unpacked / name) == digest for name, digest in manifest["files"].items())
    assert {path.name for path in (unpacked / "bundle").iterdir()} == {path.name for path in bundle.iterdir()}
    assert (manifest["target"], manifest["python"], len(manifest["packages"])) == (ELSEWHERE, PYTHON, 3)


def test_pip_installs_the_same_wheels_by_their_hashes(bundle, empty_wheels, tmp_path):
    package(bundle, tmp_path / "a.tar.gz")
    unpacked = unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", "wheels", "--no-deps"]
    command = [*pip, "--require-hashes", "-r", "requirements.txt", "--target", str(tmp_path / "site")]
    subprocess.run(command, cwd=unpacked, check=True, capture_output=True)
    assert (tmp_path / "site" / "onnxruntime-1.20.0.dist-info").is_dir()
    wheel = next((unpacked / "wheels").glob("numpy*"))
    wheel.write_bytes(wheel.read_bytes() + b"\n")
    changed = subprocess.run([*command, "--upgrade"], cwd=unpacked, capture_output=True, text=True)
    assert changed.returncode and "THESE PACKAGES DO NOT MATCH THE HASHES" in changed.stderr


def test_the_oldest_onnxruntime_of_the_bundle_is_honoured(own_bundle, empty_wheels, tmp_path):
    manifest = json.loads((own_bundle / "bundle.json").read_text())
    (own_bundle / "bundle.json").write_text(json.dumps({**manifest, "requires": {"onnxruntime": "1.21"}}))
    seal(own_bundle)
    with pytest.raises(UserError, match=r"pip finds no wheel of onnxruntime>=1\.21 for CPython"):
        package(own_bundle, tmp_path / "a.tar.gz")
    empty_wheel("onnxruntime", "1.22.0", f"{CP}-{CP}-linux_{HERE}", empty_wheels)  # a build of one's own
    packaged = package(own_bundle, tmp_path / "a.tar.gz")
    assert (packaged.packages["onnxruntime"], packaged.glibc) == ("1.22.0", "2.17")


def test_a_version_in_the_bundle_is_no_option_of_pip(own_bundle, empty_wheels, tmp_path):
    manifest = json.loads((own_bundle / "bundle.json").read_text())
    (own_bundle / "bundle.json").write_text(json.dumps({**manifest, "requires": {"onnxruntime": "1 --pre"}}))
    seal(own_bundle)
    with pytest.raises(UserError, match=r"requires.onnxruntime: got '1 --pre'; expected a version"):
        package(own_bundle, tmp_path / "a.tar.gz")


@pytest.mark.parametrize(
    ("name", "python", "message"),
    [
        ("taken.tar.gz", PYTHON, "taken.tar.gz: already exists"),
        ("link.tar.gz", PYTHON, "link.tar.gz: already exists"),
        ("none/a.tar.gz", PYTHON, "none: no such folder"),
        ("a.zip", PYTHON, "expected a name that ends with .tar.gz or .tgz"),
        ("a.tar.gz", "3.9", "expected a version such as 3.11"),
        ("a.tar.gz", "3.11.2", "expected a version such as 3.11"),
        ("a.tar.gz", "3.99", "pip finds no wheel of numpy for CPython 3.99"),
    ],
)
def test_a_wrong_request_writes_nothing(bundle, empty_wheels, tmp_path, name, python, message):
    (tmp_path / "taken.tar.gz").write_text("mine")
    (tmp_path / "link.tar.gz").symlink_to("nowhere")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=message):
        package(bundle, tmp_path / name, python=python)
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "taken.tar.gz").read_text() == "mine"


def test_a_damaged_bundle_is_not_packaged(own_bundle, empty_wheels, tmp_path):
    (own_bundle / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer.json: changed since the bundle was written"):
        package(own_bundle, tmp_path / "a.tar.gz")


def test_a_python_without_pip_is_reported(bundle, tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(wheels.sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(UserError, match="has no pip, which downloads the wheels"):
        package(bundle, tmp_path / "a.tar.gz")


def test_an_index_out_of_reach_is_reported(bundle, tmp_path, monkeypatch):
    use_only(tmp_path, monkeypatch)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nobody listens there
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(UserError, match="pip cannot reach the package index"):
        package(bundle, tmp_path / "a.tar.gz")


# -- the script


@pytest.fixture(scope="module")
def archive(bundle, tmp_path_factory) -> Path:
    """An archive for this machine with the real libraries."""
    folder = tmp_path_factory.mktemp("archive")
    for name in wheels.PACKAGES:
        wheel_of_installed(name, folder)
    with pytest.MonkeyPatch.context() as patched:
        use_only(folder, patched)
        package(bundle, folder / "a.tar.gz")
    return folder / "a.tar.gz"


@pytest.fixture
def unpacked(archive, tmp_path) -> Path:
    return unpack(archive, tmp_path / "unpacked here")


@ONLY_ON_LINUX
def test_what_is_installed_answers_like_the_bundle(bundle, unpacked, tmp_path):
    folder = tmp_path / "an 'app' é"
    done = install(unpacked, folder)
    assert done.returncode == 0, done.stderr
    assert "16 golden examples repeated" in done.stdout and "0 labels changed" in done.stdout
    (tmp_path / "link").symlink_to(folder / "predict")
    for command in (folder / "predict", tmp_path / "link"):
        text = "a good film"
        called = subprocess.run([str(command), text], env={"LC_ALL": "C"}, capture_output=True, text=True, cwd="/")
        assert json.loads(called.stdout) == Classifier(bundle).predict([text])[0], called.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["bundle", "predict", "site-packages"]
    assert list(folder.rglob("_multiarray_umath*.so")) and list((folder / "site-packages").rglob("*.pyc"))
    again = install(unpacked, folder)
    assert again.returncode == 2 and "already exists; choose another folder" in again.stderr
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".pocketbert")]


@ONLY_ON_LINUX
@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("new", {"glibc": "9.0"}, "expected glibc 9.0 or newer; use a newer system"),
        ("new", {"installed_bytes": 10**18}, "MB of free space; expected 1000000000000 MB"),
        ("a:b", {}, "a colon would end the path"),
        ("none/new", {}, "none: no such folder; create it first"),
        ("new", {"files": {"bundle/bundle.json": "0" * 64}}, "bundle.json: damaged (SHA-256 differs)"),
        ("new", {"files": {"bundle/other": "0" * 64}}, "other: No such file or directory; unpack the archive again"),
    ],
)
def test_a_machine_that_does_not_fit_is_refused(unpacked, tmp_path, name, values, message):
    change_manifest(unpacked, **values)
    before = sorted(tmp_path.iterdir())
    done = install(unpacked, tmp_path / name)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert sorted(tmp_path.iterdir()) == before


@ONLY_ON_LINUX
@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "expected a folder that does not exist yet"),
        (["--prefix"], {}, "expected a folder that does not exist yet"),
        (["a", "b"], {}, "got 2 arguments; expected one folder"),
        (["/proc/new"], {}, "/proc"),
        (["new"], {"PYTHON": "/bin/false"}, f"PYTHON=/bin/false: got no interpreter, expected CPython {PYTHON}"),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(unpacked, arguments, environment, message):
    done = install(unpacked, *arguments, **environment)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not Path("/new").exists()


@ONLY_ON_LINUX
def test_an_archive_for_another_processor_is_refused(bundle, empty_wheels, tmp_path):
    package(bundle, tmp_path / "a.tar.gz", ELSEWHERE)
    done = install(unpack(tmp_path / "a.tar.gz", tmp_path / "out"), tmp_path / "new")
    assert done.returncode == 2 and f"this archive is for {ELSEWHERE}" in done.stderr


@ONLY_ON_LINUX
def test_another_c_library_is_refused(unpacked, tmp_path):
    code = (
        "import os, runpy, sys\n"
        "def confstr(name): raise ValueError('unrecognized configuration name')\n"  # as Python does with musl
        "os.confstr = confstr; sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [BASE_PYTHON, "-c", code, str(unpacked / "install.py"), str(tmp_path / "new")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: got a C library that is not glibc, such as musl")


@ONLY_ON_LINUX
def test_other_outputs_than_the_stored_ones_install_nothing(unpacked, tmp_path):
    """The model of another machine: golden examples that this one does not repeat."""
    path = unpacked / "bundle" / "bundle.json"
    content = json.loads(path.read_text())
    content["golden"][3]["logits"][0] += 1
    path.write_text(json.dumps(content))
    seal(unpacked / "bundle")
    files = json.loads((unpacked / "manifest.json").read_text())["files"]
    change_manifest(unpacked, files={name: sha256(unpacked / name) for name in files})
    before = sorted(tmp_path.iterdir())
    done = install(unpacked, tmp_path / "new")
    assert done.returncode == 2 and "a logit differs by" in done.stderr.replace("largest difference of a logit", "")
    assert sorted(tmp_path.iterdir()) == before


@ONLY_ON_LINUX
def test_libraries_that_do_not_load_install_nothing(bundle, empty_wheels, tmp_path):
    package(bundle, tmp_path / "a.tar.gz")
    done = install(unpack(tmp_path / "a.tar.gz", tmp_path / "out"), tmp_path / "new")
    assert done.returncode == 2 and "error: a library cannot be loaded here (No module named" in done.stderr
    assert not (tmp_path / "new").exists()
