"""What a command shares with its shell: signals, and standard streams that may be closed, full or without a reader.

Imports nothing that takes time, because Ctrl-C during imports would print a traceback.
"""

import os
import select
import signal
import sys
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
STOPPING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(SystemExit):
    """SIGTERM or SIGHUP was received. The exit code is the one that shells expect, such as 143."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(self.exit_code)
        self.name = signal.Signals(number).name


def end_without_message() -> None:
    """Let signals end the process at once, without a traceback. Used while nothing needs cleaning up."""
    for number in (signal.SIGINT, *STOPPING):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and background jobs ignore some
            signal.signal(number, signal.SIG_DFL)


def raise_on_signals() -> None:
    """Raise KeyboardInterrupt on Ctrl-C, and `Stopped` on SIGTERM and SIGHUP, so that locks and children are released.

    During an import the process ends at once, because an exception in the initialisation of a C++ library aborts it.
    """
    process = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a fork
            os._exit(128 + number)
        stopped = Stopped(number)
        if _is_importing(frame):
            if number != signal.SIGINT:
                os.write(2, f"error: stopped by {stopped.name}\n".encode())
            os._exit(128 + number)
        raise KeyboardInterrupt if number == signal.SIGINT else stopped

    for number in (signal.SIGINT, *STOPPING):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def open_closed_streams() -> None:
    """Connect closed standard streams to the null device. A file of ours would get their numbers otherwise."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # open takes the lowest free number
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # lives as long as the process
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def flush_streams() -> str | None:
    """Write what the standard streams still hold. Returns why the output could not be written; None if it was.

    A pipe whose reader has ended, such as `head`, is no problem. A stream that fails is connected to the null device,
    because the interpreter would report it again.
    """
    problem = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _discard(stream.fileno())
        except OSError as error:
            _discard(stream.fileno())
            problem = f"standard output: {error.strerror or error}" if stream is sys.stdout else problem
        except ValueError:  # closed by a library
            pass
    return problem


def has_reader(number: int) -> bool:
    """Whether a stream can still be written; True if the system cannot tell."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return not any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


def _discard(number: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
