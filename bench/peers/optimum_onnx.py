"""optimum-onnx: export, then O3 optimisation or dynamic quantisation, as in its documentation."""

import functools
from pathlib import Path

from bench.peers import common
from bench.peers.common import Job
from bench.peers.onnx_session import OnnxSession

load_predictor = functools.partial(common.PeerPredictor, session=OnnxSession)


def _export(job: Job) -> Path:
    """Export the model once; all variants share the result."""
    from optimum.onnxruntime import ORTModelForSequenceClassification

    folder = job.scratch / "exported"
    if not folder.exists():
        ORTModelForSequenceClassification.from_pretrained(job.model, export=True).save_pretrained(folder)
    return folder


def _o3(job: Job, folder: Path) -> None:
    from optimum.onnxruntime import AutoOptimizationConfig, ORTOptimizer

    output = job.scratch / "O3"
    optimizer = ORTOptimizer.from_pretrained(_export(job))
    optimizer.optimize(save_dir=output, optimization_config=AutoOptimizationConfig.O3())
    (output / "model_optimized.onnx").rename(folder / "model.onnx")


def _int8(job: Job, folder: Path) -> None:
    """Quantise the plain export. The quantiser rejects the O3 model, whose fused operators have no type information."""
    from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer

    output = job.scratch / "int8"
    quantizer = ORTQuantizer.from_pretrained(_export(job))
    dynamic = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=False)
    quantizer.quantize(save_dir=output, quantization_config=dynamic)
    (output / "model_quantized.onnx").rename(folder / "model.onnx")


if __name__ == "__main__":
    common.run_conversion(
        "optimum-onnx",
        {"optimum-onnx O3": _o3, "optimum-onnx int8": _int8},
        ("optimum-onnx", "optimum", "onnx", "onnxruntime", "torch", "transformers"),
    )
