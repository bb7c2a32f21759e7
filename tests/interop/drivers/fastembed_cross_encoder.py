"""TextCrossEncoder of fastembed. Its scores are those of the first class; here, its session gives all of them."""

import json
import sys

import fastembed
import numpy as np
from fastembed.common.model_description import ModelSource
from fastembed.rerank.cross_encoder import TextCrossEncoder

job = json.load(sys.stdin)
TextCrossEncoder.add_custom_model(
    model="bundle", sources=ModelSource(hf="none/none"), model_file="onnx/model.onnx", size_in_gb=0.1, license="any"
)
model = TextCrossEncoder("bundle", specific_model_path=job["bundle"]).model
names = [entry.name for entry in model.model.get_inputs()]
texts, pairs, size = job["texts"], job["pairs"], job["batch_size"]
rows = texts if pairs is None else list(zip(texts, pairs, strict=True))


def run(batch):
    encodings = model.tokenizer.encode_batch(batch)
    arrays = {
        "input_ids": [encoding.ids for encoding in encodings],
        "attention_mask": [encoding.attention_mask for encoding in encodings],
        "token_type_ids": [encoding.type_ids for encoding in encodings],
    }
    return model.model.run(["logits"], {name: np.array(arrays[name], dtype=np.int64) for name in names})[0].tolist()


result = {
    "unbatched": [run([row])[0] for row in rows],
    "batched": [logits for start in range(0, len(rows), size) for logits in run(rows[start : start + size])],
    "version": fastembed.__version__,
}
sys.stdout.write(json.dumps(result) + "\n")
