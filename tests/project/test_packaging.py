"""What is shipped, and that it works from the wheel, wherever it is started."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import typer

from pocketbert.cli import app

ROOT = Path(__file__).parents[2]
PACKAGES = ("pocketbert", "compress", "export", "bench")


def build(source: Path, target: Path) -> tuple[Path, Path]:
    """The sdist and the wheel that the build backend makes of a source tree."""
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
    """Somebody's own project, with files named like our packages."""
    (tmp_path / "export.py").write_text("raise SystemExit('their export')\n")
    for name in ("bench", "compress"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('their {name}')\n")
    return tmp_path


def files_of(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def start(site: Path, folder: Path, *arguments: object, script: bool = True) -> subprocess.CompletedProcess:
    command = [str(site / "bin" / "pocketbert")] if script else ["-m", "pocketbert"]
    return subprocess.run(
        [sys.executable, *command, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site), "POCKETBERT_CACHE": str(folder / "cache")},
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
    assert {Path(name).suffix for name in shipped} == {".py", ".yaml", ".j2"}


def test_the_sdist_gives_the_same_wheel(built, tmp_path):
    sdist, wheel = built
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "tests/conftest.py"):
        assert (source / name).is_file(), name
    assert files_of(build(source, tmp_path / "again")[1]) == files_of(wheel)


def test_the_command_works_from_the_wheel_among_files_named_like_ours(installed, hostile, teacher_folder):
    found = start(installed, hostile, "recipes", "--json")
    assert found.returncode == 0, found.stderr
    assert found.stdout.count(f'"path": "{installed}') == 10
    found = start(installed, hostile, "bench", teacher_folder, "--rounds", 2, "--output", "out")
    assert found.returncode == 0, found.stderr
    assert (hostile / "out" / "report.html").is_file() and "torch fp32" in found.stdout


def test_started_where_other_packages_hide_ours_it_says_so(installed, hostile):
    found = start(installed, hostile, "recipes", script=False)
    assert found.returncode == 2
    assert found.stderr.startswith(f"error: {hostile / 'compress' / '__init__.py'}: got this in place of PocketBERT's")
    assert "start the command `pocketbert`" in found.stderr and found.stderr.count("\n") == 1
    shutil.rmtree(hostile / "compress")
    assert f"{hostile / 'export.py'}: got this" in start(installed, hostile, "recipes", script=False).stderr


def test_help_costs_little(installed, tmp_path):
    """What it loads, not how long it takes: the heavy libraries stay out."""
    code = (
        "import sys; from pocketbert.cli import app; app.main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert "Exit codes" in found.stdout
    loaded = set(found.stderr.replace("'", "").strip("[]\n").split(", "))
    assert not loaded & {"torch", "transformers", "numpy", "pandas", "sklearn", "pydantic", "onnxruntime", "matplotlib"}


COMMANDS = sorted(typer.main.get_command(app.app).commands)  # all that are registered, the benchmarks' too


def test_no_command_escapes_the_next_test():
    assert len(COMMANDS) > 15 and {"run", "augment", "curves", "bench", "bench-peers", "bench-shapes"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    assert app.main([command, "--help"]) == 0
    page = capsys.readouterr().out
    description, _, examples = page.partition("Example")
    assert "Usage:" in description and re.search(rf"pocketbert {command}\b(?!-)", examples), page
