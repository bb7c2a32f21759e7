"""From a torch model to a fused ONNX graph."""
