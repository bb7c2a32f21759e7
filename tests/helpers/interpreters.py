"""Interpreters that behave otherwise."""

import stat
import sys
from pathlib import Path


def wrapper(path: Path, command: str) -> str:
    """An interpreter that is this one, started otherwise."""
    path.write_text(f'#!/bin/sh\n{command} "{sys.executable}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)
