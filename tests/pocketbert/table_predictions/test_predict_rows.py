"""`pocketbert predict BUNDLE TABLE --output FILE`."""

import csv
import gzip
import json
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pocketbert
from pocketbert.cli import app
from pocketbert.table_predictions import predict_rows, reading
from pocketbert.table_predictions.unfinished import open_unfinished, records
from tiny_bert import LABELS, rows

ROOT = Path(__file__).parents[3]
TEXTS = [text for text, _ in rows(30, seed=5)]


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(reading, "WINDOW_ROWS", 4)


def predict(bundle: Path, table: Path, output: Path, *options: str) -> int:
    return app.main(["predict", str(bundle), str(table), "--output", str(output), *options])


def error_of(capsys, bundle: Path, table: Path, output: Path, *options: str) -> str:
    """The one line of a command that ends with code 2. The output is not written."""
    is_there = output.exists()
    assert predict(bundle, table, output, *options) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert output.exists() == is_there
    return line.removeprefix("error: ")


def answers(bundle: Path, texts: list[str]) -> list[dict]:
    return pocketbert.load(bundle).predict(texts)


def write_csv(path: Path, texts: list[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("id", "text", "note"), *((f"{n:03}", text, "a, b") for n, text in enumerate(texts))])
    return path


# -- formats


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_keeps_the_columns_and_adds_the_answers(bundle, tmp_path, small_windows, ending):
    texts = [*TEXTS[:9], 'quoted "words"\nand\r lines\t', "caf\u00e9 \u4e2d"]
    table, output = write_csv(tmp_path / "table.csv", texts), tmp_path / "new" / f"answers.{ending}"
    assert predict(bundle, table, output) == 0
    expected = [
        {"id": f"{n:03}", "text": text, "note": "a, b", **answer}
        for n, (text, answer) in enumerate(zip(texts, answers(bundle, texts), strict=True))
    ]
    match ending:
        case "csv" | "tsv":
            with output.open(encoding="utf-8", newline="") as content:
                read = list(csv.DictReader(content, delimiter="," if ending == "csv" else "\t"))
            read = [{**row, "probability": float(row["probability"])} for row in read]
        case "jsonl":
            read = [json.loads(line) for line in output.read_text(encoding="utf-8").split("\n")[:-1]]
        case _:
            read = pq.read_table(output).to_pylist()
    assert read == expected and [list(row) for row in read] == [list(row) for row in expected]
    assert list(output.parent.iterdir()) == [output]


def test_parquet_keeps_its_types(bundle, tmp_path, small_windows):
    table = pa.table(
        {
            "when": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 6, pa.timestamp("ns", "UTC")),
            "text": pa.array([*TEXTS[:5], None]).dictionary_encode(),
            "tags": pa.array([["a"], [], None, ["b", "c"], ["d"], []]),
        }
    )
    pq.write_table(table, tmp_path / "table.parquet")
    assert predict(bundle, tmp_path / "table.parquet", tmp_path / "answers.parquet") == 0
    read = pq.read_table(tmp_path / "answers.parquet")
    assert read.column_names == ["when", "text", "tags", "label", "probability"]
    assert read.select(["when", "tags"]).equals(table.select(["when", "tags"]))
    assert read["label"].to_pylist() == [*(each["label"] for each in answers(bundle, TEXTS[:5])), None]
    assert predict(bundle, tmp_path / "table.parquet", tmp_path / "answers.csv") == 0
    assert pd.read_csv(tmp_path / "answers.csv")["tags"][3] == '["b", "c"]'


