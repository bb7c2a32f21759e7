"""The checks of a variant: parity with torch, batch invariance, provider and gate. Planted faults must be caught."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from compress.common.errors import UserError
from compress.data.columns import Split
from compress.data.label_order import require_label_order
from compress.data.task_types import task_type
from compress.data.tokenization import encode_split
from compress.models import loading
from compress.models.inference import predict_logits
from export import gate
from export.build_bundles import CPU, CUDA, EvaluationSplits, ExportOptions, Origin, build_bundles
from export.bundle.bundle_json import read_bundle_info
from export.bundle.folder import seal
from export.bundle.runtime import Classifier
from export.graph.rewriter import Graph
from export.machine_facts import Machine
from export.parity import comparison, session_report
from export.parity.comparison import default_tolerance
from export.parity.significance import paired_difference
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import VARIANTS, Variant
from export.results import BatchInvariance, Parity, SessionReport
from pocketbert.recipe.delivery import GateSection
from tiny_bert import LABELS, rows

MEASURED = gate.GateInputs(
    score=0.90, student_score=0.91, teacher_score=0.92, batch_shift=1e-8, size_bytes=10_000_000, latency_ms=2.0
)
CLASSES = task_type("classification")
INVARIANT = BatchInvariance(num_rows=4, batch_shift=0.0, padding_shift=0.0, num_label_changes=0, example=None)
SESSION = SessionReport(provider=CPU, nodes={CPU: 3}, low_precision=0.0, fused={})
MACHINE = Machine(
    cpu="one", architecture="x86_64", instructions=["avx2"], logical_cores=2, usable_cores=2, memory_bytes=2**34,
    system="Linux", python="3.11", load_average=0.0, versions={},
)  # fmt: skip


def split(count: int, seed: int) -> Split:
    labelled_texts = rows(count, seed=seed)
    labels = np.array([LABELS.index(label) for _, label in labelled_texts])
    return Split(texts=[text for text, _ in labelled_texts], pairs=None, labels=labels)


def options(*variants: Variant) -> ExportOptions:
    return ExportOptions(
        task_type="classification", metric="accuracy", max_length=32,
        tolerances={variant: default_tolerance(variant) for variant in variants}, static=StaticOptions(),
    )  # fmt: skip


class Built:
    """The bundles of the tiny classifier, and torch's logits on the same rows."""

    def __init__(self, folder: Path, model_folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
        self.folder = folder
        self.dev = split(150, seed=11)
        self.model = loading.load_classifier(str(model_folder))
        self.names = ("fp32", "fp16", "int8-dynamic", "int8-static")
        self.reference = predict_logits(self.model, encode_split(self.dev, tokenizer, max_length=32))
        self.steps: list[tuple[int, int, str]] = []
        self.result = build_bundles(
            self.model,
            tokenizer,
            folder,
            splits=EvaluationSplits(dev=self.dev, test=split(40, seed=12), calibration=split(60, seed=13)),
            options=options(*(VARIANTS[name] for name in self.names)),
            origin=Origin(name="tiny", origin={}, versions={}, measured={}, machine=MACHINE),
            on_progress=lambda *step: self.steps.append(step),
        )

    def compare(self, name: str, folder: Path | None = None, *, provider: str = CPU) -> Parity:
        """A bundle compared with torch on the dev rows."""
        bundle = folder or self.folder / name
        seal(bundle)  # the test may have changed it
        return comparison.compare_with_torch(
            bundle, self.reference, self.dev, "accuracy", LABELS, task_type=CLASSES, provider=provider
        )

    def failures(self, name: str, folder: Path, *, provider: str = CPU) -> str:
        """The reasons why a bundle is not a correct export, in one line."""
        compared = self.compare(name, folder, provider=provider)
        return "; ".join(comparison.tolerance_failures(compared, default_tolerance(VARIANTS[name])))


@pytest.fixture(scope="module")
def built(tmp_path_factory, teacher_folder, tokenizer) -> Built:
    return Built(tmp_path_factory.mktemp("built"), teacher_folder, tokenizer)


# -- sound variants


def test_each_step_is_compared_with_torch(built):
    result = built.result
    assert (result.metric, result.task_type) == ("accuracy", "classification")
    assert result.steps is not None and set(result.variants) == set(built.names)
    for step in (result.steps.exported, result.steps.fused):
        assert step.max_logit_error < 1e-4 and step.num_label_flips == 0
    fp32 = result.variants["fp32"]
    assert not fp32.failures and fp32.parity.batch_invariance.is_invariant
    assert fp32.parity.session.fused["Attention"] == 3 and fp32.parity.session.low_precision == 0
    static = result.variants["int8-static"].parity
    assert static.session.low_precision > 0.9 and static.batch_invariance.is_invariant
    assert static.session.nodes.keys() == {CPU} and static.num_rows == 150
    # onnxruntime's CPU provider has no fp16 MatMul and computes in fp32
    assert result.variants["fp16"].parity.session.low_precision == 0
    assert [step[:2] for step in built.steps] == [(done, 6) for done in range(7)]


def test_the_bundle_contains_the_proof(built):
    for name in built.names:
        proof = read_bundle_info(built.folder / name).proof
        assert proof is not None and proof.parity == built.result.variants[name].parity
        assert proof.measured_on == MACHINE and proof.metric == "accuracy"
        assert (proof.without_vnni is not None) == (name == "int8-static")
    assert not list(built.folder.glob("*.onnx"))


def test_batch_dependence_reports_the_text_with_the_largest_change(built):
    dynamic = built.compare("int8-dynamic").batch_invariance
    assert not dynamic.is_invariant and dynamic.batch_shift > 1e-5 and dynamic.padding_shift > 1e-5
    assert dynamic.example is not None and dynamic.example.text in built.dev.texts
    static = built.compare("int8-static").batch_invariance
    assert static.is_invariant and static.example is None and static.num_rows == 150


def test_a_label_flip_is_reported_with_its_text():
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [0.1, 0.0], [0.0, 3.0]])
    other = logits + np.array([[0.0, 0.0], [0.0, 0.0], [-0.2, 0.0], [0.0, 0.4]])
    some = Split(texts=["a", "b", "c", "d"], pairs=None, labels=np.array([0, 1, 0, 1]))
    compared = comparison.parity_of_logits(
        other, logits, some, "accuracy", task_type=CLASSES,
        batch_invariance=INVARIANT, requested_provider=CPU, session=SESSION,
    )  # fmt: skip
    assert compared.num_label_flips == 1 and compared.max_logit_error == pytest.approx(0.4)
    assert compared.logit_error == pytest.approx(0.6 / 8 / logits.std())
    assert compared.example.text == "c"
    assert compared.example.expected[0] > 0.5 > compared.example.actual[0]
    assert (compared.score, compared.torch_score) == (0.75, 1.0)
    strict = comparison.Tolerance(logit_error=1.0, label_flips=0.0)
    assert [reason.split()[0] for reason in comparison.tolerance_failures(compared, strict)] == ["label_flips"]
    assert comparison.tolerance_failures(compared, comparison.Tolerance(logit_error=1.0, label_flips=0.25)) == []
    broken = replace(compared, logit_error=float("nan"))
    reasons = comparison.tolerance_failures(broken, comparison.Tolerance(logit_error=9, label_flips=1))
    assert [reason.split()[0] for reason in reasons] == ["logit_error"]


