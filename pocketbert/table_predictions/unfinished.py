"""The predictions so far, in a file next to the output. A kill or a power cut loses only the last window.

The file has a line of JSON, then blocks: the number of records and their checksum as two 32-bit integers, and the
records. A record has one row's predictions.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from compress.common.errors import UserError
from compress.common.owned_files import is_regular

FORMAT = "PocketBERT predictions, version 1"
BLOCK = struct.Struct("<II")
MOST_HEADER_BYTES = 100_000
MOST_ROWS = 1 << 16  # in a block; more is damage
NO_TEXT, PREDICTED, TRUNCATED = 0, 1, 2


def records(num_rows: int, top_k: int) -> np.ndarray:
    """Empty records: a state, `top_k` numbers of labels, and their probabilities, or a regression's value."""
    return np.zeros(num_rows, np.dtype([("state", "u1"), ("labels", "<i4", (top_k,)), ("values", "<f8", (top_k,))]))


class UnfinishedFile:
    """Records on disk. `num_rows`: how many there are."""

    def __init__(self, file: IO[bytes], top_k: int) -> None:
        self._file = file
        self._top_k = top_k
        self._start = file.tell()
        self.num_rows = 0
        end = self._start
        for block in self.read():
            self.num_rows += len(block)
            end = file.tell()
        file.seek(end)
        file.truncate()

    def append(self, block: np.ndarray) -> None:
        """Add records. They are on disk when this returns."""
        content = block.tobytes()
        try:
            self._file.write(BLOCK.pack(len(block), zlib.crc32(content)) + content)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._file.name) from error
        self.num_rows += len(block)

    def read(self) -> Iterator[np.ndarray]:
        """The blocks, in the order in which they were added, up to a damaged one."""
        self._file.seek(self._start)
        record = records(0, self._top_k).dtype
        while len(header := self._file.read(BLOCK.size)) == BLOCK.size:
            num_rows, checksum = BLOCK.unpack(header)
            if not 0 < num_rows <= MOST_ROWS:
                return
            content = self._file.read(num_rows * record.itemsize)
            if len(content) < num_rows * record.itemsize or zlib.crc32(content) != checksum:
                return
            yield np.frombuffer(content, record)


@contextmanager
def open_unfinished(path: Path, origin: Mapping[str, Any], top_k: int) -> Iterator[UnfinishedFile]:
    """The unfinished file at a path, new or continued. `origin`: what its predictions are made from.

    Raises UserError if there is a file that is not ours, that has another origin, or that another process writes.
    """
    header = (json.dumps({"format": FORMAT, **origin}) + "\n").encode()
    if os.path.lexists(path) and not is_regular(path):
        raise UserError(f"{path}: already exists, and this command has not written it; move it away")
    with path.open("r+b" if path.exists() else "x+b") as file:
        _lock(file, path)
        line = file.readline(MOST_HEADER_BYTES)
        if not line:
            file.write(header)
        elif not line.startswith(json.dumps({"format": FORMAT})[:-1].encode()):
            raise UserError(f"{path}: already exists, and this command has not written it; move it away")
        elif line != header:
            raise UserError(
                f"{path}: holds predictions for another table, bundle or set of options; repeat that command to finish "
                "it, or delete the file"
            )
        yield UnfinishedFile(file, top_k)


def _lock(file: IO[bytes], path: Path) -> None:
    """Raise UserError if another process has the file. Windows has no such lock."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{path}: another process writes it; wait for it, or choose another --output") from None
