"""Asks a Triton server for all texts, and compares the answers with those of each bundle's predict.py.

Runs in the environment of the server. Reads a job and prints a result, both JSON.
"""

import importlib.util
import json
import platform
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import tokenizers
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

TEXTS_PER_REQUEST = 50
CLIENTS = 16
NOT_UTF8 = b"caf\xe9"


class Model:
    """A model of the server. `module`: tritonclient's for HTTP or for gRPC. Each thread has a client of its own."""

    def __init__(self, module, port, name):
        self.module, self.port, self.name = module, port, name
        self._of_thread = threading.local()

    @property
    def client(self):
        if not hasattr(self._of_thread, "client"):
            self._of_thread.client = self.module.InferenceServerClient(f"127.0.0.1:{self.port}")
        return self._of_thread.client

    def ask(self, texts, pairs, outputs=None):
        """The outputs by name."""
        inputs = []
        for name, cells in (("TEXT", texts), ("PAIR", pairs)):
            if cells is not None:
                values = np.array([cell if isinstance(cell, bytes) else cell.encode() for cell in cells], dtype=object)
                inputs.append(self.module.InferInput(name, [len(cells), 1], "BYTES"))
                inputs[-1].set_data_from_numpy(values.reshape(-1, 1))
        answer = self.client.infer(self.name, inputs, outputs=outputs)
        names = ("LABEL", "PROBABILITIES", "VALUE", "LOGITS")
        return {name: values for name in names if (values := answer.as_numpy(name)) is not None}

    def executions(self):
        """How often the model ran so far."""
        if self.module is http_client:
            return self.client.get_inference_statistics(self.name)["model_stats"][0]["execution_count"]
        return self.client.get_inference_statistics(self.name).model_stats[0].execution_count


def predictions(bundle, texts, pairs):
    """The labels, and the probabilities or values, that predict.py of a bundle gives, text by text."""
    spec = importlib.util.spec_from_file_location("predict", Path(bundle) / "predict.py")
    predict = importlib.util.module_from_spec(spec)
    sys.modules["predict"] = predict
    spec.loader.exec_module(predict)
    classifier = predict.Classifier(bundle, num_threads=2)
    labels, numbers = [], []
    for index, text in enumerate(texts):
        second = None if pairs is None else [pairs[index]]
        numbers.append(classifier.answers(classifier.logits([text], second))[0])
        (answer,) = classifier.predict([text], second)
        labels.append(answer.get("label"))
    return labels, np.array(numbers)


def compared(answers, labels, numbers):
    """How far answers are from predict.py: labels that differ, and the largest difference of a number."""
    got = np.concatenate([each.get("PROBABILITIES", each.get("VALUE")) for each in answers])
    named = [cell.decode() for each in answers for cell in each["LABEL"][:, 0]] if "LABEL" in answers[0] else labels
    assert len(named) == len(labels) and got.shape == numbers.shape
    changed = sum(one != other for one, other in zip(named, labels, strict=True))
    return {"changed_labels": changed, "largest_difference": float(np.abs(got - numbers).max())}


def run_model(model, texts, pairs, labels, numbers):
    """The answers of one model over one protocol: alone, from concurrent clients, and many texts in one request."""

    def one(index):
        return model.ask([texts[index]], None if pairs is None else [pairs[index]])

    def many(start):
        part = slice(start, start + TEXTS_PER_REQUEST)
        return model.ask(texts[part], None if pairs is None else pairs[part])

    count = len(texts)
    results = {}
    before = model.executions()
    results["alone"] = compared([one(index) for index in range(count)], labels, numbers)
    between = model.executions()
    results["alone"]["executions"] = between - before
    with ThreadPoolExecutor(CLIENTS) as pool:
        results["concurrent"] = compared(list(pool.map(one, range(count))), labels, numbers)
    results["concurrent"]["executions"] = model.executions() - between
    results["in_one_request"] = compared([many(start) for start in range(0, count, TEXTS_PER_REQUEST)], labels, numbers)
    results["errors"] = failures(model, texts, pairs)
    if labels[0] is not None:
        results["most_probable_agrees"] = most_probable_agrees(model, texts[:8], pairs and pairs[:8])
    return results


def failures(model, texts, pairs):
    """The messages for wrong requests among right ones, sent at once."""
    pair = None if pairs is None else pairs[:1]

    def ask(text):
        try:
            return model.ask([text], pair) and None
        except InferenceServerException as error:
            return str(error)

    sent = [NOT_UTF8 if index % 4 == 0 else text for index, text in enumerate(texts[:32])]
    with ThreadPoolExecutor(len(sent)) as pool:
        messages = list(pool.map(ask, sent))
    failed = [message is not None for message in messages]
    wrong = [text == NOT_UTF8 for text in sent]
    return {
        "requests": len(sent),
        "wrong": sum(wrong),
        "only_wrong_ones_failed": failed == wrong,
        "messages": sorted(set(filter(None, messages))),
    }


def most_probable_agrees(model, texts, pairs):
    """Whether Triton's own answer for the most probable class, which reads labels.txt, names the same label."""
    outputs = [
        model.module.InferRequestedOutput("LABEL"),
        model.module.InferRequestedOutput("PROBABILITIES", class_count=1),
    ]
    answer = model.ask(texts, pairs, outputs)
    return all(
        cell.split(b":", 2)[2] == label
        for cell, label in zip(answer["PROBABILITIES"][:, 0], answer["LABEL"][:, 0], strict=True)
    )


def main():
    """Answer the job on stdin."""
    job = json.load(sys.stdin)
    for name, text in job["configs"].items():
        assert text_format.Parse(text, model_config_pb2.ModelConfig()).name == name
    models = {}
    for each in job["models"]:
        texts, pairs = each["texts"], each["pairs"]
        labels, numbers = predictions(each["bundle"], texts, pairs)
        models[each["name"]] = {
            "labels": len(set(labels)),
            "http": run_model(Model(http_client, job["http"], each["name"]), texts, pairs, labels, numbers),
            "grpc": run_model(Model(grpc_client, job["grpc"], each["name"]), texts, pairs, labels, numbers),
        }
    server = Model(http_client, job["http"], "").client.get_server_metadata()
    versions = {
        "tritonserver": server["version"], "python": platform.python_version(), "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__, "tokenizers": tokenizers.__version__,
    }  # fmt: skip
    sys.stdout.write(json.dumps({"models": models, "versions": versions, "configs": len(job["configs"])}) + "\n")


main()
