"""Embeddings with 8- or 4-bit rows, unpacked by standard operators, which every onnxruntime has.

`GatherBlockQuantized` does the same in one operator, but needs onnxruntime 1.23, and some builds for browsers lack it.
4-bit tensors need opset 21. `BitShift` on bytes gives wrong results in onnxruntime's OpenVINO provider.
"""

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto

from export.graph.operators import EMBEDDING_NODES
from export.graph.rewriter import Graph, attribute, make_node
from export.quantisation.blockwise import quantise_blockwise

BLOCK_SIZES = {8: 512, 4: 64}  # by bits
TOKEN_IDS = "input_ids"  # the indices into the table of word embeddings
MIN_TABLE_ROWS = 16  # smaller tables, as that of token types, are not worth quantising


def quantise_embeddings(graph: Graph, bits: int) -> int:
    """Quantise the tables of embedding look-ups. Returns how many were quantised.

    Word embeddings, two thirds of a small BERT, get `bits` bits, or 8 if their width is odd. Each call unpacks only the
    rows that it reads. Position embeddings get 8 bits. onnxruntime unpacks this small table when it loads the model,
    because all its inputs are constant.
    """
    gathers = [gather for gather in graph.of_type("Gather") if _looks_up_rows(graph, gather)]
    for gather in gathers:
        name, index = gather.input
        output = gather.output[0]
        table = _add_table(graph, name, bits if index == TOKEN_IDS else 8)
        if index == TOKEN_IDS:
            rows, row_scales = f"{output}_rows", f"{output}_scales"
            lookups = [
                make_node("Gather", [table.numbers, index], rows),
                make_node("Gather", [table.scales, index], row_scales),
            ]
            unpacking = _unpacking_nodes(graph, table, rows, row_scales, output, num_indices=2)  # text, position
            for number, node in enumerate([*lookups, *unpacking]):
                node.name = f"{EMBEDDING_NODES}{number}"
            graph.replace(gather, [*lookups, *unpacking])
        else:
            unpacked = f"{name}_unpacked"
            unpacking = _unpacking_nodes(graph, table, table.numbers, table.scales, unpacked, num_indices=1)
            graph.replace(gather, [*unpacking, make_node("Gather", [unpacked, index], output)])
    return len(gathers)


def _looks_up_rows(graph: Graph, gather: NodeProto) -> bool:
    """Whether a Gather reads rows of a constant table of floats, at indices that depend on the model's inputs."""
    name, index = gather.input
    if name not in graph.constants or graph.constants[name].data_type != TensorProto.FLOAT:
        return False
    shape, axis = graph.constants[name].dims, attribute(gather, "axis", 0)
    return len(shape) == 2 and shape[0] >= MIN_TABLE_ROWS and axis == 0 and graph.constant_value(index) is None


@dataclass(frozen=True, kw_only=True)
class _Table:
    """A quantised table of `width` columns. `numbers`, `scales`: names of its constants.

    Shape of the numbers: (rows, width), or (rows, width / 2) if packed. Shape of the scales: (rows, 1), or (rows,
    blocks, 1) if a row has several blocks.
    """

    numbers: str
    scales: str
    width: int
    bits: int
    num_blocks: int


def _add_table(graph: Graph, name: str, bits: int) -> _Table:
    """Quantise a table. One of odd width gets 8 bits, because a byte holds two numbers of one row."""
    table = graph.array(name)
    num_rows, width = table.shape
    bits = bits if width % 2 == 0 else 8
    blocks, scales = quantise_blockwise(table, bits, BLOCK_SIZES[bits])
    numbers = (blocks.astype(np.int16) - 2 ** (bits - 1)).astype(np.int8).reshape(num_rows, -1)[:, :width]
    num_blocks = scales.shape[1]
    return _Table(
        numbers=graph.add_constant(f"{name}_{bits}bit", _pack_halves(numbers) if bits == 4 else numbers),
        scales=graph.add_constant(f"{name}_scales", scales if num_blocks == 1 else scales[..., None]),
        width=width,
        bits=bits,
        num_blocks=num_blocks,
    )


def _pack_halves(numbers: np.ndarray) -> np.ndarray:
    """Pack numbers from -8 to 7 (rows, columns) into int8 (rows, columns / 2).

    byte = 16 * number of the second half + number of the first half + 8: from -128 to 127.
    """
    first, second = np.split(numbers, 2, axis=1)
    return (16 * second.astype(np.int16) + first + 8).astype(np.int8)


def _halves_nodes(graph: Graph, packed: str, output: str) -> list[NodeProto]:
    """The nodes that compute the numbers of packed rows, as float32."""
    sixteenth = graph.add_constant("one_sixteenth", np.float32(1 / 16))
    minus_16 = graph.add_constant("minus_16", np.float32(-16))
    minus_8 = graph.add_constant("minus_8", np.float32(-8))
    byte, first, second = f"{output}_byte", f"{output}_first_half", f"{output}_second_half"
    return [
        make_node("Cast", [packed], byte, to=TensorProto.FLOAT),
        make_node("Mul", [byte, sixteenth], f"{byte}_sixteenth"),
        make_node("Floor", [f"{byte}_sixteenth"], second),
        make_node("Mul", [second, minus_16], f"{second}_negated"),
        make_node("Sum", [byte, f"{second}_negated", minus_8], first),
        make_node("Concat", [first, second], output, axis=-1),
    ]


def _unpacking_nodes(
    graph: Graph, table: _Table, numbers: str, scales: str, output: str, *, num_indices: int
) -> list[NodeProto]:
    """The nodes that compute float32 rows from numbers and scales of the table, or of rows gathered from it.

    `num_indices`: dimensions before the columns.
    """
    wide = f"{output}_numbers"
    if table.bits == 4:
        nodes = _halves_nodes(graph, numbers, wide)
    else:
        nodes = [make_node("Cast", [numbers], wide, to=TensorProto.FLOAT)]
    if table.num_blocks > 1:
        block_size = BLOCK_SIZES[table.bits]
        num_columns = table.num_blocks * block_size
        block_shape = graph.add_constant(f"{table.scales}_block_shape", [table.num_blocks, block_size])
        row_shape = graph.add_constant(f"{table.scales}_row_shape", [*([0] * num_indices), num_columns])  # 0: unchanged
        nodes += [
            make_node("Expand", [scales, block_shape], f"{output}_scales_by_block"),
            make_node("Reshape", [f"{output}_scales_by_block", row_shape], f"{output}_scales_by_column"),
        ]
        scales = f"{output}_scales_by_column"
        if num_columns > table.width:  # the last block is not full
            bounds = [
                graph.add_constant(f"{table.scales}_{bound}", [value])
                for bound, value in {"start": 0, "end": table.width, "axis": -1}.items()
            ]
            nodes.append(make_node("Slice", [scales, *bounds], f"{output}_scales_of_width"))
            scales = f"{output}_scales_of_width"
    return [*nodes, make_node("Mul", [wide, scales], output)]
