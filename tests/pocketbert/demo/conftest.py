"""Packages of npm made by the test, and a registry that has them."""

import base64
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pocketbert.demo.libraries import Library


@dataclass
class Registry:
    """An npm registry on the loopback interface. `archives`: by path. `asked`: the paths of all requests."""

    url: str
    archives: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def publish(self, name: str, files: dict[str, str]) -> Library:
        """A package with these files, of which the last is none that a page needs."""
        content = packed(files)
        library = Library(
            name=name,
            version="1.2.3",
            num_bytes=len(content),
            sha512=base64.b64encode(hashlib.sha512(content).digest()).decode(),
            files=tuple(files)[:-1],
        )
        self.archives[f"/{library.path}"] = content
        return library


def packed(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture
def registry(monkeypatch) -> Iterator[Registry]:
    """A registry that the environment names."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            here.asked.append(self.path)
            content = here.archives.get(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    here = Registry(url=f"http://127.0.0.1:{server.server_port}/")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("npm_config_registry", here.url)
    yield here
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("POCKETBERT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def libraries(registry, cache) -> list[Library]:
    """Two packages with the names of the real ones' files, which a page could ask for."""
    return [
        registry.publish(
            "runtime", {"dist/ort.wasm.min.mjs": "export {}", "dist/x.wasm": "wasm", "dist/other.js": "no"}
        ),
        registry.publish("@scope/tokenizers", {"lib/index.js": "self.x = 1", "../../outside.js": "no"}),
    ]
