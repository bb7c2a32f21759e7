"""Archives that any tar unpacks, and that are the same bytes for the same files."""

import gzip
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

MTIME = 315_532_800  # 1980-01-01, the first time that zip files can store
FILE_MODE, PROGRAM_MODE = 0o644, 0o755


def write_archive(path: Path, folder: str, files: Mapping[str, Path | bytes], *, programs: frozenset[str]) -> None:
    """Write a .tar.gz with these files, by their names inside `folder`.

    The bytes depend on the names and contents, and on Python's version of zlib. `programs`: names of files that may be
    executed. The format is GNU's, which tar of busybox reads; its headers are those of 1988 unless a name is long.
    """
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in sorted(files):
            content = files[name]
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.mtime, entry.mode = MTIME, PROGRAM_MODE if name in programs else FILE_MODE
            if isinstance(content, bytes):
                entry.size = len(content)
                archive.addfile(entry, BytesIO(content))
                continue
            with content.open("rb") as file:
                entry.size = content.stat().st_size
                archive.addfile(entry, file)
