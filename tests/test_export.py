import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import LABELS, rows
from transformers import BertForSequenceClassification

from compress.cells import Split
from compress.errors import UserError
from export import parity, quantize
from export.bundle import finish_bundle, golden_examples, verify_bundle, write_bundle
from export.fuse import FusionError, count_operators, expected_fusions, fuse
from export.predictors import TorchPredictor
from export.runtime import Classifier
from export.to_onnx import export_onnx

TEXTS = [text for text, _ in rows(40, seed=5)]


def calibration_inputs(tokenizer) -> list[dict[str, np.ndarray]]:
    texts = [text for text, _ in rows(60, seed=6)]
    return [{name: np.array([cells]) for name, cells in tokenizer(text).items()} for text in texts]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, teacher_folder, tokenizer) -> dict[str, Path]:
    """All variants of the tiny classifier."""
    folder = tmp_path_factory.mktemp("export")
    model = BertForSequenceClassification.from_pretrained(teacher_folder)
    export_onnx(model, folder / "raw.onnx")
    counts = fuse(folder / "raw.onnx", folder / "fused.onnx", num_layers=4, num_heads=4, hidden_size=32)
    assert counts == {"EmbedLayerNormalization": 1, "Attention": 4, "BiasGelu": 4, "SkipLayerNormalization": 8}
    found = {}
    for variant in quantize.VARIANTS:
        model_file = folder / f"{variant}.onnx"
        quantize.build_variant(variant, folder / "fused.onnx", model_file, calibration_inputs(tokenizer))
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
            facts={"name": "tiny", "origin": {"recipe": "tiny"}},
        )
        golden = golden_examples(Classifier(folder / variant), TEXTS[:8])
        finish_bundle(
            folder / variant, batch_invariant=variant != "int8-dynamic", measured={"dev accuracy": 0.5}, golden=golden
        )
    return found


def test_the_fused_graph_answers_like_torch(bundles, teacher_folder):
    ours = Classifier(bundles["fp32"]).logits(TEXTS)
    theirs = TorchPredictor(teacher_folder, max_length=32).logits(TEXTS)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_the_quantised_graph_computes_in_int8(bundles):
    counts = count_operators(bundles["int8-dynamic"] / "onnx" / "model.onnx")
    assert counts["QAttention"] == 4 and counts["Attention"] == 0 and counts["MatMul"] == 0
    assert counts["MatMulInteger"] + counts["DynamicQuantizeMatMul"] >= 8
    counts = count_operators(bundles["int8-static"] / "onnx" / "model.onnx")
    assert (counts["QAttention"], counts["MatMulIntegerToFloat"], counts["QuantizeLinear"]) == (4, 14, 18)
    assert not any(counts[name] for name in ("DynamicQuantizeLinear", "MatMulInteger", "Attention", "MatMul", "Gemm"))
    size = {name: (folder / "onnx" / "model.onnx").stat().st_size for name, folder in bundles.items()}
    assert size["int8-dynamic"] < 0.6 * size["fp32"] and size["int8-static"] < 0.6 * size["fp32"]


@pytest.mark.filterwarnings("ignore")  # the exporter warns of much; what counts here is what fusion finds
def test_a_graph_that_does_not_fuse_is_an_error_not_a_silence(tmp_path, teacher_folder):
    model = BertForSequenceClassification.from_pretrained(teacher_folder, attn_implementation="sdpa")
    ids = torch.ones(2, 8, dtype=torch.long)
    torch.onnx.export(
        model, (ids, ids, ids * 0), tmp_path / "sdpa.onnx",
        input_names=["input_ids", "attention_mask", "token_type_ids"], output_names=["logits"],
        opset_version=17, dynamo=False,
    )  # fmt: skip
    with pytest.raises(FusionError, match="graph fusion is incomplete"):
        fuse(tmp_path / "sdpa.onnx", tmp_path / "fused.onnx", num_layers=4, num_heads=4, hidden_size=32)
    assert expected_fusions(4)["Attention"] == 4


