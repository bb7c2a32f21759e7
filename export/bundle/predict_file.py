"""Assembles files that hold the runtime: the predict.py of a bundle, and programs of others that import nothing."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = "export.bundle."
TEMPLATE = "predict"


@cache
def predict_source() -> str:
    """The source of predict.py: that of `export.bundle.predict`, with our modules in place of their imports."""
    return with_runtime(_source_of(TEMPLATE))


def with_runtime(source: str) -> str:
    """The source of a program, with the modules of the runtime in place of their imports."""
    return _assembled(source, set()) + "\n"


def _assembled(source: str, included: set[str]) -> str:
    """The source, with every module of ours that it imports and that is not in `included` yet."""
    parts: dict[int, str] = dict(enumerate(source.splitlines(), start=1))
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith(PACKAGE):
            name = node.module.removeprefix(PACKAGE)
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                del parts[line]
            if name not in included:
                included.add(name)
                parts[node.lineno] = f"# -- {name}\n\n{_assembled(_source_of(name), included)}\n"
    return "\n".join(parts[line] for line in sorted(parts))


def _source_of(module: str) -> str:
    return Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
