"""Everything that the page may ask for, by its path. A request selects one of these paths or gets nothing."""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketbert import __version__
from pocketbert.demo.bundles import MODEL, TOKENIZER, DemoBundle
from pocketbert.demo.libraries import Library

ROOT = "/pocketbert/"  # the scope of the service worker: another program on this port, later, keeps its own pages
TYPES = {  # not those of the system: a registry of Windows may say that .js is plain text
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}


@dataclass(frozen=True, kw_only=True)
class Resource:
    """What a path answers: bytes, or the content of a file."""

    media_type: str
    content: bytes | Path


def resources_of(
    bundles: Sequence[DemoBundle], libraries: Mapping[Library, Mapping[str, bytes]]
) -> dict[str, Resource]:
    """The page, the libraries and the files of the bundles, by path.

    A path of a bundle's file is its hash, and one of a library has its version: their content never changes, so that a
    copy in the browser is never the file of another bundle.
    """
    found = {ROOT + path.name: _resource(path.name, path.read_bytes()) for path in page_files()}
    found[ROOT] = found.pop(f"{ROOT}index.html")
    for library, contents in libraries.items():
        for name, content in contents.items():
            found[f"{ROOT}libraries/{library.archive.removesuffix('.tgz')}/{name}"] = _resource(name, content)
    for bundle in bundles:
        for name in (MODEL, TOKENIZER):
            found[f"{ROOT}files/{bundle.hashes[name]}"] = _resource(name, bundle.folder / name)
    listing = {
        "bundles": [bundle.for_page() for bundle in bundles],
        "versions": {"PocketBERT": __version__, **{library.name: library.version for library in libraries}},
        "paths": [*found, f"{ROOT}bundles.json"],
    }
    found[f"{ROOT}bundles.json"] = _resource("bundles.json", json.dumps(listing).encode())
    return found


def page_files() -> list[Path]:
    """The files of the page itself."""
    return sorted(Path(str(importlib.resources.files("pocketbert.demo") / "page")).iterdir())


def _resource(name: str, content: bytes | Path) -> Resource:
    return Resource(media_type=TYPES[Path(name).suffix], content=content)
