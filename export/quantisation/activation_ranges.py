"""The ranges of activations over calibration texts, in memory that does not grow with their number."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

BINS = 4096


class ActivationHistogram:
    """Counts of values on a grid that widens as they come: whenever one lies outside, two bins are made one.

    `low`, `high`: the smallest and largest value seen, exactly.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, dtype=np.int64)
        self.limit = 2.0**-10  # the grid spans -limit to limit
        self.low = self.high = 0.0

    def add(self, values: np.ndarray) -> None:
        """Count the values of an array of any shape."""
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        while self.limit < max(-low, high):
            middle = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros_like(self.counts)
            self.counts[BINS // 4 : -BINS // 4] = middle
            self.limit *= 2
        self.counts += np.histogram(values, bins=BINS, range=(-self.limit, self.limit))[0]

    def between(self, share: float) -> tuple[float, float]:
        """The narrowest pair of bin edges that leaves (1 - share) / 2 of the values outside on each side, at most."""
        outside = (1 - share) / 2 * self.counts.sum()
        below = np.searchsorted(np.cumsum(self.counts), outside, side="right")
        above = np.searchsorted(np.cumsum(self.counts[::-1]), outside, side="right")
        edges = np.linspace(-self.limit, self.limit, BINS + 1)
        return max(self.low, float(edges[below])), min(self.high, float(edges[BINS - above]))


@dataclass(frozen=True, kw_only=True)
class ActivationRange:
    """What an activation is quantised between, 0 included: uint8, value = scale * (number - zero_point)."""

    low: float
    high: float

    @property
    def scale(self) -> np.float32:
        """The step between two numbers."""
        return np.float32(max(self.high - self.low, 1e-6) / 255)

    @property
    def zero_point(self) -> np.uint8:
        """The number that stands for 0."""
        return np.uint8(np.clip(round(-self.low / float(self.scale)), 0, 255))


def measure_ranges(
    graph: Path, tensors: Iterable[str], batches: Iterable[Mapping[str, np.ndarray]], *, share: float = 1.0
) -> dict[str, ActivationRange]:
    """The range of each named tensor of a graph over the batches. `share`: of the values that must lie inside; 1: all
    (min-max).
    """
    model = onnx.load(str(graph))
    names = list(dict.fromkeys(tensors))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    seen = {name: ActivationHistogram() for name in names}
    for batch in batches:
        for name, values in zip(names, session.run(names, dict(batch)), strict=True):
            seen[name].add(values)
    found = {}
    for name, histogram in seen.items():
        low, high = (histogram.low, histogram.high) if share == 1.0 else histogram.between(share)
        found[name] = ActivationRange(low=min(low, 0.0), high=max(high, 0.0))
    return found
