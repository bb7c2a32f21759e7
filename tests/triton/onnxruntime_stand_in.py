"""The model.py that stands for Triton's onnxruntime backend, which the server of the check does not have."""

import json
from pathlib import Path

import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    """One session of onnxruntime. Each request is a batch of its own."""

    def initialize(self, args):
        """Load the model, and compare its inputs and outputs with config.pbtxt."""
        self.session = onnxruntime.InferenceSession(
            Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        )
        config = json.loads(args["model_config"])
        for entries, named in ((self.session.get_inputs(), "input"), (self.session.get_outputs(), "output")):
            of_graph = [(entry.name, entry.type, len(entry.shape) - 1) for entry in entries]
            types = {"TYPE_INT64": "tensor(int64)", "TYPE_FP32": "tensor(float)", "TYPE_FP16": "tensor(float16)"}
            of_config = [(each["name"], types[each["data_type"]], len(each["dims"])) for each in config[named]]
            if of_graph != of_config:
                raise triton.TritonModelException(f"{named}: got {of_config}; the graph has {of_graph}")

    def execute(self, requests):
        """Run the model on the batch of each request."""
        responses = []
        for request in requests:
            inputs = {each.name(): each.as_numpy() for each in request.inputs()}
            (logits,) = self.session.run(["logits"], inputs)
            responses.append(triton.InferenceResponse([triton.Tensor("logits", logits)]))
        return responses
