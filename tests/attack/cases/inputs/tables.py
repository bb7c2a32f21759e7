"""Hostile tables: bombs, giant cells, deep JSON, damaged archives and workbooks, odd encodings, devices."""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.attack.attack import PLANTED_CODE, Attack, Case, Command, Scratch
from tests.attack.build import write_recipe

TYPE = "tables"
HEADER = "text,label\n"
ROWS = "".join(f"text {number},{'ab'[number % 2]}\n" for number in range(200))
LINES = "".join(json.dumps({"text": f"text {number}", "label": "ab"[number % 2]}) + "\n" for number in range(200))
MEGABYTE = 10**6


def attacks(seed: int) -> list[Attack]:
    """One attack per table. Each goes through `new` and the first stage of a run."""
    return [
        *[_attack(name, suffix, content) for name, (suffix, content) in CONTENTS.items()],
        *[_made(name, suffix, make, predicts=name != "a pipe") for name, (suffix, make) in FILES.items()],
    ]


def _attack(name: str, suffix: str, content: Callable[[], str | bytes]) -> Attack:
    def make(path: Path) -> None:
        made = content()
        path.write_bytes(made if isinstance(made, bytes) else made.encode("utf-8", errors="surrogatepass"))

    return _made(name, suffix, make)


def _made(name: str, suffix: str, make: Callable[[Path], object], *, predicts: bool = False) -> Attack:
    def prepare(scratch: Scratch) -> Case:
        table = scratch.root / f"t{suffix}"
        make(table)
        recipe = write_recipe(scratch.material, scratch.root / "r.yaml", data=table)
        commands = [
            Command(words=["new", table, "--output", "new.yaml"]),
            Command(words=["run", recipe, "--until", "baseline"]),
            *([Command(words=["predict", scratch.material.bundle("fp32"), "--input", table])] if predicts else []),
        ]
        return Case(commands=commands, owned=["cache", "runs"])

    return Attack(name=f"table/{name}", type=TYPE, prepare=prepare, seconds=3)


def _parquet(column: object, *, rows: int = 1) -> bytes:
    import pandas

    buffer = io.BytesIO()
    pandas.DataFrame({"text": [column] * rows, "label": ["a"] * rows}).to_parquet(buffer)
    return buffer.getvalue()


