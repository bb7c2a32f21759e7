"""A peer's ONNX model in onnxruntime as it comes: its default options have every graph optimisation on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from bench.timing.messages import ModelFacts


class OnnxSession:
    """`model.onnx` of a variant's folder."""

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

    def forward(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """One call of the model: (texts, classes) logits."""
        return self.session.run(["logits"], columns)[0]
