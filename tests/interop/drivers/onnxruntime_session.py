"""A session of onnxruntime with no option that changes outputs, and the tokenizer of the bundle."""

import json
import sys
from pathlib import Path

import onnxruntime
from batching import model_inputs, print_result, rows_of
from tokenizers import Tokenizer

job = json.load(sys.stdin)
bundle = Path(job["bundle"])
tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
tokenizer.enable_truncation(job["max_length"])
tokenizer.enable_padding(pad_id=job["pad"])
options = onnxruntime.SessionOptions()
if job.get("is_emulated"):  # threads that wait for each other cost an emulator most of its time
    options.intra_op_num_threads = 1
model_file = str(bundle / "onnx" / "model.onnx")
session = onnxruntime.InferenceSession(model_file, options, providers=["CPUExecutionProvider"])
names = [entry.name for entry in session.get_inputs()]


def run(batch):
    return session.run(["logits"], model_inputs(tokenizer.encode_batch(batch), names))[0].tolist()


print_result(job, rows_of(job), run, onnxruntime.__version__)
