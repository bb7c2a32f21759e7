"""The metrics of a server, in the format of Prometheus."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

from pocketbert.serving.core.scheduler import Round
from pocketbert.serving.core.served_bundle import ServedBundle

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TOKENS = (16, 64, 256, 1024, 4096, 16384)


class Metrics:
    """Counters and histograms of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        into: dict[str, Any] = {"registry": self.registry}
        ProcessCollector(**into)
        PlatformCollector(**into)
        self.requests = Counter(
            "pocketbert_requests", "By protocol, route or method, and status", ["protocol", "path", "status"], **into
        )
        self.seconds = self._seconds("pocketbert_request", "From the request to the response", "protocol")
        self.texts = Counter("pocketbert_texts", "Texts that were answered", ["model"], **into)
        self.tokens = Counter("pocketbert_tokens", "Tokens of these texts", ["model"], **into)
        self.truncated = Counter("pocketbert_truncated_texts", "Texts that were cut", ["model"], **into)
        self.queue_seconds = self._seconds("pocketbert_queue", "That a request waits for a worker", "model")
        self.round_seconds = self._seconds("pocketbert_round", "Of a worker, for tokenisation and model", "model")
        self.round_texts = Histogram(
            "pocketbert_round_texts", "Texts that a worker answers together", ["model"], buckets=COUNTS, **into
        )
        self.round_tokens = Histogram(
            "pocketbert_round_tokens", "Tokens of these texts", ["model"], buckets=TOKENS, **into
        )
        self.waiting = Gauge("pocketbert_waiting_texts", "Texts in the queue", ["model"], **into)
        self.bundle = Gauge("pocketbert_bundle", "1 for each loaded bundle", ["model", "variant", "sha256"], **into)

    def _seconds(self, name: str, description: str, label: str) -> Histogram:
        return Histogram(f"{name}_seconds", description, [label], buckets=SECONDS, registry=self.registry)

    def describe(self, bundle: ServedBundle) -> None:
        """Report a bundle after it was loaded, in place of the former one of that name."""
        self.bundle.remove_by_labels({"model": bundle.name})
        self.bundle.labels(bundle.name, bundle.loaded.variant, bundle.loaded.sha256[:12]).set(1)
        self.waiting.labels(bundle.name).set_function(lambda: bundle.scheduler.num_waiting)

    def round(self, model: str, done: Round) -> None:
        """Report a round of a worker."""
        self.round_texts.labels(model).observe(done.texts)
        self.round_tokens.labels(model).observe(done.tokens)
        self.round_seconds.labels(model).observe(done.seconds)
