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

from compress.common.errors import UserError
from pocketbert.store.run_folder import cache_folder

PREFIX = "builtin:"
PACKAGE = "vaderSentiment==3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
INNER_ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
MIN_RATING = 0.5  # texts with a mean rating closer to 0 are neither positive nor negative
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
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            archive = _download(Path(folder))
            content = _content_of(name, archive)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(content, encoding="utf-8")
        partial.replace(path)
    return path


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
