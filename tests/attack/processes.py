"""Runs one command in a process of its own, with a time limit, a memory limit and a measured peak."""

import ctypes
import os
import resource
import runpy
import select
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from tests.attack.attack import Command, Finished, Running

GIGABYTE = 10**9
MORE_MEMORY = 4 * GIGABYTE  # virtual memory that a command may add; resident memory is measured
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def run_command(command: Command, *, folder: Path, environment: Mapping[str, str], output: Path) -> Finished:
    """Run the command and wait for its end, or kill it at its time limit. `output`: the stem of its output files."""
    output.with_suffix(".in").write_bytes(command.stdin or b"")
    for suffix in (".out", ".err"):
        output.with_suffix(suffix).touch()
    started = time.monotonic()
    pid = _start(command, folder / command.folder, {**environment, **command.environment}, output)
    descriptor = os.pidfd_open(pid)
    if command.during is not None:
        command.during(Running(pid=pid, stderr=output.with_suffix(".err")))
    left = command.limit_s - (time.monotonic() - started)
    ended, _, _ = select.select([descriptor], [], [], max(left, 0))
    with suppress(ProcessLookupError):  # its children outlive it, or it did not end in time
        os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    os.close(descriptor)
    return Finished(
        code=os.waitstatus_to_exitcode(status),
        stdout=output.with_suffix(".out").read_bytes(),
        stderr=output.with_suffix(".err").read_bytes(),
        seconds=time.monotonic() - started,
        peak_bytes=usage.ru_maxrss * 1024,
        is_over_time=not ended,
    )


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _start(command: Command, folder: Path, environment: Mapping[str, str], output: Path) -> int:
    """Fork. The child becomes the command, and leads a process group of its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _prepare_child(command, folder, environment, output)
        if command.program is not None:
            os.execvp(command.program, [command.program, *map(str, command.words)])
        if command.is_new_interpreter:
            _become_interpreter(command)
        code = _call(command)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _prepare_child(command: Command, folder: Path, environment: Mapping[str, str], output: Path) -> None:
    os.setpgid(0, 0)
    end_with_parent()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(name, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python itself sets it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, suffix, flags in ((0, ".in", os.O_RDONLY), (1, ".out", os.O_WRONLY), (2, ".err", os.O_WRONLY)):
        descriptor = os.open(output.with_suffix(suffix), flags | os.O_CREAT | os.O_TRUNC * (number > 0), 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    if command.stdin is None:
        os.close(0)
        if not command.is_new_interpreter:
            sys.stdin = None  # type: ignore[assignment]  # as the interpreter sets it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if command.program is None:  # a browser maps far more memory than it uses
        limit = _mapped_bytes() + MORE_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if command.in_child is not None:
        command.in_child()


def _mapped_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _become_interpreter(command: Command) -> NoReturn:
    start = ["-m", "pocketbert"] if command.script is None else [str(command.script)]
    os.execv(sys.executable, [sys.executable, *start, *map(str, command.words)])


def _call(command: Command) -> int:
    """Run the command in this process. Returns the exit code that the interpreter would end with."""
    from pocketbert import __main__

    sys.argv = [str(command.script or "pocketbert"), *map(str, command.words)]
    code = 0
    try:
        if command.script is None:
            __main__.main()
        else:
            runpy.run_path(str(command.script), run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 130
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    return code
