import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ["compress", "export", "bench", "pocketbert"]


def imported_by(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").partition(".")[0])
    return found


def test_imports_point_one_way():
    seen = 0
    for position, package in enumerate(ORDER):
        for path in (ROOT / package).rglob("*.py"):
            above = imported_by(path) & set(ORDER[position + 1 :])
            assert not above, f"{path.relative_to(ROOT)} imports {above}"
            seen += 1
    assert seen > 30


def test_the_runtime_needs_nothing_but_its_three_packages():
    found = imported_by(ROOT / "export" / "runtime.py") - set(sys.stdlib_module_names)
    assert found == {"numpy", "onnxruntime", "tokenizers"}


@pytest.mark.parametrize(
    "module", ["bench", "bench.worker", "bench.latency", "export.runtime", "pocketbert.cli", "pocketbert.pipeline"]
)
def test_what_need_not_load_torch_does_not(module):
    code = f"import sys, {module}; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout == "[]\n"
