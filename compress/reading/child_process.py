"""Runs a reader of a file format in a process of its own: a damaged file may crash it, block it or fill its memory."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compress.common.errors import UserError, first_line

MOST_MEMORY_BYTES = 2_000_000_000  # of address space, of which libraries reserve far more than they use
MOST_CPU_S = 40
ROOT = Path(__file__).resolve().parent.parent.parent


def call_in_child(module: str, content: bytes, *arguments: str, problem: str, advice: str) -> Any:
    """What the main function of `module` returns for these bytes, computed in a process of its own.

    `module` ends in a call of `answer`. Raises UserError: that of the function, or one that begins with `problem` for
    other errors and for a process that crashes or reaches a limit.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],
        input=content,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        check=False,
    )
    if finished.returncode != 0 or not finished.stdout:
        raise UserError(
            f"{problem} (its reader crashed, or needed more than {MOST_MEMORY_BYTES / 1e9:.0f} GB of memory or "
            f"{MOST_CPU_S} s); {advice}"
        )
    kind, value = pickle.loads(finished.stdout)
    if kind == "value":
        return value
    raise UserError(value if kind == "refusal" else f"{problem} ({value}); {advice}")


def answer(function: Callable[..., Any]) -> None:
    """Call a function with the bytes of standard input and the process's arguments, and send the parent its result."""
    _limit_resources()
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with the result
    try:
        result = ("value", function(sys.stdin.buffer.read(), *sys.argv[1:]))
    except MemoryError:
        os._exit(1)
    except UserError as error:
        result = ("refusal", str(error))
    except Exception as error:  # the libraries raise many classes
        result = ("error", first_line(error))
    pickle.dump(result, output, protocol=pickle.HIGHEST_PROTOCOL)
    output.close()


def _limit_resources() -> None:
    """Limit memory and processor time, and leave no core file. Windows has no such limits."""
    try:
        import resource
    except ImportError:
        return
    for limit, most in (
        (resource.RLIMIT_AS, MOST_MEMORY_BYTES),
        (resource.RLIMIT_CPU, MOST_CPU_S),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
