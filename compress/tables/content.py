"""The content of a file: decompressed, decoded, and refused if it is something else than a table."""

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from compress.common.errors import UserError, library_errors
from compress.common.files import LFS_POINTER
from compress.tables.limits import read_unpacked

COMPRESSIONS: dict[bytes, str] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
WORKBOOK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # .xls, and workbooks with a password
BOMS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF8: "UTF-8",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
OTHER_FILES = {
    LFS_POINTER: "a Git LFS pointer, not the file itself; run `git lfs pull`",
    b"<!doctype html": "a web page, not a table; download the file itself",
    b"<html": "a web page, not a table; download the file itself",
    b"%pdf": "a PDF, not a table",
    b"{\\rtf": "an RTF document, not a table; save it as plain text",
    b"sqlite format 3": "an SQLite database; export the table as CSV",
    b"arrow1": "an Arrow file; save the table as Parquet or CSV",
}
COMMON_ENCODINGS = ("cp1252", "cp1250", "cp1251", "cp932", "gb18030", "cp949", "big5")
EXCERPT = 40  # characters
CANDIDATES = 3  # encodings that a message proposes


@dataclass(frozen=True, kw_only=True)
class Text:
    """A decoded file. `encoding`: as people write it, such as UTF-8."""

    text: str
    encoding: str


def unpack(path: Path, content: bytes) -> tuple[bytes, str]:
    """The decompressed content, and the name of the compression, empty if there is none. Raises UserError.

    The content decides on the compression, not the name. A .zip must hold one file. A workbook is a .zip too and is not
    unpacked.
    """
    name = next((name for magic, name in COMPRESSIONS.items() if content.startswith(magic)), "")
    if name == "zstd":
        raise UserError(f"{path}: compressed with zstd; decompress it first")
    if name not in COMPRESSIONS.values() or (name == "zip" and is_workbook(content)):
        return content, ""
    with library_errors(f"{path}: a damaged {name} file", advice="copy it again"), _opened(path, name, content) as file:
        return read_unpacked(path, file), name


def _opened(path: Path, name: str, content: bytes) -> IO[bytes] | gzip.GzipFile:
    """The decompressed content as a file."""
    packed = io.BytesIO(content)
    match name:
        case "gzip":
            return gzip.open(packed)
        case "bzip2":
            return bz2.open(packed)
        case "xz":
            return lzma.open(packed)
    return zipfile.ZipFile(packed).open(only_member(path, content))


def has_half_pair(text: str) -> bool:
    """Whether the text has half of a surrogate pair, which is no Unicode text. JSON can spell it out."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def is_workbook(content: bytes) -> bool:
    """Whether this is a spreadsheet: .xlsx, .xlsb, .ods or .xls."""
    if content.startswith(WORKBOOK):
        return True
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist() if content.startswith(b"PK\x03\x04") else []
    except zipfile.BadZipFile:
        return False
    return any(name in names for name in ("xl/workbook.xml", "xl/workbook.bin", "content.xml"))


def decode(path: Path, content: bytes, encoding: str) -> Text:
    """Decode a file. Raises UserError, with the encodings that are possible.

    A byte-order mark decides on the encoding, and so does valid UTF-8 that is not all ASCII. Otherwise `encoding`
    decides. An encoding is never guessed: most files can be decoded in several ways.
    """
    start = content[:64].lstrip().lower()
    for magic, description in OTHER_FILES.items():
        if start.startswith(magic):
            raise UserError(f"{path}: {description}")
    for mark, name in BOMS.items():
        if content.startswith(mark):
            return Text(text=_decode_marked(path, content, name).lstrip("\ufeff").rstrip("\x1a"), encoding=name)
    if b"\0" in content and (wide := _wide_without_mark(content)) is not None:
        return wide
    try:
        codec = codecs.lookup(encoding).name
    except (LookupError, ValueError) as error:
        raise UserError(f"Python knows no encoding {encoding!r}", option="encoding") from error
    try:
        text = content.decode("utf-8").rstrip("\x1a")  # the end of a file of DOS
        if codec == "utf-8" and "\x1b" in text:
            raise UserError(
                f"{path}: not utf-8 text, but text with escape sequences, such as iso2022_jp", option="encoding"
            )
        if codec == "utf-8" or not text.isascii():
            note = "" if codec == "utf-8" else f", not {encoding}"
            return Text(text=text, encoding=f"UTF-8{note}")
    except UnicodeDecodeError as error:
        if codec == "utf-8":
            raise UserError(
                f"{path}: not utf-8 text ({error.reason} at byte {error.start}){_proposals(content, error.start)}",
                option="encoding",
            ) from error
    try:
        return Text(text=content.decode(codec).removeprefix("\ufeff"), encoding=encoding)
    except (UnicodeError, LookupError) as error:  # LookupError: a codec of bytes, such as hex
        raise UserError(f"{path}: not {encoding} text ({str(error).splitlines()[0]})", option="encoding") from error


def only_member(path: Path, packed: bytes) -> str:
    """The name of the only file in a .zip, apart from those that a Mac adds. Raises UserError if there are others."""
    with library_errors(f"{path}: a damaged zip file", advice="copy it again"):
        entries = zipfile.ZipFile(io.BytesIO(packed)).infolist()
    names = [
        entry.filename
        for entry in entries
        if not entry.is_dir()
        and not entry.filename.startswith("__MACOSX/")
        and not entry.filename.endswith(".DS_Store")
    ]
    if not names or names[1:]:
        held = ", ".join(names[:5]) or "nothing"
        raise UserError(f"{path}: the archive holds {held}; expected one table; unpack it, and name the table")
    return names[0]


def _decode_marked(path: Path, content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig" if name == "UTF-8" else name.lower())
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: begins with the byte-order mark of {name}, but is not {name} text ({error.reason} at byte "
            f"{error.start}); save it as UTF-8"
        ) from error


def _wide_without_mark(content: bytes) -> Text | None:
    """The text if it is UTF-16 without a mark. Every second byte of its line ends is NUL."""
    readings = []
    for codec in ("utf-16-le", "utf-16-be"):
        try:
            text = content.decode(codec)
        except UnicodeDecodeError:
            continue
        if "\n" in text and "\0" not in text:
            readings.append(text)
    return Text(text=readings[0], encoding="UTF-16") if len(readings) == 1 else None


def _proposals(content: bytes, start: int) -> str:
    """How a line of the file reads in the encodings that are possible, the common ones first."""
    from charset_normalizer import from_bytes

    detected = [codec for match in from_bytes(content) for codec in match.could_be_from_charset]
    texts: dict[str, str] = {}
    for codec in dict.fromkeys([*(each for each in COMMON_ENCODINGS if each in {*detected, "cp1252"}), *detected]):
        text = content.decode(codec, errors="replace")
        if "\ufffd" not in text and text not in texts.values():
            texts[codec] = text
    readings = {codec: text.splitlines() for codec, text in list(texts.items())[:CANDIDATES]}
    lines = content[: start + 1].count(b"\n")
    for number, versions in enumerate(zip(*readings.values(), strict=False)):
        if len(set(versions)) == len(readings) and not versions[0].isascii():
            lines = number
            break
    possible = ", ".join(
        f"{reading[lines][:EXCERPT]!r} in {codec}" for codec, reading in readings.items() if lines < len(reading)
    )
    return f"; line {lines + 1} reads {possible}" if possible else ""
