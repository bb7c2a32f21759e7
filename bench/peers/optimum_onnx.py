"""optimum-onnx: its export, then O3 or dynamic quantisation, as its documentation shows them."""

import functools
from pathlib import Path

from bench.peers import common
from bench.peers.common import Job
from bench.peers.onnx_session import OnnxSession

Predictor = functools.partial(common.Predictor, session=OnnxSession)


def _exported(job: Job) -> Path:
    from optimum.onnxruntime import ORTModelForSequenceClassification

    folder = job.scratch / "exported"
    if not folder.exists():
        ORTModelForSequenceClassification.from_pretrained(job.model, export=True).save_pretrained(folder)
    return folder


def _o3(job: Job, folder: Path) -> None:
    from optimum.onnxruntime import AutoOptimizationConfig, ORTOptimizer

    made = job.scratch / "O3"
    optimizer = ORTOptimizer.from_pretrained(_exported(job))
    optimizer.optimize(save_dir=made, optimization_config=AutoOptimizationConfig.O3())
    (made / "model_optimized.onnx").rename(folder / "model.onnx")


def _int8(job: Job, folder: Path) -> None:
    """Of the export: its quantiser refuses the O3 model, whose fused operators have no types for it."""
    from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer

    made = job.scratch / "int8"
    quantizer = ORTQuantizer.from_pretrained(_exported(job))
    dynamic = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=False)
    quantizer.quantize(save_dir=made, quantization_config=dynamic)
    (made / "model_quantized.onnx").rename(folder / "model.onnx")


if __name__ == "__main__":
    common.run_conversion(
        "optimum-onnx",
        {"optimum-onnx O3": _o3, "optimum-onnx int8": _int8},
        ("optimum-onnx", "optimum", "onnx", "onnxruntime", "torch", "transformers"),
    )
