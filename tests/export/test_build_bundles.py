import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import BertForSequenceClassification

from compress.common.errors import UserError
from compress.data.columns import Split
from export.bundle import runtime
from export.bundle.bundle_json import BundleInfo, BundleProof, GoldenExample, read_bundle_info, write_bundle_info
from export.bundle.folder import finish_bundle, record_verdict, seal, write_bundle
from export.bundle.golden import golden_examples
from export.bundle.runtime import Classifier, session_config
from export.bundle.verification import verify_bundle
from export.graph.to_onnx import export_onnx
from export.machine_facts import Gpu, Machine, MachineSettings
from export.parity.predictors import TorchPredictor
from export.quantisation.quantize import build_variant
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import VARIANTS
from export.quantisation.vnni_emulation import can_saturate
from export.results import BatchInvariance, Example, MetricDifference, Parity, Saturation, SessionReport
from tiny_bert import LABELS, rows

TEXTS = [text for text, _ in rows(40, seed=5)]
CPU = "CPUExecutionProvider"
MACHINE = Machine(
    cpu="one", architecture="x86_64", instructions=["avx2"], logical_cores=2, usable_cores=2, memory_bytes=2**34,
    system="Linux", python="3.11", load_average=0.5, versions={"numpy": "2.0"},
)  # fmt: skip
PARITY = Parity(
    num_rows=100, max_logit_error=0.25, mean_logit_error=0.125, logit_error=0.0625, num_label_flips=1, score=0.75,
    torch_score=0.875, difference=MetricDifference(value=-0.125, low=-0.25, high=0.0, p_value=0.5),
    example=Example(text="the film", pair=None, expected=[0.25, 0.75], actual=[0.5, 0.5]),
    batch_invariance=BatchInvariance(
        num_rows=50, batch_shift=0.5, padding_shift=0.25, num_label_changes=2,
        example=Example(text="a story", pair="of it", expected=[1.0, 0.0], actual=[0.0, 1.0]),
    ),
    requested_provider=CPU,
    session=SessionReport(provider=CPU, nodes={CPU: 40}, low_precision=0.5, fused={"Attention": 3}),
)  # fmt: skip
PROOF = BundleProof(metric="accuracy", parity=PARITY, measured_on=MACHINE)


def info(**changes: object) -> BundleInfo:
    values = {
        "name": "tiny", "variant": "fp32", "task_type": "classification", "labels": list(LABELS), "takes_pairs": False,
        "max_length": 32, "pad_token_id": 0, "saturates": False, "origin": {"recipe": "tiny"},
    }  # fmt: skip
    return BundleInfo(**{**values, **changes})


VARIANTS_BUILT = ("fp32", "int8-dynamic", "int8-static", "int4-static", "int8-weight", "int4-weight")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, teacher_folder, tokenizer, raw_graph, encoder, calibration) -> dict[str, Path]:
    """Bundles of the tiny classifier, one per weight format."""
    folder = tmp_path_factory.mktemp("export")
    model = BertForSequenceClassification.from_pretrained(teacher_folder)
    folders = {}
    for variant in VARIANTS_BUILT:
        model_file = folder / f"{variant}.onnx"
        build_variant(VARIANTS[variant], raw_graph, model_file, encoder, calibration, StaticOptions(reduced=False))
        folders[variant] = folder / variant
        write_bundle(
            folder / variant,
            info(variant=variant, saturates=can_saturate(model_file)),
            model_file=model_file,
            config=model.config,
            tokenizer=tokenizer,
        )
        golden = golden_examples(Classifier(folder / variant), TEXTS[:8])
        finish_bundle(
            folder / variant,
            batch_invariant=variant not in ("int8-dynamic", "int8-weight"),
            measured={"dev accuracy": 0.5},
            golden=golden,
            proof=PROOF,
        )
    return folders


