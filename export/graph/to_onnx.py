"""Exports a torch classifier to ONNX."""

import warnings
from pathlib import Path

import torch
from torch.jit._trace import TracerWarning
from transformers import PreTrainedModel

OPSET = 17


def export_onnx(model: PreTrainedModel, path: Path, *, takes_token_types: bool = True) -> list[str]:
    """Write a sequence classifier as ONNX, with dynamic batch size and length. Returns its input names.

    Inputs: input_ids, attention_mask and token_type_ids, int64 (batch, positions). Output: logits, float32
    (batch, classes). Uses eager attention and the TorchScript exporter. onnxruntime's optimiser fuses no other
    combination: with `sdpa` or the dynamo exporter it recognises no attention.
    """
    original_attention = model.config._attn_implementation
    model.set_attn_implementation("eager")
    model.eval()
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if takes_token_types else [])]
    ones = torch.ones(2, 8, dtype=torch.long)
    example = {name: torch.zeros_like(ones) if name == "token_type_ids" else ones for name in names}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the exporter announces its successor
            warnings.simplefilter("ignore", TracerWarning)  # about shape checks that hold for every input
            warnings.filterwarnings("ignore", message="Exporting aten::index", category=UserWarning)
            torch.onnx.export(
                model.cpu(),
                (example,),
                str(path),
                input_names=names,
                output_names=["logits"],
                dynamic_axes={**{name: {0: "batch", 1: "positions"} for name in names}, "logits": {0: "batch"}},
                opset_version=OPSET,
                dynamo=False,
            )
    finally:
        model.set_attn_implementation(original_attention)
    return names