def test_json_lines_keep_their_keys_and_a_table_has_the_keys_of_all(bundle, tmp_path, small_windows):
    lines = [{"text": text, "n": 1} for text in TEXTS[:4]] + [
        {"text": 3, "n": 0.5, "more": {"a": [1]}, "huge": 2**70},
        {"n": None, "text": "fine"},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(line)}\n\n" for line in lines), encoding="utf-8")
    assert predict(bundle, tmp_path / "rows.jsonl", tmp_path / "answers.jsonl") == 0
    read = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = answers(bundle, [str(line["text"]) for line in lines])
    assert read == [{**line, **answer} for line, answer in zip(lines, expected, strict=True)]
    assert predict(bundle, tmp_path / "rows.jsonl", tmp_path / "answers.csv") == 0
    with (tmp_path / "answers.csv").open(encoding="utf-8") as file:
        assert list(csv.DictReader(file))[4]["more"] == '{"a": [1]}'
    del lines[4]["huge"]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    assert predict(bundle, tmp_path / "rows.jsonl", tmp_path / "answers.parquet") == 0
    table = pq.read_table(tmp_path / "answers.parquet")
    assert table["n"].to_pylist() == [1, 1, 1, 1, 0.5, None] and table["text"].to_pylist()[4] == "3"


def test_a_column_of_json_lines_may_begin_in_any_row(bundle, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"id": "a"}\n{"id": "b", "text": "fine film"}\n', encoding="utf-8")
    for options in ([], ["--text", "text"]):
        output = tmp_path / f"answers{len(options)}.jsonl"
        assert predict(bundle, tmp_path / "rows.jsonl", output, *options) == 0
        first, second = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        assert first == {"id": "a", "label": None, "probability": None}
        assert second == {"id": "b", "text": "fine film", **answers(bundle, ["fine film"])[0]}


@pytest.mark.parametrize("large", [2**70, -(2**63) - 1, 2**53 + 1])
def test_large_integers_of_json_lines_keep_their_digits_in_parquet(bundle, tmp_path, large):
    lines = [{"text": "fine", "n": large}, {"text": "dull", "n": 0.5}]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    assert predict(bundle, tmp_path / "rows.jsonl", tmp_path / "answers.parquet") == 0
    assert pq.read_table(tmp_path / "answers.parquet")["n"].to_pylist() == [str(large), "0.5"]


def test_values_without_a_form_in_json_or_python(bundle, tmp_path):
    """NaN, infinity, bytes, and dates after the year 9999."""
    table = pa.table(
        {
            "text": pa.array([b"fine film", b"dull"]),
            "score": pa.array([float("nan"), float("inf")]),
            "raw": pa.array([b"caf\xc3\xa9", b"\xff\x00"]),
            "day": pa.array([10, 3_000_000], pa.int32()).cast(pa.date32()),
        }
    )
    pq.write_table(table, tmp_path / "table.parquet")
    assert predict(bundle, tmp_path / "table.parquet", tmp_path / "answers.jsonl") == 0
    first, second = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (first["text"], first["score"], first["raw"], first["day"]) == ("fine film", None, "caf\u00e9", "1970-01-11")
    assert (second["score"], second["raw"]) == ("inf", "ff00") and second["day"] == "10183-09-21"
    assert predict(bundle, tmp_path / "table.parquet", tmp_path / "answers.parquet") == 0
    read = pq.read_table(tmp_path / "answers.parquet")
    assert read.select(["text", "raw", "day"]).equals(table.select(["text", "raw", "day"]))
    assert str(read["score"].to_pylist()) == "[nan, inf]"
    assert predict(bundle, tmp_path / "table.parquet", tmp_path / "answers.csv") == 0
    with (tmp_path / "answers.csv").open(encoding="utf-8") as file:
        assert [row["score"] for row in csv.DictReader(file)] == ["", "inf"]
    (tmp_path / "rows.jsonl").write_text('{"text": "fine", "v": NaN}\n', encoding="utf-8")
    assert predict(bundle, tmp_path / "rows.jsonl", tmp_path / "nan.jsonl") == 0
    assert json.loads((tmp_path / "nan.jsonl").read_text(encoding="utf-8"))["v"] is None