def test_a_regression_reports_the_row_with_the_largest_error():
    values = np.linspace(0.0, 5.0, 4)[:, None]
    some = Split(texts=["a", "b", "c", "d"], pairs=None, labels=values[:, 0])
    shift = np.array([[0.0], [0.1], [0.3], [0.0]])
    compared = comparison.parity_of_logits(
        values + shift, values, some, "pearson_spearman", task_type=task_type("regression"),
        batch_invariance=INVARIANT, requested_provider=CPU, session=SESSION,
    )  # fmt: skip
    assert compared.example.text == "c" and compared.num_label_flips == 0


# -- planted faults


def planted(built: Built, name: str, tmp_path: Path) -> Path:
    """A copy of a bundle to change. It lacks the terms of its golden examples, which would reveal the change first."""
    folder = shutil.copytree(built.folder / name, tmp_path / name)
    info = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**info, "golden_terms": None, "vocabulary_size": None}))
    return folder


def test_a_wrong_label_order_is_caught(built, tmp_path):
    folder = planted(built, "fp32", tmp_path)
    manifest = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**manifest, "labels": manifest["labels"][::-1]}))
    assert "label_flips 1 over the tolerance 0" in built.failures("fp32", folder)


def test_a_model_with_a_different_label_order_is_not_exported(tmp_path, teacher_folder, tokenizer):
    model = loading.load_classifier(str(teacher_folder))
    dev = split(60, seed=3)
    encoded = encode_split(dev, tokenizer, max_length=32)
    logits = predict_logits(model, encoded)
    with torch.no_grad():  # so that it predicts both labels
        model.classifier.bias[0] -= float(np.median(logits[:, 0] - logits[:, 1]))
    predictions = CLASSES.decide(predict_logits(model, encoded))
    turned = Split(texts=dev.texts, pairs=None, labels=1 - predictions)
    with pytest.raises(UserError, match="its outputs are not in the order of the labels: where it predicts 'neg"):
        build_bundles(
            model, tokenizer, tmp_path, splits=EvaluationSplits(dev=turned), options=options(VARIANTS["fp32"]),
            origin=Origin(name="turned", origin={}, versions={}, measured={}), on_progress=lambda *step: None,
        )  # fmt: skip


