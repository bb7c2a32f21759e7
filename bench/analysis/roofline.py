"""Measures this machine's roofline: peak matrix multiplication in int8, bf16 and fp32, and memory bandwidth.

Runs in a worker process, started as `python -P -m bench.analysis.roofline`.
"""

import time
from collections.abc import Callable
from contextlib import closing

import numpy as np

from bench.measurement.worker_process import WorkerProcess, as_record, serve_requests
from bench.results.measurements import Ceilings, ProductCeiling

MATRIX_SIZE = 2048  # rows and columns; large enough that only the multiplication counts
REPEATS = 12
BANDWIDTH_BYTES = 2**28  # more than any cache


def measure_roofline(num_threads: int) -> Ceilings:
    """Peak matrix multiplication by precision, and memory bandwidth. Raises WorkerError."""
    with closing(WorkerProcess("bench.analysis.roofline", "roofline", num_threads=num_threads)) as child:
        return as_record(Ceilings, child.ask("load", num_threads=num_threads))


class RooflineWorker:
    """Measures the roofline on the first command."""

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads

    def facts(self) -> Ceilings:
        """The roofline, with the fastest installed library for each precision."""
        matmuls_by_precision: dict[str, list[tuple[str, Callable[[], object]]]] = {
            "fp32": [("onnxruntime", self._onnxruntime(np.float32)), ("torch", self._torch("float32"))],
            "bf16": [("torch", self._torch("bfloat16"))],
            "int8": [("onnxruntime", self._onnxruntime(np.uint8)), ("torch", self._torch("int8"))],
        }
        operations = 2 * MATRIX_SIZE**3  # a multiplication and an addition count as two
        products = {}
        for precision, matmuls in matmuls_by_precision.items():
            gops, library = max((operations / _best_seconds(call) / 1e9, library) for library, call in matmuls)
            products[precision] = ProductCeiling(gops=gops, by=library)
        return Ceilings(num_threads=self.num_threads, products=products, gigabytes_per_s=self._bandwidth())

    def _torch(self, dtype: str) -> Callable[[], object]:
        """A call that multiplies two matrices in torch."""
        import torch

        torch.set_num_threads(self.num_threads)
        shape = (MATRIX_SIZE, MATRIX_SIZE)
        if dtype == "int8":
            a, b = (torch.randint(-127, 127, shape, dtype=torch.int8) for _ in range(2))
            return lambda: torch._int_mm(a, b)
        a, b = (torch.randn(shape, dtype=getattr(torch, dtype)) for _ in range(2))
        return lambda: a @ b

    def _onnxruntime(self, dtype: type) -> Callable[[], object]:
        """A call that multiplies by constant weights, which onnxruntime packs in advance, as in a model."""
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        generator = np.random.default_rng(0)
        is_float = dtype is np.float32
        shape = [MATRIX_SIZE, MATRIX_SIZE]
        weights = generator.normal(size=shape) if is_float else generator.integers(-127, 127, shape)
        tensor = numpy_helper.from_array(weights.astype(np.float32 if is_float else np.int8), "weights")
        node = helper.make_node("MatMul" if is_float else "MatMulInteger", ["input", "weights"], ["output"])
        input_type, output_type = (
            (TensorProto.FLOAT, TensorProto.FLOAT) if is_float else (TensorProto.UINT8, TensorProto.INT32)
        )
        graph = helper.make_graph(
            [node],
            "product",
            [helper.make_tensor_value_info("input", input_type, shape)],
            [helper.make_tensor_value_info("output", output_type, shape)],
            [tensor],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.num_threads
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values: np.ndarray = (generator.normal(size=shape) * 50 + 100).astype(dtype)
        return lambda: session.run(None, {"input": values})

    def _bandwidth(self) -> float:
        """Gigabytes per second of a copy, reads plus writes."""
        import torch

        source = torch.ones(BANDWIDTH_BYTES // 4)
        target = torch.empty_like(source)
        return 2 * BANDWIDTH_BYTES / _best_seconds(lambda: target.copy_(source)) / 1e9


def _best_seconds(call: Callable[[], object]) -> float:
    """Seconds of the third fastest of REPEATS calls, which is robust against errors of the clock."""
    call()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[2]


if __name__ == "__main__":
    serve_requests(RooflineWorker)
