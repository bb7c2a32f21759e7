"""Digests, sizes, atomic and durable writing of files, and errors of full disks."""

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from compress.common.errors import FULL, UserError
from compress.common.escaping import one_line

MIN_FREE_BYTES = 2**26  # below it, the disk counts as full
UNNAMED_FAILURES = ("inline_container", " requested and ")  # in messages of torch and numpy about a failed write
LFS_POINTER = b"version https://git-lfs"  # the first bytes of a file that Git LFS has not fetched


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_of(files: Mapping[str, Path]) -> dict[str, str]:
    """The SHA-256 of each regular file, by "ROLE: NAME", where `files` has its role."""
    return {f"{role}: {one_line(path.name)}": sha256(path) for role, path in files.items() if path.is_file()}


def sha256_of_all(paths: Iterable[Path]) -> str:
    """The SHA-256 of the names and contents of several files, sorted by path, in hexadecimal.

    A process reads a file again only if its size or its times have changed.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        state = path.stat()
        content = _sha256_as_of(path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        digest.update(os.fsencode(path.name) + f"\0{content}\n".encode())
    return digest.hexdigest()


@cache
def _sha256_as_of(path: Path, *state: int) -> str:
    return sha256(path)


def size_bytes(path: Path) -> int:
    """The size of a file, or the total size of the files in a folder."""
    return sum(file.stat().st_size for file in files_in(path))


def files_in(path: Path) -> list[Path]:
    """All files in a folder and its sub-folders, sorted by path. For a file, only the file itself."""
    return [path] if path.is_file() else sorted(entry for entry in path.rglob("*") if entry.is_file())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new empty file for the body to fill. It replaces `path` when the body ends without an exception.

    After a kill or a power cut, `path` has either its old or its new content. Several processes may replace the same
    path; the last one wins. A symbolic link is kept and its target replaced. An existing file keeps its permissions,
    and a new one gets those of the umask. Raises OSError if `path` exists and is no regular file.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    permissions = None
    if os.path.lexists(target):
        if not target.is_file():
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        permissions = stat.S_IMODE(target.stat().st_mode)
    partial = target.with_name(f".{secrets.token_hex(8)}.partial")  # short, because names have a limit
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with _write_errors(path):
            yield partial
            if permissions is not None:
                partial.chmod(permissions)
            sync(partial)
            partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


@contextmanager
def disk_errors(*folders: Path) -> Iterator[None]:
    """Raise failed writes of the body as OSError with a path, whatever library they come from.

    The body writes to these folders, most to the first one. An error without a path gets the folder whose disk is full,
    or the first one. Every error counts as a failed write while a disk is full.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        full = _fullest(folders)
        _raise_with_path(error, full or folders[0], errno.ENOSPC if full is not None else None)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Raise failed writes of the body as OSError with this path."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        _raise_with_path(error, path, None)


def _raise_with_path(error: Exception, path: Path, number: int | None) -> NoReturn:
    """Raise a failed write as OSError with this path; others unchanged. `number`: of an error that names no reason."""
    if isinstance(error, OSError) and error.errno is not None:
        if error.filename is None:
            error.filename = str(path)
        raise error
    for each in FULL:  # safetensors and tokenizers have their own exceptions, with the message of the system
        if os.strerror(each) in str(error):
            number = each
    if number is None and any(part in str(error) for part in UNNAMED_FAILURES):
        number = errno.EIO
    if number is None:
        raise error
    raise OSError(number, os.strerror(number), str(path)) from error


def _fullest(folders: Iterable[Path]) -> Path | None:
    """The folder whose disk has the least free space; None if no disk is full."""
    free = {folder: shutil.disk_usage(folder).free for folder in folders if folder.exists()}
    full = min(free, key=lambda folder: free[folder], default=None)
    return full if full is not None and free[full] < MIN_FREE_BYTES else None


def sync(path: Path) -> None:
    """Make the content of a file, or of a folder with all its files and sub-folders, survive a power cut."""
    for file in files_in(path):
        with file.open("rb+" if os.name == "nt" else "rb") as opened:  # Windows syncs only what it may write
            os.fsync(opened.fileno())
    if path.is_dir():
        for folder in (*(entry for entry in path.rglob("*") if entry.is_dir() and not entry.is_symlink()), path):
            sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make new, renamed and removed entries of a folder survive a power cut, on systems that can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync no folders
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 file atomically, as `replacing` does."""
    with replacing(path) as partial:
        partial.write_text(content, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
