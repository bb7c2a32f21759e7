"""The portable graph gives the same logits as newer operators do, and needs nothing that onnxruntime 1.16 lacks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.graph.rewriter import MICROSOFT, Graph, make_node
from export.quantisation import embeddings, int4_weights, quantize, static_int8
from export.quantisation.blockwise import WEIGHT_BLOCKS, pack, quantise_blockwise
from export.quantisation.embeddings import BLOCK_SIZES, TOKEN_IDS, quantise_embeddings
from export.quantisation.quantize import build_variant
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import VARIANTS, Embedding
from export.quantisation.vnni_emulation import can_saturate
from pocketbert.recipe.delivery import ExportSection

OWN_OPERATORS = {
    "fp32": {"Attention", "BiasGelu"},
    "int8-dynamic": {"QAttention", "BiasGelu"},
    "int8-static": {"MatMulIntegerToFloat", "Gelu"},
    "int4-static": {"MatMulIntegerToFloat", "Gelu"},
    "int8-weight": {"MultiHeadAttention", "MatMulNBits", "BiasGelu"},
    "int4-weight": {"MultiHeadAttention", "MatMulNBits", "BiasGelu"},
}


def session(path: Path, optimised: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


# -- the construction of earlier versions


def fused_embeddings(graph: Graph, bits: int) -> int:
    """Each look-up as one GatherBlockQuantized."""
    gathers = [
        gather
        for gather in graph.of_type("Gather")
        if gather.input[0] in graph.constants
        and len(graph.array(gather.input[0])) >= 16
        and graph.constant_value(gather.input[1]) is None
    ]
    for gather in gathers:
        name, index = gather.input
        table = graph.array(name)
        own_bits = bits if index == TOKEN_IDS and table.shape[1] % 2 == 0 else 8
        numbers, scales = quantise_blockwise(table, own_bits, BLOCK_SIZES[own_bits])
        numbers = numbers.reshape(len(table), -1)[:, : table.shape[1]]
        inputs = [
            graph.add_constant(f"{name}_numbers", pack(numbers, own_bits)),
            index,
            graph.add_constant(f"{name}_block_scales", scales),
        ]
        options = {"bits": own_bits, "block_size": BLOCK_SIZES[own_bits], "gather_axis": 0, "quantize_axis": 1}
        graph.replace(gather, [make_node("GatherBlockQuantized", inputs, gather.output[0], microsoft=True, **options)])
    return len(gathers)


def weights_in_int4(graph: Graph, name: str, weights: np.ndarray, *, limit: int) -> tuple[str, np.ndarray]:
    """Weights as a tensor of type INT4, which opset 21 introduced."""
    numbers, multipliers, scales = int4_weights._quantise_in_two_levels(weights, limit // 7)
    nibbles = numbers.reshape(-1).astype(np.int8).view(np.uint8) & 0xF
    for opset in graph.model.opset_import:
        opset.version = 21 if opset.domain == "" else opset.version
    graph.model.ir_version = 10
    stored = graph.add_tensor(
        helper.make_tensor(f"{name}_4bit", TensorProto.INT4, weights.shape, pack(nibbles, 4).tobytes(), raw=True)
    )
    by_row = multipliers[np.arange(len(weights)) // WEIGHT_BLOCKS[4]].astype(np.float32)
    unpacking = [
        make_node("Cast", [stored], f"{name}_wide", to=TensorProto.FLOAT),
        make_node("Mul", [f"{name}_wide", graph.add_constant(f"{name}_by_row", by_row)], f"{name}_product"),
        make_node("Cast", [f"{name}_product"], f"{name}_int8", to=TensorProto.INT8),
    ]
    graph.insert_before(graph.nodes[0], unpacking)
    return f"{name}_int8", scales


# -- whole models


def batch(calibration: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The calibration texts as one padded batch."""
    longest = max(inputs["input_ids"].shape[1] for inputs in calibration)
    return {
        name: np.concatenate(
            [np.pad(inputs[name], ((0, 0), (0, longest - inputs[name].shape[1]))) for inputs in calibration]
        )
        for name in calibration[0]
    }


