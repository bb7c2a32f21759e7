"""Imports point one way, between the four packages and between their folders."""

import ast
import subprocess
import sys
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from export.bundle.predict_file import predict_source

ROOT = Path(__file__).parents[2]
ORDER = ["compress", "export", "bench", "pocketbert"]
MOST_MODULES = 12


def modules() -> dict[str, Path]:
    paths = [path.relative_to(ROOT) for package in ORDER for path in (ROOT / package).rglob("*.py")]
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): ROOT / path for path in paths}


def imported_by(path: Path) -> set[str]:
    """Every name that a file imports, anywhere in it. `from a.b import c` gives `a.b` and `a.b.c`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imports_among(known: dict[str, Path]) -> dict[str, set[str]]:
    return {name: (imported_by(path) & set(known)) - {name} for name, path in known.items()}


def unit_of(module: str, known: dict[str, Path]) -> str:
    """The folder of a module; a module that lies directly in one of the four packages stands for itself."""
    folder = module if known[module].name == "__init__.py" else module.rpartition(".")[0]
    return folder if folder.count(".") else module


def test_imports_point_one_way():
    known = modules()
    num_imports = 0
    for name, imported in imports_among(known).items():
        position = ORDER.index(name.partition(".")[0])
        above = {each for each in imported if ORDER.index(each.partition(".")[0]) > position}
        assert not above, f"{name} imports {above}"
        num_imports += len(imported)
    assert num_imports > 300


def test_imports_point_one_way_between_folders_too():
    """graphlib raises CycleError where two folders import each other, directly or through others."""
    known = modules()
    units: dict[str, set[str]] = defaultdict(set)
    for name, imported in imports_among(known).items():
        units[unit_of(name, known)] |= {unit_of(each, known) for each in imported}
    packages = set(ORDER)  # `from compress import losses` names the package too
    graph = {unit: imported - {unit} - packages for unit, imported in units.items() if unit not in packages}
    order = list(TopologicalSorter(graph).static_order())
    assert len([unit for unit in order if unit.count(".") == 1]) > 20
    assert order.index("compress.losses") < order.index("compress.distillation") < order.index("pocketbert.cli")


def test_a_circle_between_folders_is_seen(tmp_path):
    known = {}
    for name, text in {"a.x.one": "import a.y.two", "a.y.two": "def late():\n    from a.x import one"}.items():
        known[name] = tmp_path / f"{name}.py"
        known[name].write_text(text)
    imports = imports_among(known)
    assert imports == {"a.x.one": {"a.y.two"}, "a.y.two": {"a.x.one"}}
    assert {unit_of(name, known) for name in known} == {"a.x", "a.y"}


def test_no_folder_is_crowded_and_each_says_what_it_is_for():
    folders = {path.parent for path in modules().values()}
    for folder in folders:
        assert len([path for path in folder.glob("*.py") if path.stem[:2] != "__"]) <= MOST_MODULES, folder
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))), folder
    assert len(folders) > 20


def test_no_folder_is_named_like_a_public_function_of_its_package():
    known = modules()
    for package in ORDER:
        folders = {path.name for path in (ROOT / package).iterdir() if (path / "__init__.py").is_file()}
        functions = {
            node.name
            for name, path in known.items()
            if name.partition(".")[0] == package
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef)
        }
        assert folders and functions and not folders & functions, f"{package}: {folders & functions}"


def test_the_runtime_needs_nothing_but_its_three_packages(tmp_path):
    (tmp_path / "predict.py").write_text(predict_source(), encoding="utf-8")
    names = {name.partition(".")[0] for name in imported_by(tmp_path / "predict.py")}
    assert names - set(sys.stdlib_module_names) == {"numpy", "onnxruntime", "tokenizers"}


@pytest.mark.parametrize(
    "module",
    [
        "bench",
        "bench.timing.worker",
        "bench.timing.latency",
        "export.bundle.runtime",
        "pocketbert.cli.app",
        "pocketbert.pipeline.flow",
    ],
)
def test_what_need_not_load_torch_does_not(module):
    code = f"import sys, {module}; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout == "[]\n"
