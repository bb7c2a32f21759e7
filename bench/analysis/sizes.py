"""What a model's size on disk is made of: its embedding, its encoder, its tokenizer."""

import json
from pathlib import Path

from bench.results.benchmark import SizeByPart
from compress.common.files import size_bytes
from compress.models import sources

LOOKS_UP = {"EmbedLayerNormalization": range(2, 7), "Gather": [0], "GatherBlockQuantized": range(4)}


def size_breakdown(path: Path) -> SizeByPart | None:
    """Bytes by part of a bundle or a Hugging Face folder; None for anything else."""
    if (path / "onnx" / "model.onnx").is_file():
        embedding, model = _in_graph(path / "onnx" / "model.onnx")
        whole = size_bytes(path)
    elif (path / "model.safetensors").is_file():
        embedding, model = _in_safetensors(path / "model.safetensors")
        whole = sum(file.stat().st_size for file in sources.model_files(path))
    else:
        return None
    of_tokenizer = {file for pattern in sources.TOKENIZER_FILES for file in path.glob(pattern)}
    tokenizer = sum(file.stat().st_size for file in of_tokenizer)
    return SizeByPart(
        embedding=embedding,
        encoder=model - embedding,
        tokenizer=tokenizer,
        other_files=whole - model - tokenizer,
    )


def _in_graph(path: Path) -> tuple[int, int]:
    """Bytes of the tables in which a graph looks up its tokens, and of the whole file."""
    from export.graph.rewriter import Graph

    graph = Graph(path)
    tables = {
        node.input[place]
        for node in graph.nodes
        for place in LOOKS_UP.get(node.op_type, ())
        if place < len(node.input) and node.input[place] in graph.constants
    }
    return sum(graph.constants[name].ByteSize() for name in tables), path.stat().st_size


def _in_safetensors(path: Path) -> tuple[int, int]:
    """Bytes of the tensors under `embeddings`, and of the whole file; from the header alone."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    spans = (facts["data_offsets"] for name, facts in header.items() if "embeddings." in name)
    return sum(end - start for start, end in spans), path.stat().st_size