def test_the_fused_graph_agrees_with_torch(bundles, teacher_folder):
    ours = Classifier(bundles["fp32"]).logits(TEXTS)
    theirs = TorchPredictor(teacher_folder, max_length=32).logits(TEXTS)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_a_batch_dependent_bundle_runs_texts_one_at_a_time(bundles):
    classifier = Classifier(bundles["int8-dynamic"])
    unbatched = np.concatenate([classifier.logits([text]) for text in TEXTS])
    np.testing.assert_array_equal(classifier.logits(TEXTS), unbatched)


def test_the_bundle_has_all_files_and_verifies(bundles):
    for folder in bundles.values():
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert names == {
            "onnx/model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json", "bundle.json", "README.md",
            "predict.py", "SHA256SUMS", "encoderfile.yml", "required_operators_and_types.config",
            "sentence_bert_config.json", "special_tokens_map.json",
        }  # fmt: skip
        verification = verify_bundle(folder)
        assert (verification.num_files, verification.num_golden, verification.num_changed) == (11, 8, 0)
        assert verification.largest_difference < 1e-5
        checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True)
        assert checked.returncode == 0


@pytest.mark.parametrize("name", ["onnx/model.onnx", "tokenizer.json", "predict.py", "config.json"])
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


def test_int8_products_are_exact_on_any_processor(bundles, monkeypatch):
    """Without VNNI, onnxruntime is configured to be exact; the logits stay the same."""
    assert session_config(saturates=False) == {}
    flags = {"flags: avx2 fma": "1", "flags: avx2 avx512_vnni": "0", "flags: avx_vnni": "0"}
    for line, expected in flags.items():
        monkeypatch.setattr(Path, "read_text", lambda self, *_, line=line, **__: line)
        assert session_config(saturates=True) == {"session.x64quantprecision": expected}
    monkeypatch.undo()
    default = Classifier(bundles["int8-static"])
    assert default.saturates
    monkeypatch.setattr(runtime, "session_config", lambda *, saturates: {"session.x64quantprecision": "1"})
    np.testing.assert_array_equal(Classifier(bundles["int8-static"]).logits(TEXTS), default.logits(TEXTS))


def test_a_regression_with_different_values_does_not_verify(tmp_path, teacher_folder, tokenizer):
    model = BertForSequenceClassification.from_pretrained(teacher_folder, num_labels=1, ignore_mismatched_sizes=True)
    export_onnx(model, tmp_path / "raw.onnx")
    folder = tmp_path / "values"
    write_bundle(
        folder, info(task_type="regression", labels=["score"]), model_file=tmp_path / "raw.onnx", config=model.config,
        tokenizer=tokenizer,
    )  # fmt: skip
    for shift, num_changed in ((0.0, 0), (0.05, 0), (0.5, len(TEXTS))):
        golden = golden_examples(Classifier(folder), TEXTS)
        spread = np.ptp([example.probabilities for example in golden])
        moved = [replace(example, probabilities=[example.probabilities[0] + shift * spread]) for example in golden]
        finish_bundle(folder, batch_invariant=True, measured={}, golden=moved, proof=PROOF)
        assert verify_bundle(folder).num_changed == num_changed


def test_a_bundle_still_verifies_after_the_verdict_is_recorded(bundles, tmp_path):
    folder = shutil.copytree(bundles["int8-static"], tmp_path / "copy")
    record_verdict(folder, recommended=True, measured={"median ms": 1.5})
    assert verify_bundle(folder).num_changed == 0
    stored = read_bundle_info(folder)
    assert stored.recommended and stored.measured == {"dev accuracy": 0.5, "median ms": 1.5}
    card = (folder / "README.md").read_text()
    assert "the recommended variant" in card and "| median ms | 1.5 |" in card and "a processor with avx2" in card


