"""Settings of a tokenizer or a model that the rows of a task do not depend on: the bundle has them, or is refused."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoTokenizer, BertForSequenceClassification

from bench.report.parity_table import explain_variants
from compress.common.errors import UserError
from compress.data.task_types import task_type
from compress.data.tasks import read_split
from compress.data.tokenization import encode_split
from compress.models import loading
from compress.models.inference import predict_logits
from compress.models.vocabulary import prune_vocabulary
from export import build_bundles
from export.build_bundles import CPU
from export.bundle.bundle_json import read_bundle_info
from export.bundle.folder import seal
from export.bundle.runtime import Classifier
from export.parity import comparison
from export.parity.comparison import default_tolerance
from export.parity.predictors import TorchPredictor
from export.parity.probes import FIXED_TEXTS, make_probes, model_tokens, probe_texts
from export.quantisation.variants import VARIANTS
from export.results import ExportResult, Parity, ProbeResult
from pocketbert.cli import app
from pocketbert.standalone.explain_export import export_result_of
from pocketbert.standalone.export_model import ExportRequest, export_model
from tiny_bert import LABELS, NEUTRAL, config, make_tokenizer, rows, write_csv

MAX_LENGTH, NUM_ROWS = 32, 16
Edit = Callable[[dict[str, Any]], object]


def long_text(seed: int, count: int) -> str:
    return " ".join(random.Random(seed).choices(("fine", "lovely", "dull", "awful", *NEUTRAL), k=count))


TEXTS = ["", "the film", "THE FILM", "the [SEP] film [CLS] x [MASK][PAD] fine", long_text(1, 100), long_text(2, 31)]
PAIRS = ["the film", long_text(3, 90), "", "fine [SEP] dull", long_text(4, 60), long_text(5, 28)]


def with_tokenizer(source: Path, target: Path, config: dict[str, object], edit: Edit | None = None) -> Path:
    """A copy of a model with other keys in tokenizer_config.json, and an edited tokenizer.json."""
    shutil.copytree(source, target)
    edit_json(target / "tokenizer_config.json", lambda content: content.update(config))
    if edit is not None:
        edit_json(target / "tokenizer.json", edit)
    return target


def edit_json(path: Path, edit: Edit) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory, tokenizer) -> Path:
    """A classifier with one layer, which is exported quickly."""
    folder = tmp_path_factory.mktemp("models") / "teacher"
    torch.manual_seed(2)
    BertForSequenceClassification(config(num_hidden_layers=1)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pair_table(tmp_path_factory) -> Path:
    lines = [(text, " ".join(text.split()[::-1]), label) for text, label in rows(NUM_ROWS)]
    return write_csv(tmp_path_factory.mktemp("data") / "pairs.csv", ("first", "second", "label"), lines)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    return write_csv(tmp_path_factory.mktemp("data") / "texts.csv", ("text", "label"), rows(NUM_ROWS))


def exported(model: Path, table: Path, text: tuple[str, ...] = ("text",), variant: str = "fp32") -> ExportResult:
    request = ExportRequest(data=table, text=text, variants=[variant], max_length=MAX_LENGTH)
    return export_model(str(model), request, output=model / "out", console=Console(quiet=True))


def truncation(direction: str, strategy: str) -> Edit:
    settings = {"direction": direction, "max_length": 16, "strategy": strategy, "stride": 0}
    return lambda content: content.update(truncation=settings)


FIXED_PADDING = {
    "strategy": {"Fixed": 20}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
    "pad_token": "[PAD]",
}  # fmt: skip
BERT = {"tokenizer_class": "BertTokenizer"}


HARMLESS = {
    "padding_side": "left", "model_max_length": 8, "max_length": 12, "stride": 4, "do_lower_case": False,
    "clean_up_tokenization_spaces": True, "add_prefix_space": True, "use_fast": False, "never_split": ["film"],
}  # fmt: skip


def fixed_padding_and(settings: Edit) -> Edit:
    return lambda content: (content.update(padding=FIXED_PADDING), settings(content))


@pytest.mark.parametrize(
    ("settings", "edit", "takes_pairs", "format_version"),
    [
        ({"truncation_side": "left"}, None, False, 2),
        ({"truncation_side": "left"}, None, True, 2),
        ({"split_special_tokens": True}, None, False, 2),
        ({"split_special_tokens": True, "truncation_side": "left"}, None, True, 2),
        ({}, truncation("Left", "LongestFirst"), False, 2),
        ({}, truncation("Right", "OnlySecond"), True, 1),
        (HARMLESS, fixed_padding_and(truncation("Right", "OnlyFirst")), False, 1),
        (HARMLESS, fixed_padding_and(truncation("Right", "OnlyFirst")), True, 1),
        ({"model_input_names": ["input_ids", "attention_mask"]}, None, True, 1),
        ({"model_input_names": ["input_ids", "token_type_ids"]}, None, False, 1),
        ({"do_lower_case": True, **BERT}, lambda content: content["normalizer"].update(lowercase=False), False, 1),
        ({"strip_accents": False, "tokenize_chinese_chars": False, **BERT}, None, False, 1),
        ({"add_eos_token": True, "eos_token": "[SEP]", "extra_special_tokens": ["film"]}, None, False, 1),
    ],
)
def test_a_bundle_has_the_tokens_of_its_model(
    tmp_path, teacher_folder, table, pair_table, settings, edit, takes_pairs, format_version
):
    """The call `tokenizer(text, pair, truncation=True, max_length=N)` of transformers is the reference."""
    model = with_tokenizer(teacher_folder, tmp_path / "model", settings, edit)
    columns = ("first", "second") if takes_pairs else ("text",)
    variant = exported(model, pair_table if takes_pairs else table, columns).variants["fp32"]
    assert variant.failures == []
    bundle, pairs = Path(variant.bundle or ""), PAIRS if takes_pairs else None
    expected = AutoTokenizer.from_pretrained(model)(TEXTS, pairs, truncation=True, max_length=MAX_LENGTH)
    classifier, predictor = Classifier(bundle), TorchPredictor(model, max_length=MAX_LENGTH)
    encodings = classifier.encode(TEXTS, pairs)
    assert [encoding.ids for encoding in encodings] == expected["input_ids"]
    if "token_type_ids" in expected:
        assert [encoding.type_ids for encoding in encodings] == expected["token_type_ids"]
    assert [encoding.ids for encoding in predictor.encode(TEXTS, pairs)] == expected["input_ids"]
    np.testing.assert_allclose(classifier.logits(TEXTS, pairs), predictor.logits(TEXTS, pairs), atol=2e-5)
    stored = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    assert stored["format_version"] == format_version
    in_transformers = AutoTokenizer.from_pretrained(bundle)
    assert in_transformers(TEXTS, pairs, truncation=True)["input_ids"] == expected["input_ids"]


def test_the_default_maximum_is_that_of_the_tokenizer(tmp_path, teacher_folder, table):
    model = with_tokenizer(teacher_folder, tmp_path / "model", {"model_max_length": 9, "truncation_side": "left"})
    request = ExportRequest(data=table, variants=["fp32"])
    result = export_model(str(model), request, output=tmp_path / "out", console=Console(quiet=True))
    bundle = Path(result.variants["fp32"].bundle or "")
    info = read_bundle_info(bundle)
    assert (info.max_length, info.truncation_side, info.split_special_tokens) == (9, "left", False)
    assert "The end of a longer text is kept" in (bundle / "README.md").read_text(encoding="utf-8")


def test_a_bundle_without_the_new_keys_is_read_as_before(prepared, tmp_path):
    bundle = shutil.copytree(prepared.bundle, tmp_path / "old")

    def without_new_keys(content: dict[str, Any]) -> None:
        assert content["format_version"] == 1
        del content["limits"]["truncation_side"], content["split_special_tokens"], content["requires"]
        del content["proof"]["parity"]["probes"]

    edit_json(bundle / "bundle.json", without_new_keys)
    seal(bundle)
    info = read_bundle_info(bundle)
    assert (info.truncation_side, info.split_special_tokens, info.requires) == ("right", False, {})
    assert info.proof is not None and info.proof.parity.probes is None
    assert Classifier(bundle).predict(TEXTS) == Classifier(prepared.bundle).predict(TEXTS)
    assert app.main(["explain", str(bundle)]) == 0


def test_a_bundle_names_the_oldest_onnxruntime(prepared, tmp_path, teacher_folder, table):
    """The oldest that is correct: onnxruntime 1.19 loads int4-weight, but changes labels."""
    oldest_of = {"int8-weight": "1.22", "int4-weight": "1.21", "int8-dynamic": "1.16"}
    compressed = tuple(oldest_of)
    request = ExportRequest(data=table, variants=compressed, max_length=MAX_LENGTH, student_share=0.0)
    result = export_model(str(teacher_folder), request, output=tmp_path / "out", console=Console(quiet=True))
    bundles = {name: Path(result.variants[name].bundle or "") for name in compressed}
    for bundle, oldest in [(prepared.bundle, "1.16"), *((bundles[name], oldest_of[name]) for name in compressed)]:
        assert read_bundle_info(bundle).requires == {"onnxruntime": oldest}
        card = (bundle / "README.md").read_text(encoding="utf-8")
        assert f"pip install numpy 'onnxruntime>={oldest}' tokenizers" in card


def test_a_pruned_vocabulary_keeps_the_settings_of_the_tokenizer(tokenizer):
    changed = make_tokenizer()
    changed.truncation_side, changed.split_special_tokens = "left", True
    pruned = prune_vocabulary(changed, ["the film was fine"], [], coverage=1.0).tokenizer
    assert (pruned.truncation_side, pruned.split_special_tokens) == ("left", True)
    assert (
        pruned(long_text(1, 40), truncation=True, max_length=8)["input_ids"]
        != (tokenizer(long_text(1, 40), truncation=True, max_length=8)["input_ids"])
    )


# -- the probe texts


def test_the_probes_have_texts_of_every_kind(tokenizer):
    texts, pairs = probe_texts(tokenizer, max_length=MAX_LENGTH, takes_pairs=False)
    assert pairs is None and set(FIXED_TEXTS) < set(texts) and "" in texts and " " in texts
    assert all(any(token in text for text in texts) for token in tokenizer.all_special_tokens)
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    assert {MAX_LENGTH - 1, MAX_LENGTH, MAX_LENGTH + 1, 2 * MAX_LENGTH + 2} <= set(lengths)
    assert (texts, None) == probe_texts(tokenizer, max_length=MAX_LENGTH, takes_pairs=False)  # fixed
    first, second = probe_texts(tokenizer, max_length=MAX_LENGTH, takes_pairs=True)
    assert second is not None and len(first) == len(second) and ("", "") in zip(first, second, strict=True)
    is_long = [
        (len(one.split()) > MAX_LENGTH, len(two.split()) > MAX_LENGTH) for one, two in zip(first, second, strict=True)
    ]
    assert {(True, True), (True, False), (False, True)} <= set(is_long)


def test_both_ends_of_a_long_probe_have_different_tokens(tokenizer):
    texts, _ = probe_texts(tokenizer, max_length=MAX_LENGTH, takes_pairs=False)
    right, left = make_tokenizer(), make_tokenizer()
    left.truncation_side = "left"
    tokens = [model_tokens(each, texts, None, max_length=MAX_LENGTH) for each in (right, left)]
    assert sum(one != other for one, other in zip(*tokens, strict=True)) >= 2


# -- planted faults


class Prepared:
    """An fp32 bundle of the tiny classifier, and what it is compared with."""

    def __init__(self, root: Path, teacher: Path, table: Path) -> None:
        shutil.copytree(teacher, root / "model")
        self.result = exported(root / "model", table)
        self.bundle = Path(self.result.variants["fp32"].bundle or "")
        self.model = loading.load_classifier(str(teacher))
        self.tokenizer = loading.load_tokenizer(str(teacher))
        self.dev = read_split(table, text=["text"], label="label", labels=LABELS, task_type="classification")
        self.reference = predict_logits(self.model, encode_split(self.dev, self.tokenizer, max_length=MAX_LENGTH))
        self.probes = make_probes(self.model, self.tokenizer, self.dev, max_length=MAX_LENGTH)

    def parity(self, bundle: Path) -> Parity:
        seal(bundle)  # the test may have changed it
        return comparison.compare_with_torch(
            bundle, self.reference, self.dev, "accuracy", LABELS, task_type=task_type("classification"), provider=CPU,
            probes=self.probes, compares_probe_logits=True,
        )  # fmt: skip

    def failures(self, bundle: Path) -> list[str]:
        return comparison.tolerance_failures(self.parity(bundle), default_tolerance(VARIANTS["fp32"]))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, teacher_folder, table) -> Prepared:
    return Prepared(tmp_path_factory.mktemp("prepared"), teacher_folder, table)


def test_a_sound_bundle_agrees_on_the_probes(prepared):
    steps, variant = prepared.result.steps, prepared.result.variants["fp32"]
    assert steps is not None and prepared.failures(prepared.bundle) == []
    for parity in (steps.exported, steps.fused, variant.parity):
        probes = parity.probes
        assert probes is not None and (probes.num_probes, probes.num_rows) == (len(prepared.probes.texts), NUM_ROWS)
        assert probes.num_token_changes == 0 and probes.logit_error is not None and probes.logit_error < 1e-5
    ((_, sentences),) = explain_variants(export_result_of(prepared.bundle))
    assert any(
        f"on {NUM_ROWS} rows and {probes.num_probes} unusual texts; none of them have" in each for each in sentences
    )


def test_the_figures_on_dev_do_not_depend_on_the_probes(prepared):
    parity = prepared.parity(prepared.bundle)
    assert replace(parity, probes=None) == replace(prepared.result.variants["fp32"].parity, probes=None)


@pytest.mark.parametrize(
    ("file", "edit"),
    [
        ("bundle.json", lambda content: content["limits"].update(truncation_side="left")),
        ("bundle.json", lambda content: content["limits"].update(max_length=MAX_LENGTH - 1)),
        ("bundle.json", lambda content: content.update(split_special_tokens=True)),
        ("tokenizer.json", lambda content: content["normalizer"].update(lowercase=False)),
        ("tokenizer.json", lambda content: content["normalizer"].update(strip_accents=False)),
        ("tokenizer.json", lambda content: content["added_tokens"].pop()),
        ("tokenizer.json", lambda content: content["model"].update(max_input_chars_per_word=3)),
        ("tokenizer.json", lambda content: content["post_processor"]["single"].pop()),
        ("tokenizer.json", lambda content: content["post_processor"]["single"][1]["Sequence"].update(type_id=1)),
    ],
)
def test_a_bundle_with_other_tokens_is_a_failure(prepared, tmp_path, file, edit):
    bundle = shutil.copytree(prepared.bundle, tmp_path / "changed")
    edit_json(bundle / file, edit)
    reasons = prepared.failures(bundle)
    assert "texts have other tokens than in torch, such as " in reasons[-1] and "\n" not in reasons[-1]


def test_a_graph_with_other_logits_on_probes_alone_is_a_failure(prepared, monkeypatch):
    """Here for texts at the limit only."""
    original = Classifier.run

    def changed(self: Classifier, encodings: Any, *, length: int | None = None) -> np.ndarray:
        at_limit = np.array([[len(encoding) == MAX_LENGTH] for encoding in encodings])
        return original(self, encodings, length=length) + at_limit * 0.5

    monkeypatch.setattr(Classifier, "run", changed)
    (reason,) = prepared.failures(prepared.bundle)
    assert reason.startswith("logit_error ") and " on probe texts over the tolerance 0.0001, such as '" in reason


def test_a_deviation_of_an_intermediate_graph_is_a_failure_of_every_variant(
    tmp_path, teacher_folder, table, monkeypatch
):
    original = build_bundles._step_parity

    def with_error(*arguments: object) -> Parity:
        parity = original(*arguments)
        assert parity.probes is not None
        return replace(parity, probes=replace(parity.probes, logit_error=0.5))

    monkeypatch.setattr(build_bundles, "_step_parity", with_error)
    shutil.copytree(teacher_folder, tmp_path / "model")
    failures = exported(tmp_path / "model", table).variants["fp32"].failures
    assert [reason.partition(":")[0] for reason in failures] == ["exported graph", "fused graph"]


def test_nan_on_a_probe_is_a_failure(prepared):
    parity = prepared.result.variants["fp32"].parity
    probes = ProbeResult(
        num_probes=3, num_rows=4, num_token_changes=0, logit_error=float("nan"), text="a\nb" * 50, pair="c"
    )
    (reason,) = comparison.probe_failures(replace(parity, probes=probes), default_tolerance(VARIANTS["fp32"]))
    assert "logit_error nan" in reason and reason.endswith("...' with 'c'") and "\n" not in reason


def test_a_tokenizer_without_special_tokens_is_refused(tmp_path, teacher_folder, table):
    """An empty text would have no token."""
    model = with_tokenizer(teacher_folder, tmp_path / "model", {}, lambda content: content.update(post_processor=None))
    with pytest.raises(UserError, match="its tokenizer adds no special tokens, so that an empty text has no token"):
        exported(model, table)
