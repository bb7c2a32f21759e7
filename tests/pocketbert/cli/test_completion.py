"""Shell completion as shells ask for it: environment variables in, lines out, in a process of its own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from command_lines import commands
from export.quantisation.variants import VARIANTS
from pocketbert.cli import app
from pocketbert.cli_parts import completion
from pocketbert.pipeline.plan import StageName
from pocketbert.recipe.loading import built_in

RECIPES = list(built_in())
STAGES = list(get_args(StageName))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A working folder with recipes, bundles, models and a run, all of them empty."""
    root = tmp_path_factory.mktemp("work")
    for name in (
        "mine.yaml", "other.yml", "table.csv", "sub/inner.yaml", "bundles/fp32/bundle.json", "bundles/fp32/config.json",
        "runs/r/bundles/int8/bundle.json", "runs/r/results.json", "runs/r/prediction/model/config.json",
        "models/m/config.json", ".hidden/bundle.json",
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def ask(folder: Path, shell: str, line: str, **more: str) -> subprocess.CompletedProcess:
    """What a shell does when Tab is pressed at the end of a line."""
    words = line.split(" ")
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    return subprocess.run(
        [sys.executable, "-P", "-m", "pocketbert"],
        cwd=folder,
        env={**os.environ, **asked, "_POCKETBERT_COMPLETE": f"complete_{shell}", "COLUMNS": "80", **more},
        capture_output=True,
        text=True,
    )


def candidates(folder: Path, shell: str, line: str) -> list[str]:
    finished = ask(folder, shell, line)
    assert finished.returncode == 0 and finished.stderr == "", finished.stderr
    if shell == "zsh":
        return re.findall(r'^(?:_arguments \'\*: :\(\()?"((?:[^"]|"")*)"', finished.stdout, flags=re.MULTILINE)
    return [entry.partition("\t")[0] for entry in finished.stdout.splitlines() if entry]


LINES = {
    "pocketbert ": [name for name in commands() if name and " " not in name],
    "pocketbert re": ["recipes", "report"],
    "pocketbert bench ": [name.removeprefix("bench ") for name in commands() if name.startswith("bench ")],
    "pocketbert run ": [*RECIPES, "mine.yaml", "other.yml"],
    "pocketbert check m": ["mnli", "mrpc", "mine.yaml"],
    "pocketbert bench training sub/": ["sub/inner.yaml"],
    "pocketbert run mine.yaml --until ": STAGES,
    "pocketbert run mine.yaml --until pre": ["prediction"],
    "pocketbert curves runs/r runs/r --stage m": ["masked_lm"],
    "pocketbert recipes q": ["qnli", "qqp", "quickstart"],
    "pocketbert schema ": ["recipe", "results"],
    "pocketbert export models/m --variant ": list(VARIANTS),
    "pocketbert export models/m --variant int4-st": [name for name in VARIANTS if name.startswith("int4-st")],
    "pocketbert export ": ["models/m", "runs/r/prediction/model"],
    "pocketbert verify ": ["bundles/fp32", "runs/r/bundles/int8"],
    "pocketbert predict b": ["bundles/fp32"],
    "pocketbert explain ": ["runs/r", "bundles/fp32", "runs/r/bundles/int8"],
    "pocketbert compare runs/r ": ["runs/r"],
    "pocketbert bench models ": ["models/m", "runs/r/prediction/model", "bundles/fp32", "runs/r/bundles/int8"],
    "pocketbert bench self-check --ru": ["--runs"],
    "pocketbert run nothing-": [],
    "pocketbert new ": [],  # files, by the shell
}


def completed(line: str, monkeypatch, capsys) -> list[str]:
    """The candidates for bash, in this process."""
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    monkeypatch.setenv("_POCKETBERT_COMPLETE", "complete_bash")
    assert app.main([]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize("line", LINES)
def test_candidates(folder, monkeypatch, capsys, line):
    monkeypatch.chdir(folder)
    assert completed(line, monkeypatch, capsys) == LINES[line]


def test_every_argument_that_is_a_recipe_a_run_a_model_or_a_bundle_completes(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    lines = {
        words: f"pocketbert {words} "
        for words, command in commands().items()
        if words
        and not hasattr(command, "commands")
        and command.params[0].name not in ("table", "as_json", "shape", "older_than")
    }
    assert len(lines) > 15 and {"run", "verify", "bench training", "bench models"} <= set(lines)
    for line in lines.values():
        assert completed(line, monkeypatch, capsys), line


@pytest.mark.parametrize("shell", ["zsh", "fish"])
@pytest.mark.parametrize("line", ["pocketbert bench ", "pocketbert run "])
def test_zsh_and_fish(folder, shell, line):
    """Each candidate has one line, however long its description is: fish takes every line for a candidate."""
    assert candidates(folder, shell, line) == LINES[line]


def test_bash_for_real(folder, tmp_path):
    """The script that `--show-completion` prints, in a bash that completes a line."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    command = tmp_path / "bin" / "pocketbert"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m pocketbert "$@"\n')
    command.chmod(0o755)
    code = (
        'eval "$(pocketbert --show-completion bash)"\n'
        "COMP_WORDS=(pocketbert run qui); COMP_CWORD=2; _pocketbert_completion pocketbert qui run\n"
        'printf "%s\\n" "${COMPREPLY[@]}"; complete -p pocketbert\n'
    )
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    environment["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"  # the parent here is no shell
    finished = subprocess.run(["bash", "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert finished.stdout.splitlines() == ["quickstart", "complete -o default -F _pocketbert_completion pocketbert"]


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", ".bash_completions/pocketbert.sh"),
        ("zsh", ".zfunc/_pocketbert"),
        ("fish", ".config/fish/completions/pocketbert.fish"),
    ],
)
def test_install_completion(tmp_path, shell, file):
    environment = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-P", "-m", "pocketbert", "--install-completion", shell]
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert f"_POCKETBERT_COMPLETE=complete_{shell}" in (tmp_path / file).read_text()


@pytest.mark.parametrize("line", ["pocketbert run x --until ", "pocketbert run ", "pocketbert bench models "])
def test_completion_loads_neither_torch_nor_transformers(folder, line):
    code = (
        "import sys, atexit; from pocketbert.__main__ import main; "
        "heavy = {'torch', 'transformers', 'datasets'}; "
        "atexit.register(lambda: print(heavy & set(sys.modules), file=sys.stderr)); main()"
    )
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_POCKETBERT_COMPLETE": "complete_bash"}
    finished = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=folder, env={**os.environ, **asked}, capture_output=True, text=True
    )
    assert finished.stderr == "set()\n" and finished.stdout


def test_among_files_that_hide_our_packages_completion_is_silent(tmp_path):
    """Its stderr would appear in the line that is typed."""
    (tmp_path / "export.py").write_text("raise SystemExit('theirs')\n")
    finished = ask(tmp_path, "bash", "pocketbert ", PYTHONPATH=f"{tmp_path}:{Path(completion.__file__).parents[2]}")
    assert (finished.returncode, finished.stdout, finished.stderr) == (2, "", "")


def test_the_trained_stages_are_stages_in_their_order():
    assert [name for name in STAGES if name in completion.TRAINED_STAGES] == list(completion.TRAINED_STAGES)
    (until,) = (option for option in commands()["run"].params if option.name == "until")
    assert until.help.endswith(": " + ", ".join(STAGES))
