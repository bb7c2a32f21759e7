"""Model folders from elsewhere: every weight and every key is used or named, or the model is refused in one line."""

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from compress.common.errors import UserError
from compress.models import loading, sources
from compress.models.sources import read_config
from compress.models.weight_loading import load_model
from spoilt_models import CONFIGS, FOLDERS, SOUND, TOKENIZERS, WEIGHTS, Models, change_json, with_weights
from tiny_bert import LABELS

REFUSED = {
    f"{group}: {kind}": case
    for group, cases in (("config", CONFIGS), ("weights", WEIGHTS), ("folder", FOLDERS), ("tokenizer", TOKENIZERS))
    for kind, case in cases.items()
}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Models:
    return Models.build(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("kind", REFUSED)
def test_a_spoilt_model_is_refused_in_one_line(models, kind):
    build, expected = REFUSED[kind]
    folder = build(models)
    with pytest.raises(UserError) as refusal:
        loading.check_model(str(folder), head="classifier")
    message = str(refusal.value)
    assert message.startswith(f"{folder}: ") and expected in message
    assert len(message.splitlines()) == 1
    assert not (models.root / "harmed").exists(), "code in a pickle ran"


@pytest.mark.parametrize("kind", SOUND)
def test_a_model_in_another_form_is_the_same_model(models, kind):
    build, remark = SOUND[kind]
    folder = str(build(models))
    remarks = loading.check_model(folder, head="classifier")
    assert [remark in each for each in remarks] == ([] if remark is None else [True])
    model, original = (loading.load_classifier(name) for name in (folder, str(models.root / "teacher")))
    ids = torch.tensor([[2, 5, 9, 11, 3]])
    weights = original.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    # the alignment of mapped weights decides between instructions that round differently
    torch.testing.assert_close(model(ids).logits, original(ids).logits, rtol=0, atol=1e-6)
    assert loading.load_tokenizer(folder)("a lovely film").input_ids == [2, *[loading.load_tokenizer(
        str(models.root / "teacher")).get_vocab()[word] for word in ("a", "lovely", "film")], 3]  # fmt: skip
    assert not (models.root / "harmed").exists(), "code in a pickle ran"


def test_weights_and_random_heads_are_those_of_from_pretrained(models):
    """The generator is in the same state afterwards, so that all later random numbers are the same too."""
    for name in ("base", "masked_lm"):
        folder, options = models.root / name, {"num_labels": 2, "dtype": torch.float32}
        torch.manual_seed(5)
        expected = AutoModelForSequenceClassification.from_pretrained(folder, **options)
        expected_next = torch.rand(1)
        torch.manual_seed(5)
        model = loading.load_classifier(str(folder), LABELS, task_type="classification")
        assert torch.equal(torch.rand(1), expected_next)
        weights = model.state_dict()
        assert weights.keys() == expected.state_dict().keys()
        assert all(torch.equal(tensor, weights[key]) for key, tensor in expected.state_dict().items())


def test_a_classifier_with_other_outputs_can_be_a_base(models):
    folder = models.copy(id2label={"0": "a", "1": "b", "2": "c"}, label2id=None)
    change = {"classifier.weight": torch.ones(3, 32), "classifier.bias": torch.ones(3)}
    folder = with_weights(folder, lambda weights: {**weights, **change})
    (remark,) = loading.check_model(str(folder), head="new classifier", labels=LABELS)
    assert "its head has other outputs (classifier.bias is 3); the head gets random weights" in remark
    model = loading.load_classifier(str(folder), LABELS, task_type="classification")
    assert model.config.num_labels == 2 and torch.isfinite(model.classifier.weight).all()
    assert not torch.equal(model.classifier.weight, torch.ones(2, 32))


@pytest.mark.parametrize("head", ["none", "new classifier", "masked_lm", "new masked_lm"])
def test_half_a_model_is_refused_for_every_use(models, head):
    folder = models.copy("masked_lm", num_hidden_layers=2)
    with pytest.raises(UserError, match=r"config\.json has 2 layers, the weights have 4"):
        loading.check_model(str(folder), head=head, labels=LABELS)


def test_a_masked_language_model_without_the_weights_of_its_head_is_refused(models):
    folder = with_weights(
        models.copy("masked_lm"), lambda weights: {key: weights[key] for key in weights if "transform" not in key}
    )
    with pytest.raises(UserError, match=r"its weights lack 4 .*, such as cls\.predictions\.transform"):
        loading.check_model(str(folder), head="masked_lm")
    assert loading.check_model(str(folder), head="new masked_lm") == []


def test_the_check_reads_no_values(models):
    loaded = load_model(AutoModel, str(models.root / "base"), with_head=False, shapes_only=True)
    assert {parameter.device.type for parameter in loaded.model.parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("teacher", None),
        ("roberta", "its tokenizer gives the second text of a pair the token type 1, but the model has 1 of them"),
        ("distilbert", "its tokenizer gives token types to pairs, but the model takes none"),
    ],
)
def test_token_types_of_pairs(models, source, expected):
    folder = str(models.root / source)
    assert loading.check_model(folder, head="classifier") == []
    if expected is None:
        assert loading.check_model(folder, head="classifier", takes_pairs=True) == []
        return
    with pytest.raises(UserError, match=expected):
        loading.check_model(folder, head="classifier", takes_pairs=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id2label": ["a", "b"]}, ("a", "b")),
        ({"id2label": {"1": "b", "0": "a"}}, ("a", "b")),
        ({"id2label": {"0": 0, "1": True}}, ("0", "True")),
        ({"id2label": None, "label2id": None}, ("LABEL_0", "LABEL_1")),
        ({"id2label": None, "label2id": None, "num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"label2id": {"stale": 0}}, LABELS),
        ({"label2id": {"positive": 0, "negative": 1}}, LABELS),
    ],
)
def test_label_names(models, changes, expected):
    folder = models.copy()
    change_json(folder, "config.json", **changes)
    assert sources.label_names_in_config(str(folder)) == expected


def test_wrong_label_names_of_an_encoder_do_not_matter(models):
    folder = change_json(models.copy("base"), "config.json", id2label={"5": "x"})
    assert read_config(str(folder))["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}
    assert loading.check_model(str(folder), head="new classifier", labels=LABELS) == []


def test_names_on_the_hub_are_those_of_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    given = ["gpt2", "google-bert/bert-base-uncased", "models/mine", str(tmp_path), "package:numpy/linalg", None,
             "gpt2", "no/such/folder", "a b", "../up", "~/mine"]  # fmt: skip
    assert sources.hub_names(given) == ["gpt2", "google-bert/bert-base-uncased"]
