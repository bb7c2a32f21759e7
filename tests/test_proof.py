"""What proves a variant: parity with torch, company, provider, gate; and that planted faults are caught by it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import LABELS, rows
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from compress import metrics, models
from compress.cells import Split
from compress.encoding import encode_split
from compress.errors import UserError
from compress.inference import predict_logits
from compress.tasks import require_label_order
from export import gate, parity, session
from export.candidates import CPU, CUDA, Origin, Rows, build_candidates
from export.graph import Graph
from export.paired import paired_difference
from export.parity import Company, default_tolerance
from export.runtime import Classifier
from export.static import Static
from export.variants import VARIANTS

MEASURED = gate.Measured(
    metric=0.90, student_metric=0.91, teacher_metric=0.92, batch_shift=1e-8, size_bytes=10_000_000, latency_ms=2.0
)
ALONE = Company(num_rows=4, batch_shift=0.0, padding_shift=0.0, num_label_changes=0, example=None)
RAN = session.Ran(provider=CPU, nodes={CPU: 3}, low_precision=0.0, fused={})


def split(count: int, seed: int) -> Split:
    found = rows(count, seed=seed)
    labels = np.array([LABELS.index(label) for _, label in found])
    return Split(texts=[text for text, _ in found], pairs=None, labels=labels)


class Built:
    """The candidates of the tiny classifier, and what torch says of the same rows."""

    def __init__(self, folder: Path, model_folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
        self.folder = folder
        self.dev = split(150, seed=11)
        self.model = models.load_classifier(str(model_folder))
        self.names = ("fp32", "fp16", "int8-dynamic", "int8-static")
        self.reference = predict_logits(self.model, encode_split(self.dev, tokenizer, max_length=32))
        self.steps: list[tuple[int, int, str]] = []
        self.told = build_candidates(
            self.model,
            tokenizer,
            folder,
            rows=Rows(dev=self.dev, test=split(40, seed=12), calibration=split(60, seed=13)),
            max_length=32,
            metric="accuracy",
            tolerances={VARIANTS[name]: default_tolerance(VARIANTS[name]) for name in self.names},
            static=Static(),
            origin=Origin(name="tiny", origin={}, versions={}, measured={}, machine={"cpu": "one"}),
            on_progress=lambda *step: self.steps.append(step),
        )

    def held(self, name: str, folder: Path | None = None, *, provider: str = CPU) -> parity.Parity:
        """A bundle against torch on the dev rows."""
        bundle = folder or self.folder / name
        return parity.hold_against_torch(bundle, self.reference, self.dev, "accuracy", LABELS, provider=provider)

    def failures(self, name: str, folder: Path, *, provider: str = CPU) -> str:
        """What forbids to ship a bundle, in one line."""
        return "; ".join(self.held(name, folder, provider=provider).failures(default_tolerance(VARIANTS[name])))


@pytest.fixture(scope="module")
def built(tmp_path_factory, teacher_folder, tokenizer) -> Built:
    return Built(tmp_path_factory.mktemp("built"), teacher_folder, tokenizer)


# -- what is told of sound variants


def test_each_step_is_held_against_torch(built):
    assert set(built.told["hops"]) == {"onnx", "fused"} and set(built.told["variants"]) == set(built.names)
    for found in built.told["hops"].values():
        assert found["max_logit_error"] < 1e-4 and found["num_label_flips"] == 0
    facts = built.told["variants"]["fp32"]
    assert not facts["failures"] and facts["parity"]["batch_invariant"]
    assert facts["parity"]["ran"]["fused"]["Attention"] == 4 and facts["parity"]["ran"]["low_precision"] == 0
    static = built.told["variants"]["int8-static"]["parity"]
    assert static["ran"]["low_precision"] > 0.95 and static["batch_invariant"]
    assert static["ran"]["nodes"].keys() == {CPU} and static["num_rows"] == 150
    # onnxruntime's CPU provider has no fp16 products: it says so
    assert built.told["variants"]["fp16"]["parity"]["ran"]["low_precision"] == 0
    assert [step[:2] for step in built.steps] == [(done, 6) for done in range(7)]


def test_the_proof_lies_in_the_bundle(built):
    for name in built.names:
        manifest = json.loads((built.folder / name / "bundle.json").read_text())
        assert manifest["proof"]["parity"] == json.loads(json.dumps(built.told["variants"][name]["parity"]))
        assert manifest["proof"]["measured_on"] == {"cpu": "one"} and manifest["proof"]["metric"] == "accuracy"
        assert (manifest["proof"]["without_vnni"] is not None) == (name == "int8-static")
    assert not list(built.folder.glob("*.onnx"))


def test_company_is_told_with_the_text_that_shows_it(built):
    dynamic = built.held("int8-dynamic").company
    assert not dynamic.is_invariant and dynamic.batch_shift > 1e-5 and dynamic.padding_shift > 1e-5
    assert dynamic.example is not None and dynamic.example.text in built.dev.texts
    static = built.held("int8-static").company
    assert static.is_invariant and static.example is None and static.num_rows == 150


def test_a_label_that_changes_is_told_with_the_text(built):
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [0.1, 0.0], [0.0, 3.0]])
    other = logits + np.array([[0.0, 0.0], [0.0, 0.0], [-0.2, 0.0], [0.0, 0.4]])
    some = Split(texts=["a", "b", "c", "d"], pairs=None, labels=np.array([0, 1, 0, 1]))
    found = parity.compare(other, logits, some, "accuracy", company=ALONE, asked_for=CPU, ran=RAN)
    assert found.num_label_flips == 1 and found.max_logit_error == pytest.approx(0.4)
    assert found.logit_error == pytest.approx(0.6 / 8 / logits.std())
    assert found.example.text == "c"
    assert found.example.expected[0] > 0.5 > found.example.found[0]
    assert (found.metric, found.torch_metric) == (0.75, 1.0)
    strict = parity.Tolerance(logit_error=1.0, label_flips=0.0)
    assert [reason.split()[0] for reason in found.failures(strict)] == ["label_flips"]
    assert found.failures(parity.Tolerance(logit_error=1.0, label_flips=0.25)) == []
    broken = replace(found, logit_error=float("nan"))
    assert [reason.split()[0] for reason in broken.failures(parity.Tolerance(logit_error=9, label_flips=1))] == [
        "logit_error"
    ]


def test_of_a_regression_the_row_furthest_off_is_told():
    values = np.linspace(0.0, 5.0, 4)[:, None]
    some = Split(texts=["a", "b", "c", "d"], pairs=None, labels=values[:, 0])
    shift = np.array([[0.0], [0.1], [0.3], [0.0]])
    found = parity.compare(values + shift, values, some, "pearson_spearman", company=ALONE, asked_for=CPU, ran=RAN)
    assert found.example.text == "c" and found.num_label_flips == 0


# -- planted faults


def planted(built: Built, name: str, tmp_path: Path) -> Path:
    return shutil.copytree(built.folder / name, tmp_path / name)


def test_a_wrong_label_order_is_caught(built, tmp_path):
    folder = planted(built, "fp32", tmp_path)
    manifest = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**manifest, "labels": manifest["labels"][::-1]}))
    assert "label_flips 1 over the tolerance 0" in built.failures("fp32", folder)


def test_a_model_with_its_labels_in_another_order_is_not_exported(tmp_path, teacher_folder, tokenizer):
    model = models.load_classifier(str(teacher_folder))
    dev = split(60, seed=3)
    encoded = encode_split(dev, tokenizer, max_length=32)
    logits = predict_logits(model, encoded)
    with torch.no_grad():  # so that it answers both
        model.classifier.bias[0] -= float(np.median(logits[:, 0] - logits[:, 1]))
    answers = metrics.decide(predict_logits(model, encoded))
    turned = Split(texts=dev.texts, pairs=None, labels=1 - answers)
    with pytest.raises(UserError, match="its outputs stand in another order than the labels: where it answers 'neg"):
        build_candidates(
            model, tokenizer, tmp_path, rows=Rows(dev=turned), max_length=32, metric="accuracy",
            tolerances={VARIANTS["fp32"]: default_tolerance(VARIANTS["fp32"])}, static=Static(),
            origin=Origin(name="turned", origin={}, versions={}, measured={}), on_progress=lambda *step: None,
        )  # fmt: skip


def test_three_labels_in_another_order_are_told_by_name():
    labels = np.array([0, 1, 2] * 20)
    meant = np.array([1, 2, 0])
    answers = np.argsort(meant)[labels]
    some = Split(texts=[""] * 60, pairs=None, labels=labels)
    with pytest.raises(UserError, match="order of its outputs seems to be green, blue, red"):
        require_label_order(some, answers, ("red", "green", "blue"), "a model")
    require_label_order(some, labels, ("red", "green", "blue"), "a model")
    unbalanced = Split(texts=[""] * 60, pairs=None, labels=np.array([0] * 54 + [1] * 6))
    for answers in (np.ones(60, dtype=int), np.array([0] * 10 + [1] * 50)):
        require_label_order(unbalanced, answers, ("negative", "positive"), "a model that is merely bad")


def test_a_swapped_tokenizer_is_caught(built, tmp_path):
    folder = planted(built, "fp32", tmp_path)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    words = content["model"]["vocab"]
    content["model"]["vocab"] = {word: (index if index < 5 else 31 - index) for word, index in words.items()}
    path.write_text(json.dumps(content))
    assert "logit_error" in built.failures("fp32", folder)


def test_a_ruined_layer_is_caught_with_an_example(built, tmp_path):
    folder = planted(built, "int8-static", tmp_path)
    graph = Graph(folder / "onnx" / "model.onnx")
    product = graph.of_type("MatMulIntegerToFloat")[3]
    ruined = graph.array(product.input[1]).copy()
    np.random.default_rng(0).shuffle(ruined)
    name = graph.add_constant("ruined", ruined)
    product.input[1] = name
    graph.save(folder / "onnx" / "model.onnx")
    assert not built.failures("int8-static", built.folder / "int8-static")
    found = built.held("int8-static", folder)
    assert [reason.split()[0] for reason in found.failures(default_tolerance(VARIANTS["int8-static"]))]
    assert found.example.text in built.dev.texts and abs(found.example.expected[0] - found.example.found[0]) > 0.01


def test_a_provider_that_fell_back_is_caught(built):
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        told = built.failures("fp32", built.folder / "fp32", provider=CUDA)
    assert told == f"{CUDA} was asked for, {CPU} ran"


def test_calibration_rows_that_are_dev_rows_are_caught(built, tmp_path, tokenizer):
    static = VARIANTS["int8-static"]
    some = built.dev.take(np.arange(3))
    of_dev, of_test = (
        Rows(dev=built.dev, calibration=some),
        Rows(dev=split(9, seed=1), test=built.dev, calibration=some),
    )
    for held_out in (of_dev, of_test):
        with pytest.raises(UserError, match="calibration: 3 of its 3 rows stand in dev or test too"):
            build_candidates(
                built.model, tokenizer, tmp_path, rows=held_out, max_length=32, metric="accuracy",
                tolerances={static: default_tolerance(static)}, static=Static(),
                origin=Origin(name="", origin={}, versions={}, measured={}), on_progress=lambda *step: None,
            )  # fmt: skip


# -- the parts of it


def test_the_session_tells_low_precision_by_the_share_of_multiplications(built):
    bundle = Classifier(built.folder / "int8-static")
    inputs = bundle.columns(bundle.encode(built.dev.texts[:1], None))
    found = session.examine(built.folder / "int8-static" / "onnx" / "model.onnx", inputs, [CPU], {})
    graph = Graph(built.folder / "int8-static" / "onnx" / "model.onnx")
    quantised = [node.input[1] for node in graph.of_type("MatMulIntegerToFloat", "QAttention")]
    low = sum(int(np.prod(graph.constants[name].dims)) for name in quantised)
    all_of_them = low + sum(int(np.prod(graph.constants[node.input[1]].dims)) for node in graph.of_type("Gemm"))
    assert found.low_precision == pytest.approx(low / all_of_them)
    assert found.provider == CPU and sum(found.nodes.values()) > 20


def test_a_paired_difference_is_less_uncertain_than_the_scores_themselves():
    draw = np.random.default_rng(0)
    labels = draw.integers(2, size=500)
    theirs = np.where(draw.random(500) < 0.8, labels, 1 - labels)
    ours = theirs.copy()
    ours[:10] = 1 - labels[:10]  # ten more wrong, or as wrong as they were
    found = paired_difference("accuracy", labels, ours, theirs, num_classes=2)
    lost = int((theirs[:10] == labels[:10]).sum())
    assert found.difference == pytest.approx(-lost / 500)
    assert found.p_value == pytest.approx(2 * 0.5**lost)
    assert -0.04 < found.low < found.difference < found.high < 0
    same = paired_difference("accuracy", labels, theirs, theirs, num_classes=2)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    other = paired_difference("matthews", labels, ours, theirs, num_classes=2)
    assert other.p_value is None and other.low < other.difference < other.high


def test_a_sound_variant_passes_the_gate():
    wanted = gate.Gate(student_share=0.98, teacher_share=0.97, batch_shift=1e-5, size_mb=10.0, latency_ms=2.0)
    assert gate.failures(wanted, MEASURED) == []
    assert gate.failures(gate.Gate(), MEASURED) == ["keeps 98.90% of its fp32 student's 0.9100, less than 99.00%"]


@pytest.mark.parametrize(
    ("limit", "value", "told"),
    [
        ({"teacher_share": 0.98}, {}, "keeps 97.83% of the teacher's 0.9200, less than 98.00%"),
        ({"batch_shift": 1e-5}, {"batch_shift": 0.01}, "a probability moves by 0.01 in company, more than 1e-05"),
        ({"size_mb": 9.9}, {}, "10.00 MB, more than 9.9"),
        ({"latency_ms": 1.5}, {}, "2.000 ms from text to label, more than 1.5"),
        ({"latency_ms": 1.5}, {"latency_ms": None}, "not timed, and may take 1.5 ms at most"),
        (
            {"student_share": 0.99},
            {"metric": float("nan")},
            "keeps nan% of its fp32 student's 0.9100, less than 99.00%",
        ),
    ],
)
def test_the_gate_tells_each_limit_with_the_figure(limit, value, told):
    assert gate.failures(gate.Gate(**{"student_share": None, **limit}), replace(MEASURED, **value)) == [told]


def test_an_answer_that_is_no_number_is_not_invariant():
    assert not replace(ALONE, padding_shift=float("nan")).is_invariant and ALONE.is_invariant
    told = gate.failures(gate.Gate(batch_shift=1e-5), replace(MEASURED, metric=0.91, batch_shift=np.nan))
    assert told == ["a probability moves by nan in company, more than 1e-05"]
    assert len(gate.failures(gate.Gate(), replace(MEASURED, metric=np.nan, student_metric=np.nan))) == 1


def test_a_metric_of_nothing_keeps_no_share():
    nothing = replace(MEASURED, student_metric=0.0, teacher_metric=-0.1)
    assert gate.failures(gate.Gate(teacher_share=0.9), nothing) == []


def test_recommended_is_the_fastest_then_the_smallest():
    of = {"slow": (3.0, 5), "fast": (2.0, 20), "as fast and smaller": (2.05, 10), "untimed": (None, 1)}
    passed = {name: replace(MEASURED, latency_ms=latency, size_bytes=size) for name, (latency, size) in of.items()}
    assert gate.recommended(passed) == "as fast and smaller"
    assert gate.recommended({"untimed": passed["untimed"]}) is None and gate.recommended({}) is None


def test_the_gate_judges_the_model_that_runs(built):
    """Scores of the candidates are those of their bundles' own answers."""
    facts = built.told["variants"]["int8-static"]
    answers = Classifier(built.folder / "int8-static").logits(built.dev.texts).argmax(axis=1)
    assert facts["parity"]["metric"] == pytest.approx((answers == built.dev.labels).mean())
    assert facts["scores"]["dev"] == facts["parity"]["metric"] and 0 <= facts["scores"]["test"] <= 1


def test_the_torch_model_stays_as_it_was(built, teacher_folder):
    fresh = BertForSequenceClassification.from_pretrained(teacher_folder)
    assert all((a == b).all() for a, b in zip(fresh.parameters(), built.model.parameters(), strict=True))
