"""The files of a bundle: exactly those that its SHA256SUMS lists. Imports only the standard library.

This module is part of every bundle's predict.py.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

BUNDLE_FILE = "bundle.json"
SUMS_FILE = "SHA256SUMS"
CARD = "README.md"  # may be edited; no runtime reads it
SIGNATURE = ".model.sig"  # not listed: it is made later. Older versions ignore it, because of the dot
GIT_LFS_POINTER = b"version https://git-lfs"
COPY_AGAIN = "copy or export the bundle again"
MAX_SUMS_BYTES = 2**20
MAX_FILE_BYTES = 2**31  # the largest possible ONNX file
CHUNK_BYTES = 2**20
LINE_OF_SUMS = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*)")


class BundleError(ValueError):
    """The folder is not a usable bundle, or the input does not fit the model."""


def require_bundle(folder: Path) -> None:
    """Raise BundleError if a folder has no bundle.json, with the bundles in it: the folder of a run has several."""
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; expected a bundle")
    if not os.path.lexists(folder / BUNDLE_FILE):
        raise BundleError(f"{folder}: not a bundle, it has no {BUNDLE_FILE}{bundles_in(folder)}")


def bundles_in(folder: Path) -> str:
    """The bundles in a folder, as the end of a message; empty if there are none."""
    paths = sorted(path.parent for place in ("*", "bundles/*") for path in folder.glob(f"{place}/{BUNDLE_FILE}"))
    return f"; it contains the bundles {', '.join(map(str, paths))}" if paths else ""


def check_files(folder: Path) -> list[str]:
    """Check that a bundle consists of exactly the files in SHA256SUMS, with the listed hashes.

    Returns one line per deviation that no runtime reads: an edited README.md, `__pycache__`, and names that begin with
    a dot, such as `.gitattributes` and `.cache`. A signature is none. Raises BundleError for the first other deviation.
    """
    hashes = read_sums(folder)
    remarks = []
    for name in _entries(folder, {name.rpartition("/")[0] for name in hashes}):
        if name == SIGNATURE:
            continue
        if _is_ignored(name):
            remarks.append(f"{folder / name}: not listed in {SUMS_FILE}, and not checked{_advice_on(name)}")
        elif name not in hashes and name not in (SUMS_FILE, CARD):
            raise BundleError(
                f"{folder / name}: {SUMS_FILE} does not list it; a bundle consists of the listed files; remove it"
            )
    for name, expected in hashes.items():
        changed = _is_changed(folder, name, expected)
        if changed and name != CARD:
            raise BundleError(f"{folder / name}: changed since the bundle was written (SHA-256 differs); {COPY_AGAIN}")
        if changed:
            remarks.append(f"{folder / name}: edited or removed since the bundle was written")
    return remarks


def read_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each listed file, by its name in the folder. Raises BundleError."""
    path = folder / SUMS_FILE
    try:
        text = read_small_file(path, MAX_SUMS_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise BundleError(f"{folder}: {SUMS_FILE} cannot be read ({reason}); {COPY_AGAIN}") from error
    if not text.endswith("\n"):
        raise BundleError(f"{path}: the last line is incomplete; {COPY_AGAIN}")
    hashes: dict[str, str] = {}
    folded_names = set()
    for number, line in enumerate(text[:-1].split("\n"), start=1):
        matched = LINE_OF_SUMS.fullmatch(line)
        if matched is None or not {".", ".."}.isdisjoint(matched[2].split("/")):
            cause = " (it ends like a line of Windows)" if line.endswith("\r") else ""
            raise BundleError(
                f"{path}, line {number}: got {line!a:.120}{cause}; expected 64 lower-case hexadecimal digits, two "
                f"spaces and a file inside the bundle; {COPY_AGAIN}"
            )
        if matched[2].casefold() in folded_names:
            raise BundleError(f"{path}, line {number}: lists {matched[2]} twice; {COPY_AGAIN}")
        folded_names.add(matched[2].casefold())
        hashes[matched[2]] = matched[1]
    return hashes


def read_small_file(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file with at most `max_bytes`. Raises BundleError, or OSError."""
    _require_regular(path)
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise BundleError(f"{path}: larger than {max_bytes:,} bytes; {COPY_AGAIN}")
    return content


def require_content(path: Path) -> None:
    """Raise BundleError if a file of the bundle is missing, not a regular file, empty or a Git LFS pointer."""
    try:
        _require_regular(path)
        with path.open("rb") as file:
            start = file.read(len(GIT_LFS_POINTER))
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or one_line(error)}; {COPY_AGAIN}") from error
    if not start:
        raise BundleError(f"{path}: the file is empty; {COPY_AGAIN}")
    if start == GIT_LFS_POINTER:
        raise BundleError(f"{path}: got a Git LFS pointer, not the file itself; run git lfs pull")


def one_line(error: BaseException) -> str:
    """The message of another library's exception, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _require_regular(path: Path) -> None:
    """Raise BundleError for a folder, a pipe or a device, which could block a reader."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path}: not a regular file; {COPY_AGAIN}")
    if status.st_size > MAX_FILE_BYTES:
        raise BundleError(f"{path}: {status.st_size:,} bytes; a file of a bundle has at most {MAX_FILE_BYTES:,}")


def _entries(folder: Path, parents: set[str], below: str = "") -> Iterator[str]:
    """The names of everything in the folder. Only folders in `parents`, which hold listed files, are searched."""
    with os.scandir(folder / below) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir(follow_symlinks=False) and name in parents:
            yield from _entries(folder, parents, name)
        else:
            yield name


def _is_ignored(name: str) -> bool:
    """Whether a name is one that version control, hubs and Python add. Python cannot import a name with a dot."""
    last = name.rpartition("/")[2]
    return last.startswith(".") or last == "__pycache__"


def _advice_on(name: str) -> str:
    return "; Python may run it in place of predict.py; remove it" if name.endswith("__pycache__") else ""


def _is_changed(folder: Path, name: str, expected: str) -> bool:
    path = folder / name
    if not os.path.lexists(path):
        if name == CARD:
            return True
        raise BundleError(f"{path}: the file is missing, but {SUMS_FILE} lists it; {COPY_AGAIN}")
    if name == CARD:
        _require_regular(path)
    else:
        require_content(path)
    if _links_elsewhere(folder, path):
        raise BundleError(f"{path}: links to a file outside of the bundle; put the file itself there")
    return _sha256(path) != expected


def _links_elsewhere(folder: Path, path: Path) -> bool:
    """Whether a file is a link out of the bundle. Hugging Face's cache links snapshots/COMMIT/FILE to blobs/HASH."""
    root, target = Path(os.path.realpath(folder)), Path(os.path.realpath(path))
    if root in target.parents:
        return False
    model = target.parent.parent
    return target.parent.name != "blobs" or model / "snapshots" not in root.parents


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
                digest.update(chunk)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; {COPY_AGAIN}") from error
    return digest.hexdigest()
