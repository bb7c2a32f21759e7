"""Starts the HTTP, gRPC and metrics ports of a server, and stops them without losing a request."""

import asyncio
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import prometheus_client
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from compress.common.errors import UserError
from pocketbert.serving.core.limits import Limits
from pocketbert.serving.core.metrics import Metrics
from pocketbert.serving.core.request_log import LineWriter, RequestLog
from pocketbert.serving.core.served_bundle import ServedBundle, load_bundle
from pocketbert.serving.core.server_state import ServerState
from pocketbert.serving.rest import openapi, routes
from pocketbert.serving.rest.gateway import Gateway
from pocketbert.serving.rpc.service import NOT_SERVING, SERVING, grpc_server

HEADERS_S = 10.0  # until the headers of a request have arrived
KEEP_ALIVE_S = 75  # of an idle connection; longer than the 60 s of common proxies
BACKLOG = 1024
STOP_S = 30.0  # for the requests that are being answered


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Options of a server.

    `bundles`: folders by name. `port`, `grpc_port`, `metrics_port`: 0 chooses a free one. `workers`: threads that run
    the model, per bundle. `api_key`: that requests must carry. `drain_s`: seconds between SIGTERM and the end of
    listening, in which load balancers see that the server is not ready. `writes_log`: whether each request gets a line.
    """

    bundles: dict[str, Path]
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int = 8081
    metrics_port: int = 8082
    limits: Limits = field(default_factory=Limits)
    workers: int = 1
    batching: bool = True
    api_key: str | None = None
    drain_s: float = 2.0
    writes_log: bool = True


class _Protocol(HttpToolsProtocol):
    """HTTP/1.1 with a limit on the time in which the headers of a connection's first request arrive."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(HEADERS_S, self._close_without_request)

    def _close_without_request(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class _HttpServer(uvicorn.Server):
    """uvicorn, without its handling of signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(options: ServerOptions) -> None:
    """Serve until SIGTERM or SIGINT. SIGHUP loads the bundles again.

    Raises UserError for a folder that is no bundle, and for a port that is not free.
    """
    metrics, events = Metrics(), LineWriter()
    log = RequestLog(metrics, events, writes_requests=options.writes_log)
    state = ServerState([bundle async for bundle in _loaded(options, events, log)], options.limits, metrics)
    _allow_many_connections()
    listener = _listen(options.host, options.port, "--port")
    metrics_port = _serve_metrics(metrics, options.host, options.metrics_port)
    rpc, health = grpc_server(state, log, options.api_key)
    try:
        grpc_port = _add_port(rpc, options.host, options.grpc_port)
    except UserError:
        await rpc.stop(None)
        raise
    await rpc.start()
    await health.set("", SERVING)
    http = _http_server(options, state, log)
    stopping = _on_signals(state, events)
    serving = asyncio.create_task(http.serve([listener]))
    ports = {"http": listener.getsockname()[1], "grpc": grpc_port, "metrics": metrics_port}
    events.event("listening", host=options.host, **ports, models=list(state.bundles))
    name = await stopping
    state.is_stopping = True
    await health.set("", NOT_SERVING)
    events.event("stopping", signal=name, open_requests=state.num_open)
    if name == "SIGTERM":
        await asyncio.sleep(options.drain_s)
    http.should_exit = True
    await asyncio.gather(serving, rpc.stop(STOP_S))
    for bundle in state.bundles.values():
        bundle.scheduler.stop()
    events.event("stopped")
    events.close()


async def _loaded(options: ServerOptions, events: LineWriter, log: RequestLog) -> AsyncIterator[ServedBundle]:
    """Load the bundles, one after the other."""
    for name, folder in options.bundles.items():
        begin = time.perf_counter()
        loaded = await asyncio.to_thread(load_bundle, folder)
        yield ServedBundle(
            name,
            loaded,
            options.limits,
            num_workers=options.workers,
            batching=options.batching,
            on_round=log.round,
            on_fault=log.fault,
        )
        events.event("loaded", model=name, variant=loaded.variant, seconds=round(time.perf_counter() - begin, 3))


def _http_server(options: ServerOptions, state: ServerState, log: RequestLog) -> _HttpServer:
    handlers = {(operation.method, operation.path): operation.handler for operation in openapi.OPERATIONS}
    document = openapi.document(needs_key=options.api_key is not None)
    return _HttpServer(
        uvicorn.Config(
            Gateway(routes.application(state, document, handlers), state, log, options.api_key),
            http=_Protocol,
            lifespan="off",
            ws="none",
            access_log=False,
            log_level="critical",
            server_header=False,
            proxy_headers=False,  # no address of a client is used
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(STOP_S),
        )
    )


def _on_signals(state: ServerState, events: LineWriter) -> "asyncio.Future[str]":
    """A future with the name of the signal that ends the server. A second one ends it at once."""
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[str] = loop.create_future()
    tasks = set()

    def stop(number: signal.Signals) -> None:
        if stopping.done():
            raise SystemExit(128 + number)
        stopping.set_result(number.name)

    async def reload_all() -> None:
        for bundle in state.bundles.values():
            try:
                await state.reload(bundle)
                events.event("reloaded", model=bundle.name, variant=bundle.loaded.variant)
            except UserError as error:
                events.event("not reloaded", model=bundle.name, reason=str(error))

    def reload() -> None:
        task = asyncio.ensure_future(reload_all())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    loop.add_signal_handler(signal.SIGHUP, reload)
    return stopping


def _listen(host: str, port: int, option: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise _cannot_listen(host, port, option, error) from error


def _add_port(server: Any, host: str, port: int) -> int:
    _listen(host, port, "--grpc-port").close()  # gRPC itself would print its reason
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return int(server.add_insecure_port(address))
    except RuntimeError as error:
        raise _cannot_listen(host, port, "--grpc-port", error) from error


def _serve_metrics(metrics: Metrics, host: str, port: int) -> int:
    try:
        server, _ = prometheus_client.start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise _cannot_listen(host, port, "--metrics-port", error) from error
    return int(server.server_port)


def _cannot_listen(host: str, port: int, option: str, error: Exception) -> UserError:
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number and number > 0 else "the address is in use, or not of this machine"
    return UserError(f"{host}, port {port}: {reason.lower()}; choose another {option} or --host")


def _allow_many_connections() -> None:
    """Raise the number of open files to what the system allows, since each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def run(options: ServerOptions) -> None:
    """Serve in an event loop of its own, until a signal."""
    import uvloop

    uvloop.run(serve(options))
