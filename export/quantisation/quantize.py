"""The variants: each one function from the exported graph to a file."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.onnx_model import OnnxModel

from export.graph.fusion import Attention, EncoderShape, fuse
from export.graph.optimisation import keep_first_position, split_residual_norms
from export.graph.rewriter import Graph
from export.quantisation.blockwise import quantise_embeddings, quantise_weights
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
    """Write a variant of an exported graph. `calibration`: inputs from which calibrated ones take their ranges.

    `static`: how those do; its `bits` are the variant's own.
    """
    static = static or StaticOptions()
    match variant.weights:
        case "fp32":
            fp32(raw, target, encoder)
        case "fp16":
            fp16(raw, target, encoder)
        case "int8-dynamic":
            int8_dynamic(raw, target, encoder, reduced=static.reduced)
        case "int8-static":
            fixed_ranges(raw, target, encoder, calibration, replace(static, bits=8))
        case "int4-static":
            fixed_ranges(raw, target, encoder, calibration, replace(static, bits=4))
        case "int8-weight":
            weights_only(raw, target, encoder, bits=8)
        case "int4-weight":
            weights_only(raw, target, encoder, bits=4)
    if variant.embedding != "fp32":
        graph = Graph(target)
        quantise_embeddings(graph, EMBEDDING_BITS[variant.embedding])
        graph.save(target)


def fp32(raw: Path, target: Path, encoder: EncoderShape, *, attention: Attention = "Attention") -> None:
    """The fused graph, made lean. It is what all variants for CPUs are made from."""
    fuse(raw, target, encoder, attention=attention)
    graph = Graph(target)
    keep_first_position(graph)
    split_residual_norms(graph)
    graph.save(target)


def fp16(raw: Path, target: Path, encoder: EncoderShape) -> None:
    """All in fp16 but inputs and logits, for GPUs: with every fusion that the CUDA provider has a kernel for."""
    fuse(raw, target, encoder, fuses_embeddings=True)
    graph = Graph(target)
    keep_first_position(graph)
    graph.save(target)
    model = OnnxModel(onnx.load(str(target)))
    model.convert_float_to_float16(keep_io_types=True)
    model.save_model_to_file(str(target))


def int8_dynamic(raw: Path, target: Path, encoder: EncoderShape, *, reduced: bool = False) -> None:
    """Weights int8, activations uint8 with a scale found per tensor at run time.

    That one scale serves all texts of a batch, so answers depend on their neighbours: run texts one by one.
    """
    lean = target.with_suffix(".fp32.onnx")
    fp32(raw, lean, encoder)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the quantiser advises a preprocessing that fusion has done already
    try:
        quantize_dynamic(
            str(lean),
            str(target),
            op_types_to_quantize=["MatMul", "Attention"],
            per_channel=True,
            reduce_range=reduced,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    finally:
        logging.disable(before)
    lean.unlink()


def fixed_ranges(
    raw: Path,
    target: Path,
    encoder: EncoderShape,
    calibration: Sequence[Mapping[str, np.ndarray]],
    static: StaticOptions,
) -> None:
    """Weights int8, activations uint8 between what calibration saw: answers do not depend on the batch.

    Of 4 bits, weights are kept in 4 and unpacked to int8 when the model is loaded: half the size, the same speed.
    """
    lean = target.with_suffix(".fp32.onnx")
    fp32(raw, lean, encoder)
    quantise_matmuls(lean, calibration, target, static)
    lean.unlink()


def weights_only(raw: Path, target: Path, encoder: EncoderShape, *, bits: int) -> None:
    """Weights in 8 or 4 bits by blocks, activations quantised row by row as they come: the least error, not the least
    time.
    """
    fp32(raw, target, encoder, attention="MultiHeadAttention")
    graph = Graph(target)
    quantise_weights(graph, bits)
    graph.save(target)