def test_top_k_and_prefix_name_the_new_columns(bundle, tmp_path):
    table = write_csv(tmp_path / "table.csv", TEXTS[:3])
    assert predict(bundle, table, tmp_path / "answers.jsonl", "--top-k", "5", "--prefix", "new_") == 0
    first = json.loads((tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert list(first)[3:] == ["new_label", "new_probability", "new_label_2", "new_probability_2"]
    assert {first["new_label"], first["new_label_2"]} == set(LABELS)
    assert first["new_probability"] + first["new_probability_2"] == pytest.approx(1, abs=1e-5)


def test_pairs(pair_bundle, tmp_path, capsys):
    with (tmp_path / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("a", "b"), *zip(TEXTS[:5], TEXTS[5:10], strict=True)])
    assert predict(pair_bundle, tmp_path / "pairs.csv", tmp_path / "1.jsonl", "--text", "a", "--pair", "b") == 0
    read = [json.loads(line)["probability"] for line in (tmp_path / "1.jsonl").read_text(encoding="utf-8").splitlines()]
    assert read == [each["probability"] for each in pocketbert.load(pair_bundle).predict(TEXTS[:5], TEXTS[5:10])]
    table = tmp_path / "pairs.csv"
    assert "which two columns are the texts? Of a, b" in error_of(capsys, pair_bundle, table, tmp_path / "2.csv")
    line = error_of(capsys, pair_bundle, table, tmp_path / "2.csv", "--text", "a")
    assert "got the text columns a; this bundle takes two texts: --text and --pair" in line


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"text;id\r\nfine film;1\r\ndull, plot;2\r\n"),
        ("t.csv", '\ufefftext,id\nfine film,1\n\n"dull, plot",2'.encode()),
        ("t.csv", 'text,id\nfine film,1\n"dull, plot",2\n'.encode("utf-16")),
        ("t.csv", b'sep=;\ntext;id\nfine film;1\n"dull, plot";2\n'),
        ("t.csv", b'text, id\nfine film, 1\n"dull, plot", 2\n'),
        ("t.tsv", b"text\tid\nfine film\t1\ndull, plot\t2\n"),
        ("t.tsv", b'text\tid\nfine film\t1\n"dull, plot"\t2\n"a\tb"\t3\n'),
        ("t.csv.gz", gzip.compress(b'text,id\nfine film,1\n"dull, plot",2\n', mtime=0)),
        ("t.jsonl", b'{"text": "fine film"}\r\n{"text": "dull, plot"}'),
        ("t.csv", b'text,more\nfine film,"' + 200_000 * b"x" + b'"\n"dull, plot",2\n'),
    ],
)
def test_tables_as_other_programs_write_them(bundle, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert predict(bundle, tmp_path / name, tmp_path / "answers.jsonl") == 0
    read = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in read[:2]] == ["fine film", "dull, plot"]
    assert [row["label"] for row in read[:2]] == [
        each["label"] for each in answers(bundle, ["fine film", "dull, plot"])
    ]


