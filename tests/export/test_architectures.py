"""Classifiers of architectures other than BERT: fusion, quantisation and parity with torch."""

import json

import pytest
import torch
from rich.console import Console
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    CamembertConfig,
    CamembertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from pocketbert.standalone.export_model import DEFAULT_VARIANTS_OF_EXPORT, ExportRequest, export_model
from tiny_bert import LABELS

SHAPE = {
    "vocab_size": 27, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 64, "pad_token_id": 0, "initializer_range": 0.2,
}  # fmt: skip
NARROW = {
    "vocab_size": 27, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64,
    "initializer_range": 0.2,
}  # fmt: skip
MODELS = {
    "bert with relu": lambda names: BertForSequenceClassification(BertConfig(**SHAPE, hidden_act="relu", **names)),
    "distilbert": lambda names: DistilBertForSequenceClassification(DistilBertConfig(**NARROW, **names)),
    "electra": lambda names: ElectraForSequenceClassification(ElectraConfig(**SHAPE, embedding_size=16, **names)),
    "roberta": lambda names: RobertaForSequenceClassification(RobertaConfig(**SHAPE, **names)),
    "xlm-roberta": lambda names: XLMRobertaForSequenceClassification(XLMRobertaConfig(**SHAPE, **names)),
    "camembert": lambda names: CamembertForSequenceClassification(CamembertConfig(**SHAPE, **names)),
}
LOGIT_ERROR = {
    "fp32": 1e-4, "int8-dynamic": 0.1, "int8-static": 0.1, "int4-static": 0.8, "int8-weight": 0.1, "int4-weight": 0.8,
}  # fmt: skip
ATTENTION = {
    "fp32": "Attention", "int8-dynamic": "QAttention",
    "int8-weight": "MultiHeadAttention", "int4-weight": "MultiHeadAttention",
}  # fmt: skip
BEHIND_PADDING = ("roberta", "xlm-roberta", "camembert")


@pytest.mark.parametrize("architecture", MODELS)
def test_each_architecture_fuses_quantises_and_agrees_with_torch(architecture, tokenizer, tmp_path, reviews):
    torch.manual_seed(0)
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {label: index for index, label in enumerate(LABELS)}}
    MODELS[architecture](names).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    if architecture not in ("electra", "bert with relu"):  # the others have no token types
        path = tmp_path / "model" / "tokenizer_config.json"
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, "model_input_names": ["input_ids", "attention_mask"]}))
    lines = reviews.read_text().splitlines()
    (tmp_path / "dev.csv").write_text("\n".join(lines[:100]) + "\n")
    (tmp_path / "train.csv").write_text("\n".join([lines[0], *lines[100:200]]) + "\n")
    request = ExportRequest(
        data=tmp_path / "dev.csv", calibration=tmp_path / "train.csv", metric="accuracy", max_length=32
    )
    exported = export_model(str(tmp_path / "model"), request, output=tmp_path / "out", console=Console(quiet=True))
    embedding = "LayerNormalization" if architecture in BEHIND_PADDING else "EmbedLayerNormalization"
    activation = "Relu" if architecture == "bert with relu" else "BiasGelu"
    extra = {"Gelu": 1} if architecture == "electra" else {}
    assert exported.fused_nodes == {
        embedding: 1, "Attention": 3, activation: 3, "SkipLayerNormalization": 6, **extra,
    }  # fmt: skip
    variants = exported.variants
    assert set(variants) == set(DEFAULT_VARIANTS_OF_EXPORT)
    assert not variants["fp32"].failures
    for name, variant in variants.items():
        # labels of random weights flip easily, and 4 bits are coarse; the error of unrelated logits would be 1.1
        assert variant.parity.logit_error < LOGIT_ERROR[name], name
        session = variant.parity.session
        assert session.provider == "CPUExecutionProvider" and (session.low_precision > 0.9) == (name != "fp32")
        if name in ATTENTION:
            assert session.fused[ATTENTION[name]] == (2 if name == "fp32" else 3)  # without the last, of one query
        else:
            assert not {"Attention", "QAttention", "MultiHeadAttention"} & set(session.fused)
    for name in ("fp32", "int8-static", "int4-static"):
        assert variants[name].parity.batch_invariance.is_invariant
    assert exported.steps is not None
    for parity in (exported.steps.exported, exported.steps.fused, variants["fp32"].parity):
        assert parity.max_logit_error < 1e-4 and parity.num_label_flips == 0
