"""Breaks down a model's size on disk: embedding, encoder, tokenizer, other files."""

import json
from pathlib import Path

from bench.results.benchmark import SizeByPart
from compress.common.files import size_bytes
from compress.models import sources

EMBEDDING_INPUTS = {"EmbedLayerNormalization": range(2, 7), "Gather": [0], "GatherBlockQuantized": range(4)}


def size_breakdown(path: Path) -> SizeByPart | None:
    """Bytes by part of a bundle or Hugging Face folder; None for any other path."""
    if (path / "onnx" / "model.onnx").is_file():
        embedding, model = _sizes_in_graph(path / "onnx" / "model.onnx")
        total = size_bytes(path)
    elif (path / "model.safetensors").is_file():
        embedding, model = _sizes_in_safetensors(path / "model.safetensors")
        total = sum(file.stat().st_size for file in sources.model_files(path))
    else:
        return None
    tokenizer_files = {file for pattern in sources.TOKENIZER_FILES for file in path.glob(pattern)}
    tokenizer = sum(file.stat().st_size for file in tokenizer_files)
    return SizeByPart(
        embedding=embedding,
        encoder=model - embedding,
        tokenizer=tokenizer,
        other_files=total - model - tokenizer,
    )


def _sizes_in_graph(path: Path) -> tuple[int, int]:
    """Bytes of the embedding tables in an ONNX file, and of the whole file."""
    from export.graph.rewriter import Graph

    graph = Graph(path)
    tables = {
        node.input[index]
        for node in graph.nodes
        for index in EMBEDDING_INPUTS.get(node.op_type, ())
        if index < len(node.input) and node.input[index] in graph.constants
    }
    return sum(graph.constants[name].ByteSize() for name in tables), path.stat().st_size


def _sizes_in_safetensors(path: Path) -> tuple[int, int]:
    """Bytes of the tensors under `embeddings`, and of the whole file. Reads only the header."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    spans = (entry["data_offsets"] for name, entry in header.items() if "embeddings." in name)
    return sum(end - start for start, end in spans), path.stat().st_size
