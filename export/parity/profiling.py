"""Reads an onnxruntime profile as typed records."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

KERNEL_SUFFIX = "_kernel_time"  # ends the name of an event that is one run of a node


@dataclass(frozen=True, kw_only=True)
class NodeEvent:
    """One run of one node. `inputs`, `outputs`: the shapes of its tensors, in order."""

    name: str
    operator: str
    provider: str
    duration_us: float
    inputs: list[list[int]]
    outputs: list[list[int]]


@dataclass(frozen=True)
class _Arguments:
    op_name: str = ""
    provider: str = ""
    input_type_shape: list[dict[str, list[int]]] = field(default_factory=list)
    output_type_shape: list[dict[str, list[int]]] = field(default_factory=list)


@dataclass(frozen=True)
class _Event:
    """An event in the profile's JSON. Only events of nodes have the arguments that are read here."""

    cat: str
    name: str
    dur: float = 0.0
    args: _Arguments = field(default_factory=_Arguments)


@cache
def _adapter() -> TypeAdapter[list[_Event]]:
    return TypeAdapter(list[_Event])


def node_events(path: Path) -> list[NodeEvent]:
    """The node runs in a profile written by `InferenceSession.end_profiling`, in order."""
    events = _adapter().validate_json(path.read_text(encoding="utf-8"))
    return [
        NodeEvent(
            name=event.name,
            operator=event.args.op_name,
            provider=event.args.provider,
            duration_us=event.dur,
            inputs=_shapes(event.args.input_type_shape),
            outputs=_shapes(event.args.output_type_shape),
        )
        for event in events
        if event.cat == "Node" and event.name.endswith(KERNEL_SUFFIX)
    ]


def _shapes(by_type: list[dict[str, list[int]]]) -> list[list[int]]:
    return [shape for typed_shape in by_type for shape in typed_shape.values()]
