"""A real `pocketbert serve` in a process of its own, and a client for its HTTP port."""

import http.client
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Running:
    """The process, its ports, and the lines of its log so far."""

    process: subprocess.Popen
    http: int
    grpc: int
    metrics: int
    events: list[dict] = field(default_factory=list)

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """Status, content (parsed if it is JSON) and headers of a response, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=30)
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, content, headers or {})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        is_json = response.headers.get("content-type") == "application/json"
        return response.status, json.loads(answer) if is_json else answer, response.headers

    def infer(self, texts: list[str], name: str, **more: Any) -> tuple[int, Any, http.client.HTTPMessage]:
        """A request of the Open Inference Protocol."""
        tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
        return self.request("POST", f"/v2/models/{name}/infer", {"inputs": [tensor], **more})

    def next_event(self, name: str) -> dict:
        """Read the log up to the next event of that name."""
        for line in self.process.stderr:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == name:
                return self.events[-1]
        raise AssertionError(f"no event {name!r} in {self.events}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, read the rest of the log, and return the exit code."""
        self.process.send_signal(number)
        self.events += [json.loads(line) for line in self.process.stderr]
        return self.process.wait(timeout=60)


@contextmanager
def serving(*bundles: Path | str, options: tuple[str, ...] = (), environment: dict[str, str] | None = None):
    """A server on free ports, ready to answer."""
    ports = ("--port", "0", "--grpc-port", "0", "--metrics-port", "0", "--drain-seconds", "0.2")
    command = [sys.executable, "-P", "-m", "pocketbert", "serve", *map(str, bundles), *ports, *options]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
    )
    try:
        running = Running(process, 0, 0, 0)
        listening = running.next_event("listening")
        running.http, running.grpc, running.metrics = (listening[name] for name in ("http", "grpc", "metrics"))
        yield running
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
