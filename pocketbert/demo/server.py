"""An HTTP server on the loopback interface. It answers GET and HEAD, for a fixed list of paths."""

import errno
import os
import shutil
import socketserver
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from compress.common.errors import UserError
from pocketbert.demo.resources import ROOT, Resource

ADDRESS = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost", "::1")  # with any port, which a tunnel may change
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # isolation gives exact clocks, and the memory of the page
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # the page keeps its own copy for use without the server
}
IDLE_S = 30.0  # a connection without a request is closed


class DemoServer(ThreadingHTTPServer):
    """Serves `resources` by path. Raises UserError if the port is not free. Use it as a context manager."""

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # on Windows, two servers would share the port

    def __init__(self, resources: Mapping[str, Resource], *, port: int) -> None:
        """`port`: 0 for any free port."""
        self.resources = resources
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            reason = "in use" if error.errno == errno.EADDRINUSE else f"not available ({error.strerror or error})"
            raise UserError(
                f"port {port} of {ADDRESS}: {reason}; choose another port, or 0 for any free one"
            ) from error

    def server_bind(self) -> None:
        """Bind without the name of the host, whose look-up can take half a minute."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self.server_port}{ROOT}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about a browser that closes its connection."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: DemoServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def do_GET(self) -> None:
        """Send a resource."""
        self._answer()

    def do_HEAD(self) -> None:
        """Send the headers of a resource."""
        self._answer()

    def version_string(self) -> str:
        """The Server header, without versions."""
        return "pocketbert"

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a page asks for a dozen files."""

    def end_headers(self) -> None:
        """Add the headers that all answers have."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def _answer(self) -> None:
        if self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # its content is not read, and would be taken for the next request
        if not _is_ours(self.headers.get_all("Host", [])):
            self._refuse(HTTPStatus.FORBIDDEN, f"open http://{ADDRESS}:{self.server.server_port}{ROOT} instead")
            return
        path = self.path.partition("?")[0]
        if path in ("/", ROOT.rstrip("/")):
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", ROOT)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path in self.server.resources:
            self._send(self.server.resources[path])
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "not found")

    def _send(self, resource: Resource) -> None:
        content = resource.content
        try:
            opened = BytesIO(content) if isinstance(content, bytes) else content.open("rb")
        except OSError:
            self._refuse(HTTPStatus.NOT_FOUND, "the file was removed after the start of the server")
            return
        with opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(0)
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", resource.media_type)
            self.send_header("Content-Length", str(size))
            self.send_header("Accept-Ranges", "none")
            self.end_headers()
            if self.command != "HEAD":
                shutil.copyfileobj(opened, self.wfile)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        content = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _is_ours(hosts: list[str]) -> bool:
    """Whether a request is for this machine. Another name that leads here is the page of somebody else (rebinding)."""
    try:
        return len(hosts) == 1 and urlsplit(f"//{hosts[0]}").hostname in HOSTS
    except ValueError:
        return False
