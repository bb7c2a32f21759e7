"""Breaks down a model's size on disk: embedding, encoder, tokenizer, other files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bench.results.benchmark import SizeByPart
from compress.common.files import size_bytes
from compress.models import sources

if TYPE_CHECKING:
    from export.graph.rewriter import Graph

EMBEDDING_INPUTS = {"EmbedLayerNormalization": range(2, 7), "GatherBlockQuantized": range(4)}  # with tables


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
    for gather in graph.of_type("Gather"):
        if _source_constants(graph, gather.input[1]) is None:  # the indices depend on the text
            tables |= _source_constants(graph, gather.input[0]) or set()
    return sum(graph.constants[name].ByteSize() for name in tables), path.stat().st_size


def _source_constants(graph: "Graph", name: str) -> set[str] | None:
    """The constants from which a tensor is computed; None if it also depends on an input of the model."""
    if name in graph.constants:
        return {name}
    producer = graph.producer(name)
    if producer is None:
        return None
    names: set[str] = set()
    for source in producer.input:
        constants = _source_constants(graph, source)
        if constants is None:
            return None
        names |= constants
    return names


def _sizes_in_safetensors(path: Path) -> tuple[int, int]:
    """Bytes of the tensors under `embeddings`, and of the whole file. Reads only the header."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    spans = (entry["data_offsets"] for name, entry in header.items() if "embeddings." in name)
    return sum(end - start for start, end in spans), path.stat().st_size
