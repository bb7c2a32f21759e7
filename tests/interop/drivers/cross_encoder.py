"""CrossEncoder of sentence-transformers with its ONNX backend."""

import json
import sys

import sentence_transformers
from sentence_transformers import CrossEncoder

job = json.load(sys.stdin)
model = CrossEncoder(job["bundle"], backend="onnx", model_kwargs={"file_name": "onnx/model.onnx"}, local_files_only=True)
if job["pairs"] is None:
    rows, batched = job["texts"], None
else:
    rows = list(zip(job["texts"], job["pairs"]))
    batched = model.predict(rows, batch_size=job["batch_size"]).reshape(len(rows), -1).tolist()
unbatched = [model.predict(row).reshape(-1).tolist() for row in rows]
print(json.dumps({"unbatched": unbatched, "batched": batched, "version": sentence_transformers.__version__}))
