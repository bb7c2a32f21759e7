"""Runs a peer's ONNX model in onnxruntime with default options, which include all graph optimisations."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from bench.timing.messages import ModelFacts


class OnnxSession:
    """A session for `model.onnx` in a variant's folder. Implements `bench.peers.common.PeerSession`."""

    def __init__(self, folder: Path, num_threads: int, settings: dict[str, str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.input_names: Sequence[str] = [entry.name for entry in self.session.get_inputs()]
        self.facts = ModelFacts(
            num_threads=self.session.get_session_options().intra_op_num_threads,
            ran_on=self.session.get_providers()[0],
        )

    def forward(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Run the model. Returns logits (texts, classes)."""
        return self.session.run(["logits"], inputs)[0]
