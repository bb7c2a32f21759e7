"""Files of many origins: each is read as its program wrote it, or refused in one line."""

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from decimal import Decimal
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from compress.common.errors import UserError
from compress.data.tasks import load_task
from compress.tables.cells import text_cells
from compress.tables.table import read_table

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


@pytest.mark.parametrize("kind", READ)
def test_read(tmp_path, kind):
    name, content, reading = READ[kind]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = read_table(path)
    cells = text_cells(table.frame, ["text"], "label", where=name).to_numpy().tolist()
    assert table.reading == reading
    assert cells == ROWS if kind not in TEXTS_OF_OTHERS else cells[0] == [TEXTS_OF_OTHERS[kind], "1"]


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
    "joined files": ("t.csv", delimited() + delimited(), "line 6: repeats the header; were files joined?"),
    "an unknown single-byte encoding": (
        "t.csv",
        "text,label\ncaf\xe9,1\nb,0\n".encode("cp1252"),
        "not utf-8 text (invalid continuation byte at byte 14); a text reads 'caf\xe9,1' in cp125",
    ),
    "bytes that are damaged": ("t.csv", delimited().encode() + b"\xff\xfe,1\n", "not utf-8 text"),
    "UTF-16 cut off": ("t.csv", delimited().encode("utf-16")[:-1], "begins with the byte-order mark of UTF-16"),
    "a damaged gzip": ("t.csv.gz", gzip.compress(delimited().encode())[:-9], "a damaged gzip file"),
    "an archive of two": ("t.zip", zipped("a.csv", "b.csv"), "cannot read .zip"),
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


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(tmp_path, kind):
    name, content, message = REFUSED[kind]
    path = tmp_path / name if name else tmp_path
    if name:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as error:
        read_table(path)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_a_file_without_a_header_keeps_its_first_row(tmp_path, delimiter):
    path = tmp_path / "t.csv"
    path.write_text(delimited(delimiter, header=False))
    table = read_table(path)
    assert table.frame.to_numpy().tolist() == ROWS and list(table.frame.columns) == ["1", "2"]
    assert "no header (the columns are 1 to 2)" in table.reading
    assert read_table(path, columns=["1", "2"]).frame.to_numpy().tolist() == ROWS


HEADERS = {
    "other words": "avis,classe\n" + "".join(f"texte {index},{'ab'[index % 2]}\n" for index in range(8)),
    "pandas' numbers": "0,1\n" + "".join(f"text {index},{index % 2}\n" for index in range(8)),
    "pandas' index": ",text,label\n" + "".join(f"{index},text {index},{index % 2}\n" for index in range(8)),
    "numbers below": "text,score\n" + "".join(f"text {index},{index / 7:.3f}\n" for index in range(8)),
    "two rows": "text,label\na,1\nb,0\n",
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_is_no_row(tmp_path, kind):
    path = tmp_path / "t.csv"
    path.write_text(HEADERS[kind])
    assert len(read_table(path).frame) == HEADERS[kind].count("\n") - 1


def test_expected_columns_decide_where_the_header_is_in_doubt(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(REFUSED["a header that is a row"][1].encode())  # type: ignore[union-attr]
    assert list(read_table(path, columns=["kind", "1"]).frame.columns) == ["kind", "1"]


CELLS: dict[str, tuple[list[object], list[object], str]] = {
    "an object as the label": (["a", "b"], [{"id": 0}, {"id": 1}], "row 1: got an object ({'id': 0}); expected one"),
    "two labels": (["a", "b"], [[0, 2], [1]], "row 1: got 2 labels ([0, 2]); expected one label per row"),
    "no label": (["a", "b"], [[], [1]], "row 1: got 0 labels ([])"),
    "two labels as text": (["a", "b"], ["['x', 'y']", "['x']"], "row 1: got 2 labels (['x', 'y'])"),
    "an object as text": (["a", "b"], ['{"choice": "x"}', '{"choice": "y"}'], "row 1: got an object"),
    "a list as the text": ([["a", "b"], "c"], ["x", "y"], "row 1: got a list (['a', 'b']); expected text"),
    "lists as texts": (["['a', 'b']", "['c']"], ["x", "y"], "'text' holds lists (['a', 'b']); expected texts"),
    "a truth value as the text": (["a", True], ["x", "y"], "row 2: got a bool (True); expected text"),
    "bytes of another encoding": (["a", b"caf\xe9"], ["x", "y"], "row 2: got bytes that are not UTF-8"),
    "a date as the label": (["a", "b"], [pd.Timestamp("2026-01-01")] * 2, "row 1: got a Timestamp (2026-01-01"),
    "half a surrogate pair": (["a", "b\ud800"], ["x", "y"], "row 2: got half of a surrogate pair"),
    "a missing label": (["a", "b"], ["x", None], "'label' is empty in 1 rows, first in row 2"),
    "a missing number": (["a", "b"], [1.0, float("nan")], "'label' is empty in 1 rows, first in row 2"),
    "MySQL's missing label": (["a", "b"], ["x", "\\N"], "'label' is empty in 1 rows, first in row 2"),
    "a blank text": (["a", " \t"], ["x", "y"], "'text' is empty in 1 rows, first in row 2"),
}


@pytest.mark.parametrize("kind", CELLS)
def test_cells_that_are_neither_text_nor_a_label_are_refused(kind):
    texts, labels, message = CELLS[kind]
    table = pd.DataFrame({"text": pd.Series(texts, dtype=object), "label": pd.Series(labels, dtype=object)})
    with pytest.raises(UserError) as error:
        text_cells(table, ["text"], "label", where="t")
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([b"neg", b"pos"], ["neg", "pos"]),
        ([["neg"], ["pos"]], ["neg", "pos"]),
        (["['neg']", "['pos']"], ["neg", "pos"]),
        (['["neg"]', '["pos"]'], ["neg", "pos"]),
        ([0, 1], ["0", "1"]),
        ([Decimal("0"), Decimal("1")], ["0", "1"]),
        ([True, False], ["True", "False"]),
        (["nan", "nb"], ["nan", "nb"]),
        (["[bold]", "[/INST]"], ["[bold]", "[/INST]"]),
        (["NA", "null"], ["NA", "null"]),
        (pd.Categorical(["neg", "pos"]), ["neg", "pos"]),
    ],
)
def test_labels_of_other_types_are_read(labels, expected):
    table = pd.DataFrame({"text": ["a", "b"], "label": labels})
    assert list(text_cells(table, ["text"], "label", where="t")["label"]) == expected


