"""Opens a file that may be compressed, and finds its encoding, without its content in memory."""

import bz2
import codecs
import gzip
import lzma
from pathlib import Path
from typing import IO, Any, cast

from compress.common.errors import UserError, library_errors
from compress.tables.content import BOMS, COMPRESSIONS, OTHER_FILES

CHUNK_BYTES = 1 << 20
CODECS = {"UTF-8": "utf-8-sig", "UTF-16": "utf-16", "UTF-32": "utf-32"}


def opened(path: Path) -> IO[bytes]:
    """The content of a file, decompressed if it is a .gz, .bz2 or .xz. Raises UserError for other compressions."""
    with path.open("rb") as file:
        start = file.read(8)
    compression = next((name for magic, name in COMPRESSIONS.items() if start.startswith(magic)), "")
    match compression:
        case "":
            return path.open("rb")
        case "gzip":
            return cast("IO[bytes]", gzip.open(path))
        case "bzip2":
            return cast("IO[bytes]", bz2.open(path))
        case "xz":
            return cast("IO[bytes]", lzma.open(path))
    raise UserError(f"{path}: a {compression} file; decompress it first")


def encoding_of(path: Path, encoding: str) -> str:
    """Python's name of the encoding of a text file.

    A byte-order mark decides, and so does valid UTF-8 that is not all ASCII. Otherwise `encoding` decides. Raises
    UserError if the file is not text in it.
    """
    try:
        codec = codecs.lookup(encoding).name
        "a".encode(codec)  # raises LookupError for what is no encoding of text, such as rot13
    except (LookupError, ValueError) as error:
        raise UserError(f"Python knows no encoding {encoding!r}", option="encoding") from error
    decoder, problem, is_ascii, num_lines = codecs.getincrementaldecoder("utf-8")(), "", True, 1
    with library_errors(f"{path}: cannot be read", advice="copy it again"), opened(path) as file:
        chunk = file.read(CHUNK_BYTES)
        marked = _check_start(path, chunk)
        while chunk and marked is None and not problem:
            if b"\0" in chunk and codec == "utf-8":
                raise UserError(f"{path}: got a NUL byte, expected text; is it UTF-16 or truncated?", option="encoding")
            problem = _problem_of(decoder, chunk)
            is_ascii = is_ascii and chunk.isascii()
            num_lines += chunk.count(b"\n")
            chunk = file.read(CHUNK_BYTES)
    if marked is not None:
        return marked
    problem = problem or _problem_of(decoder, b"", final=True)
    if not problem and (codec == "utf-8" or not is_ascii):
        return "utf-8"
    if codec == "utf-8":
        raise UserError(f"{path}: not utf-8 text ({problem}, at or before line {num_lines})", option="encoding")
    return codec


def _check_start(path: Path, chunk: bytes) -> str | None:
    """The encoding that a byte-order mark names. Raises UserError for a file that is no table."""
    start = chunk[:64].lstrip().lower()
    for magic, description in OTHER_FILES.items():
        if start.startswith(magic):
            raise UserError(f"{path}: {description}")
    return next((CODECS[name] for mark, name in BOMS.items() if chunk.startswith(mark)), None)


def _problem_of(decoder: Any, chunk: bytes, *, final: bool = False) -> str:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        return error.reason
    return ""
