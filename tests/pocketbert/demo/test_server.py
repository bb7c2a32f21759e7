"""The server of the page: what it answers, to whom, and how it ends."""

import hashlib
import http.client
import json
import mimetypes
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from compress.common.console import new_console
from compress.common.errors import UserError
from pocketbert.cli import app
from pocketbert.demo.bundles import load_bundles
from pocketbert.demo.libraries import files_of
from pocketbert.demo.resources import resources_of
from pocketbert.demo.server import DemoServer

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@pytest.fixture
def server(bundle, libraries) -> Iterator[DemoServer]:
    contents = {library: files_of(library, new_console(quiet=True)) for library in libraries}
    with DemoServer(resources_of(load_bundles([bundle, bundle]), contents), port=0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def ask(server: DemoServer, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def send(server: DemoServer, request: bytes) -> bytes:
    """All that the server answers to a raw request."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_every_answer_has_the_headers_that_protect_the_page(server):
    for path, status in (("/pocketbert/", 200), ("/", 302), ("/nothing", 404), ("/pocketbert", 302)):
        answer, _ = ask(server, path)
        assert answer.status == status
        assert answer.getheader("Content-Security-Policy") == POLICY
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("Cross-Origin-Opener-Policy") == "same-origin"
        assert answer.getheader("Cross-Origin-Embedder-Policy") == "require-corp"
        assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"
        assert answer.getheader("Access-Control-Allow-Origin") is None
        assert answer.getheader("Server") == "pocketbert"


def test_each_listed_path_is_served_with_its_type(server, bundle, monkeypatch):
    monkeypatch.setitem(mimetypes.types_map, ".js", "text/plain")  # as on some systems
    listing = json.loads(ask(server, "/pocketbert/bundles.json")[1])
    types = {path: ask(server, path)[0].getheader("Content-Type") for path in listing["paths"]}
    endings = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".css": "text/css"}
    for ending, media_type in endings.items():
        matching = [given for path, given in types.items() if path.endswith(ending)]
        assert matching and all(given.startswith(media_type) for given in matching)
    assert types["/pocketbert/"].startswith("text/html") and not any("other.js" in path for path in types)
    for each in listing["bundles"]:
        for name, record in (("onnx/model.onnx", each["model"]), ("tokenizer.json", each["tokenizer"])):
            content = ask(server, f"/pocketbert/files/{record['sha256']}")[1]
            assert content == (bundle / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == record["sha256"]


def test_head_and_ranges(server):
    listing = json.loads(ask(server, "/pocketbert/bundles.json")[1])
    path = f"/pocketbert/files/{listing['bundles'][0]['model']['sha256']}"
    whole, content = ask(server, path)
    head, nothing = ask(server, path, "HEAD")
    assert (head.status, nothing) == (200, b"") and head.getheader("Content-Length") == str(len(content))
    part, same = ask(server, path, Range="bytes=0-9")
    assert (part.status, part.getheader("Accept-Ranges")) == (200, "none") and same == content
    assert whole.getheader("Content-Length") == str(len(content))


@pytest.mark.parametrize(
    "path",
    [
        "/pocketbert/../../../etc/passwd", "/pocketbert/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/etc/passwd",
        "/pocketbert/files/", "/pocketbert/files/..%2f..%2fbundle.json", "/pocketbert/server.py", "/pocketbert/page/",
        "/pocketbert/predict.py", "/pocketbert/bundle.json", "/pocketbert/index.html/", "/pocketbert/..\\..\\x",
        "/pocketbert/libraries/runtime-1.2.3/dist/other.js", "http://other.example/pocketbert/", "*", "/\x80",
    ],
)  # fmt: skip
def test_no_other_path_is_served(server, path):
    answer = send(server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 404 ") and answer.endswith(b"\r\n\r\nnot found\n")


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (["localhost"], 200), (["LOCALHOST:8000"], 200), (["127.0.0.1:1"], 200), (["[::1]:8765"], 200),
        (["other.example"], 403), (["127.0.0.1.other.example"], 403), (["localhost.other.example:80"], 403),
        ([""], 403), (["[::1"], 403), ([], 403), (["localhost", "other.example"], 403), (["other@localhost"], 200),
        (["192.168.0.1"], 403), (["0.0.0.0"], 403),
    ],
)  # fmt: skip
def test_only_names_of_this_machine_are_answered(server, hosts, status):
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    answer = send(server, f"GET /pocketbert/ HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b"<!doctype html>" in answer) == (status == 200)


def test_other_methods_bad_requests_and_closed_connections(server, capfd):
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(server, "/pocketbert/", method)[0].status == 501
    assert b" 400 " in send(server, b"GET / HTTP/9\r\n\r\n") and send(server, b"") == b""
    inner = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"  # the content of a request is no request
    outer = b"GET /pocketbert/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n"
    assert send(server, outer + inner).count(b"HTTP/1.1 ") == 1
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
            connection.sendall(b"GET /pocketbert/app.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset when closed
    assert ask(server, "/pocketbert/")[0].status == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_file_that_was_removed_is_not_found(server, tmp_path):
    path, resource = next(item for item in server.resources.items() if "/files/" in item[0])
    server.resources = {path: type(resource)(media_type=resource.media_type, content=tmp_path / "gone")}
    assert ask(server, path)[0].status == 404 and ask(server, path, "HEAD")[1] == b""


def test_a_busy_port_and_the_address(server):
    assert server.url == f"http://127.0.0.1:{server.server_port}/pocketbert/"
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(UserError, match=f"port {server.server_port} of 127.0.0.1: in use; choose another port"):
        DemoServer({}, port=server.server_port)


def test_the_start_asks_for_no_name(monkeypatch):
    """The name of an address can take half a minute on macOS."""
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("asked for a name"))
    DemoServer({}, port=0).server_close()


SERVE = """
import sys
from pathlib import Path
from pocketbert import shell
from pocketbert.demo import libraries
libraries.LIBRARIES = (libraries.Library(**{library!r}),)
from pocketbert.cli import app
shell.raise_on_signals()
sys.exit(app.main(["demo", {bundle!r}, "--port", "0"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal(bundle, libraries, cache, number):
    source = SERVE.format(library=vars(libraries[0]), bundle=str(bundle))
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        address = process.stdout.readline()
        assert address.startswith("http://127.0.0.1:") and address.endswith("/pocketbert/  (Ctrl-C ends)\n")
        connection = http.client.HTTPConnection(address.split("/")[2], timeout=20)
        connection.request("GET", "/pocketbert/bundles.json")
        assert json.loads(connection.getresponse().read())["versions"]["runtime"] == "1.2.3"
        process.send_signal(number)  # with an open connection
        assert process.wait(timeout=60) == 0
        assert process.stdout.read() == "" and "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_without_network_and_cache_the_command_says_so_in_one_line(bundle, cache, monkeypatch, capsys):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    assert app.main(["demo", str(bundle)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: onnxruntime-web 1.30.0: could not be fetched from ")
    assert printed.err.count("\n") == 1 and "npm pack onnxruntime-web@1.30.0" in printed.err
