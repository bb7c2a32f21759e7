"""`pocketbert doctor`: the capabilities of the machine and of the installation, and their problems."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measurement import machine
from bench.results.measurements import Machine
from pocketbert import __version__
from pocketbert.store.stage_cache import cache_folder

MIN_DISK_BYTES = 5e9
MIN_MEMORY_BYTES = 4e9


@dataclass(frozen=True, kw_only=True)
class DoctorReport:
    """The machine and the installation.

    `pocketbert`: its version. `torch_threads`: None if torch is not installed. `providers`: of onnxruntime; empty if it
    is not installed. `free_disk_bytes`: for the working folder and for the cache. `problems`: one line each.
    """

    machine: Machine
    pocketbert: str
    int8_in_hardware: bool
    torch_cuda: bool
    torch_threads: int | None
    providers: list[str]
    free_disk_bytes: dict[str, int]
    cache: str
    problems: list[str]


def examine_machine(folder: Path) -> DoctorReport:
    """Examine this machine. `folder`: where runs would be written."""
    here, cache = machine.describe(), cache_folder()
    providers = _onnxruntime_providers()
    has_int8 = machine.has_int8_dot_product(here)
    torch_threads, torch_cuda = _torch_capabilities()
    free_bytes = {str(path): _free_bytes(path) for path in (folder.absolute(), cache)}
    return DoctorReport(
        machine=here,
        pocketbert=__version__,
        int8_in_hardware=has_int8,
        torch_cuda=torch_cuda,
        torch_threads=torch_threads,
        providers=providers,
        free_disk_bytes=free_bytes,
        cache=str(cache),
        problems=[
            *_package_problems(
                providers, has_gpu=here.gpu is not None, has_torch=torch_threads is not None, torch_cuda=torch_cuda
            ),
            *_machine_problems(here, has_int8=has_int8, free_bytes=free_bytes),
        ],
    )


def _torch_capabilities() -> tuple[int | None, bool]:
    """Threads of torch, and whether it can use CUDA."""
    try:
        import torch
    except ModuleNotFoundError:
        return None, False
    return torch.get_num_threads(), torch.cuda.is_available()


def _onnxruntime_providers() -> list[str]:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return []
    return list(onnxruntime.get_available_providers())


def _package_problems(providers: Sequence[str], *, has_gpu: bool, has_torch: bool, torch_cuda: bool) -> list[str]:
    problems = []
    if machine.shadowed_onnxruntime():
        problems.append(machine.SHADOWED)
    elif not providers:
        problems.append("onnxruntime is not installed: install the extra bundles, or gpu for a CUDA device")
    elif has_gpu and "CUDAExecutionProvider" not in providers:
        problems.append("there is a GPU, but onnxruntime is the CPU build: install the extra gpu instead of cpu")
    if has_gpu and has_torch and not torch_cuda:
        problems.append("there is a GPU, but torch cannot use it: install a CUDA build of torch that fits the driver")
    return problems


def _machine_problems(here: Machine, *, has_int8: bool, free_bytes: dict[str, int]) -> list[str]:
    problems = []
    if not has_int8:
        problems.append(
            "this processor has no int8 dot product (VNNI, AMX or DOTPROD): int8 gains less here, and on old x86-64 "
            "its products may saturate; measure on the machine that will serve"
        )
    problems += [
        f"{path}: {free / 1e9:.1f} GB free; a run with BERT-base takes several GB"
        for path, free in free_bytes.items()
        if free < MIN_DISK_BYTES
    ]
    if here.memory_bytes < MIN_MEMORY_BYTES:
        problems.append(f"{here.memory_bytes / 1e9:.1f} GB of memory; training BERT-base takes about 4 GB")
    return problems


def _free_bytes(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
