"""CrossEncoder of sentence-transformers with its ONNX backend."""

import json
import sys

import sentence_transformers
from sentence_transformers import CrossEncoder

job = json.load(sys.stdin)
model = CrossEncoder(job["bundle"], backend="onnx")
if job["pairs"] is None:
    rows, batched = job["texts"], None
else:
    rows = list(zip(job["texts"], job["pairs"], strict=True))
    batched = model.predict(rows, batch_size=job["batch_size"]).reshape(len(rows), -1).tolist()
unbatched = [model.predict(row).reshape(-1).tolist() for row in rows]
sys.stdout.write(
    json.dumps({"unbatched": unbatched, "batched": batched, "version": sentence_transformers.__version__}) + "\n"
)
