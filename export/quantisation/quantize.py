"""Builds the variants. Each weight format is one function from the exported graph to a model file."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import assert_never

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.onnx_model import OnnxModel

from export.graph.attention import shorten_last_attention
from export.graph.fusion import Attention, EncoderShape, fuse
from export.graph.optimisation import keep_first_position, split_residual_norms
from export.graph.rewriter import Graph
from export.quantisation.blockwise import quantise_weights
from export.quantisation.embeddings import quantise_embeddings
from export.quantisation.static_int8 import StaticOptions, quantise_matmuls
from export.quantisation.variants import Embedding, Variant

EMBEDDING_BITS: dict[Embedding, int] = {"int8": 8, "int4": 4}


def build_variant(
    variant: Variant,
    raw: Path,
    target: Path,
    encoder: EncoderShape,
    calibration: Sequence[Mapping[str, np.ndarray]] = (),
    static: StaticOptions | None = None,
) -> None:
    """Write a variant of the exported graph `raw`.

    `calibration`: model inputs that calibrated variants measure their ranges on. `static`: options of calibrated
    variants; the variant determines `bits`. `reduced` also applies to int8-dynamic.
    """
    static = static or StaticOptions()
    match variant.weights:
        case "fp32":
            write_fp32(raw, target, encoder)
            graph = Graph(target)
            shorten_last_attention(graph)
            graph.save(target)
        case "fp16":
            write_fp16(raw, target, encoder)
        case "int8-dynamic":
            write_int8_dynamic(raw, target, encoder, reduced=static.reduced)
        case "int8-static":
            write_static(raw, target, encoder, calibration, replace(static, bits=8))
        case "int4-static":
            write_static(raw, target, encoder, calibration, replace(static, bits=4))
        case "int8-weight":
            write_weight_only(raw, target, encoder, bits=8)
        case "int4-weight":
            write_weight_only(raw, target, encoder, bits=4)
        case unknown:
            assert_never(unknown)
    if variant.embedding != "fp32":
        graph = Graph(target)
        quantise_embeddings(graph, EMBEDDING_BITS[variant.embedding])
        graph.save(target)


def write_fp32(raw: Path, target: Path, encoder: EncoderShape, *, attention: Attention = "Attention") -> None:
    """Write the fused and optimised graph. All variants for CPUs start from it."""
    fuse(raw, target, encoder, attention=attention)
    graph = Graph(target)
    keep_first_position(graph)
    split_residual_norms(graph)
    graph.save(target)


def write_fp16(raw: Path, target: Path, encoder: EncoderShape) -> None:
    """Write the model in fp16 for GPUs, with every fusion that the CUDA provider supports.

    Inputs and logits keep their types.
    """
    fuse(raw, target, encoder, fuses_embeddings=True)
    graph = Graph(target)
    keep_first_position(graph)
    graph.save(target)
    model = OnnxModel(onnx.load(str(target)))
    model.convert_float_to_float16(keep_io_types=True)
    model.save_model_to_file(str(target))


def write_int8_dynamic(raw: Path, target: Path, encoder: EncoderShape, *, reduced: bool) -> None:
    """Write the model with int8 weights, and uint8 activations with one scale per tensor, computed at run time.

    All texts of a batch share that scale, so outputs are batch-dependent: run texts one at a time. `reduced`: as in
    StaticOptions.
    """
    fp32_file = target.with_suffix(".fp32.onnx")
    write_fp32(raw, fp32_file, encoder)
    original_level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the quantiser recommends a preprocessing step that fusion has already done
    try:
        quantize_dynamic(
            str(fp32_file),
            str(target),
            op_types_to_quantize=["MatMul", "Attention"],
            per_channel=True,
            reduce_range=reduced,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    finally:
        logging.disable(original_level)
    fp32_file.unlink()


def write_static(
    raw: Path,
    target: Path,
    encoder: EncoderShape,
    calibration: Sequence[Mapping[str, np.ndarray]],
    static: StaticOptions,
) -> None:
    """Write the model with int8 weights, and uint8 activations with calibrated ranges. It is batch-invariant.

    With 4 bits, the stored weights are unpacked to int8 when the model is loaded: half the size at the same speed.
    """
    fp32_file = target.with_suffix(".fp32.onnx")
    write_fp32(raw, fp32_file, encoder)
    quantise_matmuls(fp32_file, calibration, target, static)
    fp32_file.unlink()


def write_weight_only(raw: Path, target: Path, encoder: EncoderShape, *, bits: int) -> None:
    """Write the model with block-wise weights in 8 or 4 bits, and activations quantised per row at run time.

    It has the smallest error of the quantised variants, but is not the fastest.
    """
    write_fp32(raw, target, encoder, attention="MultiHeadAttention")
    graph = Graph(target)
    quantise_weights(graph, bits)
    graph.save(target)
