"""A digest of source code without comments, docstrings and blank lines, which cannot change a result.

The digest covers the remaining text, not the syntax tree, because syntax trees differ between versions of Python.
"""

import ast
import hashlib
import io
import tokenize
from functools import cache
from pathlib import Path

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
STRINGS = (ast.Constant, ast.JoinedStr)


@cache
def code_digest(path: Path) -> str:
    """The SHA-256 of the code of a Python file, or of the paths and code of all Python files in a folder."""
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        code = without_comments(file.read_text(encoding="utf-8"))
        digest.update(f"{file.relative_to(path.parent).as_posix()}\0{code}\0".encode())
    return digest.hexdigest()


def without_comments(source: str) -> str:
    """Source code without comments, docstrings and blank lines. Multi-line strings stay unchanged."""
    lines = source.split("\n")  # as in the syntax tree; a string may contain other separators
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, column = token.start
            lines[line - 1] = lines[line - 1][:column]
    in_strings: set[int] = set()  # numbers of the lines that end inside a string
    in_docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, STRINGS):
            in_strings.update(range(node.lineno, node.end_lineno or 0))
        elif isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            first, last = docstring.lineno, docstring.end_lineno or docstring.lineno
            before = lines[first - 1].encode()[: docstring.col_offset].decode()
            after = lines[last - 1].encode()[docstring.end_col_offset :].decode()
            lines[first - 1 : last] = [before + after, *[""] * (last - first)]
            in_docstrings.update(range(first, last))
    in_strings -= in_docstrings
    kept = [(number in in_strings, line) for number, line in enumerate(lines, start=1)]
    return "\n".join(line if in_string else line.rstrip() for in_string, line in kept if in_string or line.strip())
