"""The variants: each one function from the fused graph to a file."""

import logging
import shutil
from pathlib import Path
from typing import Literal, get_args

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

Variant = Literal["fp32", "int8-dynamic"]
VARIANTS = get_args(Variant)


def build_variant(variant: Variant, fused: Path, target: Path) -> None:
    """Write one variant of the fused fp32 graph."""
    match variant:
        case "fp32":
            shutil.copyfile(fused, target)
        case "int8-dynamic":
            int8_dynamic(fused, target)


def int8_dynamic(fused: Path, target: Path) -> None:
    """Weights and embeddings int8; activations uint8 with a scale found per tensor at run time.

    That one scale serves all texts of a batch, so answers depend on their neighbours: run texts one by one.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the quantiser advises a preprocessing that fusion has done already
    try:
        quantize_dynamic(
            str(fused),
            str(target),
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    finally:
        logging.disable(before)
