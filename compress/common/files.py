"""Digests, sizes and atomic writing of files."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LFS_POINTER = b"version https://git-lfs"  # the first bytes of a file that Git LFS has not fetched


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Iterable[Path]) -> str:
    """The SHA-256 of the names and contents of several files, sorted by path, in hexadecimal."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.name}\0{sha256(path)}\n".encode())
    return digest.hexdigest()


def size_bytes(path: Path) -> int:
    """The size of a file, or the total size of the files in a folder."""
    return sum(file.stat().st_size for file in files_in(path))


def files_in(path: Path) -> list[Path]:
    """All files in a folder and its sub-folders, sorted by path. For a file, only the file itself."""
    return [path] if path.is_file() else sorted(entry for entry in path.rglob("*") if entry.is_file())


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 file atomically: after a kill, the file has either the old or the new content."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