@pytest.mark.parametrize("name", ["int8-dynamic", "int8-static", "int4-static", "int4-weight", "fp32-int8-embedding"])
def test_logits_equal_those_of_the_newer_operators(tmp_path, monkeypatch, raw_graph, encoder, calibration, name):
    portable, newer = tmp_path / "portable.onnx", tmp_path / "newer.onnx"
    few = calibration[:20]
    build_variant(VARIANTS[name], raw_graph, portable, encoder, few)
    monkeypatch.setattr(quantize, "quantise_embeddings", fused_embeddings)
    monkeypatch.setattr(static_int8, "add_4_bit_weights", weights_in_int4)
    build_variant(VARIANTS[name], raw_graph, newer, encoder, few)
    assert len(Graph(newer).of_type("GatherBlockQuantized")) == 2
    ours, theirs = session(portable), session(newer)
    for inputs in (batch(few), *few[:8]):
        np.testing.assert_array_equal(ours.run(None, inputs)[0], theirs.run(None, inputs)[0])


@pytest.mark.parametrize("name", OWN_OPERATORS)
def test_a_variant_needs_only_opset_17_and_its_own_operators(tmp_path, raw_graph, encoder, calibration, name):
    path = tmp_path / "model.onnx"
    build_variant(VARIANTS[name], raw_graph, path, encoder, calibration[:8])
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert {opset.domain: opset.version for opset in model.opset_import} == {"": 17, MICROSOFT: 1}
    nodes = model.graph.node
    assert {node.op_type for node in nodes if node.domain == MICROSOFT} == OWN_OPERATORS[name]
    assert {node.domain for node in nodes} <= {"", MICROSOFT}
    assert "BitShift" not in {node.op_type for node in nodes}
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert types <= {TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64}


def test_positions_and_4_bit_weights_are_unpacked_when_the_model_is_loaded(tmp_path, raw_graph, encoder, calibration):
    path, optimised = tmp_path / "model.onnx", tmp_path / "optimised.onnx"
    build_variant(VARIANTS["int4-static"], raw_graph, path, encoder, calibration[:8])
    session(path, optimised)
    stored, loaded = Graph(path), Graph(optimised)
    unpacking = [node for node in stored.of_type("Transpose") if node.output[0].endswith("_rows")]
    assert len(unpacking) == 4 * 3 + 3 * 3 + 3 + 1  # of each product with stored weights
    assert not [node for node in loaded.of_type("Transpose") if node.output[0].endswith("_rows")]
    assert len(loaded.of_type("Floor")) == 1  # the words, of which each call unpacks some rows
    unpacked = {name: tensor.data_type for name, tensor in loaded.constants.items()}
    assert unpacked["bert.embeddings.position_embeddings.weight_unpacked"] == TensorProto.FLOAT
    assert unpacked["bert.embeddings.word_embeddings.weight_4bit"] == TensorProto.INT8
    assert unpacked["attention0_query_weights_int8"] == TensorProto.INT8
    assert unpacked["last_attention_key_weights_unpacked"] == TensorProto.FLOAT


# -- single tables


