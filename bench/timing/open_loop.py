"""Open-loop and closed-loop load on one process: the latency of each call.

All times are of the monotonic clock, which the processes of a machine share.
"""

import time
from collections.abc import Callable, Sequence


def answer_arrivals(
    calls: Sequence[Callable[[], object]],
    due_s: Sequence[float],
    begin: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[float]:
    """Open loop: run each call when it arrives, `due_s` seconds after `begin`. Returns the latency of each in seconds.

    Latency counts from the arrival, so it includes waiting for earlier calls. The process sleeps while it is idle, as a
    server does.
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
    """Closed loop: cycle through the calls for `seconds` from `begin` on. Returns the latency of each in seconds."""
    sleep(max(0.0, begin - clock()))
    latencies: list[float] = []
    while (started := clock()) < begin + seconds:
        calls[len(latencies) % len(calls)]()
        latencies.append(clock() - started)
    return latencies
