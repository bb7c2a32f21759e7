"""Where a bundle's time goes: onnxruntime's own profile, by kind of operator, with the operations that each does."""

import math
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

from bench.measurement.worker_process import WorkerProcess, as_record, serve_requests
from bench.results.measurements import OperatorTime, Profile
from bench.timing.engines import synthetic
from bench.timing.systems import Shape, shape_name
from bench.timing.worker import timed
from export.graph.operators import ATTENTIONS, PRODUCTS
from export.parity.profiling import NodeEvent, node_events

MOST_CALLS, FEWEST_CALLS, ABOUT_S = 40, 8, 1.0
GROUPS: dict[str, tuple[str, ...]] = {
    "products": PRODUCTS,
    "attention": (*ATTENTIONS, "Softmax"),
    "normalisation": ("SkipLayerNormalization", "LayerNormalization", "SimplifiedLayerNormalization"),
    "activation": ("Gelu", "BiasGelu", "FastGelu", "Tanh", "Erf"),
    "quantising": ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    "embedding": ("EmbedLayerNormalization", "QEmbedLayerNormalization", "Gather", "GatherBlockQuantized"),
}
OTHERS, BETWEEN = "other operators", "between operators"


def profile_operators(path: Path, shapes: Sequence[Shape], num_threads: int) -> list[Profile]:
    """For each shape: the time of a call, its parts and its operations. Raises WorkerError."""
    with closing(WorkerProcess("bench.analysis.operator_profile", path.name, num_threads=num_threads)) as child:
        child.ask("load", path=str(path), num_threads=num_threads)
        return [as_record(Profile, child.ask("profile", batch=batch, length=length)) for batch, length in shapes]


class Profiler:
    """A bundle that runs under onnxruntime's profiler; in a process of its own."""

    def __init__(self, path: str, num_threads: int) -> None:
        self.path, self.num_threads = path, num_threads

    def facts(self) -> None:
        """Nothing to report before it ran."""

    def profile(self, batch: int, length: int) -> Profile:
        """Run some calls on one shape, then some more under the profiler. `ms`: the median of the former."""
        from export.bundle.runtime import Classifier

        with tempfile.TemporaryDirectory() as folder:
            plain = Classifier(self.path, num_threads=self.num_threads)
            watched = Classifier(self.path, num_threads=self.num_threads, profile=Path(folder) / "profile")
            words = synthetic(plain, length)
            columns = plain.columns([words] * batch)
            first_s = min(timed(lambda: plain.forward(columns)) for _ in range(2))
            num_calls = max(FEWEST_CALLS, min(MOST_CALLS, int(ABOUT_S / first_s)))
            seconds = [timed(lambda: plain.forward(columns)) for _ in range(2 * num_calls)]
            for _ in range(2 * num_calls):
                watched.forward(columns)
            events = node_events(Path(watched.session.end_profiling()))
        whole_ms = median(seconds[num_calls:]) * 1e3
        parts = operator_breakdown(events, last=num_calls)
        between = max(0.0, whole_ms - sum(part.ms for part in parts))
        return Profile(
            shape=shape_name((batch, len(words))),
            ms=whole_ms,
            operations=sum(part.operations for part in parts),
            parts=[*parts, OperatorTime(name=BETWEEN, ms=between, num_nodes=0, operations=0.0)],
        )


def operator_breakdown(events: Sequence[NodeEvent], *, last: int) -> list[OperatorTime]:
    """The parts of a call, from the last calls in a profile; the greatest first."""
    by_node: dict[str, list[NodeEvent]] = defaultdict(list)
    for event in events:
        by_node[event.name].append(event)
    groups: dict[str, list[list[NodeEvent]]] = defaultdict(list)
    for calls in by_node.values():
        groups[_group_of(calls[0].operator)].append(calls[-last:])
    parts = [
        OperatorTime(
            name=name,
            ms=median(sum(event.duration_us for event in call) for call in zip(*nodes, strict=True)) / 1000,
            num_nodes=len(nodes),
            operations=sum(_operations(calls[-1]) for calls in nodes),
        )
        for name, nodes in groups.items()
    ]
    return sorted(parts, key=lambda part: -part.ms)


def _group_of(operator: str) -> str:
    return next((group for group, operators in GROUPS.items() if operator in operators), OTHERS)


def _operations(node: NodeEvent) -> float:
    """Of a product or an attention, from the shapes that went through it."""
    match node.operator:
        case operator if operator in PRODUCTS:
            return 2.0 * math.prod(node.outputs[0]) * node.inputs[0][-1]
        case "Attention" | "QAttention":
            batch, length, width = node.inputs[0]
            projections = 2.0 * batch * length * width * node.inputs[1][-1]
            return projections + 4.0 * batch * length * length * node.outputs[0][-1]
        case "MultiHeadAttention":
            batch, queries, hidden = node.inputs[0]
            return 4.0 * batch * queries * node.inputs[1][1] * hidden
    return 0.0


if __name__ == "__main__":
    serve_requests(Profiler)
