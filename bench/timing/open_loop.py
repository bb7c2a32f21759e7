"""Texts that come at their own time, or one after the other: how long each waits for its answer."""

import time
from collections.abc import Callable, Sequence

# Times are of the monotonic clock, which all processes of a machine share.


def answer_arrivals(
    calls: Sequence[Callable[[], object]],
    due_s: Sequence[float],
    begin: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[float]:
    """Answer calls that are due at `due_s` after `begin`, in order: seconds from when each was due to its answer.

    One that is due while another is answered waits, and its wait counts. Between two the process sleeps, as a server
    does.
    """
    latencies = []
    for call, due in zip(calls, due_s, strict=True):
        wait = begin + due - clock()
        if wait > 0:
            sleep(wait)
        call()
        latencies.append(clock() - begin - due)
    return latencies


def closed_loop(
    calls: Sequence[Callable[[], object]],
    seconds: float,
    begin: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[float]:
    """Answer calls in turn for `seconds` from `begin` on, each as soon as the one before is done: seconds of each."""
    sleep(max(0.0, begin - clock()))
    latencies: list[float] = []
    while (started := clock()) < begin + seconds:
        calls[len(latencies) % len(calls)]()
        latencies.append(clock() - started)
    return latencies
