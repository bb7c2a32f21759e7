"""predict.py as a program: what it imports, its streams, and what it prints to a terminal."""

import ast
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compress.common import escaping
from export.bundle import predict_command
from export.bundle.folder import seal
from export.bundle.predict_file import predict_source

MODULES = ("listed_files", "settings", "runtime", "predict_command")


def run(*arguments: object, folder: Path, shell: str = "", **environment: str) -> subprocess.CompletedProcess:
    """Run this interpreter in a folder, with redirections of a shell. Messages of Python itself are in English."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, *map(str, arguments)],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_modules_are_assembled_without_clashes():
    names = [node.name for node in ast.parse(predict_source()).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(names) == len(set(names)) > 40 and "export." not in predict_source()
    assert all(predict_source().count(f"# -- {module}\n") == 1 for module in MODULES)


@pytest.mark.parametrize("name", ["numpy", "json", "re"])
def test_nothing_is_imported_from_the_folder_however_it_is_started(original, tmp_path, name):
    """Imports are tried with a listed module, which the check of the files does not refuse."""
    bundle = shutil.copytree(original, tmp_path / "bundle")
    (bundle / f"{name}.py").write_text("raise SystemExit('IMPORTED')")
    seal(bundle)
    by_import = ("-c", "from predict import Classifier; print(Classifier('.').predict(['fine']))")
    starts = {
        "file": run("predict.py", "fine", folder=bundle),
        "path": run(bundle / "predict.py", "fine", folder=tmp_path, PYTHONPATH=str(bundle)),
        "module": run("-m", "predict", "fine", folder=bundle),
        "standard input": run("-", "fine", folder=bundle, shell="< predict.py"),
        "import": run(*by_import, folder=bundle),
    }
    for start, finished in starts.items():
        assert finished.returncode == 0 and "probability" in finished.stdout, (start, finished.stderr)


def test_the_working_directory_is_not_searched(original, tmp_path):
    (tmp_path / "numpy.py").write_text("raise SystemExit('IMPORTED')")
    assert run(original / "predict.py", "fine", folder=tmp_path).returncode == 0
    finished = run("-", "fine", "--bundle", original, folder=tmp_path, shell=f"< {original / 'predict.py'}")
    assert finished.returncode == 0, finished.stderr


def test_an_unlisted_module_is_refused_and_not_imported(original, tmp_path):
    bundle = shutil.copytree(original, tmp_path / "bundle")
    (bundle / "numpy.py").write_text("raise SystemExit('IMPORTED')")
    finished = run("predict.py", "fine", folder=bundle)
    assert finished.returncode == 2 and finished.stderr.startswith("predict.py: ")
    assert "numpy.py: SHA256SUMS does not list it" in finished.stderr and finished.stderr.count("\n") == 1


def test_importing_leaves_the_search_path_as_it_was(original):
    code = "import sys; before = list(sys.path); import predict; assert sys.path == before; print(predict.BundleError)"
    finished = run("-c", code, folder=original)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize(
    ("shell", "arguments", "message"),
    [
        ("<&-", (), "standard input is closed"),
        (">&-", ("fine",), "standard output is closed"),
        ("> /dev/full", ("fine",), "No space left on device"),
        ("", ("fine", "--threads", "100000"), "num_threads: got 100000; expected an integer from 1 to 1024"),
        ("", ("fine", "--bundle", "\x1b[31mred\nline"), "\\x1b[31mred\\nline: no such folder"),
    ],
)
def test_streams_and_options_that_do_not_work_are_one_line(original, shell, arguments, message):
    finished = run("predict.py", *arguments, folder=original, shell=shell)
    assert finished.returncode == 2 and message in finished.stderr and finished.stderr.count("\n") == 1


def test_closed_streams_are_no_traceback(original):
    assert run("predict.py", "fine", folder=original, shell="<&- >&- 2>&-").returncode == 2
    assert run("predict.py", "fine", folder=original, shell="<&-").returncode == 0


INTERRUPTED = """
import builtins, os, runpy, signal, sys
original = builtins.__import__
def interrupted(name, *rest):
    if name == {module!r}:
        os.kill(os.getpid(), signal.SIGINT)
    return original(name, *rest)
builtins.__import__ = interrupted
sys.argv = ["predict.py", "fine"]
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.mark.parametrize("module", ["argparse", "numpy", "onnxruntime"])
def test_an_interrupt_while_the_libraries_load_is_quiet(original, module):
    finished = run("-c", INTERRUPTED.format(module=module, script=str(original / "predict.py")), folder=original)
    assert (finished.returncode, finished.stdout, finished.stderr) == (130, "", "")


def test_a_terminal_gets_no_control_characters(monkeypatch):
    prediction = {"label": "\x1b[31m\x9b\u202e\u2028a\u00a0caf\u00e9 \U0001f600\x7f\U000e0001", "probability": 0.5}
    line = predict_command.json_line(prediction)
    assert json.loads(line) == prediction and line == escaping.json_line(prediction)
    assert not [letter for letter in line if not letter.isprintable() and letter != "\u00a0"] and "caf\u00e9" in line
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    predict_command._complain("a\x1b]0;b\x07\u202e\n")
    assert sys.stderr.getvalue() == "predict.py: a\\x1b]0;b\\x07\\u202e\\n\n"
