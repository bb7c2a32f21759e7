"""The processes of one run, as `torchrun` and `accelerate launch` start them. Alone, nothing here does anything.

All processes run the same code on the same files. The main one decides and writes, the others follow.
"""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, NoReturn, TypeVar

PATIENCE = timedelta(days=7)  # how long a process waits for another
LAUNCHED_BY = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")

Value = TypeVar("Value")

_GONE: list[bool] = []  # holds something once this process has left the others


def count() -> int:
    """How many processes share the work."""
    return int(os.getenv("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.getenv("RANK", "0"))


def is_main() -> bool:
    """Whether this process decides and writes."""
    return rank() == 0


def broadcast_from_main(value: Value) -> Value:
    """The main process's value, in every process. All must call it; values are pickled."""
    if count() == 1:
        return value
    box = [value]
    _group().broadcast_object_list(box, src=0)
    return box[0]


def all_gather(value: Value) -> list[Value]:
    """The values of all processes in the order of their ranks, in every process. All must call it."""
    if count() == 1:
        return [value]
    found: list[Any] = [None] * count()
    _group().all_gather_object(found, value)
    return found


@contextmanager
def main_first() -> Iterator[None]:
    """Inside, the main process goes ahead; the others follow when it is through, or end quietly where it fails."""
    if count() == 1:
        yield
    elif is_main():
        through = False
        try:
            yield
            through = True
        finally:
            broadcast_from_main(through)
    else:
        if not broadcast_from_main(False):
            raise SystemExit(2)
        yield


def leave() -> bool:
    """End the common work: from here on this process is alone, and what it starts knows nothing of the others.

    Returns whether it was the main one.
    """
    if count() == 1:
        return True
    was_main = is_main()
    broadcast_from_main(None)  # none may be gone while another still talks to it
    _end()
    for name in LAUNCHED_BY:
        os.environ.pop(name, None)
    if not was_main:
        _GONE.append(True)
    return was_main


def end(code: int) -> NoReturn:
    """End the program. A process that has left the others ends at once: threads that torch still has there now and then
    end an interpreter that shuts down with an abort, and the launcher then ends all.
    """
    if _GONE:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@cache
def _group() -> Any:
    """torch.distributed, with every process in one group: gloo on CPUs, nccl on GPUs, one GPU each."""
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    atexit.register(_end)  # threads of the group that outlive the interpreter end the process with an abort
    return torch.distributed


def _end() -> None:
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
