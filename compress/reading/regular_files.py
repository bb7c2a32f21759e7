"""Reads the bytes of a regular file. Pipes, devices and files over a limit are refused and never block."""

import os
import stat
from pathlib import Path

from compress.common.errors import UserError

MEGABYTE = 1_000_000
FILE_TYPES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def problem_of(path: Path) -> str | None:
    """The reason why the path is no regular file; None if it is one."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "a link to a missing file" if path.is_symlink() else "no such file"
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        return f"could not be opened ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISREG(mode):
        return None
    return f"got {FILE_TYPES.get(stat.S_IFMT(mode), 'something else')}, expected a file"


def read_bytes(path: Path, *, most_bytes: int, remedy: str) -> bytes:
    """The content of a regular file. Raises UserError, also for a file of more than `most_bytes`.

    `remedy`: what to do about a file that is too large.
    """
    problem = problem_of(path)
    if problem is not None:
        raise UserError(f"{path}: {problem}")
    try:
        # O_NONBLOCK: without it, a pipe that has just taken the place of the file would block
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            content = b"" if size > most_bytes else file.read(most_bytes + 1)
    except OSError as error:
        raise UserError(f"{path}: could not be read ({error.strerror or error})") from error
    size = max(size, len(content))
    if size > most_bytes:
        raise UserError(f"{path}: got {in_megabytes(size)}, expected at most {in_megabytes(most_bytes)}; {remedy}")
    return content


def in_megabytes(size: int) -> str:
    """A number of bytes in decimal megabytes."""
    return f"{size / MEGABYTE:,.3g} MB" if size < 1000 * MEGABYTE else f"{size / MEGABYTE:,.0f} MB"
