"""Turns a student into a deployable bundle: ONNX export, graph fusion, quantisation, parity check.

Importing `export` or `export.bundle.runtime` loads neither torch nor transformers.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # the wheels of onnxruntime 1.29 and newer send usage data
