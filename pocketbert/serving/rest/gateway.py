"""Before every HTTP request: the API key, the number of open requests; after it: the log."""

import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pocketbert.serving.core.limits import RefusedError, overloaded
from pocketbert.serving.core.request_log import RequestLog
from pocketbert.serving.core.server_state import ServerState
from pocketbert.serving.rest.routes import NOTE, refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
OPEN_PATHS = {"/health", "/ping", "/v2/health/live", "/v2/health/ready"}  # without an API key, for probes
UNKNOWN = "unknown"


class Gateway:
    """An ASGI application around the routes.

    `api_key`: that requests must carry as `Authorization: Bearer KEY`; None for none.
    """

    def __init__(self, routes: Application, state: ServerState, log: RequestLog, api_key: str | None) -> None:
        self._routes, self._state, self._log = routes, state, log
        self._header = None if api_key is None else f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # of the others, lifespan has no use here and websockets are refused
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        begin, status = time.perf_counter(), 500

        async def send_and_note(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._state.is_stopping:
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        state = self._state
        state.num_open += 1
        try:
            refused = self._refused(scope)
            await (self._routes if refused is None else refusal(refused))(scope, receive, send_and_note)
        except Exception as error:  # the routes have sent a response
            self._log.fault(_method_of(scope), error)
        finally:
            state.num_open -= 1
            self._log.request("http", _method_of(scope), status, time.perf_counter() - begin, scope.get(NOTE))

    def _refused(self, scope: Scope) -> RefusedError | None:
        if scope["path"] in OPEN_PATHS:
            return None
        if self._header is not None:
            given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if not hmac.compare_digest(given, self._header):
                return RefusedError(401, "expected the header `Authorization: Bearer KEY`", kind="unauthorized")
        if self._state.num_open > self._state.limits.requests:
            return overloaded(f"{self._state.limits.requests} requests are being answered already")
        return None


def _method_of(scope: Scope) -> str:
    route = scope.get("route")
    return UNKNOWN if route is None else f"{scope['method']} {route.path}"
