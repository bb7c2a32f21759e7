import pytest
import torch
from transformers import AutoConfig, AutoModel, BertForSequenceClassification

from compress.common.errors import UserError
from compress.distillation import layer_outputs
from compress.models.shape import map_layers
from tiny_bert import config


def inputs() -> dict[str, torch.Tensor]:
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    return {"input_ids": torch.randint(5, 27, (2, 5)) * mask, "attention_mask": mask}


def test_scores_are_read_before_the_softmax(teacher: BertForSequenceClassification):
    batch = inputs()
    with layer_outputs.capture_attention(teacher):
        outputs = layer_outputs.read(teacher, batch, layer_outputs.RequestedOutputs(hidden=True, scores=True))
    assert len(outputs.scores) == 4 and len(outputs.hidden) == 5
    for layer in range(4):
        attention = teacher.bert.encoder.layer[layer].attention.self
        query, key = (linear(outputs.hidden[layer]).view(2, 5, 4, 8) for linear in (attention.query, attention.key))
        torch.testing.assert_close(outputs.scores[layer], torch.einsum("bqhd,bkhd->bhqk", query, key) / 8**0.5)


def test_capturing_scores_does_not_change_the_logits(teacher: BertForSequenceClassification):
    batch = inputs()
    plain = teacher(**batch).logits
    with layer_outputs.capture_attention(teacher):
        torch.testing.assert_close(teacher(**batch).logits, plain)
    assert torch.equal(teacher(**batch).logits, plain), "afterwards, the original implementation runs"


@pytest.mark.parametrize(
    ("model_type", "options"),
    [
        ("roberta", {}),
        ("electra", {"embedding_size": 32}),
        ("distilbert", {"dim": 32, "n_heads": 4, "n_layers": 4, "hidden_dim": 64}),
        ("camembert", {}),
        ("mpnet", {}),
    ],
)
def test_scores_of_other_encoders_are_read(model_type, options):
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 4, "intermediate_size": 64}
    model = AutoModel.from_config(AutoConfig.for_model(model_type, vocab_size=27, **(options or {}), **sizes)).eval()
    with torch.no_grad(), layer_outputs.capture_attention(model):
        scores = layer_outputs.read(model, inputs(), layer_outputs.RequestedOutputs(scores=True)).scores
    assert len(scores) == 4 and scores[0].shape == (2, 4, 5, 5)
    assert not torch.allclose(scores[0].sum(dim=-1), torch.ones(2, 4, 5)), "expected scores, got probabilities"


def test_the_outputs_of_mpnet_are_those_of_transformers():
    """The scores contain the bias of relative positions: their softmax is what transformers returns."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 4, "intermediate_size": 64}
    model = AutoModel.from_config(AutoConfig.for_model("mpnet", vocab_size=27, initializer_range=0.5, **sizes)).eval()
    batch = inputs()
    with torch.no_grad():
        plain = model(**batch, output_hidden_states=True, output_attentions=True)
        with layer_outputs.capture_attention(model):
            requested = layer_outputs.RequestedOutputs(hidden=True, scores=True, qkv=True)
            outputs = layer_outputs.read(model, batch, requested)
        afterwards = model(**batch, output_attentions=True)
    mask = torch.where(batch["attention_mask"].bool(), 0, -torch.inf)[:, None, None]
    for layer in range(4):
        probabilities = (outputs.scores[layer] + mask).softmax(dim=-1)
        torch.testing.assert_close(probabilities, plain.attentions[layer], atol=1e-5, rtol=0)
        torch.testing.assert_close(outputs.hidden[layer + 1], plain.hidden_states[layer + 1], atol=1e-5, rtol=0)
        torch.testing.assert_close(afterwards.attentions[layer], plain.attentions[layer], atol=0, rtol=0)
        attention = model.encoder.layer[layer].attention.attn
        for vectors, linear in zip(outputs.qkv[layer], (attention.q, attention.k, attention.v), strict=True):
            torch.testing.assert_close(vectors, linear(outputs.hidden[layer]))


def test_an_encoder_without_attention_interface_is_refused():
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 64}
    model = AutoModel.from_config(AutoConfig.for_model("deberta-v2", vocab_size=27, **sizes))
    with (
        pytest.raises(UserError, match="the attention scores of a deberta-v2 cannot be read"),
        layer_outputs.capture_attention(model),
    ):
        pass


@pytest.mark.parametrize(
    ("student", "teacher_layers", "expected"),
    [(4, 12, (3, 6, 9, 12)), (6, 12, (2, 4, 6, 8, 10, 12)), (3, 6, (2, 4, 6)), (4, 6, (2, 3, 4, 6)), (2, 2, (1, 2))],
)
def test_the_uniform_map_is_even_and_ends_at_the_last_layer(student, teacher_layers, expected):
    assert map_layers("uniform", student, teacher_layers) == expected


def test_a_student_deeper_than_its_teacher_is_refused():
    with pytest.raises(UserError, match="the student has 6 layers, more than the teacher's 4"):
        map_layers("uniform", 6, config().num_hidden_layers)


def test_other_layer_maps(teacher):
    assert map_layers("top", 4, 12) == (9, 10, 11, 12)
    assert map_layers("bottom", 4, 12) == (1, 2, 3, 4)
    assert map_layers([2, 2, 7], 3, 12) == (2, 2, 7)
    for wrong in ([1, 2], [1, 2, 13], [0, 1, 2]):
        with pytest.raises(UserError, match=r"got the layer map \[.*; expected 3 teacher layers, .*, from 1 to 12"):
            map_layers(wrong, 3, 12)


@pytest.mark.parametrize("model_type", ["bert", "roberta", "electra", "distilbert", "albert", "modernbert", "mpnet"])
def test_layers_above_the_last_mapped_one_are_not_computed(model_type):
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 4, "intermediate_size": 64}
    model = AutoModel.from_config(AutoConfig.for_model(model_type, vocab_size=27, pad_token_id=0, **sizes)).eval()
    batch = inputs()
    with torch.no_grad(), layer_outputs.capture_attention(model):
        whole = layer_outputs.read(
            model, batch, layer_outputs.RequestedOutputs(hidden=True, scores=True, qkv=True)
        ).of_layers((1, 2))
        with layer_outputs.first_layers_only(model, 2):
            short = layer_outputs.read(model, batch, layer_outputs.RequestedOutputs(hidden=True, scores=True, qkv=True))
        afterwards = layer_outputs.read(model, batch, layer_outputs.RequestedOutputs(hidden=True))
    assert len(afterwards.hidden) == 5
    if model_type != "albert":
        assert len(short.hidden) == 3 and len(short.scores) == 2
    for name in ("scores", "qkv"):
        for actual, expected in zip(getattr(short.of_layers((1, 2)), name), getattr(whole, name), strict=True):
            torch.testing.assert_close(actual, expected)
    for actual, expected in zip(short.hidden[:2], whole.hidden[:2], strict=True):
        torch.testing.assert_close(actual, expected)


def test_vectors_are_queries_keys_and_values_with_concatenated_heads(teacher):
    batch = inputs()
    with torch.no_grad(), layer_outputs.capture_attention(teacher):
        outputs = layer_outputs.read(teacher, batch, layer_outputs.RequestedOutputs(hidden=True, qkv=True))
    attention = teacher.bert.encoder.layer[2].attention.self
    for vectors, linear in zip(outputs.qkv[2], (attention.query, attention.key, attention.value), strict=True):
        torch.testing.assert_close(vectors, linear(outputs.hidden[2]))
