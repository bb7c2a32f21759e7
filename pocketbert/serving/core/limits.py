"""What a server accepts, and the refusal of anything else."""

from dataclasses import dataclass

MIN_RETRY_S = 1  # Retry-After has whole seconds


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one server.

    `latency_ms`: the time within which almost all requests should be answered. The size of a batch, and of the queue
    before a bundle, follow from it. `texts`: of one request. `body_bytes`: of one request. `body_s`: seconds for the
    arrival of a body. `requests`: that are answered at the same time. `waiting_texts`: in the queue of a bundle.
    """

    latency_ms: float = 50.0
    texts: int = 1024
    body_bytes: int = 2**20
    body_s: float = 10.0
    requests: int = 1024
    waiting_texts: int = 16384


class RefusedError(Exception):
    """A request that gets no answer.

    `status`: of HTTP. `kind`: the error type of text-embeddings-inference. `retry_s`: seconds after which the client
    may try again, for 503.
    """

    def __init__(self, status: int, message: str, *, kind: str = "validation", retry_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.retry_s = status, message, kind, retry_s


def overloaded(message: str) -> RefusedError:
    """The refusal of a request that would wait too long."""
    return RefusedError(503, message, kind="overloaded", retry_s=MIN_RETRY_S)


def fault() -> RefusedError:
    """The refusal after an error of ours. The log has its place; the client learns nothing of it."""
    return RefusedError(500, "a fault of the server", kind="backend")
