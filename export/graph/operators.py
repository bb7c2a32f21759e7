"""onnxruntime's operators that multiply, by name; loads nothing."""

# where an operator that multiplies by constant weights has them
WEIGHTS_AT = {
    "MatMul": 1, "FusedMatMul": 1, "Gemm": 1, "FusedGemm": 1, "Attention": 1, "QAttention": 1, "MatMulInteger": 1,
    "MatMulIntegerToFloat": 1, "DynamicQuantizeMatMul": 1, "MatMulNBits": 1,
}  # fmt: skip
ATTENTIONS = ("Attention", "QAttention", "MultiHeadAttention")
PRODUCTS = tuple(name for name in WEIGHTS_AT if name not in ATTENTIONS)
