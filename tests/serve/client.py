"""Asks a server through tritonclient and huggingface_hub, unchanged, and compares the answers with the expected ones.

Runs in an environment of its own. Reads a job and prints a result, both JSON.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from huggingface_hub import InferenceClient
from tritonclient.utils import InferenceServerException

SIZES = (1, 7, 200)  # texts per request


def through_triton(module, address, job, *, as_bytes):
    """Compare the answers to requests of several sizes. `as_bytes`: whether tensors over HTTP are binary."""
    client = module.InferenceServerClient(address)
    name, texts, expected = job["name"], job["texts"], job["expected"]
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(name)
    client.get_server_metadata()
    client.get_model_metadata(name)
    changed, largest, answered = 0, 0.0, 0
    for size in SIZES:
        for begin in range(0, len(texts), size):
            part = np.array([text.encode() for text in texts[begin : begin + size]], dtype=object)
            tensor = module.InferInput("text", [len(part)], "BYTES")
            binary = {"binary_data": as_bytes} if module is http_client else {}
            tensor.set_data_from_numpy(part, **binary)
            wanted = [module.InferRequestedOutput(output, **binary) for output in ("label", "probabilities")]
            answer = client.infer(name, [tensor], outputs=wanted)
            labels = [as_text(label) for label in answer.as_numpy("label")]
            probabilities = answer.as_numpy("probabilities").max(axis=1)
            for label, probability, other in zip(labels, probabilities, expected[begin:], strict=False):
                changed += label != other["label"]
                largest = max(largest, abs(float(probability) - other["probability"]))
                answered += 1
    refusals = [reason_of(client, module, "no-such-model", "BYTES"), reason_of(client, module, name, "FP32")]
    if module is http_client:
        for compression in ("gzip", "deflate"):
            client.infer(name, [tensor], request_compression_algorithm=compression)
        client.load_model(name)
    return {"answers": answered, "changed_labels": changed, "largest_difference": largest, "refusals": refusals}


def reason_of(client, module, name, datatype):
    """Why a wrong request is refused."""
    values = np.array([b"x"], dtype=object) if datatype == "BYTES" else np.zeros(1, dtype=np.float32)
    tensor = module.InferInput("text", [1], datatype)
    tensor.set_data_from_numpy(values)
    try:
        client.infer(name, [tensor])
    except InferenceServerException as error:
        return str(error)
    return "answered"


def as_text(label):
    return label.decode() if isinstance(label, bytes) else str(label)


def through_inference_client(address, job):
    """Compare the answers that the Hub's client gets from the interface of text-embeddings-inference."""
    client = InferenceClient(model=f"http://{address}")
    changed = 0
    for text, other in zip(job["texts"], job["expected"], strict=True):
        answer = client.text_classification(text)
        best = answer[0] if isinstance(answer, list) else answer
        changed += best.label != other["label"] or abs(best.score - other["probability"]) > 1e-5
    return {"answers": len(job["texts"]), "changed_labels": changed}


def main():
    job = json.load(sys.stdin)
    result = {
        "tritonclient, HTTP, binary": through_triton(http_client, job["http"], job, as_bytes=True),
        "tritonclient, HTTP, JSON": through_triton(http_client, job["http"], job, as_bytes=False),
        "tritonclient, gRPC": through_triton(grpc_client, job["grpc"], job, as_bytes=True),
        "huggingface_hub InferenceClient": through_inference_client(job["http"], job),
    }
    json.dump({"clients": result, "tritonclient": version("tritonclient")}, sys.stdout)


if __name__ == "__main__":
    main()
