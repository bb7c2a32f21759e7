"""An ONNX graph in the hands of a rewrite: constants by name, who makes and uses a tensor, nodes replaced in place."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"  # the domain of onnxruntime's own operators
OPSET = 21  # the first with 4-bit tensors


class Graph:
    """A model's graph, loaded whole."""

    def __init__(self, path: Path) -> None:
        self.model = onnx.load(str(path))
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in self.model.graph.initializer}

    @property
    def nodes(self) -> Any:
        """The nodes, in an order in which they can run."""
        return self.model.graph.node

    def of_type(self, *names: str) -> list[NodeProto]:
        """The nodes of the given operators."""
        return [node for node in self.nodes if node.op_type in names]

    def array(self, name: str) -> np.ndarray:
        """A constant's values."""
        return numpy_helper.to_array(self.constants[name])

    def value(self, name: str) -> np.ndarray | None:
        """A tensor's values where they are known before the model runs: of a constant, or of a Constant node."""
        if name in self.constants:
            return self.array(name)
        found = self.producer(name)
        return numpy_helper.to_array(attribute(found, "value")) if found and found.op_type == "Constant" else None

    def add_constant(self, name: str, values: Any) -> str:
        """Add a constant, unless there is one of that name; returns the name."""
        return self.add_tensor(numpy_helper.from_array(np.asarray(values), name))

    def add_tensor(self, tensor: TensorProto) -> str:
        """Add a constant as it is, unless there is one of its name; returns the name."""
        self.constants.setdefault(tensor.name, tensor)
        return tensor.name

    def users(self, name: str) -> list[NodeProto]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if name in node.input]

    def producer(self, name: str) -> NodeProto | None:
        """The node that writes a tensor; None for inputs and constants."""
        return next((node for node in self.nodes if name in node.output), None)

    def replace(self, old: NodeProto, new: Sequence[NodeProto]) -> None:
        """Put nodes in the place of one."""
        index = list(self.nodes).index(old)
        del self.nodes[index]
        for offset, node in enumerate(new):
            self.nodes.insert(index + offset, node)

    def insert_before(self, place: NodeProto, new: Sequence[NodeProto]) -> None:
        """Put nodes before one."""
        index = list(self.nodes).index(place)
        for offset, node in enumerate(new):
            self.nodes.insert(index + offset, node)

    def save(self, path: Path) -> None:
        """Write the model, with the constants that a node reads, and the operator sets that its nodes need."""
        read = {name for node in self.nodes for name in node.input}
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(tensor for name, tensor in self.constants.items() if name in read)
        self.constants = {tensor.name: tensor for tensor in self.model.graph.initializer}
        if all(entry.domain != MICROSOFT for entry in self.model.opset_import):
            self.model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        onnx.save(self.model, str(path))

    def require_opset(self, version: int) -> None:
        """Raise the standard operator set; the graphs here hold no operator whose meaning has changed since 17."""
        for entry in self.model.opset_import:
            if entry.domain == "":
                entry.version = max(entry.version, version)
        self.model.ir_version = max(self.model.ir_version, 10)


def node(operator: str, inputs: Sequence[str], output: str, *, microsoft: bool = False, **attributes: Any) -> NodeProto:
    """A node of one output."""
    return helper.make_node(operator, list(inputs), [output], domain=MICROSOFT if microsoft else "", **attributes)


def attribute(of: NodeProto, name: str, default: Any = None) -> Any:
    """A node's attribute, or the default where it has none."""
    return next((helper.get_attribute_value(found) for found in of.attribute if found.name == name), default)


def count_operators(path: Path) -> Counter[str]:
    """How often each operator stands in a model."""
    return Counter(found.op_type for found in onnx.load(str(path), load_external_data=False).graph.node)
