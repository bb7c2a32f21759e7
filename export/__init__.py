"""Turns a student into a deployable bundle: ONNX export, graph fusion, quantisation, parity check.

Importing `export` or `export.bundle.runtime` loads neither torch nor transformers.
"""
