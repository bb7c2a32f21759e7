"""The precision of matrix products in training; weights, gradients and losses stay fp32 (mixed precision).

Importing this module loads no torch, because recipes use `Precision`. Its functions do.
"""

import copy
from typing import TYPE_CHECKING, Any, Literal

from compress.common.errors import UserError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]
HALF = ("bf16", "fp16")


def machine_has_bf16() -> bool:
    """Whether this machine has hardware for bf16 matrix products."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def resolve_precision(precision: Precision) -> Precision:
    """Replace `auto` by bf16 if this machine supports it, otherwise by fp16 on a GPU and fp32 on a CPU.

    Raises UserError for fp16 without a GPU.
    """
    import torch

    on_gpu = torch.cuda.is_available()
    if precision == "fp16" and not on_gpu:
        raise UserError("fp16 requires a CUDA device, but this machine has none; use auto", option="precision")
    if precision != "auto":
        return precision
    return "bf16" if machine_has_bf16() else "fp16" if on_gpu else "fp32"


def autocast(precision: Precision) -> "torch.autocast":
    """Inside this context, torch computes matrix products in this precision."""
    import torch

    dtype = _half_dtype(precision)
    return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", dtype=dtype, enabled=dtype is not None)


def low_precision_copy(model: Any, precision: Precision) -> Any:
    """A copy for inference under `autocast`, with the same outputs. For fp32, and for such a copy, the model itself.

    Its linear maps are already cast, while autocast would cast their weights in every call.
    """
    from torch import nn

    dtype = _half_dtype(precision)
    if dtype is None or all(each.weight.dtype == dtype for each in model.modules() if isinstance(each, nn.Linear)):
        return model
    low_precision = copy.deepcopy(model)
    for module in low_precision.modules():
        if isinstance(module, nn.Linear):
            module.to(dtype)
    return low_precision


def _half_dtype(precision: Precision) -> "torch.dtype | None":
    """The torch dtype of a 16-bit precision; None for fp32."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(resolve_precision(precision))