def test_parquet_keeps_whole_numbers_bytes_and_numbered_columns(tmp_path):
    frame = pd.DataFrame({0: [b"a fine film", b"dull"], 1: [2**60, 2**60 + 1]})
    frame.columns = frame.columns.astype(str)
    frame.to_parquet(tmp_path / "t.parquet")
    table = text_cells(read_table(tmp_path / "t.parquet").frame, ["0"], "1", where="t")
    assert table.to_numpy().tolist() == [["a fine film", str(2**60)], ["dull", str(2**60 + 1)]]


def test_numbers_next_to_a_gap_stay_whole(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a", "label": 1}\n{"text": "b", "label": 0, "more": 9007199254740993}\n')
    table = read_table(path).frame
    assert list(table["label"]) == [1, 0] and table["more"][1] == 9007199254740993


def folder_with(root: Path, **files: str) -> Path:
    for name, content in files.items():
        (root / name.replace("_", ".")).write_text(content)
    return root


def task_of(folder: Path):
    return load_task(name="t", data=folder, text=["text"], label="label")


MANY = "text,label\n" + "".join(f"text {index},{'ab'[index % 2]}\n" for index in range(40))


@pytest.mark.parametrize(
    "test_file",
    ["text\nno label 1\nno label 2\n", "id,text\n1,x\n2,y\n", "text,label\nx,-1\ny,-1\n", "text,label\nx,\ny,\n"],
)
def test_an_unlabelled_test_split_is_left_out(tmp_path, test_file):
    task = task_of(folder_with(tmp_path, train_csv=MANY, test_csv=test_file))
    assert "the test split has no labels, so it is left out" in task.remarks
    assert len(task.train) == 32


def test_an_unlabelled_dev_split_is_refused(tmp_path):
    with pytest.raises(UserError, match="no column 'label'"):
        task_of(folder_with(tmp_path, train_csv=MANY, dev_csv="text\nx\ny\n"))


def test_two_files_for_a_split_are_refused_and_splits_names_the_right_one(tmp_path):
    dev = MANY.replace("text ", "dev ")
    folder = folder_with(tmp_path, train_csv=MANY, dev_csv=dev, validation_csv=dev)
    with pytest.raises(UserError, match=r"dev\.csv and validation\.csv could both be the dev split"):
        task_of(folder)
    task = load_task(name="t", data=folder, text=["text"], label="label", splits={"dev": "validation.csv"})
    assert len(task.dev) == 40


def test_the_reading_of_each_split_is_a_remark(tmp_path):
    task = task_of(folder_with(tmp_path, train_csv=MANY, dev_tsv=MANY.replace(",", "\t").replace("text ", "dev ")))
    assert task.remarks[:2] == (
        "train: comma-separated, header, UTF-8",
        "dev: tab-separated, header, UTF-8",
    )
