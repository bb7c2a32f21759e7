"""`pocketbert doctor`: what this machine and this installation can do, and what stands in the way."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measurement import machine
from bench.results.measurements import Machine
from pocketbert import __version__
from pocketbert.store.run_folder import cache_folder

LITTLE_DISK_BYTES = 5e9
LITTLE_MEMORY_BYTES = 4e9


@dataclass(frozen=True, kw_only=True)
class DoctorReport:
    """The machine and the installation. `pocketbert`: its version. `providers`: of onnxruntime; empty where it is not
    installed.

    `free_disk_bytes`: by folder, of the present one and of the cache. `problems`: a line each; empty when all is well.
    """

    machine: Machine
    pocketbert: str
    int8_in_hardware: bool
    torch_cuda: bool
    torch_threads: int
    providers: list[str]
    free_disk_bytes: dict[str, int]
    cache: str
    problems: list[str]


def examine_machine(folder: Path) -> DoctorReport:
    """Look at this machine. `folder`: where runs would be written."""
    import torch

    here, cache = machine.describe(), cache_folder()
    providers = _onnxruntime_providers()
    has_int8, has_cuda = machine.has_int8_dot_product(here), torch.cuda.is_available()
    free_bytes = {str(place): _free_bytes(place) for place in (folder.absolute(), cache)}
    return DoctorReport(
        machine=here,
        pocketbert=__version__,
        int8_in_hardware=has_int8,
        torch_cuda=has_cuda,
        torch_threads=torch.get_num_threads(),
        providers=providers,
        free_disk_bytes=free_bytes,
        cache=str(cache),
        problems=[
            *_package_problems(providers, has_gpu=here.gpu is not None, torch_cuda=has_cuda),
            *_machine_problems(here, has_int8=has_int8, free_bytes=free_bytes),
        ],
    )


def _onnxruntime_providers() -> list[str]:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return []
    return list(onnxruntime.get_available_providers())


def _package_problems(providers: Sequence[str], *, has_gpu: bool, torch_cuda: bool) -> list[str]:
    problems = []
    if machine.shadowed_onnxruntime():
        problems.append(machine.SHADOWED)
    elif not providers:
        problems.append("onnxruntime is not installed: install the extra cpu, or gpu where there is a CUDA device")
    elif has_gpu and "CUDAExecutionProvider" not in providers:
        problems.append("there is a GPU, but onnxruntime is the CPU build: install the extra gpu instead of cpu")
    if has_gpu and not torch_cuda:
        problems.append("there is a GPU, but torch cannot use it: install a CUDA build of torch that suits the driver")
    return problems


def _machine_problems(here: Machine, *, has_int8: bool, free_bytes: dict[str, int]) -> list[str]:
    problems = []
    if not has_int8:
        problems.append(
            "this processor has no int8 dot product (VNNI, AMX or DOTPROD): int8 is less of a gain here, and on old "
            "x86-64 its products may saturate; measure on the machine that will serve"
        )
    problems += [
        f"{place}: {free / 1e9:.1f} GB free; a run with BERT-base takes several"
        for place, free in free_bytes.items()
        if free < LITTLE_DISK_BYTES
    ]
    if here.memory_bytes < LITTLE_MEMORY_BYTES:
        problems.append(f"{here.memory_bytes / 1e9:.1f} GB of memory; training BERT-base takes about 4")
    return problems


def _free_bytes(place: Path) -> int:
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
