"""Sends requests to an HTTP server at a fixed rate from this process, and checks every answer.

Arrivals are a Poisson process, whatever the server does (an open loop). The latency of a request counts from the time
at which it was due, so that a server that stalls is not excused (coordinated omission).
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

STOP_S = 30.0  # for the answers that are missing at the end


@dataclass(frozen=True)
class Exchange:
    """A request, complete with its headers, and the check of the body of its answer."""

    request: bytes
    is_right: Callable[[bytes], bool]


@dataclass
class LoadResult:
    """What a server did with a load.

    `rate`: requests per second that were due. `latency_s`: of each answer with status 200, in the order of arrival.
    `statuses`: number of answers per status; 0 for a connection that broke. `num_wrong`: answers with status 200 and a
    wrong body. `seconds`: from the first request to the last answer.
    """

    rate: float
    num_sent: int = 0
    num_wrong: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latency_s: list[float] = field(default_factory=list)

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latency in milliseconds; infinite without answers."""
        return float(np.percentile(self.latency_s, percent)) * 1000 if self.latency_s else float("inf")


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # that of uvloop has another base class

    def send(self, exchange: Exchange, due: float) -> None:
        assert self._transport is not None
        self._exchange, self._due = exchange, due
        self._transport.write(exchange.request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0 or self._exchange is None:
            return
        head = bytes(self._buffer[:head_end]).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in head else 0
        if len(self._buffer) < head_end + 4 + length:
            return
        body = bytes(self._buffer[head_end + 4 : head_end + 4 + length])
        del self._buffer[: head_end + 4 + length]
        exchange, self._exchange = self._exchange, None
        self._load.answered(int(head[9:12]), exchange, body, self._due)
        if b"connection: close" not in head:
            self._load.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._exchange is not None:
            self._load.answered(0, self._exchange, b"", self._due)
            self._exchange = None
        self._load.lost(self)


class _Load:
    def __init__(self, host: str, port: int, rate: float, most_connections: int) -> None:
        self.result = LoadResult(rate)
        self._address, self._most = (host, port), most_connections
        self._idle: deque[_Connection] = deque()
        self._due: deque[tuple[Exchange, float]] = deque()
        self._num_connections = 0
        self._num_open = 0
        self._tasks: set[asyncio.Task] = set()

    async def run(self, exchanges: Sequence[Exchange], seconds: float, seed: int) -> None:
        gaps = np.random.default_rng(seed).exponential(1 / self.result.rate, size=int(self.result.rate * seconds) + 1)
        times = np.cumsum(gaps)
        begin = time.perf_counter()
        for number, offset in enumerate(times[times < seconds]):
            delay = begin + offset - time.perf_counter()
            if delay > 0 or number % 16 == 0:
                await asyncio.sleep(max(delay, 0))
            self._num_open += 1
            self.result.num_sent += 1
            self._send(exchanges[number % len(exchanges)], begin + offset)
        deadline = time.perf_counter() + STOP_S
        while self._num_open and time.perf_counter() < deadline:
            await asyncio.sleep(0.005)
        self.result.statuses[0] += self._num_open
        self.result.seconds = time.perf_counter() - begin

    def _send(self, exchange: Exchange, due: float) -> None:
        if self._idle:
            self._idle.pop().send(exchange, due)
            return
        self._due.append((exchange, due))
        if self._num_connections < self._most:
            self._num_connections += 1
            task = asyncio.ensure_future(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self), *self._address
            )
        except OSError:
            self._num_connections -= 1
            if self._due:
                exchange, due = self._due.popleft()
                self.answered(0, exchange, b"", due)
            return
        self.free(connection)

    def free(self, connection: _Connection) -> None:
        if self._due:
            connection.send(*self._due.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        self._num_connections -= 1
        if connection in self._idle:
            self._idle.remove(connection)

    def answered(self, status: int, exchange: Exchange, body: bytes, due: float) -> None:
        self._num_open -= 1
        self.result.statuses[status] += 1
        if status == 200:
            self.result.latency_s.append(time.perf_counter() - due)
            self.result.num_wrong += not exchange.is_right(body)


async def send_load(
    host: str,
    port: int,
    exchanges: Sequence[Exchange],
    *,
    rate: float,
    seconds: float,
    most_connections: int = 256,
    seed: int = 0,
) -> LoadResult:
    """Send requests for some seconds, in the order of `exchanges` and around again.

    `rate`: per second. `most_connections`: to the server at the same time; further requests wait, and the wait counts.
    """
    load = _Load(host, port, rate, most_connections)
    await load.run(exchanges, seconds, seed)
    return load.result


def post(path: str, body: bytes, *, content_type: str = "application/json") -> bytes:
    """The bytes of an HTTP/1.1 request."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body
