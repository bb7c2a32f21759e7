"""TextCrossEncoder of fastembed. Its scores are those of the first class; here, its session gives all of them."""

import json
import sys

import fastembed
from batching import model_inputs, print_result, rows_of
from fastembed.common.model_description import ModelSource
from fastembed.rerank.cross_encoder import TextCrossEncoder

job = json.load(sys.stdin)
TextCrossEncoder.add_custom_model(
    model="bundle", sources=ModelSource(hf="none/none"), model_file="onnx/model.onnx", size_in_gb=0.1, license="any"
)
model = TextCrossEncoder("bundle", specific_model_path=job["bundle"]).model
names = [entry.name for entry in model.model.get_inputs()]


def run(batch):
    return model.model.run(["logits"], model_inputs(model.tokenizer.encode_batch(batch), names))[0].tolist()


print_result(job, rows_of(job), run, fastembed.__version__)
