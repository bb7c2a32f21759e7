"""Two 4-bit numbers per byte, unpacked by standard operators, which every onnxruntime has.

4-bit tensors need opset 21. `BitShift` on bytes gives wrong results in onnxruntime's OpenVINO provider.
"""

import numpy as np
from onnx import NodeProto, TensorProto

from export.graph.rewriter import Graph, make_node


def pack_halves(numbers: np.ndarray, axis: int) -> np.ndarray:
    """Pack numbers from -8 to 7 into int8, at half the size along an axis of even size.

    byte = 16 * number of the second half + number of the first half + 8: from -128 to 127.
    """
    first, second = np.split(numbers.astype(np.int8), 2, axis=axis)
    return (16 * second + first + 8).astype(np.int8)


def unpack_halves(packed: np.ndarray, axis: int) -> np.ndarray:
    """The int8 numbers that `pack_halves` packed."""
    second = packed >> 4
    return np.concatenate([packed - 16 * second - 8, second], axis=axis).astype(np.int8)


def unpacking_nodes(graph: Graph, packed: str, output: str, axis: int) -> list[NodeProto]:
    """The nodes that compute the numbers of a packed tensor, as float32."""
    sixteenth = graph.add_constant("sixteenth", np.float32(1 / 16))
    minus_16 = graph.add_constant("minus_16", np.float32(-16))
    minus_8 = graph.add_constant("minus_8", np.float32(-8))
    value, scaled, first, second = (f"{output}_{part}" for part in ("byte", "scaled", "first", "second"))
    return [
        make_node("Cast", [packed], value, to=TensorProto.FLOAT),
        make_node("Mul", [value, sixteenth], scaled),
        make_node("Floor", [scaled], second),
        make_node("Mul", [second, minus_16], f"{second}_16"),
        make_node("Sum", [value, f"{second}_16", minus_8], first),
        make_node("Concat", [first, second], output, axis=axis),
    ]
