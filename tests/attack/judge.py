"""Decides whether an attack was refused, was harmless, or found a bug."""

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.attack.attack import Case, Command, Finished, Scratch
from tests.attack.processes import GIGABYTE

MOST_BYTES = 2 * GIGABYTE
TRACEBACK, FAULT, ESCAPE = b"Traceback (most recent call last)", b"a fault of PocketBERT:", b"\x1b"


def snapshot(root: Path) -> dict[str, str]:
    """What is in a folder: each path with a digest of its content. Links are not followed."""
    entries: dict[str, str] = {}
    for folder, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(folder) / name
            entries[path.relative_to(root).as_posix()] = _digest(path)
    return entries


def _digest(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link to {path.readlink()}"
    if stat.S_ISREG(mode):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return f"type {stat.S_IFMT(mode)}"


def bugs_of(
    case: Case, ended: Sequence[Finished], scratch: Scratch, before: Mapping[str, str], after: Mapping[str, str]
) -> list[str]:
    """One line per bug; empty if everything holds."""
    bugs = [
        f"{command.line()}: {bug}"
        for command, finished in zip(case.commands, ended, strict=True)
        for bug in _bugs_of_command(command, finished)
    ]
    if case.must_refuse and not any(finished.is_refused for finished in ended):
        bugs.append("accepted; expected exit code 2")
    if case.must_succeed and ended[-1].code != 0:
        bugs.append(f"exit code {ended[-1].code}; expected 0: {_last_line(ended[-1].stderr)}")
    if scratch.harm.exists():
        bugs.append("planted code ran")
    bugs += _lost_files(case, before, after)
    if case.writes_nothing and all(finished.is_refused for finished in ended):
        bugs += [f"{name}: written although refused" for name in after if name not in before and not _owned(case, name)]
    return bugs + (case.check(ended) if case.check is not None else [])


def is_refused(ended: Sequence[Finished]) -> bool:
    """Whether any command refused."""
    return any(finished.is_refused for finished in ended)


def _bugs_of_command(command: Command, finished: Finished) -> list[str]:
    printed = finished.stdout + finished.stderr
    last = _last_line(finished.stderr)
    bugs = []
    if finished.is_over_time:
        bugs.append(f"no end after {command.limit_s:.0f} s")
    elif finished.code not in command.codes:
        bugs.append(f"exit code {finished.code}: {last}")
    if finished.peak_bytes > MOST_BYTES:
        bugs.append(f"{finished.peak_bytes / GIGABYTE:.1f} GB of memory")
    if TRACEBACK in printed:
        bugs.append(f"a traceback: {last}")
    if FAULT in printed:
        bugs.append(f"a fault: {last}")
    if ESCAPE in printed:
        bugs.append("a raw escape sequence in its output")
    if finished.code == 2 and b"error: " not in printed and b"predict.py: " not in printed:
        bugs.append("refused without a message")
    if finished.code == 0 and command.expected_stdout not in (None, finished.stdout):
        bugs.append(f"another answer: {_last_line(finished.stdout)}")
    return bugs


def _lost_files(case: Case, before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    bugs = []
    for name, digest in before.items():
        if after.get(name) == digest or _owned(case, name):
            continue
        bugs.append(f"{name}: {'changed' if name in after else 'missing'} afterwards")
    return bugs


def _owned(case: Case, name: str) -> bool:
    return any(name == path or name.startswith(f"{path}/") for path in case.owned)


def _last_line(printed: bytes) -> str:
    lines = printed.decode(errors="replace").strip().splitlines()
    return ascii(lines[-1][:300])[1:-1] if lines else "no output"
