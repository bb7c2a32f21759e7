"""Tables over a limit, packed bombs and files that crash their libraries end in one line."""

import gzip
import io
import json
import lzma
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compress.common.errors import UserError
from compress.reading import child_process
from compress.tables import limits
from compress.tables.table import read_table

LONG = "x" * (limits.MAX_CELL_CHARACTERS + 1)
LONGER = "y" * (limits.MAX_CELL_CHARACTERS + 1)
MANY_COLUMNS = [f"c{number}" for number in range(limits.MAX_COLUMNS + 1)]
FAR_CELL = (
    '<row r="1"><c r="A1" t="inlineStr"><is><t>text</t></is></c></row>'
    '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
)


def refusal_of(path: Path) -> str:
    with pytest.raises(UserError) as refused:
        read_table(path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600
    return str(refused.value)


def parquet(table: dict[str, list]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(table), buffer)
    return buffer.getvalue()


def workbook(cells: str) -> bytes:
    """A minimal .xlsx with one sheet."""
    spreadsheet = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"

    def links(kind: str, target: str) -> str:
        link = f'<Relationship Id="r1" Type="{office}/{kind}" Target="{target}"/>'
        return f'<Relationships xmlns="{package}/relationships">{link}</Relationships>'

    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>',
        "_rels/.rels": links("officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": f'<workbook xmlns="{spreadsheet}" xmlns:r="{office}"><sheets>'
        '<sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": links("worksheet", "worksheets/sheet1.xml"),
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{spreadsheet}"><sheetData>{cells}</sheetData></worksheet>',
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def in_cell(text: str) -> str:
    return f'<row r="1"><c r="A1" t="inlineStr"><is><t>{text}</t></is></c></row>'


OVER_A_LIMIT = {
    "a long CSV cell": ("t.csv", f"text,label\n{LONG},a\nb,c\n".encode(), "at most 1,000,000 characters"),
    "a long cell in quotes": ("t.csv", f'text,label\n"{LONG}",a\nb,c\n'.encode(), "at most 1,000,000 characters"),
    "a long JSONL cell": ("t.jsonl", json.dumps({"text": LONG}).encode() + b"\n{}", "1,000,001 characters"),
    "a long JSON cell": ("t.json", json.dumps([{"text": LONG}]).encode(), "1,000,001 characters"),
    "a long Parquet cell": ("t.parquet", parquet({"text": [LONG, "a"]}), "1,000,001 characters"),
    "a long workbook cell": ("t.xlsx", workbook(in_cell(LONG)), "1,000,001 characters"),
    "a long cell, packed": ("t.jsonl.gz", gzip.compress(json.dumps({"text": LONG}).encode()), "1,000,001 characters"),
    "CSV columns": ("t.csv", (",".join(MANY_COLUMNS) + "\n").encode() * 2, "at most 2,000"),
    "JSON columns": ("t.json", json.dumps([dict.fromkeys(MANY_COLUMNS, "a")]).encode(), "at most 2,000"),
    "a JSON column per row": (
        "t.jsonl",
        "".join(json.dumps({name: 1}) + "\n" for name in MANY_COLUMNS).encode(),
        "at most 2,000",
    ),
    "Parquet columns": ("t.parquet", parquet({name: [1] for name in MANY_COLUMNS}), "at most 2,000"),
    "an entity": ("t.xlsx", workbook(in_cell("&lol;")), "not a readable workbook"),
    "a far cell": ("t.xlsx", workbook(FAR_CELL), "not a readable workbook"),
    "half a Parquet file": ("t.parquet", parquet({"text": ["a", "b"]})[:60], "not a readable parquet table"),
    "a huge footer": (
        "t.parquet",
        parquet({"text": ["a"]})[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1",
        "not a readable parquet table",
    ),
    "four bytes of Parquet": ("t.parquet", b"PAR1", "not a readable parquet table"),
}


@pytest.mark.parametrize(("name", "content", "expected"), OVER_A_LIMIT.values(), ids=OVER_A_LIMIT)
def test_a_table_over_a_limit_is_refused(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    message = refusal_of(tmp_path / name)
    assert message.startswith(str(tmp_path / name)) and expected in message


def test_rows_lines_and_bytes_are_limited(tmp_path, monkeypatch):
    for module in ("compress.tables.limits", "compress.tables.quoting"):
        monkeypatch.setattr(f"{module}.MAX_ROWS", 50)
    rows = [{"text": f"a{number}", "label": number % 2} for number in range(60)]
    (tmp_path / "t.csv").write_text(pd.DataFrame(rows).to_csv(index=False))
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "t.json").write_text(json.dumps(rows, indent=1))
    for name in ("t.csv", "t.jsonl", "t.json"):
        assert "more than 50 rows" in refusal_of(tmp_path / name)
    monkeypatch.setattr("compress.tables.limits.MAX_CELLS", 30)
    assert "more than 30 lines" in refusal_of(tmp_path / "t.csv")
    monkeypatch.setattr("compress.tables.table.MAX_TABLE_BYTES", 100)
    assert "expected at most 0.0001 MB; keep a random sample of its rows" in refusal_of(tmp_path / "t.csv")


@pytest.mark.parametrize("suffix", ["gz", "xz", "zip"])
def test_packed_bombs_are_not_unpacked(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("compress.tables.limits.MAX_TABLE_BYTES", 3_000_000)
    content = b"a" * 10_000_000
    path = tmp_path / f"t.csv.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("t.csv", content)
    else:
        path.write_bytes(gzip.compress(content) if suffix == "gz" else lzma.compress(content))
    assert path.stat().st_size < 20_000
    assert "unpacks to more than 3 MB" in refusal_of(path)


def test_what_is_no_file_is_refused_and_blocks_nothing(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    assert "got a pipe, expected a file" in refusal_of(tmp_path / "t.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    assert "got a device, expected a file" in refusal_of(tmp_path / "zero.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "got a folder, expected a file" in refusal_of(tmp_path / "folder.csv")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.csv"))
        assert "got a socket, expected a file" in refusal_of(tmp_path / "s.csv")
    assert "no such file" in refusal_of(tmp_path / "nothing.csv")


def test_a_reader_that_crashes_or_takes_too_much_ends_in_one_line(tmp_path, monkeypatch):
    folder = tmp_path / "reader"
    folder.mkdir()
    bodies = {
        "crash": "os.abort()",
        "memory": "bytes(10**10)",
        "loop": "[number for number in itertools.count() if number < 0]",
        "error": "1 / 0",
    }
    monkeypatch.setattr(child_process, "ROOT", os.pathsep.join([str(folder), str(child_process.ROOT)]))
    for name, body in bodies.items():
        (folder / f"{name}_reader.py").write_text(
            "import itertools, os\nfrom compress.reading import child_process\nchild_process.MOST_CPU_S = 1\n"
            f"def read(content):\n    return {body}\nchild_process.answer(read)\n"
        )
        with pytest.raises(UserError, match=r"^t: not readable \(") as refused:
            child_process.call_in_child(f"{name}_reader", b"", problem="t: not readable", advice="copy it again")
        expected = "division by zero" if name == "error" else "its reader crashed, or needed more than 2 GB"
        assert expected in str(refused.value)


def test_sound_tables_are_read_as_before(tmp_path):
    frame = pd.DataFrame({"text": ["a", None, "c"], "n": [1, 2, 3], "x": [0.5, None, 2.0]}, index=[5, 6, 7])
    frame.index.name = "id"
    frame.to_parquet(tmp_path / "t.parquet")
    expected = frame.reset_index().astype(object)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet").frame, expected)
    (tmp_path / "t.xlsx").write_bytes(workbook(in_cell("text") + in_cell("one").replace("1", "2")))
    assert list(read_table(tmp_path / "t.xlsx").frame["text"]) == ["one"]


def test_the_reader_imports_no_more_than_it_needs():
    code = "import sys, compress.tables.binary_tables; print('pandas' in sys.modules, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False False\n"
