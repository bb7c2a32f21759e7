"""Worker processes for measurements. Commands and replies are JSON lines. Imports only light modules."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

Record = TypeVar("Record")
PR_SET_PDEATHSIG = 1  # of prctl(2)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerError(RuntimeError):
    """A worker process failed to execute a command."""


class WorkerProcess:
    """The parent's handle of a worker process that runs `module`. The process sleeps between commands.

    `name`: for error messages. `path`: additional import folders. `python`: an interpreter of another environment; by
    default the current one.
    """

    def __init__(
        self, module: str, name: str, *, num_threads: int, path: tuple[str, ...] = (), python: str | None = None
    ) -> None:
        environment = {
            **os.environ,
            **dict.fromkeys(THREAD_VARIABLES, str(num_threads)),
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": os.pathsep.join((str(Path(__file__).resolve().parent.parent.parent), *path)),
        }
        self.name = name
        self.process = subprocess.Popen(
            [python or sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def ask(self, operation: str, **arguments: Any) -> Any:
        """Send a command and wait for its reply. Dataclass arguments are sent as JSON objects. Raises WorkerError."""
        self.send(operation, **arguments)
        return self.receive()

    def send(self, operation: str, **arguments: Any) -> None:
        """Send a command. Call `receive` for its reply."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"op": operation, **arguments}, default=asdict) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `receive` reports it

    def receive(self) -> Any:
        """Wait for the reply to a sent command. Raises WorkerError."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.name}: its process ended (exit code {self.process.wait()})")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(f"{self.name}: {reply['error']}")
        return reply["ok"]

    def close(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def serve_requests(load: Callable[..., Any]) -> None:
    """The worker's main loop: execute commands until standard input ends.

    The command `load` creates the worker, and its reply is that of the worker's method `facts`. Every other command
    calls the method of that name. Replies are JSON values or dataclasses; the parent restores a dataclass with
    `as_record`.
    """
    _end_with_parent()
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of libraries must not mix with the replies
    worker: Any = None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            operation = command.pop("op")
            if operation == "load":
                worker = load(**command)
                result = worker.facts()
            else:
                result = getattr(worker, operation)(**command)
            reply = {"ok": result}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        replies.write(json.dumps(reply, default=asdict) + "\n")


def _end_with_parent() -> None:
    """Leave Ctrl-C to the parent, and on Linux let the kernel kill this process when the parent ends in any way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def as_record(record_type: type[Record], reply: object) -> Record:
    """Restore the dataclass from a worker's reply."""
    from pydantic import TypeAdapter  # imported here because workers may run in environments without pydantic

    return TypeAdapter(record_type).validate_python(reply)
