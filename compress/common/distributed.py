"""Communication between the processes of one run, which `torchrun` or `accelerate launch` start.

All processes run the same code on the same files. The main process makes the decisions and writes the files. In a run
of a single process, nothing in this module has an effect.
"""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import NoReturn, TypeVar

TIMEOUT = timedelta(days=7)  # for waiting for another process
LAUNCHER_VARIABLES = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS",
)  # fmt: skip

Value = TypeVar("Value")

_has_left = False  # whether this process has left a group


def count() -> int:
    """The number of processes."""
    return int(os.getenv("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process, counted from 0."""
    return int(os.getenv("RANK", "0"))


def is_main() -> bool:
    """Whether this is the main process."""
    return rank() == 0


def broadcast_from_main(value: Value) -> Value:
    """Return the main process's value in every process. All processes must call this. Values are pickled."""
    if count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    _join_group()
    return broadcast_object_list([value])[0]


def all_gather(value: Value) -> list[Value]:
    """Return the values of all processes, ordered by rank, in every process. All processes must call this."""
    if count() == 1:
        return [value]
    from accelerate.utils import gather_object

    _join_group()
    return gather_object([value])


@contextmanager
def main_first() -> Iterator[None]:
    """Run the body in the main process first, then in the others. If it fails, the others exit without a message."""
    if count() == 1:
        yield
    elif is_main():
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            broadcast_from_main(succeeded)
    else:
        if not broadcast_from_main(False):
            raise SystemExit(2)
        yield


def leave() -> bool:
    """Leave the group. Afterwards, this process and its child processes run like a single process.

    All processes must call this. Returns whether this was the main process.
    """
    if count() == 1:
        _destroy_group()
        return True
    was_main = is_main()
    broadcast_from_main(None)  # wait for all: no process may leave while another still communicates
    _destroy_group()
    for name in LAUNCHER_VARIABLES:
        os.environ.pop(name, None)
    return was_main


def end(code: int) -> NoReturn:
    """Exit the program.

    A process that has left a group uses os._exit. Otherwise lingering torch threads can abort the shutdown of the
    interpreter, and the launcher then kills the other processes. This includes a group of one process, which accelerate
    joins under `torchrun --nproc-per-node=1`.
    """
    _destroy_group()
    if _has_left:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@cache
def _join_group() -> None:
    """Put all processes into one group of torch.distributed: gloo on CPUs, nccl on GPUs, one GPU per process."""
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.cuda.is_available(), timeout=TIMEOUT)
    atexit.register(_destroy_group)  # threads of the group that outlive the interpreter abort the process


def _destroy_group() -> None:
    global _has_left
    torch = sys.modules.get("torch")  # without torch, there is no group
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        _has_left = True
