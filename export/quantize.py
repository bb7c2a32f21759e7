"""The variants: each one function from the fused graph to a file."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from export.static import fix_ranges

Variant = Literal["fp32", "int8-dynamic", "int8-static"]
VARIANTS = get_args(Variant)
CALIBRATED = ("int8-static",)


def build_variant(variant: Variant, fused: Path, target: Path, calibration: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Write one variant of the fused fp32 graph. `calibration`: inputs that those in CALIBRATED take ranges from."""
    match variant:
        case "fp32":
            shutil.copyfile(fused, target)
        case "int8-dynamic":
            int8_dynamic(fused, target)
        case "int8-static":
            int8_static(fused, target, calibration)


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


def int8_static(fused: Path, target: Path, calibration: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Weights and embeddings int8; activations uint8 between the smallest and largest value seen in calibration.

    Nothing is measured at run time: answers do not depend on the other texts of a batch.
    """
    dynamic = target.with_suffix(".dynamic.onnx")
    int8_dynamic(fused, dynamic)
    fix_ranges(dynamic, calibration, target)
    dynamic.unlink()