def test_the_error_names_the_order_of_three_labels():
    labels = np.array([0, 1, 2] * 20)
    output_order = np.array([1, 2, 0])
    predictions = np.argsort(output_order)[labels]
    some = Split(texts=[""] * 60, pairs=None, labels=labels)
    with pytest.raises(UserError, match="order of its outputs seems to be green, blue, red"):
        require_label_order(some, predictions, ("red", "green", "blue"), "a model", "classification")
    require_label_order(some, labels, ("red", "green", "blue"), "a model", "classification")
    unbalanced = Split(texts=[""] * 60, pairs=None, labels=np.array([0] * 54 + [1] * 6))
    for predictions in (np.ones(60, dtype=int), np.array([0] * 10 + [1] * 50)):
        require_label_order(unbalanced, predictions, ("negative", "positive"), "an inaccurate model", "classification")


def test_a_swapped_tokenizer_is_caught(built, tmp_path):
    folder = planted(built, "fp32", tmp_path)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    words = content["model"]["vocab"]
    content["model"]["vocab"] = {word: (index if index < 5 else 31 - index) for word, index in words.items()}
    path.write_text(json.dumps(content))
    assert "logit_error" in built.failures("fp32", folder)


def test_a_shuffled_weight_matrix_is_caught_with_an_example(built, tmp_path):
    folder = planted(built, "int8-static", tmp_path)
    graph = Graph(folder / "onnx" / "model.onnx")
    matmul = next(
        each for each in graph.of_type("MatMulIntegerToFloat") if each.input[1] == "attention1_query_weights_int8"
    )
    shuffled = graph.array(matmul.input[1]).copy()
    np.random.default_rng(0).shuffle(shuffled)
    matmul.input[1] = graph.add_constant("shuffled", shuffled)
    graph.save(folder / "onnx" / "model.onnx")
    assert not built.failures("int8-static", built.folder / "int8-static")
    compared = built.compare("int8-static", folder)
    assert comparison.tolerance_failures(compared, default_tolerance(VARIANTS["int8-static"]))
    example = compared.example
    assert example.text in built.dev.texts and abs(example.expected[0] - example.actual[0]) > 0.01


