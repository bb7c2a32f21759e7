"""The libraries that run a bundle in a page: packages of npm, pinned by version and hash, kept in the cache.

An archive is never unpacked to disk: the files that a page needs are read out of it. It is hashed each time it is used.
"""

import base64
import hashlib
import http.client
import os
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from rich.console import Console

from compress.common.errors import UserError
from compress.common.files import replacing
from compress.common.progress import progress_bar
from compress.common.seals import has_seal, seal_file
from pocketbert.store.stage_cache import cache_folder

FOLDER = "demo"  # in the cache
REGISTRY = "https://registry.npmjs.org/"
REGISTRY_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")  # as npm reads them
CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Library:
    """A package of npm. `sha512`: of its archive, in base64, as in npm's lock files. `files`: what a page needs."""

    name: str
    version: str
    num_bytes: int
    sha512: str
    files: tuple[str, ...]

    @property
    def archive(self) -> str:
        """The file name that `npm pack` gives to the archive."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    @property
    def path(self) -> str:
        """Where a registry has the archive."""
        return f"{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


# of its entry points, this one runs all variants and is the smallest
RUNTIME = Library(
    name="onnxruntime-web",
    version="1.30.0",
    num_bytes=33_106_585,
    sha512="q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    files=("dist/ort.wasm.min.mjs", "dist/ort-wasm-simd-threaded.mjs", "dist/ort-wasm-simd-threaded.wasm"),
)
# tokenizers itself, compiled to WASM. Those that are written in JavaScript give other ids for many scripts.
TOKENIZERS = Library(
    name="@mlc-ai/web-tokenizers",
    version="0.1.6",
    num_bytes=3_437_346,
    sha512="A5GSqUSnMjDkPoXBFFtbbW3F/qygCixuwbi7/EUMzcpgwFOAhD9vSZZBchK3IpC0c6TKlcDqAYDYp8vpb8/4vA==",
    files=("lib/index.js",),
)
LIBRARIES = (RUNTIME, TOKENIZERS)


def files_of(library: Library, console: Console) -> dict[str, bytes]:
    """The content of each of `library.files`. Downloads the archive unless it is in the cache. Raises UserError."""
    path = cache_folder() / FOLDER / library.archive
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # another process may need the same archive
        if not _is_archive_of(library, path):
            _download(library, path, console)
        if not has_seal(path):  # downloaded now, or by the user; the cache lists files with a seal
            seal_file(path)
        return _read(library, path)


def _is_archive_of(library: Library, path: Path) -> bool:
    if not path.is_file() or path.stat().st_size != library.num_bytes:
        return False
    with path.open("rb") as file:
        return _in_base64(hashlib.file_digest(file, "sha512").digest()) == library.sha512


def _download(library: Library, path: Path, console: Console) -> None:
    """Write the archive to the path. Raises UserError unless the registry has it, with the pinned hash."""
    registry = next(filter(None, map(os.getenv, REGISTRY_VARIABLES)), REGISTRY)
    place = _without_password(registry)
    title = f"{library.name} {library.version}"
    remedy = (
        f"; connect to a registry, name one in {REGISTRY_VARIABLES[0]}, or put the file that "
        f"`npm pack {library.name}@{library.version}` writes into {path.parent}"
    )
    if not registry.startswith(("https://", "http://")):
        raise UserError(f"{REGISTRY_VARIABLES[0]}: got {place}; expected the https:// address of an npm registry")
    url = f"{registry.rstrip('/')}/{library.path}"
    digest, done = hashlib.sha512(), 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, replacing(path) as partial:
            with partial.open("wb") as file, progress_bar(f"downloading {title} (MB)", console) as report:
                while (chunk := answer.read(CHUNK_BYTES)) and done <= library.num_bytes:
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    report(done // 10**6, library.num_bytes // 10**6)
            if _in_base64(digest.digest()) != library.sha512:
                raise UserError(
                    f"{title}: {place} sent another archive than the pinned one (SHA-512 differs, {done:,} bytes "
                    f"instead of {library.num_bytes:,}){remedy}"
                )
    except urllib.error.HTTPError as error:
        raise UserError(f"{title}: could not be fetched from {place} ({error.code} {error.reason}){remedy}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "reason", None) or error
        raise UserError(f"{title}: could not be fetched from {place} ({reason}){remedy}") from error


def _read(library: Library, path: Path) -> dict[str, bytes]:
    """The files of the library, from its archive, whose hash has been checked."""
    with tarfile.open(path, "r:gz") as archive:
        contents = {}
        for name in library.files:
            file = archive.extractfile(f"package/{name}")
            assert file is not None, name  # the hash pins what the archive holds
            contents[name] = file.read()
        return contents


def _in_base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _without_password(registry: str) -> str:
    """The address of a registry for a message, which may be public."""
    try:
        parts = urlsplit(registry)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    except ValueError:
        return "the registry"