def _zip(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _tar(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(ROWS)
        archive.addfile(entry, io.BytesIO(ROWS.encode()))
    return buffer.getvalue()


def _nested_zip() -> bytes:
    content = _zip({"t.csv": (HEADER + ROWS).encode()})
    for _ in range(20):
        content = _zip({"t.zip": content})
    return content


def _workbook(sheet: str, *, shared: str = "", head: str = "") -> bytes:
    """An .xlsx file with this XML as the rows of its sheet. `head`: XML before the root element of the sheet."""
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    entries = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="xml" '
        'ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {space} xmlns:r="{relations}"><sheets><sheet name="s" sheetId="1" r:id="r1"/>'
        "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f"<?xml version='1.0'?>{head}<worksheet {space}><sheetData>{sheet}</sheetData>"
        "</worksheet>",
        **({"xl/sharedStrings.xml": shared} if shared else {}),
    }
    return _zip({name: content.encode() for name, content in entries.items()})


def _cell(place: str, text: str) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


LAUGHS = (
    "<!DOCTYPE x [<!ENTITY a0 'ha'>"
    + "".join(f"<!ENTITY a{level} '{f'&a{level - 1};' * 10}'>" for level in range(1, 10))
    + "]>"
)
OUTSIDE = "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"
SHEET_ROWS = f"<row r='1'>{_cell('A1', 'text')}{_cell('B1', 'label')}</row>"

CONTENTS: dict[str, tuple[str, Callable[[], str | bytes]]] = {
    "a CSV cell of 50 MB": (".csv", lambda: HEADER + ROWS + '"' + "x " * 25 * MEGABYTE + '",a\n'),
    "a JSONL cell of 50 MB": (".jsonl", lambda: LINES + json.dumps({"text": "x " * 25 * MEGABYTE, "label": "a"})),
    "a JSON cell of 50 MB": (
        ".json",
        lambda: json.dumps([{"text": "x " * 25 * MEGABYTE, "label": "a"}] + [{"text": "a", "label": "b"}] * 99),
    ),
    "a Parquet cell of 50 MB": (".parquet", lambda: _parquet("x " * 25 * MEGABYTE)),
    "a workbook cell of 50 MB": (
        ".xlsx",
        lambda: _workbook(SHEET_ROWS + f"<row r='2'>{_cell('A2', 'x ' * 25 * MEGABYTE)}{_cell('B2', 'a')}</row>"),
    ),
    "a TSV cell of 50 MB": (".tsv", lambda: "text\tlabel\n" + "x" * 50 * MEGABYTE + "\ta\n"),
    "a word of 5 MB": (".csv", lambda: HEADER + ROWS + "x" * 5 * MEGABYTE + ",a\n"),
    "a label of 5 MB": (".csv", lambda: HEADER + ROWS + "text," + "x" * 5 * MEGABYTE + "\n"),
    "a column name of 5 MB": (".csv", lambda: "x" * 5 * MEGABYTE + ",label\n" + ROWS),
    "a key of 5 MB": (".jsonl", lambda: json.dumps({"x" * 5 * MEGABYTE: "a", "label": "b"}) + "\n"),
    "100,000 columns": (
        ".csv",
        lambda: ",".join(f"c{n}" for n in range(100_000)) + "\n" + ",".join(["1"] * 100_000) + "\n",
    ),
    "100,000 keys": (".jsonl", lambda: json.dumps({f"k{n}": 1 for n in range(100_000)}) + "\n"),
    "a million keys over rows": (".jsonl", lambda: "".join(json.dumps({f"k{n}": 1}) + "\n" for n in range(MEGABYTE))),
    "a million labels": (".csv", lambda: HEADER + "".join(f"text {n},label {n}\n" for n in range(MEGABYTE // 4))),
    "one quote": (".csv", lambda: '"' + HEADER + ROWS * 200),
    "only quotes": (".csv", lambda: '"' * 5 * MEGABYTE),
    "only commas": (".csv", lambda: "," * 5 * MEGABYTE),
    "only line ends": (".csv", lambda: "\n" * 5 * MEGABYTE),
    "only carriage returns": (".csv", lambda: "\r" * 5 * MEGABYTE),
    "only NULs": (".csv", lambda: bytes(5 * MEGABYTE)),
    "NULs in cells": (".csv", lambda: HEADER + ROWS.replace("text", "te\0xt")),
    "escape codes": (".csv", lambda: HEADER + ROWS.replace("text", "\x1b[31mtext").replace(",a", ",\x1b[2Ja")),
    "escape codes in the header": (".csv", lambda: "\x1b[31mtext,\x1b]0;title\x07label\n" + ROWS),
    "markup": (".csv", lambda: "[bold]text,[/nothing]\n" + ROWS.replace(",a", ",[/red]")),
    "formulas": (".csv", lambda: HEADER + ROWS.replace("text", "=cmd|' /C calc'!A0")),
    "newlines in labels": (".csv", lambda: HEADER + ROWS.replace(",a", ',"a\nname: evil"')),
    "newlines in the header": (".csv", lambda: '"text\nname: evil","label\n"\n' + ROWS),
    "marks that reverse text": (".csv", lambda: HEADER + ROWS.replace("text", "\u202etext\u2066")),
    "half a surrogate pair": (".jsonl", lambda: LINES + '{"text": "\\ud800", "label": "a"}\n'),
    "raw surrogates": (".csv", lambda: HEADER + ROWS + "\ud800,a\n"),
    "deep JSON": (".json", lambda: "[" * MEGABYTE),
    "deep JSON in a cell": (".jsonl", lambda: '{"text": ' + "[" * 100_000 + "]" * 100_000 + ', "label": "a"}\n'),
    "many digits in JSON": (".jsonl", lambda: LINES + '{"text": "a", "label": ' + "9" * 10_000 + "}\n"),
    "an exponent in JSON": (".jsonl", lambda: LINES.replace('"a"', "1e400")),
    "NaN in JSON": (".jsonl", lambda: LINES.replace('"a"', "NaN")),
    "lists in JSON": (".jsonl", lambda: LINES.replace('"a"', '["a", {"b": 1}]')),
    "objects as labels": (".jsonl", lambda: LINES.replace('"a"', '{"b": 1}')),
    "an empty key": (".jsonl", lambda: '{"": "a", "label": "b"}\n' * 9),
    "equal keys": (".jsonl", lambda: '{"text": "a", "text": "b", "label": "c"}\n' * 9),
    "JSON cut off": (".json", lambda: "[" + LINES.replace("\n", ",\n")),
    "equal columns": (".csv", lambda: "text,text,label\n" + ROWS.replace("text", "text,b")),
    "a column without a name": (".csv", lambda: ",label\n" + ROWS),
    "the same text everywhere": (".csv", lambda: HEADER + "same,a\nsame,b\n" * 200),
    "one label": (".csv", lambda: HEADER + ROWS.replace(",b", ",a")),
    "one row": (".csv", lambda: HEADER + "a text,a\n"),
    "huge numbers as labels": (".csv", lambda: HEADER + ROWS.replace(",a", ",1e308").replace(",b", ",-1e308")),
    "infinite labels": (".csv", lambda: HEADER + ROWS.replace(",a", ",inf").replace(",b", ",nan")),
    "many digits as labels": (".csv", lambda: HEADER + ROWS.replace(",a", "," + "9" * 5000).replace(",b", ",1")),
    "a gzip bomb": (".csv.gz", lambda: _gzip_bomb()),
    "a bzip2 bomb": (".csv.bz2", lambda: bz2.compress(bytes(100 * MEGABYTE)) * 30),
    "an xz bomb": (".csv.xz", lambda: lzma.compress(bytes(100 * MEGABYTE), preset=0) * 30),
    "a zip bomb": (".csv.zip", lambda: _zip({"t.csv": bytes(1000 * MEGABYTE)})),
    "a zip in a zip": (".zip", _nested_zip),
    "a path in a zip": (".zip", lambda: _zip({"../../outside.csv": (HEADER + ROWS).encode()})),
    "a lying zip": (
        ".csv.zip",
        lambda: _zip({"t.csv": (HEADER + ROWS).encode()}).replace(b"PK\x01\x02", b"PK\x01\x03"),
    ),
    "a zip cut off": (".csv.zip", lambda: _zip({"t.csv": (HEADER + ROWS).encode()})[:-40]),
    "a tar": (".tar.gz", lambda: _tar("../../outside.csv")),
    "gzip with garbage": (".csv.gz", lambda: gzip.compress((HEADER + ROWS).encode()) + b"garbage"),
    "gzip cut off": (".csv.gz", lambda: gzip.compress((HEADER + ROWS).encode())[:-10]),
    "a billion laughs": (
        ".xlsx",
        lambda: _workbook(SHEET_ROWS + f"<row r='2'>{_cell('A2', '&a9;')}</row>", head=LAUGHS),
    ),
    "an outside entity": (
        ".xlsx",
        lambda: _workbook(SHEET_ROWS + f"<row r='2'>{_cell('A2', '&a;')}</row>", head=OUTSIDE),
    ),
    "a far cell": (".xlsx", lambda: _workbook(SHEET_ROWS + f"<row r='1048576'>{_cell('XFD1048576', 'x')}</row>")),
    "a row beyond all": (
        ".xlsx",
        lambda: _workbook(SHEET_ROWS + f"<row r='99999999'>{_cell('ZZZ99999999', 'x')}</row>"),
    ),
    "a workbook without a sheet": (".xlsx", lambda: _zip({"[Content_Types].xml": b"<Types/>"})),
    "a workbook of garbage": (".xlsx", lambda: b"PK\x03\x04" + bytes(range(256)) * 40),
    "Parquet cut off": (".parquet", lambda: _parquet("a", rows=200)[:-30]),
    "Parquet with a flipped footer": (
        ".parquet",
        lambda: (lambda made: made[:-40] + bytes([made[-40] ^ 255]) + made[-39:])(_parquet("a", rows=200)),
    ),
    "Parquet of lists": (".parquet", lambda: _parquet(["a", "b"], rows=9)),
    "Parquet of objects": (".parquet", lambda: _parquet({"a": 1}, rows=9)),
    "Parquet of bytes": (".parquet", lambda: _parquet(b"\xff\xfe", rows=9)),
    "a pickle": (".pkl", lambda: b"cposix\nsystem\n(S'touch harmed'\ntR."),
    "a pickle as CSV": (".csv", lambda: b"cposix\nsystem\n(S'touch harmed'\ntR."),
    "Python code": (".py", lambda: PLANTED_CODE),
    "an old workbook of garbage": (".xls", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(5000)),
    "SQLite": (".db", lambda: b"SQLite format 3\0" + bytes(4080)),
    "UTF-7": (".csv", lambda: (HEADER + ROWS).encode("utf-7")),
    "EBCDIC": (".csv", lambda: (HEADER + ROWS).encode("cp500")),
    "all bytes": (".csv", lambda: bytes(range(256)) * 4000),
    "no suffix": ("", lambda: HEADER + ROWS),
}
FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a pipe": (".csv", os.mkfifo),
    "a folder": (".csv", lambda path: path.mkdir()),
    "zeros": (".csv", lambda path: path.symlink_to("/dev/zero")),
    "random bytes": (".jsonl", lambda path: path.symlink_to("/dev/urandom")),
    "nothing": (".csv", lambda path: path.symlink_to("/dev/null")),
    "a loop": (".csv", lambda path: path.symlink_to(path.name)),
    "8 GB of zeros": (".csv", lambda path: (path.touch(), os.truncate(path, 8 * 10**9))),
    "8 GB of Parquet": (
        ".parquet",
        lambda path: (path.write_bytes(_parquet("a", rows=9)), os.truncate(path, 8 * 10**9)),
    ),
    "a folder of pipes": ("", lambda path: (path.mkdir(), os.mkfifo(path / "train.csv"), os.mkfifo(path / "dev.csv"))),
    "a folder of loops": ("", lambda path: (path.mkdir(), (path / "train.csv").symlink_to("train.csv"))),
}


def _gzip_bomb() -> bytes:
    """2 GB of rows in 9 MB: the same compressed member many times."""
    member = gzip.compress(b"a text,b\n" * (10 * MEGABYTE), compresslevel=9)
    return gzip.compress(HEADER.encode()) + member * 22