def test_batch_dependence_is_found_where_it_is(bundles):
    assert parity.measure_batch_shift(Classifier(bundles["fp32"]), TEXTS) < parity.INVARIANT_PROBABILITY
    assert parity.measure_batch_shift(Classifier(bundles["int8-dynamic"]), TEXTS) > parity.INVARIANT_PROBABILITY
    assert parity.measure_batch_shift(Classifier(bundles["int8-static"]), TEXTS) < parity.INVARIANT_PROBABILITY


def test_a_bundle_that_depends_on_its_batch_runs_texts_one_by_one(bundles):
    classifier = Classifier(bundles["int8-dynamic"])
    alone = np.concatenate([classifier.logits([text]) for text in TEXTS])
    np.testing.assert_array_equal(classifier.logits(TEXTS), alone)


def test_parity_counts_and_compares(bundles):
    torch_logits = np.array([[2.0, 0.0], [0.0, 1.0], [0.1, 0.0], [0.0, 3.0]])
    variant = torch_logits + np.array([[0.0, 0.0], [0.0, 0.0], [-0.2, 0.0], [0.0, 0.4]])
    found = parity.compare(variant, torch_logits, metric=0.7, torch_metric=0.75, batch_shift=0.0)
    assert found.num_label_flips == 1 and found.max_logit_error == pytest.approx(0.4)
    assert found.logit_error == pytest.approx(0.6 / 8 / torch_logits.std())
    strict = parity.Tolerance(logit_error=1.0, label_flips=0.0, metric_drop=0.01)
    assert [reason.split()[0] for reason in found.failures(strict)] == ["label_flips", "metric_drop"]
    assert found.failures(parity.Tolerance(logit_error=1.0, label_flips=0.25, metric_drop=0.06)) == []


def test_rounding_alone_does_not_keep_a_regression_from_shipping():
    values = np.linspace(0.0, 5.0, 40)[:, None]
    tolerance = parity.DEFAULT_TOLERANCES["fp32"]
    found = parity.compare(values + 1e-6, values, metric=0.3309529, torch_metric=0.3309532, batch_shift=0.0)
    assert found.failures(tolerance) == []
    worse = parity.compare(values + 1e-6, values, metric=0.32, torch_metric=0.33, batch_shift=0.0)
    assert [reason.split()[0] for reason in worse.failures(tolerance)] == ["metric_drop"]


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


def test_a_regression_that_answers_otherwise_does_not_verify(tmp_path, teacher_folder, tokenizer):
    model = BertForSequenceClassification.from_pretrained(teacher_folder, num_labels=1, ignore_mismatched_sizes=True)
    export_onnx(model, tmp_path / "raw.onnx")
    folder = tmp_path / "values"
    write_bundle(
        folder, model_file=tmp_path / "raw.onnx", config=model.config, tokenizer=tokenizer, labels=("score",),
        max_length=32, takes_pairs=False, variant="fp32", facts={},
    )  # fmt: skip
    for shift, num_changed in ((0.0, 0), (0.05, 0), (0.5, len(TEXTS))):
        golden = golden_examples(Classifier(folder), TEXTS)
        spread = np.ptp([example.probabilities for example in golden])
        moved = [replace(example, probabilities=[example.probabilities[0] + shift * spread]) for example in golden]
        finish_bundle(folder, batch_invariant=True, measured={}, golden=moved)
        assert verify_bundle(folder).num_changed == num_changed


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
        max_length=32, takes_pairs=True, variant="fp32", facts={},
    )  # fmt: skip
    split = Split(texts=["the film", "a story of it"], pairs=["was fine", "and dull"], labels=np.array([0, 1]))
    expected = TorchPredictor(teacher_folder, max_length=32).logits(split.texts, split.pairs).argmax(axis=1)
    lines = "".join(f"{text}\t{pair}\n" for text, pair in zip(split.texts, split.pairs, strict=True))
    answers = [json.loads(line)["label"] for line in predict(tmp_path / "pairs", lines=lines).stdout.splitlines()]
    assert answers == [LABELS[index] for index in expected]
    bad = predict(tmp_path / "pairs", lines="only one\n")
    assert bad.returncode == 2 and "line 1: got 1 texts" in bad.stderr


def test_the_session_runs_on_the_cpu_that_was_asked_for(bundles):
    assert Classifier(bundles["fp32"]).session.get_providers() == ["CPUExecutionProvider"]
    assert "CPUExecutionProvider" in onnxruntime.get_available_providers()
