"""OpenVINO, in the precision of the model."""

import json
import sys

import numpy as np
import openvino
from batching import print_result

job = json.load(sys.stdin)
core = openvino.Core()
model = core.compile_model(job["bundle"] + "/onnx/model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def run(batch):
    length = max(len(row["ids"]) for row in batch)
    arrays = {
        "input_ids": [row["ids"] + [job["pad"]] * (length - len(row["ids"])) for row in batch],
        "attention_mask": [[1] * len(row["ids"]) + [0] * (length - len(row["ids"])) for row in batch],
        "token_type_ids": [row["types"] + [0] * (length - len(row["ids"])) for row in batch],
    }
    inputs = {name: np.array(arrays[name], dtype=np.int64) for name in job["inputs"]}
    return model(inputs)["logits"].tolist()


print_result(job, job["tokens"], run, openvino.__version__)
