"""Checks the names and types of weights for signs of another format. Loads torch lazily."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.common.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = {  # torch adds these parts to names; they change no value
    "_orig_mod.": "torch.compile",
    "_fsdp_wrapped_module.": "FSDP",
    "_checkpoint_wrapped_module.": "activation checkpointing",
}
PARALLEL = "module."  # DataParallel adds it at the beginning
SPELLINGS = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))  # of old TensorFlow ports
FOREIGN = (  # a pattern in the names, and what such weights are
    (r"\.lora_[AB]\b|\.lora_embedding|\.base_layer\.|^base_model\.model\.", "LoRA weights that are not merged; merge "
     "them with PEFT's merge_and_unload(), and save the result with save_pretrained"),
    (r"\.(absmax|quant_map|SCB|qweight|qzeros|weight_scale|weight_scale_inv|_packed_params)(\.|$)",
     "quantised weights; name the original model, with weights in float32, float16 or bfloat16"),
    (r"\.weight_(orig|mask)$", "weights that are being pruned; make the pruning "
     "permanent (torch.nn.utils.prune.remove)"),
    (r"\.parametrizations\.|\.weight_[gv]$", "parametrised weights; remove the parametrisation before saving"),
    (r"(^|\.)(adapters?|adapter_fusion|prefix_encoder|prompt_embeddings)\.", "weights of adapters or prompts, which "
     "this architecture does not have; merge them, or name the model without them"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NamedWeights:
    """Weights by the names that transformers uses. `remarks`: how other names were read, in one line each."""

    weights: dict[str, "Tensor"]
    remarks: tuple[str, ...]


def with_usual_names(weights: Mapping[str, "Tensor"]) -> NamedWeights:
    """Remove parts of names that torch added, and replace old spellings.

    Raises UserError for names of adapters, of quantised and of unmerged weights, for two weights of the same name, and
    for weights that are no floating-point numbers.
    """
    remarks, renamed = [], dict[str, str]()
    names = list(weights)
    for part, origin in WRAPPERS.items():
        if any(part in name for name in names):
            names = [name.replace(part, "") for name in names]
            remarks.append(f"the names of its weights contain {part!r} of {origin}, which is left out")
    if all(name.startswith(PARALLEL) for name in names):
        names = [name.removeprefix(PARALLEL) for name in names]
        remarks.append(f"the names of its weights begin with {PARALLEL!r} of DataParallel, which is left out")
    for pattern, content in FOREIGN:
        example = next((name for name in names if re.search(pattern, name)), None)
        if example is not None:
            raise UserError(f"its weights contain {example}: these are {content}")
    for old, new in SPELLINGS:
        names = [name.replace(old, new) for name in names]
    for original, name in zip(weights, names, strict=True):
        if name in renamed:
            raise UserError(f"its weights contain {name} twice, as {renamed[name]} and as {original}; expected it once")
        renamed[name] = original
    _check_types(weights)
    return NamedWeights(weights={name: weights[original] for name, original in renamed.items()}, remarks=tuple(remarks))


def _check_types(weights: Mapping[str, "Tensor"]) -> None:
    import torch

    usable = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    for name, tensor in weights.items():
        is_buffer = name.endswith("_ids")  # such as position_ids
        is_dense = tensor.layout == torch.strided
        if is_dense and (tensor.dtype in usable or is_buffer):
            continue
        data_type = ("" if is_dense else "sparse ") + str(tensor.dtype).removeprefix("torch.")
        raise UserError(
            f"its weight {name} is {data_type}; expected float32, float16 or bfloat16; if the weights are quantised, "
            "name the original model"
        )
