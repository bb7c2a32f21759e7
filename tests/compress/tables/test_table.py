"""Files of many origins: each is read as its program wrote it, or refused in one line."""

from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from compress.common.errors import UserError
from compress.data.tasks import load_task
from compress.tables.cells import text_cells
from compress.tables.table import read_table
from foreign_tables import READ, REFUSED, ROWS, TEXTS_OF_OTHERS, delimited


@pytest.mark.parametrize("kind", READ)
def test_read(tmp_path, kind):
    name, content, reading = READ[kind]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = read_table(path)
    cells = text_cells(table.frame, ["text"], "label", where=name).to_numpy().tolist()
    assert table.reading == reading
    assert cells == ROWS if kind not in TEXTS_OF_OTHERS else cells[0] == [TEXTS_OF_OTHERS[kind], "1"]


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


def test_a_first_row_that_reads_like_a_text_is_no_header(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a text of its own,neutral\n" + "".join(f"another text {n},{'ab'[n % 2]}\n" for n in range(8)))
    with pytest.raises(UserError, match="line 1: a header or a row"):
        read_table(path)


def test_numbered_columns_are_those_of_a_file_without_a_header(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("2,a nice film,3\n" + "".join(f"{n},film {n},{n % 2}\n" for n in range(8)))
    assert read_table(path, columns=["2", "3"]).frame.iloc[0].tolist() == ["2", "a nice film", "3"]


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
    "two labels as numpy prints them": (["a", "b"], ["['x' 'y']", "['x']"], "row 1: got ['x' 'y'], a list"),
    "two numbers as numpy prints them": (["a", "b"], ["[0 2]", "[0]"], "row 1: got [0 2], a list"),
    "two labels as DuckDB prints them": (["a", "b"], ["[x, y]", "[x]"], "row 1: got [x, y], a list"),
    "a tuple": (["a", "b"], ["('x', 'y')", "('x',)"], "row 1: got ('x', 'y'), a list"),
    "a set of PostgreSQL": (["a", "b"], ["{x,y}", "{x}"], "row 1: got {x,y}, a list"),
    "decimal commas": (["a", "b"], ["0,5", "1,25"], "got numbers with a decimal comma, such as 0,5"),
    "a text of no width": (["a", "\u200b\ufeff"], ["x", "y"], "'text' is empty in 1 rows, first in row 2"),
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
        (["pos\u200b", "\ufeffneg"], ["pos", "neg"]),
        (["{{1}}", "[1or 2]"], ["{{1}}", "[1or 2]"]),
        (pd.Categorical(["neg", "pos"]), ["neg", "pos"]),
    ],
)
def test_labels_of_other_types_are_read(labels, expected):
    table = pd.DataFrame({"text": ["a", "b"], "label": labels})
    assert list(text_cells(table, ["text"], "label", where="t")["label"]) == expected


def test_parquet_keeps_whole_numbers_bytes_and_numbered_columns(tmp_path):
    frame = pd.DataFrame({0: [b"a fine film", b"dull"], 1: [2**60, 2**60 + 1]})
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
    [
        "text\nno label 1\nno label 2\n",
        "id,text\n1,x\n2,y\n",
        "text,label\nx,-1\ny,-1\n",
        "text,label\nx,-1.0\ny,-1.0\n",
        "text,label\nx,\ny,\n",
        "text,label\nx,\\N\ny,\\N\n",
        "text,label\nx,?\ny,?\n",
    ],
)
def test_an_unlabelled_test_split_is_left_out(tmp_path, test_file):
    task = task_of(folder_with(tmp_path, train_csv=MANY, test_csv=test_file))
    assert "the test split has no labels, so it is left out" in task.remarks
    assert len(task.train) == 32


@pytest.mark.parametrize("test_file", [MANY.replace("label", "Label"), MANY.partition("\n")[2]])
def test_a_labelled_test_split_with_another_header_is_not_left_out(tmp_path, test_file):
    with pytest.raises(UserError, match="no column"):
        task_of(folder_with(tmp_path, train_csv=MANY, test_csv=test_file.replace("text ", "test ")))


def test_a_folder_or_a_dangling_link_with_the_name_of_a_split_is_refused(tmp_path):
    folder_with(tmp_path, train_csv=MANY)
    (tmp_path / "dev.csv").symlink_to(tmp_path / "nothing.csv")
    with pytest.raises(UserError, match=r"dev\.csv: not a file, though its name is that of the dev split"):
        task_of(tmp_path)
    (tmp_path / "dev.csv").unlink()
    (tmp_path / "dev.csv").mkdir()
    with pytest.raises(UserError, match=r"dev\.csv: not a file"):
        task_of(tmp_path)


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
