"""predict.py and Classifier at their edges: what is no list of texts, what is no bundle, locales and old versions."""

import ast
import collections
import copy
import enum
import io
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest

from export.bundle import predict_command
from export.bundle.folder import seal
from export.bundle.listed_files import BundleError
from export.bundle.runtime import Classifier
from pocketbert.cli import app
from tiny_bert import LABELS
from tiny_bundles import build_pair_bundle

TEXTS = ["a warm film", "dull plot"]
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n"


class Colour(str, enum.Enum):  # noqa: UP042 (unlike that of a StrEnum, its str() is not its text)
    WARM = "a warm film"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, original) -> Path:
    """A bundle as of version 0.5.0, whose model and labels can be changed without its golden terms."""
    folder = shutil.copytree(original, tmp_path_factory.mktemp("old") / "fp32")
    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    del content["golden_terms"]
    (folder / "bundle.json").write_text(json.dumps(content), encoding="utf-8")
    seal(folder)
    return folder


@pytest.fixture(scope="module")
def pair_bundle(tmp_path_factory, teacher_folder) -> Path:
    return build_pair_bundle(tmp_path_factory.mktemp("pairs"), teacher_folder)


@pytest.fixture(scope="module")
def single(bundle) -> Classifier:
    return Classifier(bundle)


@pytest.fixture(scope="module")
def pairs(pair_bundle) -> Classifier:
    return Classifier(pair_bundle)


def refusal(call: Callable[[], object]) -> str:
    """The message of the BundleError that a call raises, which is one line."""
    with pytest.raises(BundleError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# -- texts


@pytest.mark.parametrize(
    "make",
    [
        tuple, iter, collections.deque, pd.Series, pd.Index, np.array, pa.array,
        lambda texts: (text for text in texts),
        lambda texts: dict(enumerate(texts)).values(),
        lambda texts: dict.fromkeys(texts).keys(),
        lambda texts: pd.Series(texts, index=[5, 6]),
        lambda texts: pd.Series(texts, dtype="string"),
        lambda texts: pd.Series(texts, dtype="category"),
        lambda texts: np.array(texts, dtype=object),
        lambda texts: np.array(texts, dtype=np.dtypes.StringDType()),
        lambda texts: [np.str_(text) for text in texts],
        lambda texts: pa.array(texts).dictionary_encode(),
        lambda texts: pa.chunked_array([texts[:1], texts[1:]]),
        lambda texts: io.StringIO("\n".join(texts)),
    ],
)  # fmt: skip
def test_any_ordered_column_of_texts_gives_the_answers_of_a_list(single, pairs, make):
    assert single.predict(make(TEXTS)) == single.predict(TEXTS)
    assert pairs.predict(make(TEXTS), make(TEXTS[::-1])) == pairs.predict(TEXTS, TEXTS[::-1])


def test_a_str_enum_is_its_text(single):
    assert single.predict([Colour.WARM]) == single.predict(["a warm film"])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a warm film", "got one text; put it in a list"),
        (np.str_("a warm film"), "got one text; put it in a list"),
        (b"a warm film", "got bytes; decode them"),
        (bytearray(b"a"), "got bytes"),
        (None, "got NoneType; expected a list of texts"),
        (3, "got int; expected a list of texts"),
        (Path("texts.txt"), "expected a list of texts"),
        ({"a", "b"}, "got set; expected texts in a fixed order"),
        (frozenset("ab"), "got frozenset"),
        ({"text": "a"}, "got dict"),
        (collections.Counter("ab"), "got Counter"),
        (np.array("a warm film"), "of 0 dimensions; expected one column of texts"),
        (np.array([TEXTS, TEXTS]), "got ndarray of 2 dimensions"),
        (pd.DataFrame({"text": TEXTS}), "got DataFrame of 2 dimensions"),
        (pa.table({"text": TEXTS}), "[0]: got {'text': 'a warm film'} (dict); expected a str"),
        (["a", None], "[1]: got None (NoneType); expected a str"),
        (["a", float("nan")], "[1]: got nan (float)"),
        (pd.Series(["a", pd.NA], dtype="string"), "[1]: got <NA> (NAType)"),
        (pa.array(["a", None]), "[1]: got None"),
        ([3], "[0]: got 3 (int)"),
        ([b"x"], "[0]: got b'x' (bytes)"),
        (np.array(TEXTS, dtype="S"), "(bytes_)"),
        ([("a warm film", "dull plot")], "(tuple); expected a str; the second texts are a list of their own"),
        ([["a warm film", "dull plot"]], "(list); expected a str"),
        (list(zip(TEXTS, TEXTS, strict=True)), "(tuple)"),
        ([np.array(["a\nb"] * 3)], "(ndarray)"),
        (["fine", "fine \ud83d"], "[1]: got '\\ud83d', half of a surrogate pair, at character 5"),
        (["\udce9"], "[0]: got '\\udce9'"),
        (["fine", "x" * 2_000_001], "[1]: got 2,000,001 characters; expected at most 2,000,000"),
    ],
)
def test_what_is_no_list_of_texts_is_refused_with_its_position(single, pairs, texts, message):
    assert message in refusal(lambda: single.predict(texts)) and message in refusal(lambda: single.logits(texts))
    assert refusal(lambda: pairs.predict(TEXTS, texts)).startswith("pairs") or texts is None


