"""`pocketbert predict`: the same lines as the bundle's predict.py, one per text, whatever the input."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from compress.common.extras import install_command
from export.bundle import predict_command
from export.bundle.folder import seal
from pocketbert.cli import app
from pocketbert.standalone.predict_texts import predictions
from tiny_bert import LABELS, rows

TEXTS = [text for text, _ in rows(20, seed=5)]


def start(module: str, *arguments: object, given: bytes = b"") -> subprocess.CompletedProcess:
    """A command in a process of its own, with bytes on its standard input."""
    return subprocess.run(
        [
            sys.executable,
            *(["-m", "pocketbert", "predict"] if module == "pocketbert" else [module]),
            *map(str, arguments),
        ],
        input=given,
        capture_output=True,
    )


def expected(bundle: Path, given: bytes) -> list[bytes]:
    """What predict.py prints."""
    finished = start(str(bundle / "predict.py"), given=given)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def error_of(capsys, *arguments: object) -> str:
    """The one line of a command that ends with code 2 and prints nothing else."""
    assert app.main(["predict", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ") and printed.out == ""
    return line.removeprefix("error: ")


def test_arguments_a_file_and_standard_input_give_the_lines_of_predict_py(bundle, capsys, tmp_path):
    given = "".join(f"{text}\n" for text in TEXTS).encode()
    lines = expected(bundle, given)
    assert len(lines) == 20 and len(set(lines)) > 15 and json.loads(lines[0]).keys() == {"label", "probability"}
    (tmp_path / "texts.txt").write_bytes(given)
    for arguments in ([bundle, *TEXTS], [bundle, "--input", tmp_path / "texts.txt"]):
        assert app.main(["predict", *map(str, arguments)]) == 0
        assert capsys.readouterr().out.encode().splitlines() == lines
    for arguments in ([bundle], [bundle, "--input", "-"]):
        finished = start("pocketbert", *arguments, given=given)
        assert finished.returncode == 0 and finished.stderr == b"" and finished.stdout.splitlines() == lines


def test_pairs_as_arguments_and_in_lines(pair_bundle, capsys, tmp_path):
    first, second = TEXTS[:3], TEXTS[3:6]
    given = "".join(f"{one}\t{other}\n" for one, other in zip(first, second, strict=True)).encode()
    lines = expected(pair_bundle, given)
    (tmp_path / "pairs.tsv").write_bytes(given)
    pairs = [word for text in second for word in ("--pair", text)]
    for arguments in ([pair_bundle, *first, *pairs], [pair_bundle, "--input", tmp_path / "pairs.tsv"]):
        assert app.main(["predict", *map(str, arguments)]) == 0
        assert capsys.readouterr().out.encode().splitlines() == lines
    swapped = [word for text in first for word in ("--pair", text)]
    assert app.main(["predict", str(pair_bundle), *second, *swapped]) == 0
    assert capsys.readouterr().out.encode().splitlines() != lines


@pytest.mark.parametrize(
    ("given", "num_lines"),
    [
        (b"", 0),
        (b"\n", 1),
        (b"the film\n\nwas fine", 3),
        (b"the film\r\nwas fine\r\n", 2),
        ("\ufeffthe film\n".encode(), 1),
        (("the film " * 10_000 + "\n").encode(), 1),
        ("caf\u00e9 \U0001f600 \u4e2d\u6587\n".encode(), 1),
        (b"a tab\tin a text\n", 1),
    ],
)
def test_unusual_lines(bundle, capsys, tmp_path, given, num_lines):
    """Each line is a text, an empty one too, so that line n of the output belongs to line n of the input."""
    (tmp_path / "texts.txt").write_bytes(given)
    assert app.main(["predict", str(bundle), "--input", str(tmp_path / "texts.txt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == num_lines and all(json.loads(line)["label"] in LABELS for line in lines)
    if not given.startswith("\ufeff".encode()):
        assert [line.encode() for line in lines] == expected(bundle, given)


def test_a_byte_order_mark_is_no_part_of_the_first_text(bundle, capsys, tmp_path):
    outputs = []
    for name, mark in (("with", "\ufeff"), ("without", "")):
        (tmp_path / name).write_text(f"{mark}fine\ndull\n", encoding="utf-8")
        assert app.main(["predict", str(bundle), "--input", str(tmp_path / name)]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


def test_a_line_that_is_too_long_is_not_read_to_its_end(bundle, tmp_path, capsys, monkeypatch):
    most = "got more than 2,000,000 characters; expected at most that many"
    (tmp_path / "texts.txt").write_text("fine\n" + "x" * 2_000_001 + "\nfine\n")
    assert f"texts.txt, line 2: {most}" in error_of(capsys, bundle, "--input", tmp_path / "texts.txt")
    monkeypatch.setattr(sys, "argv", ["predict.py", "--bundle", str(bundle)])
    with io.TextIOWrapper(Path("/dev/zero").open("rb")) as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        assert predict_command.main() == 2 and capsys.readouterr().err.startswith(f"predict.py: line 1: {most}")


def test_long_texts_are_predicted_in_small_calls():
    rows = [("x" * size, None, {}) for size in (900_000, 900_000, 900_000, 900_000, 1, 1)]
    sizes = []

    class Counting:
        takes_pairs = False

        def check_top_k(self, top_k) -> None:
            pass

        def predict(self, texts, pairs, *, top_k) -> list[dict[str, object]]:
            sizes.append(len(texts))
            return [{}] * len(texts)

    assert len(list(predictions(Counting(), rows, rows_per_call=5))) == 6 and sizes == [3, 3]


def test_a_file_longer_than_one_call_keeps_its_order(bundle, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("pocketbert.standalone.predict_texts.ROWS_PER_CALL", 7)
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    assert app.main(["predict", str(bundle), "--input", str(tmp_path / "texts.txt")]) == 0
    in_parts = capsys.readouterr().out
    assert app.main(["predict", str(bundle), *TEXTS]) == 0
    assert capsys.readouterr().out == in_parts and in_parts.count("\n") == 20


def test_a_pipe_works_line_by_line(bundle):
    """The answer to a line comes before the next line is written."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pocketbert", "predict", str(bundle)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    for text in TEXTS[:3]:
        process.stdin.write(f"{text}\n".encode())
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["label"] in LABELS
    process.stdin.close()
    assert process.stdout.read() == b"" and process.wait() == 0
    process.stdout.close()


