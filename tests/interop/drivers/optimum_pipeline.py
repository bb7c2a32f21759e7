"""optimum.onnxruntime and the pipeline of transformers."""

import json
import sys

import transformers
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer, pipeline

job = json.load(sys.stdin)
model = ORTModelForSequenceClassification.from_pretrained(job["bundle"])
tokenizer = AutoTokenizer.from_pretrained(job["bundle"])
classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
rows = job["texts"]
if job["pairs"] is not None:
    rows = [{"text": text, "text_pair": pair} for text, pair in zip(rows, job["pairs"], strict=True)]


def in_order(scores):
    by_label = {entry["label"]: entry["score"] for entry in scores}
    return [by_label[label] for label in job["labels"]]


def run(rows, batch_size):
    outputs = classify(rows, batch_size=batch_size, top_k=None, truncation=True)
    return [in_order(scores) for scores in outputs]


result = {
    "unbatched": run(rows, 1),
    "batched": run(rows, job["batch_size"]),
    "version": transformers.__version__,
}
sys.stdout.write(json.dumps(result) + "\n")
