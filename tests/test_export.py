import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import LABELS, rows
from transformers import BertForSequenceClassification

from compress.cells import Split
from compress.errors import UserError
from export import runtime
from export.bundle import finish_bundle, golden_examples, note_verdict, verify_bundle, write_bundle
from export.predictors import TorchPredictor
from export.quantize import build_variant
from export.runtime import Classifier, session_config
from export.saturation import can_saturate
from export.to_onnx import export_onnx
from export.variants import VARIANTS

TEXTS = [text for text, _ in rows(40, seed=5)]
PROOF = {"metric": "accuracy", "measured_on": {"instructions": ["avx2"]}}


VARIANTS_BUILT = ("fp32", "int8-dynamic", "int8-static", "int4-static", "int8-weight", "int4-weight")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, teacher_folder, tokenizer, raw_graph, encoder, calibration) -> dict[str, Path]:
    """A variant of each kind of the tiny classifier."""
    folder = tmp_path_factory.mktemp("export")
    model = BertForSequenceClassification.from_pretrained(teacher_folder)
    found = {}
    for variant in VARIANTS_BUILT:
        model_file = folder / f"{variant}.onnx"
        build_variant(VARIANTS[variant], raw_graph, model_file, encoder, calibration)
        found[variant] = folder / variant
        write_bundle(
            folder / variant,
            model_file=model_file,
            config=model.config,
            tokenizer=tokenizer,
            labels=LABELS,
            max_length=32,
            takes_pairs=False,
            variant=variant,
            saturates=can_saturate(model_file),
            facts={"name": "tiny", "origin": {"recipe": "tiny"}},
        )
        golden = golden_examples(Classifier(folder / variant), TEXTS[:8])
        finish_bundle(
            folder / variant,
            batch_invariant=variant not in ("int8-dynamic", "int8-weight"),
            measured={"dev accuracy": 0.5},
            golden=golden,
            proof=PROOF,
        )
    return found


def test_the_fused_graph_answers_like_torch(bundles, teacher_folder):
    ours = Classifier(bundles["fp32"]).logits(TEXTS)
    theirs = TorchPredictor(teacher_folder, max_length=32).logits(TEXTS)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_a_bundle_that_depends_on_its_batch_runs_texts_one_by_one(bundles):
    classifier = Classifier(bundles["int8-dynamic"])
    alone = np.concatenate([classifier.logits([text]) for text in TEXTS])
    np.testing.assert_array_equal(classifier.logits(TEXTS), alone)


def test_the_bundle_holds_what_it_must_and_verifies(bundles):
    for folder in bundles.values():
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert names == {
            "onnx/model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json", "bundle.json", "README.md",
            "predict.py", "SHA256SUMS",
        }  # fmt: skip
        found = verify_bundle(folder)
        assert (found.num_files, found.num_golden, found.num_changed) == (7, 8, 0)
        assert found.largest_difference < 1e-5
        checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True)
        assert checked.returncode == 0


