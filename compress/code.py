"""A digest of source code that ignores what cannot change a result: comments, docstrings and blank lines.

It reads positions in the text, not syntax trees, whose form differs between versions of Python.
"""

import ast
import hashlib
import io
import tokenize
from functools import cache
from pathlib import Path

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def code_digest(path: Path) -> str:
    """sha256 over the code of a Python file, or of all Python files below a folder, with their places in it."""
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        code = without_comments(file.read_text(encoding="utf-8"))
        digest.update(f"{file.relative_to(path.parent).as_posix()}\0{code}\0".encode())
    return digest.hexdigest()


def without_comments(source: str) -> str:
    """Source code less its comments, docstrings and blank lines."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, column = token.start
            lines[line - 1] = lines[line - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0]
            before = lines[text.lineno - 1].encode()[: text.col_offset].decode()
            lines[text.lineno - 1 : text.end_lineno] = [before, *[""] * ((text.end_lineno or 0) - text.lineno)]
    return "\n".join(line.rstrip() for line in lines if line.strip())
