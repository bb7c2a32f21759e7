"""The oldest onnxruntime that computes a model file correctly, by its operators.

A version may load a model and still compute it wrongly. `results/export/runtime_versions.py` tried each version from
1.16 to 1.32 with every variant of a 6-layer MiniLM, on 200 texts, unbatched and in padded batches. A version is correct
if at most one label differs from those of 1.32; rounding changes that many. The outcomes are in
`results/export/runtime_versions.json`.
"""

from pathlib import Path

import onnx

from export.graph.rewriter import attribute

OLDEST = (1, 16)  # the oldest version that was tried
# The first correct version for MatMulNBits, by bits. 1.19 and 1.20 load 4 bits, but change 3 labels in padded batches.
FIRST_WITH_MATMUL_NBITS = {8: (1, 22), 4: (1, 21)}


def oldest_onnxruntime(model_file: Path) -> str:
    """The oldest version of onnxruntime that computes the model correctly, such as "1.22"."""
    nodes = onnx.load(str(model_file), load_external_data=False).graph.node
    products = [node for node in nodes if node.op_type == "MatMulNBits"]
    versions = [OLDEST, *(FIRST_WITH_MATMUL_NBITS[attribute(product, "bits")] for product in products)]
    return ".".join(map(str, max(versions)))