OLD_PROOF = {
    "metric": "accuracy",
    "parity": {
        "num_rows": 100, "max_logit_error": 0.25, "mean_logit_error": 0.125, "logit_error": 0.0625,
        "num_label_flips": 1, "metric": 0.75, "torch_metric": 0.875,
        "paired": {"difference": -0.125, "low": -0.25, "high": 0.0, "p_value": 0.5},
        "example": {"text": "the film", "pair": None, "expected": [0.25, 0.75], "found": [0.5, 0.5]},
        "company": {
            "num_rows": 50, "batch_shift": 0.5, "padding_shift": 0.25, "num_label_changes": 2,
            "example": {"text": "a story", "pair": "of it", "expected": [1.0, 0.0], "found": [0.0, 1.0]},
        },
        "asked_for": CPU,
        "ran": {"provider": CPU, "nodes": {CPU: 40}, "low_precision": 0.5, "fused": {"Attention": 3}},
        "batch_invariant": False,
    },
    "other_providers": {},
    "without_vnni": {"num_rows": 9, "max_logit_shift": 0.5, "num_label_changes": 3},
    "measured_on": {
        "cpu": "one", "architecture": "x86_64", "instructions": ["avx2"], "logical_cores": 2, "usable_cores": 2,
        "memory_bytes": 2**34, "system": "Linux", "python": "3.11", "load_average": 0.5,
        "settings": {"governor": None, "quota_cores": 1.5, "smt": "on", "physical_cores": 1},
        "gpu": {
            "name": "a GPU", "driver_version": "1.2", "memory.total": "8 MiB", "clocks.sm": "9 MHz", "pstate": "P0",
            "temperature.gpu": "40", "power.draw": "60 W",
        },
        "versions": {"numpy": "2.0"},
    },
}  # fmt: skip
OLD_INFO = {
    "format_version": 1, "variant": "int8-static", "labels": list(LABELS), "takes_pairs": False,
    "limits": {"max_length": 32}, "pad_token_id": 0, "saturates": True, "batch_invariant": False, "name": "tiny",
    "origin": {"recipe": "tiny"}, "versions": {"numpy": "2.0"}, "measured": {"dev accuracy": 0.75, "dev rows": 100},
    "golden": [{"text": "the film", "pair": None, "probabilities": [0.5, 0.5]}], "proof": OLD_PROOF,
    "recommended": True,
}  # fmt: skip


def old_bundle(folder: Path, **changes: object) -> Path:
    """Write a bundle.json of version 0.1.0. A change to None removes the key."""
    folder.mkdir()
    content = {key: value for key, value in {**OLD_INFO, **changes}.items() if value is not None}
    (folder / "bundle.json").write_text(json.dumps(content))
    return folder


def test_a_bundle_of_version_0_1_0_is_read_completely(tmp_path):
    old = read_bundle_info(old_bundle(tmp_path / "old"))
    settings = MachineSettings(governor=None, quota_cores=1.5, smt="on", physical_cores=1)
    gpu = Gpu(
        name="a GPU", driver_version="1.2", memory_total="8 MiB", sm_clock="9 MHz", pstate="P0", temperature="40",
        power_draw="60 W",
    )  # fmt: skip
    assert old == info(
        variant="int8-static", saturates=True, versions={"numpy": "2.0"},
        measured={"dev accuracy": 0.75, "dev rows": 100}, recommended=True,
        golden=[GoldenExample(text="the film", pair=None, probabilities=[0.5, 0.5])],
        proof=replace(
            PROOF, without_vnni=Saturation(num_rows=9, max_logit_shift=0.5, num_label_changes=3),
            measured_on=replace(MACHINE, settings=settings, gpu=gpu),
        ),
    )  # fmt: skip
    assert isinstance(old.measured["dev rows"], int)  # the model card prints it
    (tmp_path / "new").mkdir()
    write_bundle_info(old, tmp_path / "new")
    assert read_bundle_info(tmp_path / "new") == old


