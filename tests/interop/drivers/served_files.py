"""text-embeddings-inference and encoderfile: their rules for files, with the runtime and tokenizer that they carry."""

import json
import sys
from pathlib import Path

import onnxruntime
import yaml
from batching import model_inputs, print_result, rows_of
from tokenizers import Tokenizer

job = json.load(sys.stdin)
bundle = Path(job["bundle"])


def read(name):
    return json.loads((bundle / name).read_text(encoding="utf-8"))


def refuse(message):
    sys.stdout.write(json.dumps({"error": message}) + "\n")
    sys.exit(0)


config = read("config.json")
match job["rules"]:
    case "text-embeddings-inference":
        if not any(name.endswith("Classification") for name in config.get("architectures", [])):
            refuse("config.json: no architecture ends with Classification")
        if not config.get("id2label") or not config.get("label2id"):
            refuse("config.json: no id2label or label2id")
        model_file = bundle / "model.onnx" if (bundle / "model.onnx").exists() else bundle / "onnx" / "model.onnx"
        limits = bundle / "sentence_bert_config.json"
        max_length = read(limits.name)["max_seq_length"] if limits.exists() else config["max_position_embeddings"]
        tokenizer_file = bundle / "tokenizer.json"
    case "encoderfile":
        if not (bundle / "encoderfile.yml").exists():
            refuse("no encoderfile.yml")
        paths = yaml.safe_load((bundle / "encoderfile.yml").read_text())["encoderfile"]["path"]
        for name, path in paths.items():
            if not (bundle / path).exists():
                refuse(f"Could not locate {name} at path: {path}")
        model_file, tokenizer_file = bundle / paths["model_weights_path"], bundle / paths["tokenizer_path"]
        max_length = json.loads((bundle / paths["tokenizer_config_path"]).read_text())["model_max_length"]
if max_length != job["max_length"]:
    refuse(f"its limit is {max_length} tokens; the bundle's is {job['max_length']}")
tokenizer = Tokenizer.from_file(str(tokenizer_file))
tokenizer.enable_truncation(max_length)
tokenizer.enable_padding(pad_id=config.get("pad_token_id") or 0)
session = onnxruntime.InferenceSession(str(model_file), providers=["CPUExecutionProvider"])
names = [entry.name for entry in session.get_inputs()]
if [len(entry.shape) for entry in session.get_outputs() if entry.name == "logits"] != [2]:
    refuse("the model must return logits of two dimensions")


def run(batch):
    return session.run(["logits"], model_inputs(tokenizer.encode_batch(batch), names))[0].tolist()


print_result(job, rows_of(job), run, onnxruntime.__version__)