@pytest.mark.parametrize("name", ["onnx/model.onnx", "tokenizer.json", "predict.py", "README.md"])
@pytest.mark.parametrize("damage", ["change", "remove"])
def test_a_changed_bundle_does_not_verify(bundles, tmp_path, name, damage):
    folder = shutil.copytree(bundles["fp32"], tmp_path / "copy")
    if damage == "change":
        with (folder / name).open("ab") as file:
            file.write(b" ")
    else:
        (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        verify_bundle(folder)


def test_byte_products_are_exact_on_any_processor(bundles, monkeypatch):
    """Where the processor has no VNNI, or none is known, the runtime is told to be exact; the answers stay the same."""
    assert session_config(saturates=False) == {}
    flags = {"flags: avx2 fma": "1", "flags: avx2 avx512_vnni": "0", "flags: avx_vnni": "0"}
    for line, expected in flags.items():
        monkeypatch.setattr(Path, "read_text", lambda self, *_, line=line, **__: line)
        assert session_config(saturates=True) == {"session.x64quantprecision": expected}
    monkeypatch.undo()
    usual = Classifier(bundles["int8-static"])
    assert usual.saturates
    monkeypatch.setattr(runtime, "session_config", lambda *, saturates: {"session.x64quantprecision": "1"})
    np.testing.assert_array_equal(Classifier(bundles["int8-static"]).logits(TEXTS), usual.logits(TEXTS))


def test_a_regression_that_answers_otherwise_does_not_verify(tmp_path, teacher_folder, tokenizer):
    model = BertForSequenceClassification.from_pretrained(teacher_folder, num_labels=1, ignore_mismatched_sizes=True)
    export_onnx(model, tmp_path / "raw.onnx")
    folder = tmp_path / "values"
    write_bundle(
        folder, model_file=tmp_path / "raw.onnx", config=model.config, tokenizer=tokenizer, labels=("score",),
        max_length=32, takes_pairs=False, variant="fp32", saturates=False, facts={},
    )  # fmt: skip
    for shift, num_changed in ((0.0, 0), (0.05, 0), (0.5, len(TEXTS))):
        golden = golden_examples(Classifier(folder), TEXTS)
        spread = np.ptp([example.probabilities for example in golden])
        moved = [replace(example, probabilities=[example.probabilities[0] + shift * spread]) for example in golden]
        finish_bundle(folder, batch_invariant=True, measured={}, golden=moved, proof=PROOF)
        assert verify_bundle(folder).num_changed == num_changed


def test_a_verdict_is_added_to_a_bundle_that_still_verifies(bundles, tmp_path):
    folder = shutil.copytree(bundles["int8-static"], tmp_path / "copy")
    note_verdict(folder, recommended=True, measured={"median ms": 1.5})
    assert verify_bundle(folder).num_changed == 0
    manifest = json.loads((folder / "bundle.json").read_text())
    assert manifest["recommended"] and manifest["measured"] == {"dev accuracy": 0.5, "median ms": 1.5}
    card = (folder / "README.md").read_text()
    assert "recommends" in card and "| median ms | 1.5 |" in card and "a processor with avx2" in card


def predict(folder: Path, *arguments: str, lines: str | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-I", str(folder / "predict.py"), *arguments], input=lines, capture_output=True, text=True
    )


def test_predict_answers_an_argument_and_lines_like_torch(bundles, tmp_path, teacher_folder):
    folder = shutil.copytree(bundles["fp32"], tmp_path / "elsewhere" / "bundle")
    expected = TorchPredictor(teacher_folder, max_length=32).logits(TEXTS).argmax(axis=1)
    answers = [json.loads(line) for line in predict(folder, lines="\n".join(TEXTS)).stdout.splitlines()]
    assert [answer["label"] for answer in answers] == [LABELS[index] for index in expected]
    assert json.loads(predict(folder, TEXTS[0]).stdout) == answers[0]
    assert 0.5 <= answers[0]["probability"] <= 1


def test_predict_tells_bad_use_in_one_line(bundles, tmp_path):
    found = predict(bundles["fp32"], "one", "--pair", "two")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == "predict.py: this bundle takes one text\n"
    folder = shutil.copytree(bundles["fp32"], tmp_path / "broken")
    (folder / "onnx" / "model.onnx").write_bytes(b"no model")
    found = predict(folder, "one")
    assert found.returncode == 2 and found.stderr.startswith("predict.py: ") and "Traceback" not in found.stderr


def test_a_bundle_for_pairs_takes_tabs(tmp_path, teacher_folder, tokenizer):
    model = BertForSequenceClassification.from_pretrained(teacher_folder)
    export_onnx(model, tmp_path / "raw.onnx")
    write_bundle(
        tmp_path / "pairs", model_file=tmp_path / "raw.onnx", config=model.config, tokenizer=tokenizer, labels=LABELS,
        max_length=32, takes_pairs=True, variant="fp32", saturates=False, facts={},
    )  # fmt: skip
    split = Split(texts=["the film", "a story of it"], pairs=["was fine", "and dull"], labels=np.array([0, 1]))
    expected = TorchPredictor(teacher_folder, max_length=32).logits(split.texts, split.pairs).argmax(axis=1)
    lines = "".join(f"{text}\t{pair}\n" for text, pair in zip(split.texts, split.pairs, strict=True))
    answers = [json.loads(line)["label"] for line in predict(tmp_path / "pairs", lines=lines).stdout.splitlines()]
    assert answers == [LABELS[index] for index in expected]
    bad = predict(tmp_path / "pairs", lines="only one\n")
    assert bad.returncode == 2 and "line 1: got 1 texts" in bad.stderr