def test_a_provider_fallback_is_caught(built):
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        reasons = built.failures("fp32", built.folder / "fp32", provider=CUDA)
    assert reasons == f"{CUDA} was requested, {CPU} ran"


def test_calibration_rows_from_dev_or_test_are_caught(built, tmp_path, tokenizer):
    calibration = built.dev.take(np.arange(3))
    shared_with_dev, shared_with_test = (
        EvaluationSplits(dev=built.dev, calibration=calibration),
        EvaluationSplits(dev=split(9, seed=1), test=built.dev, calibration=calibration),
    )
    for splits in (shared_with_dev, shared_with_test):
        with pytest.raises(UserError, match="calibration: 3 of its 3 rows are also in dev or test"):
            build_bundles(
                built.model, tokenizer, tmp_path, splits=splits, options=options(VARIANTS["int8-static"]),
                origin=Origin(name="", origin={}, versions={}, measured={}), on_progress=lambda *step: None,
            )  # fmt: skip


# -- components


def test_low_precision_is_a_share_of_the_weight_multiplications(built):
    bundle = Classifier(built.folder / "int8-static")
    inputs = bundle.model_inputs(bundle.encode(built.dev.texts[:1], None))
    report = session_report.report_session(built.folder / "int8-static" / "onnx" / "model.onnx", inputs, [CPU], {})
    graph = Graph(built.folder / "int8-static" / "onnx" / "model.onnx")
    quantised = [node.input[1] for node in graph.of_type("MatMulIntegerToFloat")]
    low = sum(int(np.prod(graph.constants[name].dims)) for name in quantised if name in graph.constants)
    in_fp32 = [node.input[1] for node in graph.of_type("Gemm")]
    in_fp32 += [
        name for name in graph.constants if name.endswith("_weights_int8") and name.startswith("last_attention_")
    ]
    in_fp32.remove("last_attention_query_weights_int8")  # K and V of the last layer are unpacked at load
    total = low + sum(int(np.prod(graph.constants[name].dims)) for name in in_fp32)
    assert report.low_precision == pytest.approx(low / total)
    assert report.provider == CPU and sum(report.nodes.values()) > 20


def test_a_paired_difference_is_less_uncertain_than_the_scores():
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=500)
    theirs = np.where(generator.random(500) < 0.8, labels, 1 - labels)
    ours = theirs.copy()
    ours[:10] = 1 - labels[:10]  # ten wrong rows, of which some were wrong before
    difference = paired_difference("accuracy", labels, ours, theirs, task_type=CLASSES, num_labels=2)
    lost = int((theirs[:10] == labels[:10]).sum())
    assert difference.value == pytest.approx(-lost / 500)
    assert difference.p_value == pytest.approx(2 * 0.5**lost)
    assert -0.04 < difference.low < difference.value < difference.high < 0
    same = paired_difference("accuracy", labels, theirs, theirs, task_type=CLASSES, num_labels=2)
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    other = paired_difference("matthews", labels, ours, theirs, task_type=CLASSES, num_labels=2)
    assert other.p_value is None and other.low < other.value < other.high


def test_a_sound_variant_passes_the_gate():
    limits = gate.Gate(student_share=0.98, teacher_share=0.97, batch_shift=1e-5, size_mb=10.0, latency_ms=2.0)
    assert gate.gate_failures(limits, MEASURED) == []
    assert gate.gate_failures(gate.Gate(), MEASURED) == ["keeps 98.90% of its fp32 student's 0.9100, less than 99.00%"]


@pytest.mark.parametrize(
    ("limit", "value", "failure"),
    [
        ({"teacher_share": 0.98}, {}, "keeps 97.83% of the teacher's 0.9200, less than 98.00%"),
        ({"batch_shift": 1e-5}, {"batch_shift": 0.01}, "a probability changes by 0.01 when batched, more than 1e-05"),
        ({"size_mb": 9.9}, {}, "10.00 MB, more than 9.9"),
        ({"latency_ms": 1.5}, {}, "2.000 ms from text to label, more than 1.5"),
        ({"latency_ms": 1.5}, {"latency_ms": None}, "not timed; the limit is 1.5 ms"),
        (
            {"student_share": 0.99},
            {"score": float("nan")},
            "keeps nan% of its fp32 student's 0.9100, less than 99.00%",
        ),
    ],
)
def test_the_gate_reports_each_limit_with_the_figure(limit, value, failure):
    assert gate.gate_failures(gate.Gate(**{"student_share": None, **limit}), replace(MEASURED, **value)) == [failure]


