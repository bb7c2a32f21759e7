"""Measures the ranges of activations over calibration texts, in constant memory.

onnxruntime's PercentileCalibrater keeps every intermediate output in memory instead.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from compress.common.errors import library_errors

BINS = 4096


class ActivationHistogram:
    """A histogram with a fixed number of bins. A value outside the limits doubles them by merging pairs of bins.

    `low`, `high`: the exact minimum and maximum, 0 included.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, dtype=np.int64)
        self.limit = 2.0**-10  # the bins span -limit to limit
        self.low = self.high = 0.0

    def add(self, values: np.ndarray) -> None:
        """Count the values of an array of any shape."""
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        while self.limit < max(-low, high):
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros_like(self.counts)
            self.counts[BINS // 4 : -BINS // 4] = merged
            self.limit *= 2
        self.counts += np.histogram(values, bins=BINS, range=(-self.limit, self.limit))[0]

    def between(self, share: float) -> tuple[float, float]:
        """The narrowest pair of bin edges with at most (1 - share) / 2 of the values outside on each side."""
        outside = (1 - share) / 2 * self.counts.sum()
        below = np.searchsorted(np.cumsum(self.counts), outside, side="right")
        above = np.searchsorted(np.cumsum(self.counts[::-1]), outside, side="right")
        edges = np.linspace(-self.limit, self.limit, BINS + 1)
        return max(self.low, float(edges[below])), min(self.high, float(edges[BINS - above]))


@dataclass(frozen=True, kw_only=True)
class ActivationRange:
    """The range of an activation, 0 included. Quantised to uint8: value = scale * (number - zero_point)."""

    low: float
    high: float

    @property
    def scale(self) -> np.float32:
        """The distance between two adjacent numbers."""
        return np.float32(max(self.high - self.low, 1e-6) / 255)

    @property
    def zero_point(self) -> np.uint8:
        """The number that represents 0."""
        return np.uint8(np.clip(round(-self.low / float(self.scale)), 0, 255))


def measure_ranges(
    graph: Path, tensors: Iterable[str], batches: Iterable[Mapping[str, np.ndarray]], *, share: float = 1.0
) -> dict[str, ActivationRange]:
    """The range of each named tensor over the batches.

    `share`: share of the values inside the range; 1.0 gives minimum and maximum.
    """
    model = onnx.load(str(graph))
    names = list(dict.fromkeys(tensors))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    with library_errors("onnxruntime cannot load the exported graph"):
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    histograms = {name: ActivationHistogram() for name in names}
    for batch in batches:
        with library_errors("onnxruntime cannot run the exported graph"):
            outputs = session.run(names, dict(batch))
        for name, values in zip(names, outputs, strict=True):
            histograms[name].add(values)
    ranges = {}
    for name, histogram in histograms.items():
        low, high = (histogram.low, histogram.high) if share == 1.0 else histogram.between(share)
        ranges[name] = ActivationRange(low=min(low, 0.0), high=max(high, 0.0))
    return ranges
