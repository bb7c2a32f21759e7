"""A session of onnxruntime with no option that changes outputs, and the tokenizer of the bundle."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
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
pairs = job["pairs"]
rows = job["texts"] if pairs is None else list(zip(job["texts"], pairs, strict=True))


def run(batch):
    encodings = tokenizer.encode_batch(batch)
    arrays = {
        "input_ids": [encoding.ids for encoding in encodings],
        "attention_mask": [encoding.attention_mask for encoding in encodings],
        "token_type_ids": [encoding.type_ids for encoding in encodings],
    }
    return session.run(["logits"], {name: np.array(arrays[name], dtype=np.int64) for name in names})[0].tolist()


size = job["batch_size"]
starts = [] if job.get("is_emulated") else range(0, len(rows), size)
result = {
    "unbatched": [run([row])[0] for row in rows],
    "batched": [logits for start in starts for logits in run(rows[start : start + size])] or None,
    "version": onnxruntime.__version__,
}
sys.stdout.write(json.dumps(result) + "\n")
