"""Tables as programs write them, to be read, and files that are to be refused."""

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile

import openpyxl
import pandas as pd

ROWS = [["a fine film, really", "1"], ["dull", "0"], ["great; warm", "1"], ["cold and flat", "0"]]
FRAME = pd.DataFrame(ROWS, columns=["text", "label"])


def delimited(delimiter: str = ",", *, header: bool = True, quoting: int = csv.QUOTE_MINIMAL, end: str = "\n") -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerows([["text", "label"], *ROWS] if header else ROWS)
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, delimited())
    return buffer.getvalue()


def parquet(frame: pd.DataFrame = FRAME) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def workbook(**sheets: list[list[object]]) -> bytes:
    """An .xlsx file."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


SHEET: list[list[object]] = [["text", "label"], *([text, int(label)] for text, label in ROWS)]

READ: dict[str, tuple[str, str | bytes, str]] = {
    "semicolons, all quoted": (
        "t.csv",
        delimited(";", quoting=csv.QUOTE_ALL),
        "semicolon-separated, quoted, header, UTF-8",
    ),
    "capital suffix": ("REVIEWS.CSV", delimited(), "comma-separated, quoted, header, UTF-8"),
    "bars": ("t.csv", delimited("|"), "bar-separated, header, UTF-8"),
    "control-A, as Hive writes it": ("t.txt", delimited("\x01"), "control-A-separated, header, UTF-8"),
    "tabs in a .csv": ("t.csv", delimited("\t"), "tab-separated, header, UTF-8"),
    "tabs in a .tab": ("t.tab", delimited("\t"), "tab-separated, header, UTF-8"),
    "single quotes": (
        "t.csv",
        "'text','label'\n" + "".join(f"'{text}','{label}'\n" for text, label in ROWS),
        "comma-separated, in single quotes, header, UTF-8",
    ),
    "spaces after commas": (
        "t.csv",
        "text, label\n" + "".join(f'"{text}", "{label}"\n' for text, label in ROWS),
        "comma-separated, quoted, header, UTF-8",
    ),
    "the mark of UTF-8": ("t.csv", b"\xef\xbb\xbf" + delimited().encode(), "comma-separated, quoted, header, UTF-8"),
    "UTF-16 of Excel's Unicode text": ("t.txt", delimited("\t").encode("utf-16"), "tab-separated, header, UTF-16"),
    "UTF-16 without a mark": ("t.csv", delimited().encode("utf-16-le"), "comma-separated, quoted, header, UTF-16"),
    "UTF-32": ("t.csv", delimited().encode("utf-32"), "comma-separated, quoted, header, UTF-32"),
    "Excel's hint": ("t.csv", "sep=;\r\n" + delimited(";", end="\r\n"), "semicolon-separated, quoted, header, UTF-8"),
    "line ends of old Macs": ("t.csv", delimited(end="\r"), "comma-separated, quoted, header, UTF-8"),
    "empty rows and columns of Excel": (
        "t.csv",
        "".join(f"{line};;\n" for line in delimited(";").splitlines()) + ";;;\n;;;\n",
        "semicolon-separated, quoted, header, UTF-8, 2 blank rows left out",
    ),
    "gzip": ("t.csv.gz", gzip.compress(delimited().encode()), "comma-separated, quoted, header, UTF-8, gzip"),
    "gzip of tabs": ("t.tsv.gz", gzip.compress(delimited("\t").encode()), "tab-separated, header, UTF-8, gzip"),
    "gzip without its suffix": (
        "t.csv",
        gzip.compress(delimited().encode()),
        "comma-separated, quoted, header, UTF-8, gzip",
    ),
    "bzip2": ("t.csv.bz2", bz2.compress(delimited().encode()), "comma-separated, quoted, header, UTF-8, bzip2"),
    "xz": ("t.csv.xz", lzma.compress(delimited().encode()), "comma-separated, quoted, header, UTF-8, xz"),
    "zip": ("t.csv.zip", zipped("t.csv"), "comma-separated, quoted, header, UTF-8, zip"),
    "zip of a Mac": ("t.csv.zip", zipped("t.csv", "__MACOSX/._t.csv"), "comma-separated, quoted, header, UTF-8, zip"),
    "a zip of Kaggle": ("t.zip", zipped("reviews.csv"), "comma-separated, quoted, header, UTF-8, zip"),
    "a mark twice": ("t.csv", b"\xef\xbb\xbf" * 2 + delimited().encode(), "comma-separated, quoted, header, UTF-8"),
    "the end of a file of DOS": ("t.csv", delimited() + "\x1a", "comma-separated, quoted, header, UTF-8"),
    "pandas' index": ("t.parquet", parquet(FRAME.set_index("text")), "Parquet"),
    "objects by row": ("t.json", FRAME.to_json(orient="index"), "JSON, objects by row, UTF-8"),
    "schema and data": ("t.json", FRAME.to_json(orient="table", index=False), "JSON, schema and data, UTF-8"),
    "a suffix too many": ("t.csv.gz", delimited(), "comma-separated, quoted, header, UTF-8"),
    "JSON lines": ("t.jsonl", FRAME.to_json(orient="records", lines=True), "JSON lines, UTF-8"),
    "JSON lines in a .json": ("t.json", FRAME.to_json(orient="records", lines=True), "JSON lines, UTF-8"),
    "a list of objects": ("t.json", FRAME.to_json(orient="records"), "JSON, a list of objects, UTF-8"),
    "a list over many lines": (
        "t.json",
        FRAME.to_json(orient="records", indent=2),
        "JSON, a list of objects, UTF-8",
    ),
    "pandas' to_json": ("t.json", FRAME.to_json(), "JSON, lists by column, UTF-8"),
    "columns and data": ("t.json", FRAME.to_json(orient="split"), "JSON, columns and data, UTF-8"),
    "lists by column": ("t.json", json.dumps(FRAME.to_dict(orient="list")), "JSON, lists by column, UTF-8"),
    "gzip of JSON lines": (
        "t.jsonl.gz",
        gzip.compress(FRAME.to_json(orient="records", lines=True).encode()),
        "JSON lines, UTF-8, gzip",
    ),
    "Parquet": ("t.parquet", parquet(), "Parquet"),
    "Parquet under another name": ("t.csv", parquet(), "Parquet"),
    "a workbook": ("t.xlsx", workbook(Sheet1=SHEET), "workbook, header"),
    "a workbook with empty sheets": ("t.xlsx", workbook(Data=SHEET, Sheet2=[], Sheet3=[]), "workbook, header"),
    "Spark's backslashes": (
        "t.csv",
        'text,label\n"a ""b"" film",1\n'.replace('""', '\\"') + "dull,0\n" * 2,
        "comma-separated, quoted, with a backslash before quotes, header, UTF-8",
    ),
    "pandas' tabs": (
        "t.tsv",
        'text\tlabel\n"a ""b"" film"\t1\n' + "dull\t0\n" * 2,
        "tab-separated, quoted, header, UTF-8",
    ),
    "GLUE's tabs": (
        "t.tsv",
        'text\tlabel\n"a "b" film"\t1\n' + 'so "dull"\t0\n' * 2,
        "tab-separated, not quoted, header, UTF-8",
    ),
}
TEXTS_OF_OTHERS = {
    "Spark's backslashes": 'a "b" film',
    "pandas' tabs": 'a "b" film',
    "GLUE's tabs": '"a "b" film"',
}

REFUSED: dict[str, tuple[str, str | bytes, str]] = {
    "two delimiters": ("t.csv", "id,text;label\n1,a;0\n2,b;1\n", "every row can be read as comma- or semicolon-sep"),
    "an unquoted comma": ("t.csv", delimited() + "a, b,1\n", "line 6: got 3 cells, expected 2"),
    "an open quote": ("t.csv", delimited() + '"never closed,1\n', "is a quote left open?"),
    "quotes inside of quotes": ("t.csv", delimited() + '"He said "hi", twice",1\n', "line 6: "),
    "quotes that are text or quoting": (
        "t.tsv",
        'text\tlabel\n"a ""b"""\t1\nan "x"\t0\nc\t1\n',
        "the quotes around cells can be text, or quoting",
    ),
    "joined files in other spelling": (
        "t.csv",
        delimited() + '\ufeff"label","Text"\n' + "x,1\n",
        "line 6: repeats the header",
    ),
    "a line of Markdown": (
        "t.csv",
        delimited("|").replace("\n", "\n---|---\n", 1),
        "line 2: a line between header and rows, as in Markdown; delete it",
    ),
    "a title above the header": ("t.csv", "Reviews of 2024,\n" + delimited(), "line 1: got 'Reviews of 2024', which"),
    "a comment above the header": ("t.csv", "# by a tool, 2024\n" + delimited(), "line 1: got '# by a tool', '2024'"),
    "row names of R": (
        "t.tsv",
        "text\tlabel\n" + "".join(f"{index}\ta text\t1\n" for index in range(4)),
        "if the first column has no name, as R writes it, name it in the header",
    ),
    "escape sequences": ("t.csv", "text,label\n映画,1\n悪い,0\n".encode("iso2022_jp"), "text with escape sequences"),
    "text in a workbook's name": ("t.xls", delimited("\t"), "not a workbook, but perhaps text"),
    "half a surrogate pair in a key": (
        "t.jsonl",
        '{"\\ud800": 1, "label": 0}\n' * 2,
        "has half of a surrogate pair; rename it",
    ),
    "joined files": ("t.csv", delimited() + delimited(), "line 6: repeats the header; were files joined?"),
    "an unknown single-byte encoding": (
        "t.csv",
        "text,label\ncaf\xe9,1\nb,0\n".encode("cp1252"),
        "not utf-8 text (invalid continuation byte at byte 14); line 2 reads 'caf\xe9,1' in cp1252, ",
    ),
    "bytes that are damaged": ("t.csv", delimited().encode() + b"\xff\xfe,1\n", "not utf-8 text"),
    "UTF-16 cut off": ("t.csv", delimited().encode("utf-16")[:-1], "begins with the byte-order mark of UTF-16"),
    "a damaged gzip": ("t.csv.gz", gzip.compress(delimited().encode())[:-9], "a damaged gzip file"),
    "an archive of two": ("t.zip", zipped("a.csv", "b.csv"), "the archive holds a.csv, b.csv; expected one"),
    "an archive of another kind": ("t.zip", zipped("a.docx"), "cannot read .docx"),
    "an archive of two tables": ("t.csv.zip", zipped("a.csv", "b.csv"), "the archive holds a.csv, b.csv; expected one"),
    "zstd": ("t.csv.zst", b"\x28\xb5\x2f\xfd", "cannot read .zst"),
    "zstd inside": ("t.csv", b"\x28\xb5\x2f\xfd\x00", "compressed with zstd; decompress it first"),
    "a Git LFS pointer": ("t.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
    "a web page": ("t.csv", "<!DOCTYPE html><html></html>", "a web page, not a table"),
    "JSON in a .csv": ("t.csv", FRAME.to_json(orient="records", lines=True), "contains JSON; rename it to t.jsonl"),
    "JSON of another form": ("t.json", '{"version": 1,\n"rows": []}', "got a JSON object with the keys version, rows"),
    "JSON of a number": ("t.json", "3", "got a JSON value; expected an object per line"),
    "a key twice": ("t.jsonl", '{"text": "a", "text": "b"}\n' * 2, "an object has the key 'text' twice"),
    "a sheet too many": ("t.xlsx", workbook(A=SHEET, B=SHEET), "the workbook has 2 sheets (A, B); expected one"),
    "a workbook with a password": ("t.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "not a readable workb"),
    "a folder": ("", "", "got a folder, expected a file"),
    "a header that is a row": (
        "t.csv",
        "kind,1\n" + "".join(f"{'ab'[index % 2]},{index}\n" for index in range(8)),
        "line 1: a header or a row?",
    ),
}
