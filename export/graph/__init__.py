"""From torch to a fused ONNX graph."""
