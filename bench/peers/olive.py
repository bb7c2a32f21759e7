"""Olive: the passes of its BERT recipe for CPUs, with dynamic quantisation and without search.

Olive's `optimize` command is for language models: it uses the onnxruntime-genai builder, and calibrates on WikiText.
"""

import functools
from pathlib import Path
from typing import Any

from bench.peers import common
from bench.peers.common import Job
from bench.peers.onnx_session import OnnxSession

load_predictor = functools.partial(common.PeerPredictor, session=OnnxSession)


def _run_workflow(job: Job, folder: Path, *, passes: dict[str, dict[str, Any]]) -> None:
    from olive.workflows import run  # type: ignore[import-not-found]

    output_folder = job.scratch / folder.name
    output = run(
        {
            "input_model": {
                "type": "HfModel",
                "model_path": str(job.model),
                "task": "text-classification",
                "load_kwargs": {"attn_implementation": "eager", "torch_dtype": "float32"},
            },
            "systems": {
                "local_system": {
                    "type": "LocalSystem",
                    "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
                }
            },
            "host": "local_system",
            "target": "local_system",
            "passes": passes,
            "cache_dir": str(job.scratch / "cache"),
            "output_dir": str(output_folder),
        }
    )
    if not output.has_output_model():
        raise RuntimeError("Olive produced no model; see its log")
    (output_folder / "model.onnx").rename(folder / "model.onnx")


FP32 = {"conversion": {"type": "OnnxConversion"}, "optimisation": {"type": "OrtTransformersOptimization"}}
INT8 = {**FP32, "quantisation": {"type": "OnnxDynamicQuantization"}}

if __name__ == "__main__":
    common.run_conversion(
        "Olive",
        {
            "Olive fp32": functools.partial(_run_workflow, passes=FP32),
            "Olive int8": functools.partial(_run_workflow, passes=INT8),
        },
        ("olive-ai", "onnx", "onnxruntime", "torch", "transformers"),
    )
