"""One line of JSON per request, without texts, and the same figures as metrics."""

import json
import sys
import time
from dataclasses import dataclass
from typing import TextIO

from pocketbert.serving.core.metrics import Metrics
from pocketbert.serving.core.served_bundle import ServedBundle
from pocketbert.serving.core.waiting import Answer


@dataclass(frozen=True)
class Note:
    """What the log says of an answered request."""

    model: str
    texts: int
    tokens: int
    truncated: int
    queue_s: float
    model_s: float

    @classmethod
    def of(cls, bundle: ServedBundle, answer: Answer) -> "Note":
        """The figures of an answer."""
        return cls(bundle.name, len(answer.logits), answer.tokens, answer.truncated, answer.queue_s, answer.model_s)


class RequestLog:
    """Writes the lines to a stream, unless it is None, and counts in the metrics."""

    def __init__(self, metrics: Metrics, stream: TextIO | None = sys.stderr) -> None:
        self._metrics, self._stream = metrics, stream

    def request(self, protocol: str, method: str, status: int, seconds: float, note: Note | None) -> None:
        """Record a request. `method`: a route, or a method of gRPC; never what a client made up."""
        metrics = self._metrics
        metrics.requests.labels(protocol, method, str(status)).inc()
        metrics.seconds.labels(protocol).observe(seconds)
        if note is not None:
            metrics.texts.labels(note.model).inc(note.texts)
            metrics.tokens.labels(note.model).inc(note.tokens)
            metrics.truncated.labels(note.model).inc(note.truncated)
            metrics.queue_seconds.labels(note.model).observe(note.queue_s)
        if self._stream is None:
            return
        line: dict[str, object] = {
            "protocol": protocol,
            "method": method,
            "status": status,
            "ms": round(seconds * 1000, 3),
        }
        if note is not None:
            line |= {
                "model": note.model,
                "texts": note.texts,
                "tokens": note.tokens,
                "truncated": note.truncated,
                "queue_ms": round(note.queue_s * 1000, 3),
                "model_ms": round(note.model_s * 1000, 3),
            }
        self.event("request", **line)

    def event(self, event: str, **fields: object) -> None:
        """Write a line about anything that happened. A stream that nobody reads stops no request."""
        if self._stream is None:
            return
        now = time.time()
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03}Z"
        try:
            self._stream.write(json.dumps({"time": stamp, "event": event, **fields}) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # a closed pipe, or a closed stream
            self._stream = None
