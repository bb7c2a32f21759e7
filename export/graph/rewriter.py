"""An editable ONNX graph: look up constants, producers and users of a tensor, and replace nodes in place."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"  # the domain of onnxruntime's own operators


class Graph:
    """A model's graph, loaded into memory."""

    def __init__(self, path: Path) -> None:
        self.model = onnx.load(str(path))
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in self.model.graph.initializer}

    @property
    def nodes(self) -> Any:
        """All nodes in topological order."""
        return self.model.graph.node

    def of_type(self, *operators: str) -> list[NodeProto]:
        """The nodes of the given operators."""
        return [node for node in self.nodes if node.op_type in operators]

    def array(self, name: str) -> np.ndarray:
        """The values of an initialiser."""
        return numpy_helper.to_array(self.constants[name])

    def constant_value(self, name: str) -> np.ndarray | None:
        """The values of an initialiser or of a Constant node's output; None for any other tensor."""
        if name in self.constants:
            return self.array(name)
        producer = self.producer(name)
        if producer is None or producer.op_type != "Constant":
            return None
        return numpy_helper.to_array(attribute(producer, "value"))

    def add_constant(self, name: str, values: Any) -> str:
        """Add an initialiser unless one of this name exists. Returns the name."""
        return self.add_tensor(numpy_helper.from_array(np.asarray(values), name))

    def add_tensor(self, tensor: TensorProto) -> str:
        """Add a tensor as an initialiser unless one of its name exists. Returns the name."""
        self.constants.setdefault(tensor.name, tensor)
        return tensor.name

    def users(self, name: str) -> list[NodeProto]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if name in node.input]

    def producer(self, name: str) -> NodeProto | None:
        """The node that writes a tensor; None for inputs and initialisers."""
        return next((node for node in self.nodes if name in node.output), None)

    def computed_by(self, name: str) -> NodeProto:
        """The node that writes a tensor. Raises KeyError if none does."""
        producer = self.producer(name)
        if producer is None:
            raise KeyError(name)
        return producer

    def replace(self, old: NodeProto, new: Sequence[NodeProto]) -> None:
        """Replace a node by other nodes, at the same position."""
        index = list(self.nodes).index(old)
        del self.nodes[index]
        for offset, node in enumerate(new):
            self.nodes.insert(index + offset, node)

    def insert_before(self, successor: NodeProto, new: Sequence[NodeProto]) -> None:
        """Insert nodes before an existing one."""
        index = list(self.nodes).index(successor)
        for offset, node in enumerate(new):
            self.nodes.insert(index + offset, node)

    def save(self, path: Path) -> None:
        """Write the model without unused initialisers, and import onnxruntime's operator domain."""
        read = {name for node in self.nodes for name in node.input}
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(tensor for name, tensor in self.constants.items() if name in read)
        self.constants = {tensor.name: tensor for tensor in self.model.graph.initializer}
        if all(entry.domain != MICROSOFT for entry in self.model.opset_import):
            self.model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        onnx.save(self.model, str(path))

    def require_opset(self, version: int) -> None:
        """Raise the opset version. Safe here: no operator in these graphs has changed its meaning since opset 17."""
        for entry in self.model.opset_import:
            if entry.domain == "":
                entry.version = max(entry.version, version)


def make_node(
    operator: str, inputs: Sequence[str], output: str, *, microsoft: bool = False, **attributes: Any
) -> NodeProto:
    """A node with one output. `microsoft`: the operator is in onnxruntime's own domain."""
    return helper.make_node(operator, list(inputs), [output], domain=MICROSOFT if microsoft else "", **attributes)


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute, or the default if the node has none of this name."""
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def count_operators(path: Path) -> Counter[str]:
    """Number of nodes per operator in a model file."""
    return Counter(node.op_type for node in onnx.load(str(path), load_external_data=False).graph.node)
