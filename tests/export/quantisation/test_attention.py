"""Attention as separate operators, for the first position only, and in int8."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from export.graph.attention import separate_attentions, shorten_last_attention
from export.graph.fusion import fuse
from export.graph.rewriter import Graph, count_operators
from export.quantisation.quantize import build_variant, write_fp32
from export.quantisation.static_attention import KEY_LIMITS
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import VARIANTS
from export.quantisation.vnni_emulation import write_saturating_model


def logits(path: Path, batches: list[dict[str, np.ndarray]]) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["logits"], batch)[0] for batch in batches])


def padded(texts: list[dict[str, np.ndarray]], longest: int) -> dict[str, np.ndarray]:
    """Texts as one batch with padding on the right."""
    return {
        name: np.concatenate([np.pad(text[name], ((0, 0), (0, longest - text[name].shape[1]))) for text in texts])
        for name in texts[0]
    }


@pytest.fixture(scope="module")
def fp32(tmp_path_factory, raw_graph, encoder) -> Path:
    path = tmp_path_factory.mktemp("attention") / "fp32.onnx"
    write_fp32(raw_graph, path, encoder)
    return path


@pytest.mark.parametrize("form", ["first position", "separate"])
def test_the_output_stays_the_same(tmp_path, fp32, calibration, form):
    graph = Graph(fp32)
    if form == "first position":
        assert shorten_last_attention(graph)
    else:
        assert [layer.num_heads for layer in separate_attentions(graph)] == [4] * 3  # all but the last
    graph.save(tmp_path / "model.onnx")
    onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)
    few = calibration[:16]
    longest = max(text["input_ids"].shape[1] for text in few)
    for batches in (few, [padded(few, longest)], [padded(few, longest + 9)]):
        np.testing.assert_allclose(logits(tmp_path / "model.onnx", batches), logits(fp32, batches), atol=1e-5)
    np.testing.assert_allclose(
        logits(tmp_path / "model.onnx", few), logits(tmp_path / "model.onnx", [padded(few, longest + 9)]), atol=1e-5
    )


def test_a_layer_that_is_read_at_every_position_stays_whole(tmp_path, raw_graph, encoder):
    fuse(raw_graph, tmp_path / "fused.onnx", encoder)
    graph = Graph(tmp_path / "fused.onnx")
    assert not shorten_last_attention(graph)
    assert len(separate_attentions(graph)) == 4


@pytest.mark.parametrize("name", ["int8-static", "int4-static"])
def test_int8_attention_does_not_depend_on_padding(tmp_path, raw_graph, encoder, calibration, name):
    path = tmp_path / "model.onnx"
    build_variant(VARIANTS[name], raw_graph, path, encoder, calibration)
    few = calibration[:32]
    longest = max(text["input_ids"].shape[1] for text in few)
    alone = logits(path, few)
    for batch in (padded(few, longest), padded(few, longest + 11)):
        np.testing.assert_array_equal(logits(path, [batch]), alone)


def test_keys_beyond_the_calibrated_range_do_not_saturate(tmp_path, raw_graph, encoder, calibration):
    """Calibrated on short texts of one word, then run on others."""
    path = tmp_path / "model.onnx"
    shortest = sorted(calibration, key=lambda text: text["input_ids"].shape[1])[:1]
    build_variant(VARIANTS["int8-static"], raw_graph, path, encoder, shortest)
    graph = Graph(path)
    keys = [node.output[0] for node in graph.of_type("Clip")]
    assert len(keys) == 3
    graph.model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in keys)
    graph.save(tmp_path / "keys.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "keys.onnx"), providers=["CPUExecutionProvider"])
    outputs = [session.run(keys, text) for text in calibration]
    values = np.concatenate([array.ravel() for arrays in outputs for array in arrays])
    assert (values.min(), values.max()) == KEY_LIMITS
    assert 2 * 255 * max(map(abs, KEY_LIMITS)) < 2**15


def test_the_emulation_without_vnni_agrees(tmp_path, raw_graph, encoder, calibration):
    path, emulated = tmp_path / "model.onnx", tmp_path / "emulated.onnx"
    build_variant(VARIANTS["int8-static"], raw_graph, path, encoder, calibration)
    assert write_saturating_model(path, emulated) == 29
    difference = np.abs(logits(path, calibration[:40]) - logits(emulated, calibration[:40]))
    assert np.median(difference) < 1e-5 and difference.max() < 0.1  # rounding


@pytest.mark.parametrize("name", ["int8-static", "int4-static"])
def test_fp32_attention_on_request(tmp_path, raw_graph, encoder, calibration, name):
    path = tmp_path / "model.onnx"
    build_variant(VARIANTS[name], raw_graph, path, encoder, calibration[:8], StaticOptions(attention="fp32"))
    counts = count_operators(path)
    assert (counts["QAttention"], counts["MatMulIntegerToFloat"], counts["If"]) == (4, 13, 0)
