"""The Python interface: its documented example runs as it is written, and importing it is cheap."""

import contextlib
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pocketbert
from brief_benchmarks import make_benchmarks_brief
from documents import blocks
from pocketbert.python_arguments import overrides_of


@pytest.mark.slow
def test_the_blocks_of_the_page_run_one_after_the_other(sandbox, monkeypatch, capsys):
    """The last one prints the error that it provokes."""
    make_benchmarks_brief(monkeypatch)
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {}
    with contextlib.chdir(sandbox.root):
        for block in blocks("docs/python.md", "python"):
            exec(compile(block, "docs/python.md", "exec"), names)
    result, table = names["result"], names["table"]
    assert list(result.bundles) == ["fp32"] and result.recommended == result.bundles["fp32"]
    assert (sandbox.root / result.report).is_file() and (sandbox.root / "comparison" / "report.html").is_file()
    assert names["longer"].results.run.student.width == 24
    assert set(table["predicted"]) <= set(table["label"]) and len(table) == 150
    assert [row.speedup is None for row in names["comparison"].stages.bench.rows] == [False, False]
    assert "student.layers: got 0" in capsys.readouterr().out


def test_an_error_in_a_recipe_names_its_key(tmp_path, base_folder, reviews):
    shape = "layers: 2, width: 16, ffn_width: 32, heads: 4, initialisation: teacher_layers"
    recipe = f"name: r\ntask: {{data: {reviews}}}\nteacher: {{base: {base_folder}}}\nstudent: {{{shape}}}\n"
    (tmp_path / "r.yaml").write_text(recipe)
    with pytest.raises(
        pocketbert.UserError, match=r"equal width: student 16.*; use student\.initialisation: projected"
    ):
        pocketbert.run(tmp_path / "r.yaml", output=tmp_path / "run", quiet=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student.layers": np.int64(0)}, "student.layers: got 0; expected more than 0"),
        ({"student": {"layers": "two"}}, "student.layers: got 'two'; expected a whole number"),
        ({"student.depth": 3}, "student.depth: unknown key"),
    ],
)
def test_changes_are_values_of_python(tmp_path, changes, message):
    (tmp_path / "r.yaml").write_text("name: r\ntask: {data: t.csv}\nteacher: {base: b}\n")
    with pytest.raises(pocketbert.UserError, match=message):
        pocketbert.run(tmp_path / "r.yaml", changes=changes)


@pytest.mark.parametrize("changes", ["seed=1", ["seed=1"], {1: 2}, {"seed=1": 2}])
def test_changes_that_are_no_keys_and_values(changes):
    with pytest.raises(pocketbert.UserError, match=r"^changes: got .*; expected keys and values, such as"):
        pocketbert.run("r.yaml", changes=changes)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([1e-4, 2e-4]), "[0.0001, 0.0002]"),
        (("a", 1), '["a", 1]'),
        ({"b", "a"}, '["a", "b"]'),
        (Path("data/reviews.csv"), '"data/reviews.csv"'),
        (None, "null"),
    ],
)
def test_values_of_python_as_yaml(value, text):
    assert overrides_of({"key": value}) == [f"key={text}"]


def test_messages_name_arguments_and_no_flags(tmp_path, teacher_folder):
    (tmp_path / "r.yaml").write_text("name: r\ntask: {data: t.csv}\nteacher: {base: b}\nstudent: {preset: fast3}\n")
    (tmp_path / "file").touch()
    recipe, run, bench = tmp_path / "r.yaml", pocketbert.run, partial(pocketbert.bench, teacher_folder)
    calls = {
        "`until` nope: expected one of baseline, ": partial(run, recipe, until="nope"),
        '`changes` student.presett="a"': partial(run, recipe, changes={"student.presett": "a"}),
        "not a folder; choose another with `output`": partial(run, recipe, output=tmp_path / "file"),
        "effort: got 'fast'; expected one of quick, standard, thorough": partial(bench, effort="fast"),
        "num_threads: got '2'; expected a whole number": partial(bench, num_threads="2"),
        "labels: got the text 'a,b'; expected a list": partial(bench, labels="a,b"),
        "`device` tpu: expected cpu, cuda, both": partial(bench, device="tpu"),
        "`metric`": partial(bench, metric="nope"),
        "got no folder; expected the path of a model": partial(pocketbert.bench, []),
    }
    for message, call in calls.items():
        with pytest.raises(pocketbert.UserError) as error:
            call(quiet=True)
        assert message in str(error.value) and not re.search(r"(?<!\w)--\w", str(error.value)), message


@pytest.mark.parametrize("call", [pocketbert.run, pocketbert.load, pocketbert.verify, pocketbert.bench])
def test_what_is_no_path_is_an_error_in_one_line(call):
    with pytest.raises(ValueError, match=r"^(?:folder: )?got .*; expected a path$"):
        call([3] if call is pocketbert.bench else 3)


def test_a_path_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(pocketbert.UserError, match=rf"^{tmp_path}/bundle: no such folder; expected a bundle"):
        pocketbert.verify("~/bundle")


@pytest.mark.parametrize("name", pocketbert.__all__)
def test_every_name_has_a_docstring(name):
    assert getattr(pocketbert, name).__doc__


def test_importing_the_package_loads_no_heavy_library():
    code = "import sys, pocketbert; print(*{'torch', 'onnxruntime', 'transformers', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