def test_a_reader_that_leaves_is_no_error(bundle):
    """As with `| head -1`: its pipe is closed after the first line, and more lines follow."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pocketbert", "predict", str(bundle)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write(b"fine\n")
    process.stdin.flush()
    assert process.stdout.readline()
    process.stdout.close()
    process.stdin.write(b"dull\n" * 100)
    process.stdin.close()
    assert process.stderr.read() == b"" and process.wait() == 0
    process.stderr.close()


def test_a_text_that_begins_with_a_dash_follows_two_dashes(bundle, capsys):
    assert app.main(["predict", str(bundle), "--", "--debug", "-fine", "--pair"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert "no such option" in error_of(capsys, bundle, "--fine")


def test_torch_is_not_loaded(bundle):
    code = (
        "import sys; from pocketbert.cli import app; code = app.main(sys.argv[1:]); "
        "print(sorted({'torch', 'transformers', 'datasets', 'pandas', 'scipy'} & set(sys.modules)), code)"
    )
    command = [sys.executable, "-c", code, "predict", str(bundle), "fine"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert finished.stdout.splitlines()[1:] == ["[] 0"]


def test_without_onnxruntime_the_extra_is_named(bundle, capsys, monkeypatch):
    for name in [
        name for name in sys.modules if name in ("export.bundle.runtime", "pocketbert.standalone.predict_texts")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("pocketbert.standalone.predict_texts", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    line = error_of(capsys, bundle, "fine")
    assert line.startswith("onnxruntime is not installed") and install_command("bundles") in line


def test_what_is_typed_and_does_not_fit(bundle, pair_bundle, capsys, tmp_path):
    (tmp_path / "texts.txt").write_text("fine\n")
    texts = ["--input", tmp_path / "texts.txt"]
    for arguments, message in {
        (bundle, "fine", *texts): "give texts or --input, not both",
        (bundle, "--pair", "dull", *texts): "give one --pair for each TEXT",
        (bundle, "fine", "--pair", "dull"): "this bundle takes one text, not two",
        (pair_bundle, "fine"): "this bundle takes two texts: got 1 TEXT and 0 --pair",
        (pair_bundle, "fine", "dull", "--pair", "dull"): "got 2 TEXT and 1 --pair",
        (pair_bundle, *texts): "texts.txt, line 1: got 1 texts; expected two, separated by a tab",
        (bundle, "--input", tmp_path / "nothing.txt"): "nothing.txt: No such file or directory",
        (bundle, "--input", tmp_path): "Is a directory",
        (bundle, "--input", tmp_path / "reviews.csv"): "reviews.csv: got a .csv; expected one text per line",
        (bundle, "--input", tmp_path / "reviews.jsonl"): "reviews.jsonl: got a .jsonl; expected one text per line",
        (bundle, "--encoding", "utf-16", *texts): "not utf-16 text",
        (bundle, "--encoding", "utf-9", *texts): "Python knows no encoding 'utf-9'; name the right encoding",
        (bundle, "fine\udce9"): "not utf-8 text",
        (): "missing argument 'BUNDLE'",
    }.items():
        assert message in error_of(capsys, *arguments), arguments


def test_lines_in_another_encoding(bundle, capsys, tmp_path):
    """A wrong one is reported with its line and the option; the right one is read."""
    path = tmp_path / "texts.txt"
    path.write_bytes("fine\ncaf\u00e9\n".encode("cp1252"))
    line = error_of(capsys, bundle, "--input", path)
    assert line.endswith("texts.txt, line 2: not utf-8 text; name the right encoding, such as cp1252, with --encoding")
    for encoding in ("cp1252", "utf-16"):
        path.write_bytes("fine\ncaf\u00e9\n".encode(encoding))
        assert app.main(["predict", str(bundle), "--input", str(path), "--encoding", encoding]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 2
    finished = start("pocketbert", bundle, given=b"fine\ncaf\xe9\n")
    assert finished.returncode == 2 and len(finished.stdout.splitlines()) == 1  # the line before was answered
    assert finished.stderr.decode().startswith("error: standard input, line 2: not utf-8 text")


def damaged(bundle: Path, folder: Path, name: str, content: bytes | None) -> Path:
    """A copy of a bundle in which a file has another content, or is gone."""
    copy = shutil.copytree(bundle, folder / "damaged")
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(content)
    seal(copy)
    return copy


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bundle.json", None, "not a bundle, it has no bundle.json"),
        ("bundle.json", b'{"format_version": 1, "labels"', "bundle.json cannot be read"),
        ("bundle.json", b'{"format_version": 1}', "bundle.json"),
        ("bundle.json", b'{"format_version": 9}', "format version 1"),
        ("bundle.json", b"[]", "bundle.json"),
        ("tokenizer.json", None, "damaged"),
        ("tokenizer.json", b"{}", "damaged"),
        ("onnx/model.onnx", None, "damaged"),
        ("onnx/model.onnx", b"", "damaged"),
        ("onnx/model.onnx", b"not a graph", "damaged"),
    ],
)
def test_a_damaged_bundle_is_one_line(bundle, capsys, tmp_path, name, content, message):
    assert message in error_of(capsys, damaged(bundle, tmp_path, name, content), "fine")


def test_a_folder_that_is_no_bundle_is_one_line_with_the_bundles_in_it(bundle, capsys, tmp_path, teacher_folder):
    assert "no such folder" in error_of(capsys, tmp_path / "nothing", "fine")
    assert "not a bundle, it has no bundle.json" in error_of(capsys, teacher_folder, "fine")
    assert "no such folder" in error_of(capsys, bundle / "bundle.json", "fine")
    run = tmp_path / "run"
    shutil.copytree(bundle, run / "bundles" / "fp32")
    assert error_of(capsys, run, "fine").endswith(f"it contains the bundles {run / 'bundles' / 'fp32'}")


def test_a_model_that_fails_at_work_is_one_line(bundle, capsys, tmp_path):
    """A tokenizer of another model: its ids are beyond the embedding."""
    content = json.loads((bundle / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"] = {word: index and 1000 + index for word, index in content["model"]["vocab"].items()}
    content["added_tokens"] = [token | {"id": token["id"] and 1000 + token["id"]} for token in content["added_tokens"]]
    copy = damaged(bundle, tmp_path, "tokenizer.json", json.dumps(content).encode())
    line = error_of(capsys, copy, "fine")
    assert "tokenizer.json gives token id 10" in line and "copy or export the bundle again" in line


def test_an_interrupt_is_quiet(bundle):
    process = subprocess.Popen(
        [sys.executable, "-m", "pocketbert", "predict", str(bundle)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in background jobs
    )  # fmt: skip
    process.stdin.write(b"fine\n")
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(2)
    process.wait(timeout=60)  # before its input is closed, which would end it with 0
    _, printed = process.communicate()
    assert process.returncode == 130 and b"Traceback" not in printed
