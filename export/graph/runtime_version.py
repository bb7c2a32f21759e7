"""The oldest onnxruntime that loads a model file, by its operators."""

from pathlib import Path

import onnx

from export.graph.rewriter import attribute

OLDEST = (1, 16)  # the oldest version with which bundles were tried
WITH_BITS = (1, 23)  # the first in which GatherBlockQuantized has the attribute `bits`
WITH_8_BIT_PRODUCTS = (1, 22)  # the first whose MatMulNBits takes 8 bits


def oldest_onnxruntime(model_file: Path) -> str:
    """The oldest version of onnxruntime that loads the model, such as "1.23"."""
    versions = [OLDEST]
    for node in onnx.load(str(model_file), load_external_data=False).graph.node:
        match node.op_type:
            case "GatherBlockQuantized" if attribute(node, "bits") is not None:
                versions.append(WITH_BITS)
            case "MatMulNBits" if attribute(node, "bits") == 8:
                versions.append(WITH_8_BIT_PRODUCTS)
    return ".".join(map(str, max(versions)))
