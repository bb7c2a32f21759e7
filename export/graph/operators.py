"""Names of operators and nodes in the exported graphs. Imports nothing, so that reports can use it."""

# index of the input that holds the constant weights
WEIGHTS_AT = {
    "MatMul": 1, "FusedMatMul": 1, "Gemm": 1, "FusedGemm": 1, "Attention": 1, "QAttention": 1, "MatMulInteger": 1,
    "MatMulIntegerToFloat": 1, "DynamicQuantizeMatMul": 1, "MatMulNBits": 1,
}  # fmt: skip
ATTENTIONS = ("Attention", "QAttention", "MultiHeadAttention")
INT8_PRODUCT = "MatMulIntegerToFloat"  # in static variants, attention consists of it too
MATMULS = tuple(name for name in WEIGHTS_AT if name not in ATTENTIONS)
EMBEDDING_NODES = "embedding_"  # starts the names of the nodes that look up and unpack words
ATTENTION_NODES = "attention_"  # starts the names of the nodes between the projections of an attention
