"""In which precision training multiplies matrices; weights, gradients and losses stay fp32 (mixed precision)."""

import copy
from typing import Any, Literal

import torch
from torch import nn

from compress.common.errors import UserError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def machine_has_bf16() -> bool:
    """Whether bf16 matrix products run in hardware here."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def resolve_precision(wanted: Precision) -> Precision:
    """What `auto` means on this machine: bf16 where it has it, else fp16 on a GPU and fp32 on a CPU.

    Raises UserError for fp16 without a GPU.
    """
    on_gpu = torch.cuda.is_available()
    if wanted == "fp16" and not on_gpu:
        raise UserError("fp16 needs a CUDA device, and there is none here; use auto", option="precision")
    if wanted != "auto":
        return wanted
    return "bf16" if machine_has_bf16() else "fp16" if on_gpu else "fp32"


def autocast(wanted: Precision) -> torch.autocast:
    """A context in which products are taken in that precision."""
    dtype = HALF.get(resolve_precision(wanted))
    return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", dtype=dtype, enabled=dtype is not None)


def low_precision_copy(model: Any, wanted: Precision) -> Any:
    """A copy of a model that is not trained, for use under `autocast`: the same answers.

    Its linear maps are cast already; autocast would cast the weights anew in each call. In fp32 the model itself.
    """
    dtype = HALF.get(resolve_precision(wanted))
    if dtype is None:
        return model
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if isinstance(module, nn.Linear):
            module.to(dtype)
    return copied