def test_texts_and_pairs_must_fit_each_other_and_the_bundle(single, pairs):
    assert "got 2 texts and 1 pairs" in refusal(lambda: pairs.predict(TEXTS, TEXTS[:1]))
    assert "got 0 texts and 1 pairs" in refusal(lambda: pairs.predict([], TEXTS[:1]))
    assert "takes one text" in refusal(lambda: single.predict(TEXTS, TEXTS))
    assert "takes two texts" in refusal(lambda: pairs.predict(TEXTS))
    assert "batch_size: got 0" in refusal(lambda: single.logits(TEXTS, batch_size=0))


def test_no_texts_have_no_answers(single, pairs):
    for empty in ([], (), iter([]), np.array([], dtype="U1"), pd.Series([], dtype=str), pa.array([], pa.string())):
        assert single.predict(empty) == []
    assert pairs.predict([]) == pairs.predict([], []) == [] and single.logits([]).shape == (0, 2)


@pytest.mark.parametrize("text", ["", "\0", "a\0b", "a warm film " * 90_000, "a" * 1_000_000, "\u2028", "\ufeff"])
def test_unusual_texts_work(single, text):
    (answer,) = single.predict([text])
    assert answer["label"] in LABELS


def test_a_classifier_can_be_pickled_by_its_folder(bundle, monkeypatch):
    monkeypatch.chdir(bundle.parent)
    classifier = Classifier(bundle.name, num_threads=1)
    classifier.batch_invariant = not classifier.batch_invariant
    pickled = pickle.dumps(classifier)
    monkeypatch.chdir("/")
    restored = pickle.loads(pickled)
    assert restored.predict(TEXTS) == copy.deepcopy(restored).predict(TEXTS) == classifier.predict(TEXTS)
    assert restored.batch_invariant == classifier.batch_invariant and len(pickled) < 1000
    assert restored.session.get_session_options().intra_op_num_threads == 1


def test_other_processes_can_use_a_classifier(single):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(single.predict, [TEXTS]) == [single.predict(TEXTS)]
    assert list(joblib.Parallel(n_jobs=2)(joblib.delayed(single.predict)([text]) for text in TEXTS[:1])) == [
        single.predict(TEXTS[:1])
    ]


# -- options


@pytest.mark.parametrize("num_threads", [0, -1, "2", 2.0, True, 2**31])
def test_a_wrong_number_of_threads(bundle, num_threads):
    assert "num_threads: got" in refusal(lambda: Classifier(bundle, num_threads=num_threads))


@pytest.mark.parametrize("providers", ["CPUExecutionProvider", ["CPU"], [3], [("CPUExecutionProvider", {})]])
def test_unknown_providers(bundle, providers):
    message = refusal(lambda: Classifier(bundle, providers=providers))
    assert "providers: got" in message and "CPUExecutionProvider" in message


# -- the files of a bundle


@dataclass
class Change:
    """A change to one file of a bundle: its new content, a key of it, or None to remove it."""

    file: str
    content: bytes | dict[str, object] | None
    message: str
    limits: bool = False

    def apply(self, folder: Path) -> None:
        path = folder / self.file
        if self.content is None:
            path.unlink()
            return
        elif isinstance(self.content, bytes):
            path.write_bytes(self.content)
        else:
            stored = json.loads(path.read_text(encoding="utf-8"))
            (stored["limits"] if self.limits else stored).update(self.content)
            path.write_text(json.dumps(stored), encoding="utf-8")
        seal(folder)


CHANGES = [
    Change("bundle.json", None, "not a bundle, it has no bundle.json"),
    Change("bundle.json", b"", "the file is empty"),
    Change("bundle.json", b'{"format_version": 1, "la', "not readable"),
    Change("bundle.json", b"[" * 100_000, "not readable"),
    Change("bundle.json", b'{"a": "\xe9"}', "not readable"),
    Change("bundle.json", b"[]", "got a list"),
    Change("bundle.json", b"null", "expected an object"),
    Change("bundle.json", LFS_POINTER, "Git LFS pointer"),
    Change("bundle.json", {"format_version": 9}, "got format version 9; expected 1 or 2"),
    Change("bundle.json", {"format_version": "1"}, "got format version '1'"),
    Change("bundle.json", {"labels": {"0": "a", "1": "b"}}, "labels: got {'0': 'a', '1': 'b'}; expected list"),
    Change("bundle.json", {"labels": None}, "labels: got None"),
    Change("bundle.json", {"labels": "ab"}, "labels: got 'ab'"),
    Change("bundle.json", {"labels": [0, 1]}, "expected a list of names"),
    Change("bundle.json", {"labels": []}, "expected a list of names"),
    Change("bundle.json", {"labels": ["a", "\ud800"]}, "labels[1]: got '\\ud800'"),
    Change("bundle.json", {"labels": ["a", "b", "c"]}, "got 2 outputs; bundle.json names 3"),
    Change("bundle.json", {"labels": ["a"], "task_type": "regression"}, "got 2 outputs; bundle.json names 1"),
    Change("bundle.json", {"task_type": "regression"}, "a regression has one"),
    Change("bundle.json", {"task_type": ["classification"]}, "got task type ['classification']"),
    Change("bundle.json", {"limits": 3}, "limits: got 3"),
    Change("bundle.json", {"max_length": "32"}, "max_length: got '32'; expected int", limits=True),
    Change("bundle.json", {"max_length": None}, "max_length: got None", limits=True),
    Change("bundle.json", {"max_length": 32.0}, "max_length: got 32.0", limits=True),
    Change("bundle.json", {"max_length": True}, "max_length: got True", limits=True),
    Change("bundle.json", {"max_length": 1}, "expected at least 2, the number of special tokens", limits=True),
    Change("bundle.json", {"max_length": -5}, "expected an integer from 1 to 1000000", limits=True),
    Change("bundle.json", {"truncation_side": "middle"}, "expected right or left", limits=True),
    Change("bundle.json", {"takes_pairs": "no"}, "takes_pairs: got 'no'; expected bool"),
    Change("bundle.json", {"batch_invariant": 1}, "batch_invariant: got 1"),
    Change("bundle.json", {"pad_token_id": -1}, "pad_token_id: got -1"),
    Change("bundle.json", {"pad_token_id": "0"}, "pad_token_id: got '0'"),
    Change("bundle.json", {"saturates": None}, "saturates: got None"),
    Change("bundle.json", {"requires": {"tokenizers": "99.1"}}, "needs tokenizers 99.1 or newer; got "),
    Change("bundle.json", {"requires": ["onnxruntime"]}, "requires: got"),
    Change("onnx/model.onnx", None, "model.onnx: the file is missing, but SHA256SUMS lists it"),
    Change("onnx/model.onnx", b"", "the file is empty"),
    Change("onnx/model.onnx", b"<!DOCTYPE html>\n<html>", "cannot load it"),
    Change("onnx/model.onnx", LFS_POINTER, "Git LFS pointer"),
    Change("tokenizer.json", None, "tokenizer.json: the file is missing, but SHA256SUMS lists it"),
    Change("tokenizer.json", b"{}", "cannot load it"),
    Change("tokenizer.json", b'{"version": "1.0", "model', "cannot load it"),
    Change("tokenizer.json", {"model": {"type": "Quantum", "vocab": {}}}, "cannot load it"),
    Change("tokenizer.json", LFS_POINTER, "Git LFS pointer"),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change.file} {str(change.content)[:40]}")
def test_a_damaged_bundle_is_one_line(bundle, tmp_path, capsys, change):
    folder = shutil.copytree(bundle, tmp_path / "damaged")
    change.apply(folder)
    assert change.message in refusal(lambda: Classifier(folder))
    assert app.main(["predict", str(folder), "fine"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1


def test_a_truncated_model_is_one_line(bundle, tmp_path):
    folder = shutil.copytree(bundle, tmp_path / "damaged")
    model = folder / "onnx" / "model.onnx"
    model.write_bytes(model.read_bytes()[:5000])
    seal(folder)
    assert "model.onnx: onnxruntime" in refusal(lambda: Classifier(folder))


def test_a_model_that_fails_at_work_is_one_line(bundle, tmp_path):
    folder = shutil.copytree(bundle, tmp_path / "long")
    Change("bundle.json", {"max_length": 100_000}, "", limits=True).apply(folder)
    finished = run_predict(folder, "film " * 300)
    assert finished.returncode == 2 and finished.stderr.count(b"\n") == 1 and b"cannot run the model" in finished.stderr


def test_an_older_library_is_named_with_the_version_that_wrote_the_bundle(bundle, tmp_path, monkeypatch):
    folder = shutil.copytree(bundle, tmp_path / "newer")
    Change("bundle.json", {"versions": {"tokenizers": "99.2"}}, "").apply(folder)
    Change("tokenizer.json", {"model": {"type": "Quantum"}}, "").apply(folder)
    message = refusal(lambda: Classifier(folder))
    assert "it was written with tokenizers 99.2; pip install --upgrade tokenizers" in message


# -- the command line


def run_main(monkeypatch, bundle: Path, *arguments: str, given: bytes = b"") -> tuple[int, list[str], str]:
    """The exit code, the printed lines and the error of predict.py, in this process."""
    streams = [io.TextIOWrapper(io.BytesIO(content), encoding="ascii") for content in (given, b"", b"")]
    for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(sys, "argv", ["predict.py", *arguments, "--bundle", str(bundle)])
    code = predict_command.main()
    for stream in streams[1:]:
        stream.flush()
    printed, error = (stream.buffer.getvalue().decode() for stream in streams[1:])
    assert error.count("\n") <= 1
    return code, printed.splitlines(), error


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        (b"", []),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbffine\ndull\n", ["fine", "dull"]),
        (b"fine\r\ndull\r\n", ["fine", "dull"]),
        (b"fine\rdull\r", ["fine", "dull"]),
        (b"fine\n\ndull", ["fine", "", "dull"]),
        ("caf\u00e9 \u4e2d\u2028\x0c fine\n".encode(), ["caf\u00e9 \u4e2d\u2028\x0c fine"]),
        (b"a\0b\n", ["a\0b"]),
        (b"fine " * 100_000, ["fine " * 100_000]),
    ],
)
def test_lines_of_standard_input(monkeypatch, bundle, single, given, texts):
    code, printed, error = run_main(monkeypatch, bundle, given=given)
    remark = "predict.py: 1 of 1 texts are truncated to 32 tokens\n" if len(given) > 1000 else ""
    assert (code, error) == (0, remark) and list(map(json.loads, printed)) == single.predict(texts)


@pytest.mark.parametrize(
    ("given", "num_lines", "message"),
    [
        (b"fine\ncaf\xe9\nlast\n", 1, "line 2: not utf-8 text (byte 0xe9)"),
        (b"fine\ncaf\xc3", 1, "line 2: not utf-8 text (byte 0xc3)"),
        (b"a \xed\xa0\xbd b\n", 0, "line 1: not utf-8 text (byte 0xed)"),
        (b"\x1f\x8b\x08\x00abc\n", 0, "line 1: not utf-8 text (byte 0x8b)"),
        ("fine\ndull\n".encode("utf-16"), 0, "line 1: got UTF-16 text"),
        (b"\xfe\xff" + "fine\n".encode("utf-16-be"), 0, "line 1: got UTF-16 text"),
        ("fine\ndull\n".encode("utf-16-le"), 0, "line 1: got UTF-16 text"),
        ("fine\ndull\n".encode("utf-16-be"), 0, "line 1: got UTF-16 text"),
    ],
)
def test_lines_in_another_encoding(monkeypatch, bundle, given, num_lines, message):
    """The lines before are answered."""
    code, printed, error = run_main(monkeypatch, bundle, given=given)
    assert code == 2 and len(printed) == num_lines and message in error


def test_utf16_is_reported_by_the_command_too(bundle, tmp_path, capsys):
    for encoding in ("utf-16", "utf-16-le"):
        (tmp_path / "texts.txt").write_bytes("fine\ndull\n".encode(encoding))
        assert app.main(["predict", str(bundle), "--input", str(tmp_path / "texts.txt")]) == 2
        assert "line 1: got UTF-16 text, not utf-8; convert it to UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["caf\udce9"], "the text: not utf-8 text (byte 0xe9)"),
        (["fine", "--threads", "0"], "num_threads: got 0"),
        (["fine", "--threads", "-1"], "num_threads: got -1"),
        (["--pair", "fine"], "--pair: give the first text too"),
        (["fine", "--pair", "dull"], "this bundle takes one text"),
    ],
)
def test_arguments_that_do_not_fit(monkeypatch, bundle, arguments, message):
    code, printed, error = run_main(monkeypatch, bundle, *arguments)
    assert code == 2 and printed == [] and message in error


def test_a_closed_standard_input(monkeypatch, bundle):
    run_main(monkeypatch, bundle, "fine")
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "argv", ["predict.py", "--bundle", str(bundle)])
    assert predict_command.main() == 2


def run_predict(bundle: Path, *arguments: str | bytes, environment: dict[str, str] | None = None, **options: object):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    return subprocess.run(
        [sys.executable, str(bundle / "predict.py"), *arguments],
        env={**inherited, **(environment or {})}, capture_output=True, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "cp1252"},  # a Windows console
    ],
)
def test_accents_in_any_locale(bundle, tmp_path, environment):
    """Labels are printed as UTF-8, and a text on the command line is read as UTF-8."""
    folder = shutil.copytree(bundle, tmp_path / "accents")
    labels = ["n\u00e9gatif", "positif \u2603"]
    Change("bundle.json", {"labels": labels}, "").apply(folder)
    text = "caf\u00e9 a warm film"
    finished = run_predict(folder, text.encode(), environment=environment)
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert json.loads(finished.stdout.decode("utf-8")) == Classifier(folder).predict([text])[0]
    assert finished.stdout.decode("utf-8").isascii() is False
    command = [sys.executable, "-m", "pocketbert", "predict", str(folder), text.encode()]
    printed = subprocess.run(command, capture_output=True, env={**os.environ, **environment}).stdout
    assert printed == finished.stdout


