"""config.pbtxt: a `ModelConfig` of Triton in the text format of protocol buffers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from compress.common.errors import UserError
from export.bundle.bundle_json import BundleInfo
from export.bundle.runtime import BATCH_SIZE

MOST_TEXTS = 64  # of one request, and of the requests that one call of the Python model answers
LABELS_FILE = "labels.txt"
TYPES = {"tensor(int64)": "TYPE_INT64", "tensor(float)": "TYPE_FP32", "tensor(float16)": "TYPE_FP16"}


@dataclass(frozen=True, kw_only=True)
class TensorOf:
    """An input or an output. `dims`: without the batch. `labels`: the file with a name for each value."""

    name: str
    data_type: str
    dims: Sequence[int]
    labels: str | None = None


def python_config(name: str, info: BundleInfo, *, instances: int, threads: int, model: str | None) -> str:
    """The model that clients call. `model`: the model on the GPU that computes its logits; None on a CPU."""
    text = TensorOf(name="TEXT", data_type="TYPE_STRING", dims=[1])
    pair = TensorOf(name="PAIR", data_type="TYPE_STRING", dims=[1])
    logits = TensorOf(name="LOGITS", data_type="TYPE_FP32", dims=[len(info.labels)])
    answers = (
        [TensorOf(name="VALUE", data_type="TYPE_FP32", dims=[1])]
        if info.task_type == "regression"
        else [
            TensorOf(name="LABEL", data_type="TYPE_STRING", dims=[1]),
            TensorOf(name="PROBABILITIES", data_type="TYPE_FP32", dims=[len(info.labels)], labels=LABELS_FILE),
        ]
    )
    return "\n".join(
        [
            f"name: {_quoted(name)}",
            'backend: "python"',
            f"max_batch_size: {MOST_TEXTS}",
            *(_tensor("input", each) for each in ([text, pair] if info.takes_pairs else [text])),
            *(_tensor("output", each) for each in [*answers, logits]),
            # no delay: while an instance is busy, requests wait and are then answered together
            "dynamic_batching { }",
            f"instance_group [ {{ count: {instances} kind: KIND_CPU }} ]",
            _parameter("threads", str(threads)),
            *([] if model is None else [_parameter("model", model)]),
            "",
        ]
    )


def onnx_config(
    name: str, inputs: Sequence[tuple[str, str, Sequence[object]]], outputs: Sequence[tuple[str, str, Sequence[object]]]
) -> str:
    """The model for Triton's onnxruntime backend, on a GPU.

    `inputs`, `outputs`: name, type and dimensions of each, as onnxruntime gives them; the first dimension is the batch.
    """
    return "\n".join(
        [
            f"name: {_quoted(name)}",
            'backend: "onnxruntime"',
            f"max_batch_size: {BATCH_SIZE}",
            *(_tensor("input", _of_graph(*each)) for each in inputs),
            *(_tensor("output", _of_graph(*each)) for each in outputs),
            "dynamic_batching { }",  # texts of one length only; NAME has formed batches already
            "instance_group [ { count: 1 kind: KIND_GPU } ]",
            "",
        ]
    )


def labels_text(labels: Sequence[str]) -> str:
    """The names of the classes, one per line, for clients that ask Triton for the most probable ones."""
    return "".join(f"{' '.join(label.split())}\n" for label in labels)


def _of_graph(name: str, data_type: str, dims: Sequence[object]) -> TensorOf:
    if data_type not in TYPES:
        raise UserError(f"{name}: the model has the type {data_type}; expected one of {', '.join(TYPES)}")
    return TensorOf(
        name=name, data_type=TYPES[data_type], dims=[each if isinstance(each, int) else -1 for each in dims[1:]]
    )


def _tensor(field: str, tensor: TensorOf) -> str:
    labels = "" if tensor.labels is None else f" label_filename: {_quoted(tensor.labels)}"
    dims = ", ".join(map(str, tensor.dims))
    return f"{field} [ {{ name: {_quoted(tensor.name)} data_type: {tensor.data_type} dims: [ {dims} ]{labels} }} ]"


def _parameter(key: str, value: str) -> str:
    return f"parameters {{ key: {_quoted(key)} value: {{ string_value: {_quoted(value)} }} }}"


def _quoted(text: str) -> str:
    """A string of the text format. Names of models and of the graph are ASCII, in which JSON's escapes are the same."""
    return json.dumps(text)
