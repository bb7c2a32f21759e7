"""Two rewrites of a fused graph that preserve its output: less work in the last layer, a faster residual LayerNorm."""

from onnx import NodeProto

from export.graph.rewriter import Graph, attribute, make_node

# operators whose output at one position depends only on their input at that position
POSITIONWISE = {
    "MatMul", "Add", "Sum", "BiasGelu", "Gelu", "Relu", "SkipLayerNormalization", "LayerNormalization",
}  # fmt: skip
FIRST = "first_position"


def keep_first_position(graph: Graph) -> int:
    """After the last attention, compute only the first position, if the head reads no other. Returns the node count.

    The head reads position 0 ([CLS], <s>). The other positions of the last feed-forward block are computed for nothing:
    almost a fifth of the operations of a 4-layer model.
    """
    output = _read_at_first_position(graph)
    if output is None:
        return 0
    shortened: list[NodeProto] = []
    needed = {output}
    for candidate in reversed(list(graph.nodes)):
        if not needed & set(candidate.output):
            continue
        users = [user for name in candidate.output for user in graph.users(name)]
        if not all(user in shortened or _reads_first_position(graph, user) for user in users):
            continue
        if candidate.op_type in POSITIONWISE:
            shortened.append(candidate)
            needed |= {name for name in candidate.input if name not in graph.constants}
        elif candidate.op_type == "MultiHeadAttention":  # only the query has fewer positions
            shortened.append(candidate)
            needed.add(candidate.input[0])
    _gather_inputs(graph, shortened)
    return len(shortened)


def _gather_inputs(graph: Graph, shortened: list[NodeProto]) -> None:
    """Insert a Gather of the first position for every tensor that enters the shortened part of the graph."""
    inner_tensors = {name for node in shortened for name in node.output}
    for node in shortened:
        input_indices = range(1) if node.op_type == "MultiHeadAttention" else range(len(node.input))
        for input_index in input_indices:
            name = node.input[input_index]
            if name == "" or name in graph.constants or name in inner_tensors:
                continue
            first = f"{name}_first"
            if graph.producer(first) is None:
                position = graph.add_constant(FIRST, [0])
                earliest = min(shortened, key=list(graph.nodes).index)
                producer = graph.producer(name)
                gather = make_node("Gather", [name, position], first, axis=1)
                if producer is None:
                    graph.insert_before(earliest, [gather])
                else:
                    graph.insert_before(list(graph.nodes)[list(graph.nodes).index(producer) + 1], [gather])
            node.input[input_index] = first


def _read_at_first_position(graph: Graph) -> str | None:
    """The tensor of all positions from which the head reads the first only; None if it reads more of it."""
    for gather in reversed(graph.of_type("Gather")):
        name = gather.input[0]
        if name not in graph.constants and all(_reads_first_position(graph, user) for user in graph.users(name)):
            return name
    return None


def _reads_first_position(graph: Graph, reader: NodeProto) -> bool:
    if reader.op_type != "Gather" or attribute(reader, "axis", 0) != 1 or reader.input[1] == FIRST:
        return False
    position = graph.constant_value(reader.input[1])
    return position is not None and position.ndim == 0 and int(position) == 0


def split_residual_norms(graph: Graph) -> int:
    """Replace each SkipLayerNormalization by Sum and LayerNormalization. Returns how many were replaced.

    In onnxruntime 1.32 on x86-64, for 64 positions of width 312, the fused operator takes 49 us and the pair 25 us. The
    runtime would fuse an Add again, so the sum is a Sum.
    """
    skip_norms = graph.of_type("SkipLayerNormalization")
    for skip_norm in skip_norms:
        left, right, gain, offset, *bias = skip_norm.input
        total = f"{skip_norm.output[0]}_sum"
        norm = make_node(
            "LayerNormalization",
            [total, gain, offset],
            skip_norm.output[0],
            axis=-1,
            epsilon=attribute(skip_norm, "epsilon"),
        )
        graph.replace(skip_norm, [make_node("Sum", [left, right, *bias], total), norm])
    return len(skip_norms)
