"""Tests that training only the used embedding rows gives the same weights, and that the other rows do not change."""

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification

from compress.distillation.objective import DistillationModel, Objective
from compress.distillation.training_loop import Schedule, TrainContext, train
from compress.distillation.used_embeddings import only_used_rows, used_token_ids
from tiny_bert import config, encode_texts, rows

VOCAB_SIZE = 27


def student() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))


@pytest.fixture
def data(tokenizer):
    """Rows without three of the words in the vocabulary."""
    texts = [text for text, _ in rows(60) if not {"music", "plot", "warm"} & set(text.split())]
    encoded = encode_texts(texts, tokenizer, max_length=32)
    return encoded.with_column("labels", np.arange(len(texts)) % 2)


def test_the_used_tokens_are_those_in_the_rows_and_the_padding(data):
    expected = {0, *(token_id for row in data.rows["input_ids"] for token_id in row)}
    assert set(used_token_ids(data, VOCAB_SIZE)) == expected and len(expected) < VOCAB_SIZE - 2


def test_used_rows_end_as_with_the_whole_embedding_and_unused_rows_do_not_change(tmp_path, data):
    weights = []
    for name, whole_embedding in (("used", False), ("whole", True)):
        model = student()
        start = model.bert.embeddings.word_embeddings.weight.detach().clone()
        trained = train(
            DistillationModel(model, None, Objective(labels=1.0, task_type="classification")),
            data,
            Schedule(epochs=2, batch_size=8, learning_rate=1e-3),
            TrainContext(title="labels", seed=0, checkpoints=tmp_path / name, precision="fp32"),
            whole_embedding=whole_embedding,
        )
        assert trained.num_steps > 4
        weights.append(model.state_dict())
    used, whole = weights
    embedding = "bert.embeddings.word_embeddings.weight"
    used_ids = used_token_ids(data, VOCAB_SIZE)
    torch.testing.assert_close(used[embedding][used_ids], whole[embedding][used_ids])
    for name in used.keys() - {embedding}:
        torch.testing.assert_close(used[name], whole[name])
    unused = np.setdiff1d(np.arange(VOCAB_SIZE), used_ids)
    assert len(unused) and torch.equal(used[embedding][unused], start[unused])
    assert not torch.equal(used[embedding][used_ids], start[used_ids])


def test_eval_mode_accepts_unused_tokens_and_an_error_restores_the_embedding():
    model = student().eval()
    whole = model.get_input_embeddings()
    everything = {"input_ids": torch.arange(VOCAB_SIZE)[None]}
    before = model(**everything).logits
    with pytest.raises(ZeroDivisionError), only_used_rows(model, np.array([0, 5, 9])):
        assert sum(parameter.shape[0] == 3 for parameter in model.parameters()) == 1
        assert torch.equal(model(**everything).logits, before)
        with torch.no_grad():
            model.get_input_embeddings().weight += 1
        assert not torch.equal(model(**everything).logits, before)
        raise ZeroDivisionError
    assert model.get_input_embeddings() is whole
    assert not torch.equal(model(**everything).logits, before), "trained rows are kept"
