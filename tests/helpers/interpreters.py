"""Modified Python interpreters for tests."""

import stat
import sys
from pathlib import Path


def wrapper(path: Path, command: str) -> str:
    """Write a script that starts this interpreter with `command`. Returns its path."""
    path.write_text(f'#!/bin/sh\n{command} "{sys.executable}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)
