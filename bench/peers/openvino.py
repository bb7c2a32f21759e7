"""OpenVINO: its converter, and NNCF's post-training quantisation for transformers, as their documentation has them."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import common
from bench.peers.common import Job, Texts
from bench.timing.messages import ModelFacts

os.environ["CI"] = "true"  # else its import sends usage data, while the clock runs
import openvino  # type: ignore[import-not-found]

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Session:
    """A model compiled for the fastest answer to one request: one stream, which has all the threads.

    Its one request is used again for every call, and gives its own memory out: logits are good until the next call.
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

    def forward(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """One call of the model: (texts, classes) logits."""
        return self.request.infer(columns, share_inputs=True, share_outputs=True)[self.logits]


Predictor = functools.partial(common.Predictor, session=Session)


def _converted(job: Job) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(job.model, dtype=torch.float32).eval()
    example = {name: torch.ones(1, 8, dtype=torch.int64) for name in INPUTS}
    return openvino.convert_model(model, example_input=example)


def _fp32(job: Job, folder: Path) -> dict[str, str]:
    openvino.save_model(_converted(job), folder / "model.xml", compress_to_fp16=False)
    return {"INFERENCE_PRECISION_HINT": "f32"}


def _bf16(job: Job, folder: Path) -> dict[str, str]:
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeError("this processor computes nothing in bf16")
    openvino.save_model(_converted(job), folder / "model.xml")
    return {"INFERENCE_PRECISION_HINT": "bf16"}


def _int8(job: Job, folder: Path) -> None:
    """What is not quantised is computed as OpenVINO decides: in bf16 where the processor has it."""
    import nncf  # type: ignore[import-not-found]

    texts = Texts(job.model / "tokenizer.json", max_length=job.max_length, pad_token_id=0, input_names=INPUTS)
    inputs = [texts.columns(texts.encode(row[:1], row[1:] or None)) for row in job.rows]
    quantised = nncf.quantize(
        _converted(job), nncf.Dataset(inputs), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(inputs)
    )
    openvino.save_model(quantised, folder / "model.xml")


if __name__ == "__main__":
    common.run_conversion(
        "OpenVINO",
        {"OpenVINO fp32": _fp32, "OpenVINO bf16": _bf16, "OpenVINO int8": _int8},
        ("openvino", "nncf", "torch", "transformers"),
    )
