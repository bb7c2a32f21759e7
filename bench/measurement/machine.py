"""Describes the machine: processor, memory, GPU and package versions."""

import importlib.metadata
import math
import os
import platform
import subprocess
from dataclasses import fields
from functools import cache
from pathlib import Path

import psutil

from bench.measurement import noise
from bench.measurement.cpu_quota import quota_cores
from bench.results.measurements import Gpu, Machine

PACKAGES = ("torch", "transformers", "onnx", "onnxruntime", "onnxruntime-gpu", "tokenizers", "numpy", "scikit-learn")
INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm")
INT8_DOT_PRODUCTS = {"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"}
GPU_QUERY = "name,driver_version,memory.total,clocks.sm,pstate,temperature.gpu,power.draw"  # as the fields of Gpu

SHADOWED = (
    "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; uninstall both, then install one of "
    "the extras cpu and gpu"
)


def describe() -> Machine:
    """The machine and its present load."""
    flags = _cpu_info("flags") or _cpu_info("Features") or ""
    return Machine(
        cpu=_cpu_info("model name") or platform.processor() or platform.machine(),
        architecture=platform.machine(),
        instructions=[name for name in INSTRUCTIONS if name in flags.split()],
        logical_cores=os.cpu_count(),
        usable_cores=usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load_average=round(psutil.getloadavg()[0], 2),
        settings=noise.machine_settings(),
        gpu=cuda_device(),
        versions=package_versions(),
    )


def has_int8_dot_product(machine: Machine) -> bool:
    """Whether the processor has an int8 dot product instruction."""
    return bool(INT8_DOT_PRODUCTS & set(machine.instructions))


def usable_cores() -> int:
    """Number of cores that this process may use, limited by the CPU quota of its control group; at least one.

    A fraction of a core counts as a whole core: the quota limits the time on cores, not their number.
    """
    cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count() or 1
    quota = quota_cores()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def torch_threads() -> int | None:
    """Number of threads that torch uses on the CPU; None if it uses CUDA. Does not load torch.

    torch uses MKL_NUM_THREADS, else OMP_NUM_THREADS, else one thread per physical core that the process may run on. On
    x86-64 it uses MKL, which limits this to the machine's physical cores, unless MKL_DYNAMIC=FALSE.
    """
    if _torch_uses_cuda():
        return None
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    is_limited = platform.machine() in ("x86_64", "AMD64") and os.getenv("MKL_DYNAMIC", "").upper() != "FALSE"
    for variable in ("MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        number = os.getenv(variable, "").partition(",")[0].strip()
        if number.isdecimal() and int(number):
            return min(cores, int(number)) if is_limited else int(number)
    allowed = psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else None
    return cores if allowed is None else len({_physical_core(cpu) for cpu in allowed})


def auto_precision() -> str | None:
    """The precision that `auto` selects for torch on this processor: "bf16" or "fp32". Does not load torch.

    None if torch uses CUDA, or if the system does not list the processor's instructions. Must agree with
    `compress.models.precision.resolve_precision`.
    """
    flags = _cpu_info("flags") or _cpu_info("Features")
    if flags is None or _torch_uses_cuda():
        return None
    return "bf16" if {"avx512_bf16", "amx_tile"} & set(flags.split()) else "fp32"


def _torch_uses_cuda() -> bool:
    """Whether torch can use a CUDA device. CUDA_VISIBLE_DEVICES hides devices from torch, but not from nvidia-smi."""
    hidden = os.getenv("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and not package_versions().get("torch", "").endswith("+cpu") and _has_cuda_device()


@cache
def _has_cuda_device() -> bool:
    return cuda_device() is not None


def _physical_core(cpu: int) -> str:
    """A key that the logical cores of one physical core share: their list, or the core itself if it is unknown."""
    try:
        return (
            Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text(encoding="utf-8").strip()
        )
    except OSError:
        return str(cpu)


def threads_for(processes: int, cores: int) -> int:
    """Threads per process if several processes share the cores; at least one."""
    return max(1, cores // processes)


def package_versions() -> dict[str, str]:
    """The versions of the installed packages that affect the figures."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def shadowed_onnxruntime() -> bool:
    """Whether both builds of onnxruntime are installed, so that one has overwritten files of the other."""
    return {"onnxruntime", "onnxruntime-gpu"} <= set(package_versions())


def cuda_device() -> Gpu | None:
    """The first NVIDIA GPU; None if there is none."""
    try:
        query = subprocess.run(
            ["nvidia-smi", f"--query-gpu={GPU_QUERY}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = query.stdout.strip().splitlines()
    if not lines:
        return None
    names = [field.name for field in fields(Gpu)]
    values = lines[0].rsplit(", ", len(names) - 1)  # the name may contain commas
    return Gpu(**dict(zip(names, values, strict=True)))


def _cpu_info(field: str) -> str | None:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return None
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return None
