"""One line of JSON per request, without texts, and the same figures as metrics."""

import json
import os
import queue
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from pocketbert.serving.core.metrics import Metrics
from pocketbert.serving.core.scheduler import Round
from pocketbert.serving.core.served_bundle import ServedBundle
from pocketbert.serving.core.waiting import Answer

STDERR = 2
MOST_LINES = 10_000  # that wait to be written
FLUSH_S = 2.0  # at the end
FRAMES = 3  # of the place of a fault


@dataclass(frozen=True)
class Note:
    """What the log says of an answered request."""

    model: str
    texts: int
    tokens: int
    truncated: int
    queue_ms: float
    model_ms: float

    @classmethod
    def of(cls, bundle: ServedBundle, answer: Answer) -> "Note":
        """The figures of an answer."""
        times = round(answer.queue_s * 1000, 3), round(answer.model_s * 1000, 3)
        return cls(bundle.name, len(answer.logits), answer.tokens, answer.truncated, *times)


class LineWriter:
    """Writes lines to standard error in a thread. If nobody reads them, it drops lines instead of stopping requests."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_LINES)
        self._num_dropped = 0
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def event(self, event: str, **fields: object) -> None:
        """Write a line about something that happened."""
        now = time.time()
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03}Z"
        try:
            self._lines.put_nowait(json.dumps({"time": stamp, "event": event, **fields}))
        except queue.Full:
            self._num_dropped += 1

    def close(self) -> None:
        """Write what waits, unless nobody reads it."""
        try:
            self._lines.put(None, timeout=FLUSH_S)
        except queue.Full:
            return
        self._thread.join(FLUSH_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._num_dropped:
                dropped, self._num_dropped = self._num_dropped, 0
                self.event("lines dropped", number=dropped)
            content = (line + "\n").encode()
            try:
                while content:
                    content = content[os.write(STDERR, content) :]
            except OSError:  # closed, or a pipe without a reader
                return


class RequestLog:
    """Counts requests in the metrics, and writes a line for each if it should."""

    def __init__(self, metrics: Metrics, events: LineWriter, *, writes_requests: bool) -> None:
        self._metrics, self._events, self._writes_requests = metrics, events, writes_requests

    def request(self, protocol: str, method: str, status: int, seconds: float, note: Note | None) -> None:
        """Record a request. `method`: a route, or a method of gRPC; never what a client made up."""
        metrics = self._metrics
        metrics.requests.labels(protocol, method, str(status)).inc()
        metrics.seconds.labels(protocol).observe(seconds)
        if note is not None:
            metrics.texts.labels(note.model).inc(note.texts)
            metrics.tokens.labels(note.model).inc(note.tokens)
            metrics.truncated.labels(note.model).inc(note.truncated)
            metrics.queue_seconds.labels(note.model).observe(note.queue_ms / 1000)
        if self._writes_requests:
            figures = {} if note is None else asdict(note)
            milliseconds = round(seconds * 1000, 3)
            self._events.event("request", protocol=protocol, method=method, status=status, ms=milliseconds, **figures)

    def round(self, model: str, done: Round) -> None:
        """Count a round of a worker."""
        self._metrics.round(model, done)

    def fault(self, method: str, error: Exception) -> None:
        """Record an error of ours: its type and its place, not its message, which may quote a text."""
        frames = traceback.extract_tb(error.__traceback__)
        place = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[: -FRAMES - 1 : -1])
        self._events.event("fault", method=method, error=type(error).__name__, place=place)
