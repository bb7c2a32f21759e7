"""What this machine can do at most: products of matrices in int8, bf16 and fp32, and reading memory. Measured.

A child process; started as `python -P -m bench.analysis.roofline`.
"""

import time
from collections.abc import Callable
from contextlib import closing

import numpy as np

from bench.measurement.worker_process import WorkerProcess, as_record, serve_requests
from bench.results.measurements import Ceilings, ProductCeiling

LARGE = 2048  # rows and columns: enough that only multiplying counts
REPEATS = 12
BANDWIDTH_BYTES = 2**28  # more than any cache


def measure_ceilings(num_threads: int) -> Ceilings:
    """The fastest products by precision, and memory's bandwidth. Raises WorkerError."""
    with closing(WorkerProcess("bench.analysis.roofline", "ceilings", num_threads=num_threads)) as child:
        return as_record(Ceilings, child.ask("load", num_threads=num_threads))


class Measurement:
    """Measures when it is loaded."""

    def __init__(self, num_threads: int) -> None:
        self.num_threads = num_threads

    def facts(self) -> Ceilings:
        """The best that any of the ways of this installation reaches."""
        ways: dict[str, list[tuple[str, Callable[[], object]]]] = {
            "fp32": [("onnxruntime", self._onnxruntime(np.float32)), ("torch", self._torch("float32"))],
            "bf16": [("torch", self._torch("bfloat16"))],
            "int8": [("onnxruntime", self._onnxruntime(np.uint8)), ("torch", self._torch("int8"))],
        }
        operations = 2 * LARGE**3  # an addition and a multiplication are two
        products = {}
        for precision, calls in ways.items():
            gops, library = max((operations / _fastest(call) / 1e9, library) for library, call in calls)
            products[precision] = ProductCeiling(gops=gops, by=library)
        return Ceilings(num_threads=self.num_threads, products=products, gigabytes_per_s=self._bandwidth())

    def _torch(self, kind: str) -> Callable[[], object]:
        import torch

        torch.set_num_threads(self.num_threads)
        if kind == "int8":
            a, b = (torch.randint(-127, 127, (LARGE, LARGE), dtype=torch.int8) for _ in range(2))
            return lambda: torch._int_mm(a, b)
        a, b = (torch.randn(LARGE, LARGE, dtype=getattr(torch, kind)) for _ in range(2))
        return lambda: a @ b

    def _onnxruntime(self, kind: type) -> Callable[[], object]:
        """A product with constant weights, which the runtime packs beforehand, as in a model."""
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        draw = np.random.default_rng(0)
        is_float = kind is np.float32
        weights = draw.normal(size=(LARGE, LARGE)) if is_float else draw.integers(-127, 127, (LARGE, LARGE))
        tensor = numpy_helper.from_array(weights.astype(np.float32 if is_float else np.int8), "weights")
        node = helper.make_node("MatMul" if is_float else "MatMulInteger", ["input", "weights"], ["output"])
        taken, given = (TensorProto.FLOAT, TensorProto.FLOAT) if is_float else (TensorProto.UINT8, TensorProto.INT32)
        graph = helper.make_graph(
            [node],
            "product",
            [helper.make_tensor_value_info("input", taken, [LARGE, LARGE])],
            [helper.make_tensor_value_info("output", given, [LARGE, LARGE])],
            [tensor],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.num_threads
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values: np.ndarray = (draw.normal(size=(LARGE, LARGE)) * 50 + 100).astype(kind)
        return lambda: session.run(None, {"input": values})

    def _bandwidth(self) -> float:
        """Gigabytes a second that are read and written by a copy."""
        import torch

        source = torch.ones(BANDWIDTH_BYTES // 4)
        target = torch.empty_like(source)
        return 2 * BANDWIDTH_BYTES / _fastest(lambda: target.copy_(source)) / 1e9


def _fastest(call: Callable[[], object]) -> float:
    """Seconds of the third fastest of some calls: a ceiling, but not a slip of the clock."""
    call()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[2]


if __name__ == "__main__":
    serve_requests(Measurement)