def lookup_graph(path: Path, width: int) -> np.ndarray:
    """Write a graph that looks up words and positions. Returns the table of words."""
    generator = np.random.default_rng(width)
    tables = {name: generator.normal(size=(40, width)).astype(np.float32) for name in ("words", "places")}
    tables["words"][3] = 0
    nodes = [
        helper.make_node("Gather", ["words", TOKEN_IDS], ["word"]),
        helper.make_node("Gather", ["places", "indices"], ["place"]),
        helper.make_node("Gather", ["places", "constant"], ["constant_rows"]),  # not an embedding look-up
        helper.make_node("Add", ["word", "place"], ["sum"]),
    ]
    graph = helper.make_graph(
        nodes,
        "lookups",
        [
            helper.make_tensor_value_info(TOKEN_IDS, TensorProto.INT64, ["batch", "positions"]),
            helper.make_tensor_value_info("indices", TensorProto.INT64, [1, "positions"]),
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("word", "place", "sum", "constant_rows")
        ],
        [numpy_helper.from_array(table, name) for name, table in {**tables, "constant": np.arange(3)}.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return tables["words"]


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("width", [31, 64, 72, 128, 600, 1024])  # odd; blocks that are full, or not, in 4 or 8 bits
def test_rows_equal_those_of_the_fused_operator(tmp_path, width, bits):
    path = tmp_path / "lookups.onnx"
    table = lookup_graph(path, width)
    inputs = {TOKEN_IDS: np.arange(40).reshape(4, 10), "indices": np.arange(10, 20)[None]}
    outputs = {}
    for name, quantise in {"portable": quantise_embeddings, "fused": fused_embeddings}.items():
        graph = Graph(path)
        assert quantise(graph, bits) == 2
        graph.save(tmp_path / f"{name}.onnx")
        outputs[name] = session(tmp_path / f"{name}.onnx").run(None, inputs)
    for ours, theirs in zip(outputs["portable"], outputs["fused"], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    reference = ReferenceEvaluator(str(tmp_path / "portable.onnx"))
    for ours, theirs in zip(outputs["portable"], reference.run(None, inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    word = outputs["portable"][0].reshape(40, width)
    assert np.abs(word - table).mean() < (0.1 if bits == 4 and width % 2 == 0 else 0.01) and not word[3].any()


def test_a_byte_holds_every_pair_of_numbers():
    pairs = np.stack(np.meshgrid(np.arange(-8, 8), np.arange(-8, 8)), axis=-1).reshape(-1, 2).astype(np.int8)
    packed = embeddings._pack_halves(pairs)
    assert packed.dtype == np.int8 and packed.shape == (256, 1) and len(np.unique(packed)) == 256


@pytest.mark.parametrize("embedding", ["int8", "int4"])
def test_the_rewrite_adds_hardly_any_bytes(tmp_path, monkeypatch, raw_graph, encoder, embedding: Embedding):
    """Each node takes about 150 bytes, whatever the size of the model."""
    variant = replace(VARIANTS["fp32"], embedding=embedding)
    portable, newer = tmp_path / "portable.onnx", tmp_path / "newer.onnx"
    build_variant(variant, raw_graph, portable, encoder)
    monkeypatch.setattr(quantize, "quantise_embeddings", fused_embeddings)
    build_variant(variant, raw_graph, newer, encoder)
    assert portable.stat().st_size < newer.stat().st_size + 4_000


@pytest.mark.parametrize(("num_rows", "stored"), [(6, "4bit"), (640, "4bit"), (5, "int8")])  # 640: many blocks
def test_weights_with_an_even_number_of_rows_are_stored_in_4_bits(tmp_path, num_rows, stored):
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(num_rows, 4)).astype(np.float32) / np.sqrt(num_rows)
    nodes = [
        helper.make_node("Gather", ["words", TOKEN_IDS], ["x"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("MatMul", ["y", "last"], ["logits"]),
    ]
    constants = {"words": generator.normal(size=(40, num_rows)), "w": weights, "last": np.eye(4)}
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info(TOKEN_IDS, TensorProto.INT64, ["batch", "positions"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    source, target = tmp_path / "source.onnx", tmp_path / "quantised.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(source))
    inputs = {TOKEN_IDS: np.arange(40).reshape(4, 10)}
    assert static_int8.quantise_matmuls(source, [inputs], target, StaticOptions(bits=4)) == 1
    quantised = Graph(target)
    assert f"w_{stored}" in quantised.constants and quantise_embeddings(quantised, 4) == 1
    quantised.save(target)
    session(target, tmp_path / "loaded.onnx")
    unpacked = int4_weights.int8_weights(quantised, "w_int8")
    np.testing.assert_array_equal(Graph(tmp_path / "loaded.onnx").array("w_int8"), unpacked)
    dequantised = unpacked * quantised.array("w_scale")
    assert unpacked.dtype == np.int8 and np.abs(dequantised - weights).max() < 0.15 * np.abs(weights).max()


@pytest.mark.parametrize("name", ["int8-dynamic", "int8-static", "int4-static"])
def test_weights_have_7_bits_by_default_and_8_on_request(tmp_path, raw_graph, encoder, calibration, name):
    path = tmp_path / "model.onnx"
    for options, saturates in ((None, False), (StaticOptions(reduced=False), True)):
        build_variant(VARIANTS[name], raw_graph, path, encoder, calibration[:8], options)
        assert can_saturate(path) == saturates
    assert ExportSection().reduce_range and not ExportSection(reduce_range=False).reduce_range
