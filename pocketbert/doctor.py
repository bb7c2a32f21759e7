"""`pocketbert doctor`: what this machine and this installation can do, and what stands in the way."""

import shutil
from pathlib import Path
from typing import Any

from bench import machine
from pocketbert import __version__
from pocketbert.runs import cache_folder

LITTLE_DISK_BYTES = 5e9
LITTLE_MEMORY_BYTES = 4e9


def examine(folder: Path) -> dict[str, Any]:
    """Facts about the machine as plain values, with `problems`: a line each, empty when all is well."""
    import torch

    try:
        import onnxruntime
    except ModuleNotFoundError:
        providers = []
    else:
        providers = onnxruntime.get_available_providers()

    facts = machine.describe()
    cache = cache_folder()
    facts |= {
        "pocketbert": __version__,
        "int8_in_hardware": machine.has_int8_dot_product(facts),
        "torch_cuda": torch.cuda.is_available(),
        "torch_threads": torch.get_num_threads(),
        "providers": providers,
        "free_disk_bytes": {str(place): _free_bytes(place) for place in (folder.absolute(), cache)},
        "cache": str(cache),
    }
    return {**facts, "problems": _problems(facts)}


def _problems(facts: dict[str, Any]) -> list[str]:
    found = []
    gpu, providers = facts["gpu"] is not None, facts["providers"]
    if machine.shadowed_onnxruntime():
        found.append(machine.SHADOWED)
    elif not providers:
        found.append("onnxruntime is not installed: install the extra cpu, or gpu where there is a CUDA device")
    elif gpu and "CUDAExecutionProvider" not in providers:
        found.append("there is a GPU, but onnxruntime is the CPU build: install the extra gpu instead of cpu")
    if gpu and not facts["torch_cuda"]:
        found.append("there is a GPU, but torch cannot use it: install a CUDA build of torch that suits the driver")
    if not facts["int8_in_hardware"]:
        found.append(
            "this processor has no int8 dot product (VNNI, AMX or DOTPROD): int8 is less of a gain here, and on old "
            "x86-64 its products may saturate; measure on the machine that will serve"
        )
    found += [
        f"{place}: {free / 1e9:.1f} GB free; a run with BERT-base takes several"
        for place, free in facts["free_disk_bytes"].items()
        if free < LITTLE_DISK_BYTES
    ]
    if facts["memory_bytes"] < LITTLE_MEMORY_BYTES:
        found.append(f"{facts['memory_bytes'] / 1e9:.1f} GB of memory; training BERT-base takes about 4")
    return found


def _free_bytes(place: Path) -> int:
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
