"""What the figures were measured on."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

from bench import noise

PACKAGES = ("torch", "transformers", "onnx", "onnxruntime", "onnxruntime-gpu", "tokenizers", "numpy", "scikit-learn")
INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm")
INT8_DOT_PRODUCTS = {"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"}

SHADOWED = (
    "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; uninstall both, then install one of "
    "the extras cpu and gpu"
)


def describe() -> dict[str, Any]:
    """Processor, memory, system, load, GPU and package versions, as plain values."""
    flags = _cpu_info("flags") or _cpu_info("Features") or ""
    return {
        "cpu": _cpu_info("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "instructions": [name for name in INSTRUCTIONS if name in flags.split()],
        "logical_cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": round(psutil.getloadavg()[0], 2),
        "settings": noise.settings(),
        "gpu": cuda_device(),
        "versions": package_versions(),
    }


def has_int8_dot_product(facts: dict[str, Any]) -> bool:
    """Whether the processor that `describe` found multiplies bytes in one instruction."""
    return bool(INT8_DOT_PRODUCTS & set(facts["instructions"]))


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count() or 1


def threads_for(processes: int, cores: int) -> int:
    """As many threads for each of several processes at once as there are cores for."""
    return max(1, cores // processes)


def package_versions() -> dict[str, str]:
    """The versions of the packages that the figures depend on, of those installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def shadowed_onnxruntime() -> bool:
    """Whether both builds of onnxruntime are installed: the later one has overwritten files of the other."""
    return {"onnxruntime", "onnxruntime-gpu"} <= set(package_versions())


def cuda_device() -> dict[str, str] | None:
    """Name, driver, clocks and power state of the first NVIDIA GPU; None where there is none."""
    fields = ("name", "driver_version", "memory.total", "clocks.sm", "pstate", "temperature.gpu", "power.draw")
    try:
        query = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    first = query.stdout.strip().splitlines()
    return dict(zip(fields, first[0].split(", "), strict=False)) if first else None


def _cpu_info(field: str) -> str | None:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return None
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return None
