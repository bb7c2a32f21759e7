"""The sdist and the wheel: their files, and the command from the wheel, in any working folder."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("pocketbert", "compress", "export", "bench")


def build(source: Path, target: Path) -> tuple[Path, Path]:
    """The sdist and the wheel of a source tree."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return next(target.glob("*.tar.gz")), next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """A folder with the wheel in it, its console script under bin/."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*command, str(built[1])], check=True, capture_output=True)
    return site


@pytest.fixture
def hostile(tmp_path) -> Path:
    """A project of its own, with files named like our packages."""
    (tmp_path / "export.py").write_text("raise SystemExit('their export')\n")
    for name in ("bench", "compress"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('their {name}')\n")
    return tmp_path


def files_of(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def start(
    site: Path, folder: Path, *arguments: object, script: bool = True, **more: str
) -> subprocess.CompletedProcess:
    command = [str(site / "bin" / "pocketbert")] if script else ["-m", "pocketbert"]
    return subprocess.run(
        [sys.executable, *command, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site), "POCKETBERT_CACHE": str(folder / "cache"), **more},
        capture_output=True,
        text=True,
    )


def test_the_wheel_is_the_four_packages_and_nothing_else(built):
    shipped = {name for name in files_of(built[1]) if ".dist-info/" not in name}
    on_disk = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped == on_disk
    page = {".html", ".css", ".js", ".svg"}
    suffixes = {".py", ".yaml", ".j2", ".typed", ".proto", ".binpb", ".sh"} | page
    assert {Path(name).suffix for name in shipped} == suffixes


def test_the_sdist_gives_the_same_wheel(built, tmp_path):
    sdist, wheel = built
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "tests/conftest.py"):
        assert (source / name).is_file(), name
    assert files_of(build(source, tmp_path / "again")[1]) == files_of(wheel)


def test_the_command_works_from_the_wheel_among_files_named_like_ours(installed, hostile, teacher_folder):
    recipes = start(installed, hostile, "recipes", "--json")
    assert recipes.returncode == 0, recipes.stderr
    assert recipes.stdout.count(f'"path": "{installed}') == 10
    bench = start(
        installed,
        hostile,
        "bench",
        "models",
        teacher_folder,
        "--effort",
        "quick",
        "--restart-every",
        2,
        "--rounds",
        2,
        "--grid",
        "1x8",
        "--threads",
        1,
        "--output",
        "out",
    )
    assert bench.returncode == 0, bench.stderr
    assert (hostile / "out" / "report.html").is_file() and "torch fp32" in bench.stdout


def test_completion_works_from_the_wheel_among_files_named_like_ours(installed, hostile):
    asked = {"_POCKETBERT_COMPLETE": "complete_bash", "COMP_WORDS": "pocketbert bench ", "COMP_CWORD": "2"}
    finished = start(installed, hostile, **asked)
    assert finished.returncode == 0 and finished.stderr == ""
    assert finished.stdout.split() == ["models", "self-check", "peers", "shapes", "training", "augmentation"]


def test_packages_that_hide_ours_are_reported(installed, hostile):
    finished = start(installed, hostile, "recipes", script=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith(
        f"error: {hostile / 'compress' / '__init__.py'}: got this instead of PocketBERT's"
    )
    assert "start the command `pocketbert`" in finished.stderr and finished.stderr.count("\n") == 1
    shutil.rmtree(hostile / "compress")
    assert f"{hostile / 'export.py'}: got this" in start(installed, hostile, "recipes", script=False).stderr


def test_help_loads_no_heavy_library(installed, tmp_path):
    code = (
        "import sys; from pocketbert.cli import app; app.main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert "Exit codes" in finished.stdout
    loaded = set(finished.stderr.replace("'", "").strip("[]\n").split(", "))
    assert not loaded & {"torch", "transformers", "numpy", "pandas", "sklearn", "pydantic", "onnxruntime", "matplotlib"}
