"""Assembles the predict.py of a bundle from the modules of the runtime."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = "export.bundle."
TEMPLATE = "predict"


@cache
def predict_source() -> str:
    """The source of predict.py: that of `export.bundle.predict`, with our modules in place of their imports."""
    return _assembled(TEMPLATE, set()) + "\n"


def _assembled(module: str, included: set[str]) -> str:
    """The source of a module, with every module of ours that it imports and that is not in `included` yet."""
    included.add(module)
    source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    parts: dict[int, str] = dict(enumerate(source.splitlines(), start=1))
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith(PACKAGE):
            name = node.module.removeprefix(PACKAGE)
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                del parts[line]
            if name not in included:
                parts[node.lineno] = f"# -- {name}\n\n{_assembled(name, included)}\n"
    return "\n".join(parts[line] for line in sorted(parts))
