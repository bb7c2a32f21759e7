"""Seals: records of the sizes and checksums of files. They reveal damage before a file is used.

A CRC-32 finds every truncation, zeroed part and flipped bit that a kill, a full disk or a bad disk leaves behind. It is
no protection against intent, so sealed files are still read in ways that run no code.
"""

import json
import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from compress.common.escaping import one_line
from compress.common.files import sync, write_json

if TYPE_CHECKING:
    from rich.console import Console

CHUNK_BYTES = 1 << 20
SEALS = ".seals"  # the sub-folder with the seals of single files
KEYS = {"bytes", "crc32"}


def seal(files: Iterable[Path], record: Path) -> None:
    """Make the files survive a power cut, then write their sizes and checksums to `record`. They are in its folder."""
    content = {}
    for file in files:
        sync(file)
        content[os.path.relpath(file, record.parent)] = checksum(file)
    write_json(record, content)


def damage_of(record: Path) -> str | None:
    """The first difference between the files and what `seal` recorded, in a few words. None if there is none."""
    content = None
    if record.is_file():
        with suppress(OSError, ValueError, RecursionError):
            content = json.loads(record.read_bytes())
    if content is None:
        return f"{record.name} cannot be read"
    if not isinstance(content, dict) or not content:
        return f"{record.name} lists no files"
    for name, expected in content.items():
        reason = damage_of_file(record.parent / name, expected)
        if reason is not None:
            return reason
    return None


def checksum(file: Path) -> dict[str, int]:
    """The size and the CRC-32 of a file."""
    size, crc = 0, 0
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return {"bytes": size, "crc32": crc}


def damage_of_file(file: Path, expected: object) -> str | None:
    """The difference between a file and its `checksum`, in a few words. None if there is none."""
    if not isinstance(expected, dict) or expected.keys() != KEYS:
        return f"the record of {file.name} cannot be read"
    if not file.is_file():
        return f"{file.name} is missing"
    size = file.stat().st_size
    if size != expected["bytes"]:
        return f"{file.name} has {size:,} bytes, expected {expected['bytes']:,}"
    return None if checksum(file) == expected else f"the content of {file.name} has changed"


def seal_file(path: Path) -> None:
    """Seal a single file, in a sub-folder next to it."""
    record = record_of(path)
    record.parent.mkdir(exist_ok=True)
    seal([path], record)


def has_seal(path: Path) -> bool:
    """Whether `seal_file` has sealed the file."""
    return record_of(path).is_file()


def is_intact(path: Path) -> bool:
    """Whether a file is as `seal_file` recorded. Reports a damaged file on stderr, in one line."""
    record = record_of(path)
    if not path.is_file() or not record.is_file():  # none yet, or killed while it was written
        return False
    reason = damage_of(record)
    if reason is not None:
        report_damage(f"{path} is damaged ({reason}); it is made again")
    return reason is None


def report_damage(text: str, console: "Console | None" = None) -> None:
    """Print a line about damage, by default on stderr."""
    from rich.text import Text

    from compress.common.console import new_console

    (console or new_console(stderr=True)).print(Text(one_line(text)), soft_wrap=True)


def record_of(path: Path) -> Path:
    """The seal of a single file."""
    return path.parent / SEALS / f"{path.name}.json"