def test_missing_parts_of_version_0_1_0_get_defaults(tmp_path):
    values = read_bundle_info(old_bundle(tmp_path / "values", labels=["score"], saturates=None, proof=None))
    assert (values.task_type, values.saturates, values.proof, values.max_length) == ("regression", True, None, 32)
    on_gpu = {**OLD_PROOF, "other_providers": {"CUDAExecutionProvider": OLD_PROOF["parity"]}, "measured_on": {}}
    proof = read_bundle_info(old_bundle(tmp_path / "gpu", proof={**on_gpu, "without_vnni": None})).proof
    assert proof is not None and proof.other_providers == {"CUDAExecutionProvider": PARITY}
    assert proof.measured_on is None and proof.without_vnni is None


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"labels": None}, "labels: Field required"),
        ({"limits": None}, "limits.max_length: Field required"),
        ({"task_type": "poetry"}, "task_type: Input should be 'classification' or 'regression'"),
        ({"proof": {"metric": "accuracy"}}, "proof.parity: Field required"),
    ],
)
def test_the_error_for_a_damaged_bundle_names_the_key(tmp_path, changes, where):
    with pytest.raises(UserError, match=re.escape(f"bundle.json is damaged ({where}")):
        read_bundle_info(old_bundle(tmp_path / "bad", **changes))


def test_predict_runs_a_bundle_of_version_0_1_0(bundles, tmp_path):
    folder = shutil.copytree(bundles["fp32"], tmp_path / "copy")
    expected = predict(folder, TEXTS[0]).stdout
    (folder / "bundle.json").write_text(json.dumps({**OLD_INFO, "variant": "fp32", "saturates": False}))
    seal(folder)
    assert expected and predict(folder, TEXTS[0]).stdout == expected


def predict(folder: Path, *arguments: str, lines: str | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-I", str(folder / "predict.py"), *arguments], input=lines, capture_output=True, text=True
    )


def test_predict_agrees_with_torch_for_an_argument_and_for_lines(bundles, tmp_path, teacher_folder):
    folder = shutil.copytree(bundles["fp32"], tmp_path / "elsewhere" / "bundle")
    expected = TorchPredictor(teacher_folder, max_length=32).logits(TEXTS).argmax(axis=1)
    predictions = [json.loads(line) for line in predict(folder, lines="\n".join(TEXTS)).stdout.splitlines()]
    assert [prediction["label"] for prediction in predictions] == [LABELS[index] for index in expected]
    assert json.loads(predict(folder, TEXTS[0]).stdout) == predictions[0]
    assert 0.5 <= predictions[0]["probability"] <= 1


def test_predict_reports_bad_input_in_one_line(bundles, tmp_path):
    process = predict(bundles["fp32"], "one", "--pair", "two")
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == "predict.py: this bundle takes one text\n"
    folder = shutil.copytree(bundles["fp32"], tmp_path / "broken")
    (folder / "onnx" / "model.onnx").write_bytes(b"no model")
    process = predict(folder, "one")
    assert process.returncode == 2 and process.stderr.startswith("predict.py: ") and "Traceback" not in process.stderr


def test_a_tab_separates_two_texts(tmp_path, teacher_folder, tokenizer):
    model = BertForSequenceClassification.from_pretrained(teacher_folder)
    export_onnx(model, tmp_path / "raw.onnx")
    write_bundle(
        tmp_path / "pairs", info(takes_pairs=True), model_file=tmp_path / "raw.onnx", config=model.config,
        tokenizer=tokenizer,
    )  # fmt: skip
    split = Split(texts=["the film", "a story of it"], pairs=["was fine", "and dull"], labels=np.array([0, 1]))
    expected = TorchPredictor(teacher_folder, max_length=32).logits(split.texts, split.pairs).argmax(axis=1)
    lines = "".join(f"{text}\t{pair}\n" for text, pair in zip(split.texts, split.pairs, strict=True))
    predicted = [json.loads(line)["label"] for line in predict(tmp_path / "pairs", lines=lines).stdout.splitlines()]
    assert predicted == [LABELS[index] for index in expected]
    process = predict(tmp_path / "pairs", lines="only one\n")
    assert process.returncode == 2 and "line 1: got 1 texts" in process.stderr
