"""Data sets that a built-in recipe needs, fetched from the package index by hash: no Hub, no account.

`movie-snippets` is a labelled task, `other-snippets` running text: both from the source distribution of
vaderSentiment 3.3.2 (MIT licence; Hutto and Gilbert, ICWSM 2014), where twenty people rated each text from -4 to 4.
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
UNDECIDED_BELOW = 0.5
TABLES = {
    "movie-snippets": ("movieReviewSnippets",),
    "other-snippets": ("nytEditorialSnippets", "amazonReviewSnippets", "tweets"),
}


def fetch(name: str) -> Path:
    """The file behind "builtin:NAME", made on first use: a CSV (text, label) or JSON lines (text)."""
    name = name.removeprefix(PREFIX)
    if name not in TABLES:
        raise UserError(
            f"{PREFIX}{name}: no such built-in data; there are {', '.join(PREFIX + known for known in TABLES)}"
        )
    path = cache_folder() / "data" / f"{name}-{SHA256[:12]}{'.csv' if name == 'movie-snippets' else '.jsonl'}"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            archive = _download(Path(folder))
            content = "".join(_written(name, archive))
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


def _written(name: str, archive: Path) -> Iterator[str]:
    if name == "movie-snippets":
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        writer.writerow(["text", "label"])
        for table in TABLES[name]:
            for rating, text in _rows(archive, table):
                if abs(rating) >= UNDECIDED_BELOW:
                    writer.writerow([text, "positive" if rating > 0 else "negative"])
        yield buffer.getvalue()
    else:
        for table in TABLES[name]:
            for _, text in _rows(archive, table):
                yield json.dumps({"text": text}, ensure_ascii=False) + "\n"


def _rows(archive: Path, table: str) -> Iterator[tuple[float, str]]:
    """(mean rating, text) of one table: tab-separated id, rating, text, no header, UTF-8."""
    with tarfile.open(archive) as outer:
        member = next(entry for entry in outer.getmembers() if entry.name.endswith(INNER_ARCHIVE))
        with tarfile.open(fileobj=outer.extractfile(member)) as inner:
            found = next(entry for entry in inner.getmembers() if entry.name.endswith(f"/{table}_GroundTruth.txt"))
            stream = inner.extractfile(found)
            assert stream is not None
            lines = [line for line in stream.read().decode("utf-8").split("\n") if line.strip()]
    for line in lines:
        _, rating, text = line.split("\t")
        yield float(rating), " ".join(text.split())
