"""A digest of source code that ignores what cannot change a result: comments, docstrings and layout."""

import ast
import hashlib
from functools import cache
from pathlib import Path

WITH_DOCSTRINGS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def code_digest(path: Path) -> str:
    """sha256 over the syntax trees of a Python file, or of all Python files below a folder, with their places in it."""
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        digest.update(f"{file.relative_to(path.parent).as_posix()}\0{ast.dump(_without_docstrings(tree))}\0".encode())
    return digest.hexdigest()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, WITH_DOCSTRINGS) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree
