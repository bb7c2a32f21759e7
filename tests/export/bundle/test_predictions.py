"""What a prediction can have besides its label: the most probable labels, the keys of a JSON line, truncation."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pocketbert
from export.bundle import predict_command, runtime
from export.bundle.listed_files import BundleError
from pocketbert.cli import app
from tiny_bert import LABELS
from tiny_bundles import build_fp32_bundle, build_pair_bundle

TEXTS = ["a warm film", "dull plot"]


@pytest.fixture(scope="module")
def pair_bundle(tmp_path_factory, teacher_folder) -> Path:
    return build_pair_bundle(tmp_path_factory.mktemp("pairs"), teacher_folder)


def run(bundle: Path, *arguments: str, given: str | None = None, tmp_path: Path) -> subprocess.CompletedProcess:
    """predict.py, with a file or nothing on its standard input."""
    (tmp_path / "given").write_text(given or "", encoding="utf-8")
    with (tmp_path / "given").open("rb") as stdin:
        return subprocess.run(
            [sys.executable, bundle / "predict.py", *arguments], stdin=stdin, capture_output=True, text=True
        )


def test_the_most_probable_labels_come_in_their_order(original):
    classifier = pocketbert.load(original)
    plain, (first, second) = classifier.predict(TEXTS), classifier.predict(TEXTS, top_k=2)
    assert [{"label": each["label"], "probability": each["probability"]} for each in (first, second)] == plain
    assert first["top"][0] == plain[0] and {each["label"] for each in first["top"]} == set(LABELS)
    assert sum(each["probability"] for each in first["top"]) == pytest.approx(1, abs=1e-5)
    assert len(classifier.predict(TEXTS[:1], top_k=99)[0]["top"]) == 2
    for wrong in (0, True, "2", 1.0):
        with pytest.raises(BundleError, match="top_k: got"):
            classifier.predict(TEXTS, top_k=wrong)


def test_truncated_texts_are_counted(original, pair_bundle):
    classifier = pocketbert.load(original)
    assert classifier.max_length == 32 and classifier.num_truncated == 0
    classifier.predict(["film " * 30, "film " * 31, "film " * 32, "fine"])
    assert classifier.num_truncated == 2
    pairs = pocketbert.load(pair_bundle)
    pairs.predict(["film " * 15, "film"], ["film " * 14, "film " * 40])
    assert pairs.num_truncated == 1


def test_a_call_has_a_limited_number_of_tokens(original, monkeypatch):
    texts = ["fine", *["film " * 30] * 5, "a warm film", *["dull plot"] * 40]
    classifier = pocketbert.load(original)
    expected = classifier.logits(texts)
    shapes, run = [], classifier.run

    def counted(encodings):
        shapes.append((len(encodings), max(map(len, encodings))))
        return run(encodings)

    monkeypatch.setattr(classifier, "run", counted)
    classifier.logits(texts)
    assert shapes == [(32, 4), (10, 5), (5, 32)], "32 texts at most; the long ones would make much padding"
    monkeypatch.setattr(runtime, "TOKENS_PER_THREAD", 40)
    shapes.clear()
    np.testing.assert_allclose(classifier.logits(texts), expected, atol=1e-5)
    threads = classifier.session.get_session_options().intra_op_num_threads or os.cpu_count()
    assert len(shapes) > 2 and all(count == 1 or count * length <= 40 * threads for count, length in shapes)
    shapes.clear()
    monkeypatch.setattr(runtime, "TOKENS_PER_THREAD", 1)
    np.testing.assert_allclose(classifier.logits(texts), expected, atol=1e-5)
    assert len(shapes) == len(texts) or threads > 4  # a text longer than the limit has a call of its own


def test_json_lines_keep_their_other_keys(original, tmp_path, capsys):
    lines = [{"id": 7, "text": "a warm film", "label_of_ours": ["x"]}, {"text": "film " * 90, "pair": None}]
    given = "\ufeff" + "\n\n".join(map(json.dumps, lines)) + "\n\n"
    finished = run(original, "--json-lines", "--top-k", "1", "--prefix", "new_", given=given, tmp_path=tmp_path)
    assert finished.returncode == 0, finished.stderr
    predictions = pocketbert.load(original).predict([line["text"] for line in lines], top_k=1)
    expected = [
        {**line, **{f"new_{key}": value for key, value in prediction.items()}}
        for line, prediction in zip(lines, predictions, strict=True)
    ]
    assert [json.loads(line) for line in finished.stdout.splitlines()] == expected
    assert finished.stderr == "predict.py: 1 of 2 texts are truncated to 32 tokens\n"
    (tmp_path / "rows.jsonl").write_text(given, encoding="utf-8")
    options = ["--json-lines", "--top-k", "1", "--prefix", "new_", "--input", str(tmp_path / "rows.jsonl")]
    assert app.main(["predict", str(original), *options]) == 0
    printed = capsys.readouterr()
    assert printed.out == finished.stdout and printed.err == "1 of 2 texts are truncated to 32 tokens\n"


def test_json_lines_of_pairs(pair_bundle, tmp_path):
    given = json.dumps({"text": TEXTS[0], "pair": TEXTS[1]})
    finished = run(pair_bundle, "--json-lines", given=given, tmp_path=tmp_path)
    answer = pocketbert.load(pair_bundle).predict(TEXTS[:1], TEXTS[1:])[0]
    assert json.loads(finished.stdout) == {"text": TEXTS[0], "pair": TEXTS[1], **answer}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a warm film", "line 2: not JSON"),
        ('{"text": "a", "text": "b"}', "the key 'text' occurs twice"),
        ("[1]", "line 2: got a list; expected an object"),
        ('{"review": "a"}', "line 2: text: got nothing; expected a string"),
        ('{"text": 3}', "line 2: text: got 3; expected a string"),
        ('{"text": "\\ud800"}', "line 2: text: got '\\ud800', half of a surrogate pair"),
        ('{"text": "a", "label": "b"}', "line 2: has the key 'label' already; name the new keys with --prefix"),
    ],
)
def test_a_wrong_json_line_is_named_after_the_answers_before_it(original, tmp_path, line, message):
    finished = run(original, "--json-lines", given=f'{{"text": "fine"}}\n{line}\n', tmp_path=tmp_path)
    assert finished.returncode == 2 and message in finished.stderr and finished.stderr.count("\n") == 1
    assert finished.stdout.count("\n") == 1


def test_the_lines_of_a_file_are_predicted_in_batches_and_keep_their_order(original, tmp_path, monkeypatch, capsys):
    texts = [f"film {'plot ' * (number * 7 % 20)}" for number in range(50)]
    finished = run(original, given="\n".join(texts), tmp_path=tmp_path)
    answers = [json.loads(line) for line in finished.stdout.splitlines()]
    classifier = pocketbert.load(original)
    assert answers == classifier.predict(texts) and len({answer["probability"] for answer in answers}) > 5
    sizes, predict = [], classifier.predict
    monkeypatch.setattr(classifier, "predict", lambda texts, *rest, **named: sizes.append(len(texts)) or predict(texts))
    rows = [(text, None, {}) for text in texts]
    assert list(predict_command.predicted(classifier, rows, rows_per_call=20, top_k=None, prefix="")) == answers
    assert sizes == [20, 20, 10]


def test_a_regression_has_its_value_and_no_labels(tmp_path, regressor_folder):
    bundle, options = regressor_folder, ["--json-lines", "--top-k", "2"]
    finished = run(bundle, *options, given='{"text": "fine"}', tmp_path=tmp_path)
    assert finished.returncode == 2 and "top_k: this bundle predicts a value, not labels" in finished.stderr
    finished = run(bundle, "--json-lines", given='{"text": "fine", "id": 1}', tmp_path=tmp_path)
    assert list(json.loads(finished.stdout)) == ["text", "id", "score"]


def test_loading_a_bundle_needs_no_torch_and_importing_pocketbert_no_onnxruntime(original):
    code = (
        "import sys, pocketbert; before = 'onnxruntime' in sys.modules; "
        "print(pocketbert.load(sys.argv[1]).predict(['fine'])[0]['label'] in sys.argv[2:]); "
        "print(before, sorted({'torch', 'transformers', 'pandas', 'pydantic'} & set(sys.modules)))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, original, *LABELS],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert finished.stdout == "True\nFalse []\n"


@pytest.fixture(scope="module")
def regressor_folder(tmp_path_factory, teacher_folder) -> Path:
    """A bundle with one output."""
    import torch
    from transformers import AutoModelForSequenceClassification

    folder = tmp_path_factory.mktemp("regression")
    model = AutoModelForSequenceClassification.from_pretrained(teacher_folder)
    model.classifier = torch.nn.Linear(model.config.hidden_size, 1)
    model.config.num_labels, model.num_labels = 1, 1
    model.config.id2label = {0: "score"}
    shutil.copytree(teacher_folder, folder / "model")
    model.save_pretrained(folder / "model")
    lines = [f"film {'plot ' * (number % 9)},{number / 10}" for number in range(30)]
    (folder / "table.csv").write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return build_fp32_bundle(
        folder / "bundles", folder / "model", folder / "table.csv", ["text"], task_type="regression"
    )


@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
@pytest.mark.parametrize("module", ["predict", "export", "pocketbert.shape_design.shape_timing"])
def test_onnxruntime_sends_no_usage_data(original, module, given, expected):
    code = (
        f"import os, sys; sys.path.insert(0, sys.argv[1]); import {module}; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | given
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", code, str(original)]
    assert (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout == f"{expected}\n"
    )
