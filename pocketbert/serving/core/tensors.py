"""The tensors of the Open Inference Protocol: texts in, labels and numbers out, as JSON values or as bytes.

Specification: https://github.com/kserve/open-inference-protocol, and the binary tensor data extension of
https://github.com/triton-inference-server/server, which its HTTP clients use.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from export.bundle.runtime import Classifier
from pocketbert.serving.core.limits import RefusedError

LENGTH = struct.Struct("<I")  # precedes each element of a BYTES tensor


@dataclass(frozen=True)
class TensorShape:
    """An input or output of a model: name, datatype and shape. -1 is a dimension of any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class OutputTensor:
    """A result: FP32 values of any shape, or for BYTES a list of texts."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: np.ndarray | list[str]

    def flat(self) -> list[str] | list[float]:
        """The values in row-major order, for JSON."""
        return self.values if isinstance(self.values, list) else self.values.ravel().tolist()

    def content(self) -> bytes:
        """The values in row-major order, as bytes."""
        if isinstance(self.values, list):
            elements = [text.encode() for text in self.values]
            return b"".join(LENGTH.pack(len(element)) + element for element in elements)
        return self.values.astype("<f4").tobytes()


def inputs_of(classifier: Classifier) -> list[TensorShape]:
    """The texts, and the second texts of a model for pairs."""
    return [TensorShape(name, "BYTES", (-1,)) for name in (("text", "pair") if classifier.takes_pairs else ("text",))]


def outputs_of(classifier: Classifier) -> list[TensorShape]:
    """Classification: the label, the probabilities in the order of the labels, the logits. Regression: the value."""
    if classifier.task_type == "regression":
        return [TensorShape("value", "FP32", (-1,))]
    per_label = (-1, len(classifier.labels))
    return [
        TensorShape("label", "BYTES", (-1,)),
        TensorShape("probabilities", "FP32", per_label),
        TensorShape("logits", "FP32", per_label),
    ]


def output_tensors(classifier: Classifier, logits: np.ndarray, names: Sequence[str]) -> list[OutputTensor]:
    """The named outputs, or all if none is named, of logits (texts, labels). Raises RefusedError for another name."""
    known = [output.name for output in outputs_of(classifier)]
    for name in names:
        if name not in known:
            raise RefusedError(422, f"output {name!r:.60}: expected one of {', '.join(known)}")
    answers = classifier.answers(logits).astype(np.float32)
    return [_output(classifier, logits, answers, name) for name in names or known]


def _output(classifier: Classifier, logits: np.ndarray, answers: np.ndarray, name: str) -> OutputTensor:
    match name:
        case "label":
            return OutputTensor(name, "BYTES", (len(logits),), [classifier.labels[best] for best in answers.argmax(1)])
        case "value":
            return OutputTensor(name, "FP32", (len(logits),), answers[:, 0])
        case "logits":
            return OutputTensor(name, "FP32", logits.shape, logits)
        case _:
            return OutputTensor(name, "FP32", answers.shape, answers)


def decode_texts(content: bytes, name: str) -> list[str]:
    """The elements of a BYTES tensor, each after its length in 4 bytes. Raises RefusedError."""
    return [decode_text(element, f"{name}[{index}]") for index, element in enumerate(_elements(content, name))]


def decode_text(element: bytes, where: str) -> str:
    """One text. Raises RefusedError if it is not UTF-8."""
    try:
        return element.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(422, f"{where}: not UTF-8, at byte {error.start}") from error


def check_tensor(name: str, datatype: str, shape: Sequence[int], num_elements: int) -> None:
    """Raise RefusedError unless an input holds texts in one dimension, or in a second one of size 1."""
    if datatype != "BYTES":
        raise RefusedError(422, f"input {name!r:.60}: got datatype {datatype!r:.60}; expected BYTES")
    if len(shape) not in (1, 2) or list(shape[1:]) not in ([], [1]) or min(shape) < 0:
        raise RefusedError(422, f"input {name!r:.60}: got shape {list(shape)!r:.60}; expected [texts] or [texts, 1]")
    if prod(shape) != num_elements:
        raise RefusedError(422, f"input {name!r:.60}: got {num_elements} elements for shape {list(shape)!r:.60}")


def texts_and_pairs(
    classifier: Classifier, inputs: Sequence[tuple[str, list[str]]]
) -> tuple[list[str], list[str] | None]:
    """The texts and the second texts among the inputs, by name. Raises RefusedError for other inputs."""
    expected = [tensor.name for tensor in inputs_of(classifier)]
    names = [name for name, _ in inputs]
    if sorted(names) != sorted(expected):
        got = ", ".join(f"{name!r:.60}" for name in names[:4]) or "none"
        raise RefusedError(422, f"got the inputs {got}; expected {' and '.join(expected)}")
    by_name = dict(inputs)
    return by_name["text"], by_name.get("pair")


def _elements(content: bytes, name: str) -> Iterator[bytes]:
    position = 0
    while position < len(content):
        begin = position + LENGTH.size
        position = begin + LENGTH.unpack_from(content, position)[0] if begin <= len(content) else begin
        if position > len(content):
            raise RefusedError(422, f"input {name!r:.60}: the bytes end within an element")
        yield content[begin:position]
