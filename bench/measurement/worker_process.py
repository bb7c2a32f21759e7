"""Child processes that measure: commands go in and answers come out as JSON lines. Loads nothing heavy."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

Record = TypeVar("Record")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerError(RuntimeError):
    """A child process could not do what it was asked."""


class WorkerProcess:
    """A process that runs `module`; this side of the pipe. Between commands it sleeps in a read.

    `path`: further folders to import from. `python`: another interpreter than this one, of an environment of its own.
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
        """Send a command, sleep until it is answered. Dataclasses among the arguments are sent as objects of JSON.

        Raises WorkerError.
        """
        self.send(operation, **arguments)
        return self.receive()

    def send(self, operation: str, **arguments: Any) -> None:
        """Send a command; its answer is to be received."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"op": operation, **arguments}, default=asdict) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `receive` reports it

    def receive(self) -> Any:
        """Sleep until the command sent is answered. Raises WorkerError."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.name}: its process ended (exit code {self.process.wait()})")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(f"{self.name}: {reply['error']}")
        return reply["ok"]

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def serve_requests(load: Callable[..., Any]) -> None:
    """The child's side: answer commands until standard input ends.

    The command `load` makes the worker; every other command is a method of it. A worker has `facts()`.
    Answers are plain values or dataclasses; on the other side `as_record` restores those.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not end up between the answers
    worker: Any = None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            operation = command.pop("op")
            if operation == "load":
                worker = load(**command)
                answer = worker.facts()
            else:
                answer = getattr(worker, operation)(**command)
            reply = {"ok": answer}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        answers.write(json.dumps(reply, default=asdict) + "\n")


def as_record(kind: type[Record], answer: object) -> Record:
    """A child's answer as the dataclass that it was in the child."""
    from pydantic import TypeAdapter  # not above: children import this module in environments without pydantic

    return TypeAdapter(kind).validate_python(answer)