def test_a_full_disk_is_one_line(bundle):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        finished = subprocess.run(
            [sys.executable, str(bundle / "predict.py"), "fine"], stdout=full, stderr=subprocess.PIPE
        )
    assert finished.returncode == 2 and finished.stderr == b"predict.py: No space left on device\n"


# -- old versions

SIMULATED = """
import runpy, sys
{before}
runpy.run_path({script!r}, run_name={name!r})
"""


def simulated(bundle: Path, before: str, *, name: str = "__main__") -> subprocess.CompletedProcess:
    """predict.py in an interpreter in which the code `before` has changed something."""
    code = SIMULATED.format(before=before, script=str(bundle / "predict.py"), name=name)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_predict_py_can_be_parsed_by_old_versions_of_python(bundle):
    """So that they reach its check of the version."""
    source = (bundle / "predict.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 7))
    first_code = [node for node in tree.body if not isinstance(node, ast.Expr)][:2]
    assert isinstance(first_code[0], ast.Import) and ast.unparse(first_code[1]).startswith("if sys.version_info <")
    assert source.isascii() and "from __future__" not in source


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 8, 18), (3, 9, 18)])
def test_an_old_python_is_one_line(bundle, version):
    line = f"predict.py: needs Python 3.10 or newer; this is {'.'.join(map(str, version))}"
    before = f"sys.version_info = {(*version, 'final', 0)}"
    finished = simulated(bundle, before)
    assert (finished.returncode, finished.stdout, finished.stderr) == (2, "", f"{line}\n")
    assert simulated(bundle, before, name="predict").stderr.endswith(f"ImportError: {line}\n")


@pytest.mark.parametrize("package", ["numpy", "onnxruntime", "tokenizers"])
def test_a_missing_package_is_one_line(bundle, package):
    finished = simulated(bundle, f"sys.modules[{package!r}] = None")
    assert finished.returncode == 2 and finished.stderr == (
        f"predict.py: needs the package {package}, which is not installed; pip install numpy onnxruntime tokenizers\n"
    )


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("import onnxruntime; onnxruntime.__version__ = '1.16.3'", "onnxruntime 1.16.3 does not work with numpy 2."),
        (
            "import builtins; original = builtins.__import__\n"
            "def broken(name, *rest):\n"
            "    if name == 'tokenizers': print('pages', file=sys.stderr); raise OSError('DLL load\\nfailed')\n"
            "    return original(name, *rest)\n"
            "builtins.__import__ = broken",
            "cannot be imported (DLL load failed)",
        ),
    ],
)
def test_packages_that_cannot_be_imported_are_one_line(bundle, before, message):
    finished = simulated(bundle, before)
    assert finished.returncode == 2 and message in finished.stderr and finished.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("installed", "is_new_enough"),
    [("1.20.1", False), ("1.22.2+cu12", False), ("1.9", False), ("1.23.0", True), ("1.24.0.dev5", True), ("2.0", True)],
)
def test_an_onnxruntime_that_is_too_old_is_named(bundle, tmp_path, monkeypatch, installed, is_new_enough):
    folder = shutil.copytree(bundle, tmp_path / "requires")
    Change("bundle.json", {"requires": {"onnxruntime": "1.23"}}, "").apply(folder)
    monkeypatch.setattr(onnxruntime, "__version__", installed)
    if is_new_enough:
        assert Classifier(folder).predict(TEXTS)
    else:
        assert f"needs onnxruntime 1.23 or newer; got {installed}" in refusal(lambda: Classifier(folder))