def test_only_the_start_of_a_file_decides_how_it_is_read(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "SAMPLE_CHARACTERS", 200)
    texts = [f'a film\nof {number} lines, "and\nmore"' for number in range(40)]
    assert predict(bundle, write_csv(tmp_path / "table.csv", texts), tmp_path / "answers.jsonl") == 0
    lines = (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == texts


# -- rows and files that do not fit


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("t.csv", b"text,id\nfine,1\ndull\n", [], "t.csv, line 3: got 1 cells, expected 2"),
        ("t.csv", b'text,id\nfine,1\n"dull,1\n', [], "line 3: "),
        ("t.csv", b"text,id\ncaf\xe9,1\n", [], "not utf-8 text"),
        ("t.csv", b"text,id\nfine\0,1\n", [], "got a NUL byte"),
        ("t.csv", b"text,text\nfine,1\n", ["--text", "text"], "names the column 'text' twice"),
        ("t.csv", b"a,b\nfine,film\nfine,plot\n", ["--text", "c"], "t.csv: no column 'c'; it has a, b"),
        ("t.csv", b"review,note\nfine film,x\ndull film,y\n", ["--text", "nothing"], "no column 'nothing'"),
        ("t.csv", b"label,text\nx,fine\nx,dull\n", ["--text", "text"], "has a column 'label' already; name the new"),
        ("t.csv", b"", [], "the table has no rows"),
        ("t.csv", b"text,id\n", ["--text", "text"], "the table has no rows"),
        ("t.jsonl", b'{"text": "fine"}\n{"text": ["a"]}\n', [], "column 'text', row 2: got a list"),
        ("t.jsonl", b'{"text": "fine"}\n[1]\n', [], "line 2: got a list; expected an object per line"),
        ("t.jsonl", b'{"text": "fine"}\n{"text": "\\ud800"}\n', [], "line 2: got half of a surrogate pair"),
        ("t.jsonl", b'{"text": "fine", "a": 1, "a": 2}', [], "the key 'a' occurs twice"),
        ("t.jsonl", b'{"a": "fine", "b": 1}', [], "which column is the text? Of a, b, name one with --text"),
        ("t.jsonl", b'{"text": "fine", "a": Infinity}', [], "line 1: not JSON (Infinity is no number of JSON)"),
        ("t.jsonl", b'{"text": "fine"}\n{"text": "' + b"a" * 2_000_001 + b'"}', [], "row 2: got 2,000,001 characters"),
        ("t.csv", b"\xef\xbb\xbftext,id\ncaf\xe9,1\n", [], "not utf-8-sig text"),
        ("t.csv", b"text,id\ncaf\x81,1\n", ["--encoding", "cp1252"], "not cp1252 text"),
        ("t.csv", b"text,pair\nfine,film\n", ["--pair", "pair"], "--pair: expected one column"),
        ("t.csv", b"a warm film\na dull plot\n", [], "is the first line, 'a warm film', a header or a text?"),
        ("t.csv", b"text,n\nfine,1\n", ["--encoding", "rot13"], "Python knows no encoding 'rot13'"),
        ("t.csv", b"text,n\nfine,1\n", ["--prefix", "\udcff"], "--prefix '\\udcff': got bytes that are not text"),
        ("t.parquet.gz", gzip.compress(b"PAR1", mtime=0), [], "a compressed Parquet file; decompress it first"),
        ("t.parquet", b"PAR1 no", [], "not a readable Parquet table"),
        ("t.xlsx", b"PK", [], "cannot predict the rows of a .xlsx; expected .csv, .tsv, .jsonl or .parquet"),
        ("t.csv.gz", gzip.compress(b"text\nfine\n" * 99, mtime=0)[:-20], [], "cannot be read"),
        ("t.zip", b"PK", [], "cannot predict the rows of a"),
        ("t.csv", b"text,id\nfine,1\n", ["--encoding", "utf-9"], "Python knows no encoding 'utf-9'"),
        ("t.csv", b"text,id\nfine,1\n", ["--json-lines"], "writes a table; leave out --json-lines"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_before_anything_is_predicted(
    bundle, tmp_path, capsys, name, content, options, message
):
    (tmp_path / name).write_bytes(content)
    assert message in error_of(capsys, bundle, tmp_path / name, tmp_path / "answers.csv", *options)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_other_outputs_and_options_are_one_line(bundle, tmp_path, capsys):
    table = write_csv(tmp_path / "table.csv", TEXTS[:3])
    assert "cannot write a .xlsx; expected .csv" in error_of(capsys, bundle, table, tmp_path / "answers.xlsx")
    assert "no such file" in error_of(capsys, bundle, tmp_path / "nothing.csv", tmp_path / "answers.csv")
    assert app.main(["predict", str(bundle), str(table)]) == 2
    assert "table.csv: a file, not a text; name the file for its predictions with --output" in capsys.readouterr().err
    assert "got 2 tables; expected one" in error_of(
        capsys, bundle, table, tmp_path / "answers.csv", "--input", str(table)
    )
    assert app.main(["predict", str(bundle), "fine", "--text", "a"]) == 2
    assert "name the file to write with --output" in capsys.readouterr().err


def test_rows_without_text_stay_without_a_prediction(bundle, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("id,text\n1,fine\n2,\n3, \n4,dull\n", encoding="utf-8")
    assert predict(bundle, tmp_path / "t.csv", tmp_path / "answers.csv") == 0
    lines = (tmp_path / "answers.csv").read_text(encoding="utf-8").splitlines()
    assert lines[2:4] == ["2,,,", "3, ,,"] and lines[1].count(",") == 3 and not lines[4].endswith(",")
    assert "2 rows have no text and so no prediction; the first is row 2" in " ".join(capsys.readouterr().err.split())


def test_truncated_texts_are_counted(bundle, tmp_path, capsys):
    assert predict(bundle, write_csv(tmp_path / "t.csv", ["film " * 50, "fine"]), tmp_path / "answers.csv") == 0
    assert "1 text is truncated to 32 tokens" in capsys.readouterr().err


# -- stops, and files of others


def test_a_killed_command_continues_with_the_same_rows_in_the_same_order(bundle, tmp_path, small_windows, monkeypatch):
    table = write_csv(tmp_path / "table.csv", TEXTS)
    assert predict(bundle, table, tmp_path / "whole.parquet") == 0
    output, predicted = tmp_path / "answers.parquet", []
    original = predict_rows._predicted

    def stop_after(number: int):
        def stopped(classifier, path, text, window, top_k):
            if len(predicted) == number:
                raise KeyboardInterrupt
            predicted.append(window.first)
            return original(classifier, path, text, window, top_k)

        return stopped

    for number in (0, 3, 5):
        monkeypatch.setattr(predict_rows, "_predicted", stop_after(number))
        assert predict(bundle, table, output) == 130 and not output.exists()
        with (tmp_path / "answers.parquet.partial").open("ab") as file:
            file.write(b"\1" * number)  # of a block that was not finished
    monkeypatch.setattr(predict_rows, "_predicted", stop_after(99))
    assert predict(bundle, table, output) == 0
    assert predicted == list(range(0, 30, 4))  # no row twice
    assert pq.read_table(output).equals(pq.read_table(tmp_path / "whole.parquet"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.parquet", "table.csv", "whole.parquet"]


def test_a_sigkill_loses_at_most_a_window(bundle, tmp_path):
    table = write_csv(tmp_path / "table.csv", TEXTS * 800)
    output = tmp_path / "answers.csv"
    command = [sys.executable, "-m", "pocketbert", "predict", bundle, table, "--output", output, "--threads", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    partial = tmp_path / "answers.csv.partial"
    while process.poll() is None and (not partial.exists() or partial.stat().st_size < 50_000):
        time.sleep(0.01)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "continues at row" in finished.stderr and "of 24,000" in finished.stderr
    with output.open(encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [row["id"] for row in read] == [f"{number:03}" for number in range(24_000)]
    expected = [each["label"] for each in answers(bundle, TEXTS)]
    assert [row["label"] for row in read] == expected * 800


def test_a_link_in_place_of_the_unfinished_file_is_left_alone(bundle, tmp_path, capsys):
    (tmp_path / "mine").touch()
    (tmp_path / "answers.csv.partial").symlink_to(tmp_path / "mine")
    table = write_csv(tmp_path / "table.csv", TEXTS[:3])
    assert "answers.csv.partial: already exists" in error_of(capsys, bundle, table, tmp_path / "answers.csv")
    assert (tmp_path / "answers.csv.partial").is_symlink() and not (tmp_path / "mine").read_bytes()


def test_a_name_with_a_carriage_return_is_quoted(bundle, tmp_path):
    pq.write_table(pa.table({"text": ["fine"], "x\ry": ["1"]}), tmp_path / "table.parquet")
    assert predict(bundle, tmp_path / "table.parquet", tmp_path / "answers.csv") == 0
    assert list(pd.read_csv(tmp_path / "answers.csv").columns) == ["text", "x\ry", "label", "probability"]


def test_a_text_without_a_header_is_a_row(bundle, tmp_path, capsys):
    (tmp_path / "texts.csv").write_text("a warm film\na dull plot\n", encoding="utf-8")
    assert predict(bundle, tmp_path / "texts.csv", tmp_path / "answers.csv", "--text", "1") == 0
    assert "comma-separated, no header, utf-8" in capsys.readouterr().err
    assert len(pd.read_csv(tmp_path / "answers.csv")) == 2


def test_no_file_of_others_is_overwritten(bundle, tmp_path, capsys):
    table, output = write_csv(tmp_path / "table.csv", TEXTS), tmp_path / "answers.csv"
    output.write_text("mine")
    assert "answers.csv: already exists; move it away, or choose" in error_of(capsys, bundle, table, output)
    assert output.read_text() == "mine" and len(list(tmp_path.iterdir())) == 2
    output.unlink()
    partial = tmp_path / "answers.csv.partial"
    partial.write_text("mine")
    assert "this command has not written it" in error_of(capsys, bundle, table, output)
    assert partial.read_text() == "mine"
    assert "table.csv: already exists" in error_of(capsys, bundle, table, table)


def test_the_unfinished_file_belongs_to_its_table_bundle_and_options(bundle, tmp_path, capsys, monkeypatch):
    table, output = write_csv(tmp_path / "table.csv", TEXTS), tmp_path / "answers.csv"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(predict_rows, "_write", interrupt)
    assert predict(bundle, table, output) == 130
    monkeypatch.undo()
    assert "for another table, bundle or set of options" in error_of(capsys, bundle, table, output, "--top-k", "2")
    other = shutil.copytree(bundle, tmp_path / "other")
    (other / "SHA256SUMS").write_text((other / "SHA256SUMS").read_text() + f"{'0' * 64}  README.txt\n")
    write_csv(tmp_path / "table.csv", TEXTS[1:])
    assert "for another table, bundle" in error_of(capsys, bundle, table, output)
    write_csv(tmp_path / "table.csv", TEXTS)
    assert predict(bundle, table, output, "--prefix", "new_") == 0  # the predictions do not depend on it


def test_two_processes_do_not_write_the_same_file(bundle, tmp_path, capsys):
    table, output = write_csv(tmp_path / "table.csv", TEXTS), tmp_path / "answers.csv"
    with open_unfinished(tmp_path / "answers.csv.partial", {}, 1):
        assert "another process writes it" in error_of(capsys, bundle, table, output)


def test_a_table_that_changes_meanwhile_is_noticed(bundle, tmp_path, capsys, monkeypatch):
    table = write_csv(tmp_path / "table.csv", TEXTS)
    original = predict_rows._predict

    def change(*arguments):
        original(*arguments)
        write_csv(table, TEXTS[::-1])

    monkeypatch.setattr(predict_rows, "_predict", change)
    assert "table.csv: changed while it was read" in error_of(capsys, bundle, table, tmp_path / "answers.csv")


def test_a_damaged_block_and_those_after_it_are_dropped(tmp_path):
    path = tmp_path / "x.partial"
    for damage in (False, True):
        with open_unfinished(path, {"a": 1}, 2) as unfinished:
            assert unfinished.num_rows == (5 if damage else 0)
            if not damage:
                for size in (5, 3):
                    unfinished.append(records(size, 2))
                assert unfinished.num_rows == 8 and [len(block) for block in unfinished.read()] == [5, 3]
        if not damage:
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)


def test_a_damaged_length_of_a_block_is_damage(tmp_path):
    path = tmp_path / "x.partial"
    with open_unfinished(path, {"a": 1}, 2) as unfinished:
        unfinished.append(records(5, 2))
    path.write_bytes(path.read_bytes() + b"\xff" * 8)
    with open_unfinished(path, {"a": 1}, 2) as unfinished:
        assert unfinished.num_rows == 5


def test_small_windows_share_a_row_group_of_parquet(bundle, tmp_path, small_windows):
    table = write_csv(tmp_path / "table.csv", TEXTS[:20])
    assert predict(bundle, table, tmp_path / "answers.parquet") == 0
    assert pq.ParquetFile(tmp_path / "answers.parquet").num_row_groups == 1


def test_windows_are_limited_by_their_characters_too(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "WINDOW_CHARACTERS", 100)
    table = reading.open_table(write_csv(tmp_path / "table.csv", ["film " * 10] * 30))
    sizes = [len(window.rows) for window in reading.windows(table)]
    assert sum(sizes) == 30 and max(sizes) == 2
    pq.write_table(pa.table({"text": ["film " * 10] * 30}), tmp_path / "t.parquet")
    windows = list(reading.windows(reading.open_table(tmp_path / "t.parquet")))
    assert [window.first for window in windows] == list(range(30))
