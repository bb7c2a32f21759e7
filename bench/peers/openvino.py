"""OpenVINO: its converter, and NNCF's post-training quantisation for transformers, as in their documentation."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import common
from bench.peers.common import Job, TextEncoder
from bench.timing.messages import ModelFacts

os.environ["CI"] = "true"  # otherwise the import sends usage data, which would count as start time
import openvino  # type: ignore[import-not-found]

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class OpenVinoSession:
    """A model compiled for the lowest latency: one stream with all threads.

    Every call reuses one request, whose memory holds the logits. They are valid until the next call.
    """

    def __init__(self, folder: Path, num_threads: int, settings: dict[str, str]) -> None:
        hints = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": num_threads}
        compiled = openvino.Core().compile_model(folder / "model.xml", "CPU", {**hints, **settings})
        self.request = compiled.create_infer_request()
        self.logits = compiled.output("logits")
        self.input_names: Sequence[str] = [entry.any_name for entry in compiled.inputs]
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.facts = ModelFacts(
            num_threads=compiled.get_property("INFERENCE_NUM_THREADS"),
            num_streams=compiled.get_property("NUM_STREAMS"),
            ran_on=f"{', '.join(compiled.get_property('EXECUTION_DEVICES'))}, inference precision {precision}",
        )

    def forward(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Run the model. Returns logits (texts, classes), valid until the next call."""
        return self.request.infer(inputs, share_inputs=True, share_outputs=True)[self.logits]


load_predictor = functools.partial(common.PeerPredictor, session=OpenVinoSession)


def _convert(job: Job) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(job.model, dtype=torch.float32).eval()
    example = {name: torch.ones(1, 8, dtype=torch.int64) for name in INPUTS}
    return openvino.convert_model(model, example_input=example)


def _fp32(job: Job, folder: Path) -> dict[str, str]:
    openvino.save_model(_convert(job), folder / "model.xml", compress_to_fp16=False)
    return {"INFERENCE_PRECISION_HINT": "f32"}


def _bf16(job: Job, folder: Path) -> dict[str, str]:
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("this processor does not support bf16")
    openvino.save_model(_convert(job), folder / "model.xml")
    return {"INFERENCE_PRECISION_HINT": "bf16"}


def _int8(job: Job, folder: Path) -> None:
    """Quantise to int8. OpenVINO runs the remaining operators in bf16 if the processor supports it."""
    import nncf  # type: ignore[import-not-found]

    encoder = TextEncoder(job.model / "tokenizer.json", max_length=job.max_length, pad_token_id=0, input_names=INPUTS)
    inputs = [encoder.model_inputs(encoder.encode(row[:1], row[1:] or None)) for row in job.rows]
    quantised = nncf.quantize(
        _convert(job), nncf.Dataset(inputs), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(inputs)
    )
    openvino.save_model(quantised, folder / "model.xml")


if __name__ == "__main__":
    common.run_conversion(
        "OpenVINO",
        {"OpenVINO fp32": _fp32, "OpenVINO bf16": _bf16, "OpenVINO int8": _int8},
        ("openvino", "nncf", "torch", "transformers"),
    )
