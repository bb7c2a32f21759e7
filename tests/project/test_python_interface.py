"""The Python interface: its documented example runs as it is written, and importing it is cheap."""

import contextlib
import subprocess
import sys
from typing import Any

import pytest

import pocketbert
from brief_benchmarks import make_benchmarks_brief
from documents import blocks


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


@pytest.mark.parametrize("name", pocketbert.__all__)
def test_every_name_has_a_docstring(name):
    assert getattr(pocketbert, name).__doc__


def test_importing_the_package_loads_no_heavy_library():
    code = "import sys, pocketbert; print(*{'torch', 'onnxruntime', 'transformers', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
