"""The variants' graphs: their operators and storage formats, and that rewrites preserve the output."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import BertForSequenceClassification

from export.bundle.runtime import session_config
from export.graph.fusion import FusionError, expected_fusions, fuse
from export.graph.optimisation import keep_first_position, split_residual_norms
from export.graph.rewriter import Graph, count_operators
from export.quantisation import blockwise, int4_weights, vnni_emulation
from export.quantisation.quantize import build_variant, write_fp32, write_static
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import DEFAULT_VARIANTS, VARIANTS, Embedding, Weights
from export.quantisation.vnni_emulation import can_saturate, write_saturating_model
from tiny_bert import config

EACH = ("fp32", "int8-dynamic", "int8-static", "int4-static", "int8-weight", "int4-weight")


def logits(model: Path, inputs: list[dict[str, np.ndarray]]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    for name, value in session_config(saturates=True).items():
        options.add_session_config_entry(name, value)
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, model_inputs)[0] for model_inputs in inputs])


@pytest.fixture(scope="module")
def built(tmp_path_factory, raw_graph, encoder, calibration) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("variants")
    paths = {name: folder / f"{name}.onnx" for name in EACH}
    for name, path in paths.items():
        build_variant(VARIANTS[name], raw_graph, path, encoder, calibration)
    return paths


def test_variants_are_named_after_their_weights_and_any_unusual_embedding():
    actual = {(variant.weights, variant.embedding) for variant in VARIANTS.values()}
    combinations = set(itertools.product(get_args(Weights), get_args(Embedding)))
    assert actual == {(weights, embedding) for weights, embedding in combinations if weights != "fp16"} | {
        ("fp16", "fp32")  # the fp16 variant includes the embedding
    }
    assert len(VARIANTS) == len(actual), "every combination has one name"
    assert all(VARIANTS[variant.name] is variant for variant in VARIANTS.values())
    assert set(DEFAULT_VARIANTS) <= set(VARIANTS) >= set(get_args(Weights)), "the weights alone name a variant too"
    assert VARIANTS["int8-static"].embedding == "int8" and VARIANTS["int4-static"].embedding == "int4"
    assert (VARIANTS["fp32-int8-embedding"].weights, VARIANTS["fp32-int8-embedding"].embedding) == ("fp32", "int8")


def test_each_variant_uses_its_operators(built):
    counts = {name: count_operators(path) for name, path in built.items()}
    assert counts["fp32"]["Attention"] == 3 and counts["fp32"]["SkipLayerNormalization"] == 0
    dynamic = counts["int8-dynamic"]
    assert dynamic["QAttention"] == 4 and dynamic["Attention"] == 0 and dynamic["MatMul"] == 0
    for name in ("int8-static", "int4-static"):
        # 3 layers with Q, K, V, scores and context; a last layer with Q; 3 x 4 for the rest of the layers; the pooler
        assert counts[name]["MatMulIntegerToFloat"] == 3 * 5 + 1 + 3 * 4 + 1
        assert counts[name]["MatMul"] == 4  # the last layer
        assert not any(
            counts[name][other] for other in ("DynamicQuantizeLinear", "MatMulInteger", "Attention", "QAttention")
        )
        assert counts[name]["Gemm"] == 1  # computes the logits
    for name in ("int8-weight", "int4-weight"):
        # 3 x 4 for Q, K and V, 3 x 4 for the rest of the layers, and the pooler
        assert (counts[name]["MatMulNBits"], counts[name]["MultiHeadAttention"]) == (25, 4)
    for name in EACH:
        assert counts[name]["GatherBlockQuantized"] == 0


def test_variants_shrink_with_their_bits_and_stay_close_to_fp32(built, calibration):
    expected = logits(built["fp32"], calibration)
    limits = {"int8-dynamic": 0.2, "int8-static": 0.2, "int4-static": 0.6, "int8-weight": 0.1, "int4-weight": 0.6}
    for name, limit in limits.items():
        assert np.abs(logits(built[name], calibration) - expected).mean() < limit * expected.std(), name
    size = {name: path.stat().st_size for name, path in built.items()}
    assert size["int8-static"] < 0.6 * size["fp32"] and size["int4-static"] < size["int8-static"]


@pytest.mark.parametrize("embedding", ["fp32", "int8", "int4"])
def test_any_embedding_combines_with_any_weights(tmp_path, raw_graph, encoder, calibration, embedding):
    path = tmp_path / "model.onnx"
    build_variant(replace(VARIANTS["int8-static"], embedding=embedding), raw_graph, path, encoder, calibration)
    tables = {"fp32": [], "int8": ["position_8bit", "word_8bit"], "int4": ["position_8bit", "word_4bit"]}[embedding]
    names = [name for name in Graph(path).constants if "embeddings.weight_" in name and name.endswith("bit")]
    stored = [name.removeprefix("bert.embeddings.").replace("_embeddings.weight", "") for name in names]
    assert sorted(stored) == tables
    assert np.isfinite(logits(path, calibration[:2])).all()


def test_fp16_keeps_every_fusion_and_its_weights_in_16_bits(tmp_path, raw_graph, encoder, calibration):
    path = tmp_path / "model.onnx"
    build_variant(VARIANTS["fp16"], raw_graph, path, encoder)
    counts = count_operators(path)
    assert (counts["EmbedLayerNormalization"], counts["Attention"], counts["SkipLayerNormalization"]) == (1, 4, 8)
    large = [tensor for tensor in onnx.load(str(path)).graph.initializer if np.prod(tensor.dims) > 100]
    assert large and {tensor.data_type for tensor in large} == {TensorProto.FLOAT16}
    assert [value.type.tensor_type.elem_type for value in onnx.load(str(path)).graph.output] == [TensorProto.FLOAT]


def test_optimising_rewrites_preserve_the_output(tmp_path, raw_graph, encoder, calibration):
    for attention in ("Attention", "MultiHeadAttention"):
        fuse(raw_graph, tmp_path / "fused.onnx", encoder, attention=attention)
        expected = logits(tmp_path / "fused.onnx", calibration)
        graph = Graph(tmp_path / "fused.onnx")
        assert keep_first_position(graph) >= 6
        graph.save(tmp_path / "first.onnx")
        np.testing.assert_allclose(logits(tmp_path / "first.onnx", calibration), expected, atol=2e-6)
        assert split_residual_norms(graph) == 8
        graph.save(tmp_path / "lean.onnx")
        assert count_operators(tmp_path / "lean.onnx")["SkipLayerNormalization"] == 0
        np.testing.assert_allclose(logits(tmp_path / "lean.onnx", calibration), expected, atol=2e-6)


def test_all_positions_are_kept_if_the_head_reads_them(tmp_path, raw_graph, encoder):
    fuse(raw_graph, tmp_path / "fused.onnx", encoder)
    graph = Graph(tmp_path / "fused.onnx")
    last = graph.of_type("SkipLayerNormalization")[-1].output[0]
    graph.nodes.append(helper.make_node("ReduceMean", [last], ["mean"], axes=[1]))
    assert keep_first_position(graph) == 0


def test_incomplete_fusion_raises_and_names_the_operator(tmp_path, teacher_folder, encoder):
    """Planted fault: the optimiser does not recognise this form of attention."""
    model = BertForSequenceClassification.from_pretrained(teacher_folder, attn_implementation="sdpa")
    ids = torch.ones(2, 8, dtype=torch.long)
    with pytest.warns():  # the exporter's warnings do not matter here
        torch.onnx.export(
            model, (ids, ids, ids * 0), tmp_path / "sdpa.onnx",
            input_names=["input_ids", "attention_mask", "token_type_ids"], output_names=["logits"],
            opset_version=17, dynamo=False,
        )  # fmt: skip
    with pytest.raises(FusionError, match=r"fusion is incomplete: got 0 Attention nodes, expected 4"):
        write_fp32(tmp_path / "sdpa.onnx", tmp_path / "model.onnx", encoder)
    assert not (tmp_path / "model.onnx").exists() or count_operators(tmp_path / "model.onnx")["Attention"] == 0


def test_expected_fusions_depend_on_the_architecture(encoder):
    assert expected_fusions(encoder, "Attention", fuses_embeddings=True)["EmbedLayerNormalization"] == 1
    assert expected_fusions(encoder, "MultiHeadAttention")["MultiHeadAttention"] == 4
    roberta = expected_fusions(replace(encoder, model_type="roberta"), "Attention", fuses_embeddings=True)
    assert roberta["LayerNormalization"] == 1 and "EmbedLayerNormalization" not in roberta
    assert expected_fusions(replace(encoder, model_type="electra"), "Attention")["Gelu"] == 1


@pytest.mark.parametrize("bits", [4, 8])
def test_onnxruntime_decodes_the_blocks(tmp_path, bits):
    table = np.random.default_rng(0).normal(size=(40, 96)).astype(np.float32)
    table[3] = 0
    numbers, scales = blockwise.quantise_blockwise(table, bits, 32)
    dequantised = ((numbers.astype(np.float32) - 2 ** (bits - 1)) * scales[..., None]).reshape(table.shape)
    assert np.abs(dequantised - table).max() < (0.02 if bits == 8 else 0.4) and not dequantised[3].any()
    lookup = helper.make_node(
        "GatherBlockQuantized", ["numbers", "rows", "scales"], ["y"], domain="com.microsoft",
        bits=bits, block_size=32, gather_axis=0, quantize_axis=1,
    )  # fmt: skip
    constants = {"numbers": blockwise.pack(numbers.reshape(40, -1), bits), "scales": scales}
    graph = helper.make_graph(
        [lookup], "lookup", [helper.make_tensor_value_info("rows", TensorProto.INT64, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 96])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "lookup.onnx")
    embeddings = logits(tmp_path / "lookup.onnx", [{"rows": np.arange(40)}])
    np.testing.assert_allclose(embeddings, dequantised, atol=1e-6)


def test_the_scale_search_lowers_the_error_of_4_bits():
    values = np.random.default_rng(1).normal(size=(8, 320)).astype(np.float32)
    numbers, scales = blockwise.quantise_blockwise(values, 4, 32)
    blocks = values.reshape(8, -1, 32)
    steps = np.abs(blocks).max(axis=-1, keepdims=True) / 8
    error_with_search = (numbers.astype(np.float32) - 8) * scales[..., None] - blocks
    error_without_search = np.clip(np.round(blocks / steps), -8, 7) * steps - blocks
    assert (error_with_search**2).mean() < 0.95 * (error_without_search**2).mean()


def test_4_bit_weights_are_int8_after_loading(built, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(built["int4-static"]), options, providers=["CPUExecutionProvider"])
    stored, loaded = Graph(built["int4-static"]), Graph(tmp_path / "loaded.onnx")
    of_weights = [
        matmul for matmul in loaded.of_type("MatMulIntegerToFloat") if not matmul.input[1].endswith("_by_head")
    ]
    assert len(of_weights) == 3 * 3 + 1 + 3 * 4 + 1
    for matmul in of_weights:
        assert loaded.constants[matmul.input[1]].data_type == TensorProto.INT8
        name = matmul.input[1]
        assert name not in stored.constants
        unpacked = int4_weights.int8_weights(stored, name)
        assert np.abs(unpacked).max() <= 64 and len(np.unique(unpacked)) > 15


def test_reduced_weights_do_not_saturate(tmp_path, monkeypatch, raw_graph, encoder, calibration):
    for reduced in (False, True):
        path, emulated = tmp_path / f"{reduced}.onnx", tmp_path / f"{reduced}-emulated.onnx"
        write_static(raw_graph, path, encoder, calibration, StaticOptions(reduced=reduced))
        assert write_saturating_model(path, emulated) == 29 and can_saturate(path) == (not reduced)
        shift = np.abs(logits(emulated, calibration) - logits(path, calibration)).mean()
        with monkeypatch.context() as unlimited:
            unlimited.setattr(vnni_emulation, "LOWEST", -np.inf)
            unlimited.setattr(vnni_emulation, "HIGHEST", np.inf)
            write_saturating_model(path, emulated)
        # rounding alone shifts a few activations by one step
        rounding = np.abs(logits(emulated, calibration) - logits(path, calibration)).mean()
        assert rounding < 1e-3 and (shift == rounding if reduced else shift > 5 * rounding)
        largest = max(
            np.abs(tensor).max()
            for tensor in map(numpy_helper.to_array, Graph(path).constants.values())
            if tensor.dtype == np.int8 and tensor.ndim == 2
        )
        assert largest == (64 if reduced else 127)


@pytest.mark.parametrize("count", [4, 5])
def test_pairs_of_products_saturate_at_16_bits(tmp_path, count):
    """2 * 255 * 127 is 64,770; without VNNI it becomes 32,767."""
    weights = np.full((count, 1), 127, dtype=np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"]),
        helper.make_node(
            "MatMulIntegerToFloat", ["q", "w", "one", "by_column", "zero", "no_shift"], ["y"], domain="com.microsoft"
        ),
    ]
    constants = {
        "one": np.float32(1), "zero": np.uint8(0), "w": weights, "by_column": np.ones(1, dtype=np.float32),
        "no_shift": np.zeros(1, dtype=np.int8),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "product", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, count])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "product.onnx")
    write_saturating_model(tmp_path / "product.onnx", tmp_path / "saturating.onnx")
    unpaired = 255 * 127 * (count % 2)
    for value, exact, clipped in ((255, count * 255 * 127, 2 * 32767 + unpaired), (100, count * 12700, count * 12700)):
        inputs = [{"x": np.full((1, count), value, dtype=np.float32)}]
        assert logits(tmp_path / "product.onnx", inputs).item() == exact
        assert logits(tmp_path / "saturating.onnx", inputs).item() == clipped


def test_all_multiplications_of_another_model_size_are_quantised(tmp_path, tokenizer, calibration):
    from export.graph.fusion import EncoderShape
    from export.graph.to_onnx import export_onnx

    torch.manual_seed(0)
    smaller = config(num_hidden_layers=2, num_attention_heads=2)
    export_onnx(BertForSequenceClassification(smaller).eval(), tmp_path / "raw.onnx")
    build_variant(
        VARIANTS["int8-static"], tmp_path / "raw.onnx", tmp_path / "m.onnx", EncoderShape.of(smaller), calibration
    )
    counts = count_operators(tmp_path / "m.onnx")
    assert counts["MatMulIntegerToFloat"] == 5 + 1 + 2 * 3 + 1