def test_nan_is_not_batch_invariant():
    assert not replace(INVARIANT, padding_shift=float("nan")).is_invariant and INVARIANT.is_invariant
    reasons = gate.gate_failures(gate.Gate(batch_shift=1e-5), replace(MEASURED, score=0.91, batch_shift=np.nan))
    assert reasons == ["a probability changes by nan when batched, more than 1e-05"]
    assert len(gate.gate_failures(gate.Gate(), replace(MEASURED, score=np.nan, student_score=np.nan))) == 1


def test_a_share_of_a_metric_of_zero_or_less_is_not_defined():
    useless_models = replace(MEASURED, student_score=0.0, teacher_score=-0.1)
    assert gate.gate_failures(gate.Gate(teacher_share=None), useless_models) == []
    (failure,) = gate.gate_failures(gate.Gate(teacher_share=0.9), useless_models)
    assert failure == "a share of the teacher's -0.1000 is not defined; gate.teacher_share: null needs none"
    assert gate.gate_failures(gate.Gate(teacher_share=0.9), replace(useless_models, teacher_score=float("nan")))


def test_a_variant_below_the_baseline_fails_and_is_never_recommended():
    below = replace(MEASURED, score=0.9, student_score=0.9, teacher_score=0.9, baseline_score=0.9001)
    assert gate.gate_failures(gate.Gate(), below) == ["scores 0.9000, below the TF-IDF baseline's 0.9001"]
    assert gate.gate_failures(gate.Gate(teacher_over_baseline=False), below) == []
    as_good = replace(below, baseline_score=0.9, latency_ms=9.0)
    assert gate.gate_failures(gate.Gate(), as_good) == []
    assert gate.recommend({"below": below}) is None
    assert gate.recommend({"below": below, "slower": as_good}) == "slower"


def test_the_default_gate_asks_for_95_percent_of_the_teacher():
    kept = replace(MEASURED, score=0.91, student_score=0.91, teacher_score=0.96)
    limits = gate.Gate(teacher_share=GateSection().teacher_share)
    assert gate.gate_failures(limits, kept) == ["keeps 94.79% of the teacher's 0.9600, less than 95.00%"]
    assert gate.gate_failures(limits, replace(kept, teacher_score=0.95)) == []


def test_the_recommended_variant_is_the_smallest_of_the_fastest():
    figures = {"slow": (3.0, 5), "fast": (2.0, 20), "as fast and smaller": (2.05, 10), "untimed": (None, 1)}
    passed = {name: replace(MEASURED, latency_ms=latency, size_bytes=size) for name, (latency, size) in figures.items()}
    assert gate.recommend(passed) == "as fast and smaller"
    assert gate.recommend({"untimed": passed["untimed"]}) is None and gate.recommend({}) is None


def test_scores_come_from_the_predictions_of_the_bundle(built):
    variant = built.result.variants["int8-static"]
    predicted = Classifier(built.folder / "int8-static").logits(built.dev.texts).argmax(axis=1)
    assert variant.parity.score == pytest.approx((predicted == built.dev.labels).mean())
    assert variant.scores is not None and variant.scores.dev == variant.parity.score
    assert variant.scores.test is not None and 0 <= variant.scores.test <= 1


def test_export_does_not_change_the_torch_model(built, teacher_folder):
    fresh = BertForSequenceClassification.from_pretrained(teacher_folder)
    assert all((a == b).all() for a, b in zip(fresh.parameters(), built.model.parameters(), strict=True))
