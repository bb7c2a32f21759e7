"""Student in, deployable bundle out: ONNX export, graph fusion, quantisation, proof of parity.

Kept light on purpose: importing `export`, or `export.bundle.runtime`, loads neither torch nor transformers.
"""
