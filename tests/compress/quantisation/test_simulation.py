"""Quantisation-aware training: rounding in torch is that of the export, and weights stay trainable."""

import numpy as np
import onnxruntime
import pytest
import torch

from compress.distillation import stage_functions
from compress.distillation.objective import Objective
from compress.distillation.training_loop import Schedule, TrainContext
from compress.models.inference import predict_logits
from compress.models.loading import load_classifier
from compress.quantisation.rounding import EMBEDDING_BLOCKS, round_4_bit_weights, round_8_bit_weights, round_rows
from compress.quantisation.simulation import Rounding, simulated_quantisation
from export.graph.rewriter import Graph
from export.quantisation.blockwise import quantise_blockwise
from export.quantisation.int4_weights import add_4_bit_weights, int8_weights
from export.quantisation.quantize import build_variant
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import VARIANTS
from tiny_bert import encode_texts, rows

INT4 = Rounding(weight_bits=4, embedding_bits=4, largest_weight=64)
INT8 = Rounding(weight_bits=8, embedding_bits=8, largest_weight=64)


@pytest.mark.parametrize("shape", [(12, 64), (5, 70), (3, 32)])
@pytest.mark.parametrize("largest", [64, 127])
def test_4_bit_weights_are_those_of_the_export(tmp_path, raw_graph, shape, largest):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    graph = Graph(raw_graph)
    name, scales = add_4_bit_weights(graph, "w", weight.T.numpy(), limit=largest)
    exported = (int8_weights(graph, name) * scales).T
    np.testing.assert_allclose(round_4_bit_weights(weight, largest).numpy(), exported, atol=1e-6)


def test_8_bit_weights_have_one_scale_per_output():
    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    rounded = round_8_bit_weights(weight, 64)
    scale = weight.abs().amax(dim=1, keepdim=True) / 64
    torch.testing.assert_close((rounded / scale).round() * scale, rounded)
    assert ((rounded - weight).abs() <= scale / 2 + 1e-6).all()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("width", [32, 70, 33])
def test_rows_of_embeddings_are_those_of_the_export(bits, width):
    table = torch.randn(9, width, generator=torch.Generator().manual_seed(0))
    used = bits if width % 2 == 0 else 8
    numbers, scales = quantise_blockwise(table.numpy(), used, EMBEDDING_BLOCKS[used])
    exported = ((numbers.astype(np.float32) - 2 ** (used - 1)) * scales[..., None]).reshape(9, -1)[:, :width]
    np.testing.assert_allclose(round_rows(table, bits).numpy(), exported, atol=1e-6)
    batch = table.view(3, 3, width)
    torch.testing.assert_close(round_rows(batch, bits), round_rows(table, bits).view(3, 3, width))


@pytest.mark.parametrize(("variant", "rounding"), [("int4-static", INT4), ("int8-static", INT8)])
def test_the_simulation_computes_what_the_variant_computes(
    tmp_path, teacher_folder, tokenizer, raw_graph, encoder, calibration, variant, rounding
):
    path = tmp_path / "model.onnx"
    build_variant(VARIANTS[variant], raw_graph, path, encoder, calibration, StaticOptions(attention="fp32"))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    texts = encode_texts([text for text, _ in rows(60, seed=6)], tokenizer, max_length=32)
    exported = np.concatenate([session.run(["logits"], inputs)[0] for inputs in calibration])
    teacher = load_classifier(str(teacher_folder))
    plain = predict_logits(teacher, texts)
    with simulated_quantisation(teacher, rounding):
        simulated = predict_logits(teacher, texts, tokens_at_once=1000)
    np.testing.assert_array_equal(predict_logits(teacher, texts), plain)
    assert np.abs(simulated - exported).mean() < 0.5 * np.abs(plain - exported).mean()


def test_training_moves_the_weights_and_leaves_no_trace(tmp_path, teacher, tokenizer):
    texts = encode_texts([text for text, _ in rows(64, seed=6)], tokenizer, max_length=32)
    names, logits = set(teacher.state_dict()), predict_logits(teacher, texts)
    before = {name: weight.clone() for name, weight in teacher.state_dict().items()}
    scores = []

    def evaluate(model):
        scores.append(-float(np.abs(predict_logits(model, texts) - logits).mean()))
        return scores[-1]

    with simulated_quantisation(teacher, INT4):
        start = evaluate(teacher)
        stage_functions.distill_logits(
            teacher,
            logits,
            texts,
            Objective(prediction=1.0, task_type="classification"),
            Schedule(epochs=30, batch_size=16, learning_rate=1e-3),
            TrainContext(title="t", seed=0, checkpoints=tmp_path, precision="fp32"),
            evaluate,
        )
        assert evaluate(teacher) > 0.8 * start  # the error of rounding, negated
    assert set(teacher.state_dict()) == names
    for name in ("bert.encoder.layer.0.output.dense.weight", "bert.embeddings.word_embeddings.weight"):
        assert not torch.equal(teacher.state_dict()[name], before[name])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in teacher.modules())
